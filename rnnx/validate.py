"""Checks of plain arguments; each returns the value as a Python type.

A NumPy scalar can change the dtype of an array: float32 times ``np.float64(0.1)`` is float64. A
Python number never does.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import numpy as np


def size(name: str, value: Any) -> int:
    """Return `value` as an integer of at least 1."""
    return _integer(name, value, 1)


def count(name: str, value: Any) -> int:
    """Return `value` as an integer of at least 0."""
    return _integer(name, value, 0)


def positive(name: str, value: Any) -> float:
    """Return `value` as a finite number above 0."""
    return _between(name, value, "above 0 and finite", lambda v: 0 < v < float("inf"))


def nonnegative(name: str, value: Any) -> float:
    """Return `value` as a finite number of at least 0."""
    return _between(name, value, "at least 0 and finite", lambda v: 0 <= v < float("inf"))


def finite(name: str, value: Any) -> float:
    """Return `value` as a finite number."""
    return _between(name, value, "a finite number", lambda v: abs(v) < float("inf"))


def fraction(name: str, value: Any) -> float:
    """Return `value` as a number in [0, 1)."""
    return _between(name, value, "in [0, 1)", lambda v: 0 <= v < 1)


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Return a name that must be one of the known ones."""
    if value not in list(known):
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return str(value)


def generator(seed: Any) -> np.random.Generator:
    """Return the generator for a seed: None, an integer of at least 0, or a generator."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"seed must be None, an integer of at least 0 or a numpy Generator, got {seed!r}"
        ) from None


def _integer(name: str, value: Any, least: int) -> int:
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return number


def _between(name: str, value: Any, range_: str, fits: Callable[[Any], bool]) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not fits(value):
        raise ValueError(f"{name} must be {range_}, got {value!r}")
    return float(value)
