"""Texts as numbers: each character by its place in an alphabet, sorted by code point."""

from __future__ import annotations

import numpy as np

from rnnx import validate


def learn(text: str) -> tuple[str, np.ndarray]:
    """Return the alphabet of a text, and its characters' numbers (N,) as int32."""
    codes, ids = np.unique(_codes("text", text), return_inverse=True)
    return "".join(map(chr, codes.tolist())), ids.astype("int32")


def numbers(alphabet: str, name: str, text: str, least: int) -> np.ndarray:
    """Return the numbers (N,) of a text's characters in an alphabet.

    Raises
    ------
    TypeError
        For what is no text.
    ValueError
        For fewer than `least` characters, or one that is not in the alphabet, with its place.
    """
    codes, known = _codes(name, text), _codes("alphabet", alphabet)
    if len(codes) < least:
        raise ValueError(f"{name} must have at least {least} characters, got {len(codes)}")
    ids = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    unknown = np.flatnonzero(known[ids] != codes)
    if len(unknown):
        before = text[: unknown[0]]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ValueError(
            f"{name} must consist of the {len(known)} characters of the text that was learned, got "
            f"{text[unknown[0]]!r} in line {line}, column {column}: remove or replace it, or learn "
            "a text that has it"
        )
    return ids.astype("int32")


def split(ids: np.ndarray, fraction: float, streams: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a text to learn, and the share at its end that is held out.

    Raises
    ------
    ValueError
        For a fraction out of range, or a part too short to be read.
    """
    share = validate.fraction("validation_fraction", fraction)
    held = int(share * len(ids))
    if len(ids) - held <= streams or (share and held < 2):
        raise ValueError(
            f"text must have more characters to learn than the {streams} streams and at least 2 to "
            f"hold out, got {len(ids) - held} and {held}: give a longer text"
        )
    return ids[: len(ids) - held], ids[len(ids) - held :]


def _codes(name: str, text: str) -> np.ndarray:
    """Return the code points of a text."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, got {type(text).__name__}: decode or read it first")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
