"""Texts as numbers: each character is its index in an alphabet, sorted by code point."""

from __future__ import annotations

import numpy as np


def learn(text: str) -> tuple[str, np.ndarray]:
    """Return the alphabet of a text, and its characters as indices (N,) of int32."""
    codes, ids = np.unique(_codes("text", text), return_inverse=True)
    return "".join(map(chr, codes.tolist())), ids.astype("int32")


def numbers(alphabet: str, name: str, text: str, least: int) -> np.ndarray:
    """Return the characters of a text, at least so many, as indices (N,) of an alphabet."""
    codes, known = _codes(name, text), _codes("alphabet", alphabet)
    if len(codes) < least:
        raise ValueError(f"{name} must have at least {least} characters, got {len(codes)}")
    ids = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    unknown = np.flatnonzero(known[ids] != codes)
    if len(unknown):
        before = text[: unknown[0]]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ValueError(
            f"{name} must consist of the {len(known)} characters of the training text, got "
            f"{text[unknown[0]]!r} in line {line}, column {column}: remove or replace it, or train "
            "on a text that has it"
        )
    return ids.astype("int32")


def split(ids: np.ndarray, fraction: float, streams: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a text to learn, and the fraction at its end that is held out."""
    held = int(fraction * len(ids))
    if len(ids) - held <= streams or (fraction and held < 2):
        raise ValueError(
            f"text must have more characters to learn than the {streams} streams and at least 2 to "
            f"hold out, got {len(ids) - held} and {held}: give a longer text"
        )
    return ids[: len(ids) - held], ids[len(ids) - held :]


def check(name: str, characters: str) -> str:
    """Return an alphabet: characters, sorted, each once."""
    codes = _codes(name, characters)
    if not len(codes) or np.any(codes[1:] <= codes[:-1]):
        raise ValueError(f"{name} must be characters, sorted, each once, got {characters!r:.80}")
    return characters


def _codes(name: str, text: str) -> np.ndarray:
    """Return the code points of a text."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, got {type(text).__name__}: decode or read it first")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
