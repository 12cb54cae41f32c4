"""Damage: one of many small changes to the bytes of a good file."""

from __future__ import annotations

import numpy as np

SIGNS = b'0123456789,:;{}[]()"-+eE._ \n\r\t\0\xff\x80PK'
NUMBERS = [0, 1, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1]


def mutated(whole: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to three changes, mostly near its start; `other` is another file."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        whole = _changed(whole, other, rng)
    return whole


def _changed(whole: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    near = min(len(whole), 200)
    end = int(rng.choice([near, len(whole), len(whole)]))
    a = int(rng.integers(0, max(end, 1)))
    b = min(len(whole), a + int(rng.choice([1, 1, 4, 40])))
    before, part, after = whole[:a], whole[a:b], whole[b:]
    ways = [
        lambda: before + bytes([part[0] ^ 1 << int(rng.integers(8))]) + part[1:] + after,
        lambda: before + rng.bytes(len(part)) + after,
        lambda: before + rng.bytes(3) + part + after,
        lambda: before + after,
        lambda: before + part * 2 + after,
        lambda: before + bytes(rng.choice(list(SIGNS), len(part)).tolist()) + after,
        lambda: before + part[::-1] + after,
        lambda: before + b"\0" * len(part) + after,
        lambda: before,
        lambda: whole + part,
        lambda: before + other[a : a + 200] + after,
        lambda: before + _number(rng) + whole[a + 8 :],
        lambda: _digit(whole, rng),
        lambda: after[:40] + before + part + after[40:],
    ]
    return ways[int(rng.integers(len(ways)))]() if part else whole + rng.bytes(3)


def _number(rng: np.random.Generator) -> bytes:
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    return number.to_bytes(8, "little")[: int(rng.choice([1, 2, 4, 8]))]


def _digit(whole: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with another digit."""
    places = [i for i, sign in enumerate(whole) if 48 <= sign < 58]
    if not places:
        return whole
    a = places[int(rng.integers(len(places)))]
    return whole[:a] + b"%d" % rng.integers(10) + whole[a + 1 :]
