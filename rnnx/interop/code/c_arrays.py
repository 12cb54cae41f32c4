"""Numbers and texts as C writes them: numbers to the bit, texts whatever they hold."""

from __future__ import annotations

import string
from collections.abc import Iterable

import numpy as np

WIDTH = 92  # of the lines of an array
LONGEST = 4095  # bytes of a text that every compiler takes
PLAIN = set((string.ascii_letters + string.digits + " _-.,").encode())


def numbers(kind: str, name: str, values: np.ndarray) -> str:
    """Return a constant array of the shortest decimals that are read as the same bits."""
    ending = "f" if values.dtype == np.float32 else ""
    return constant(kind, name, [str(v) + ending for v in values.ravel()])


def texts(name: str, labels: Iterable[str]) -> str:
    """Return a constant array of texts in UTF-8.

    Raises
    ------
    ValueError
        For a text that is too long for a compiler.
    """
    return constant("char *const", name, [_text(label) for label in labels])


def code_points(name: str, characters: str) -> str:
    """Return a constant array of the code points of characters."""
    return constant("uint32_t", name, [f"{ord(c):#x}" for c in characters])


def constant(kind: str, name: str, items: list[str]) -> str:
    """Return the definition of a constant array, in lines of one width."""
    per_line = max(1, WIDTH // (2 + max(map(len, items))))
    rows = [items[i : i + per_line] for i in range(0, len(items), per_line)]
    lines = "\n".join(f"    {', '.join(row)}," for row in rows)
    return f"static const {kind} {name}[{len(items)}] = {{\n{lines}\n}};\n"


def _text(label: str) -> str:
    """Return a text between quotes; all but letters, digits and a few signs as octal bytes."""
    raw = label.encode("utf-8", "surrogatepass")
    if len(raw) > LONGEST:
        raise ValueError(
            f"expected labels of at most {LONGEST} bytes, got one of {len(raw)}: shorten it"
        )
    return '"' + "".join(chr(b) if b in PLAIN else f"\\{b:03o}" for b in raw) + '"'
