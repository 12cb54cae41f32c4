"""Checks of plain numbers that users pass in; each returns the number as Python's own type.

A NumPy scalar would decide the dtype of all that it meets: float32 times ``np.float64(0.1)`` is
float64. A Python number never does.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any


def size(name: str, value: Any) -> int:
    """Return an integer of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return operator.index(value)


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value!r}")
    return float(value)


def nonnegative(name: str, value: Any) -> float:
    """Return a finite number of at least 0."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be at least 0 and finite, got {value!r}")
    return float(value)


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Return a name that is among the known ones."""
    if value not in list(known):
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return str(value)


def fraction(name: str, value: Any) -> float:
    """Return a number in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value!r}")
    return float(value)
