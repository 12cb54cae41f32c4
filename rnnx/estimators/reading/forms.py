"""The forms of X and y: arrays (n, T, F), tables (n, T), lists of sequences (T_i, F)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnx.backend import get_backend, is_device_array
from rnnx.estimators.reading import tables

Rows = Any  # an array (n, T, F), or a list of n arrays (T_i, F)


class Series(NamedTuple):
    """Series and their exogenous values."""

    rows: list[np.ndarray]  # (T_i, F) each
    exog: list[np.ndarray]  # (T_i, E) each, or longer by the horizon

    def until(self, held_out: list[int]) -> Series:
        """Return all but so many steps at the end of each series; all, if the list is empty."""
        ends = zip(self.rows, held_out or [0] * len(self.rows), strict=True)
        return self.cut([slice(0, len(row) - n) for row, n in ends])

    def cut(self, parts: list[slice]) -> Series:
        """Return a part of each series."""
        return Series(
            *([row[part] for row, part in zip(rows, parts, strict=True)] for rows in self)
        )


def on_host(estimator: Any, X: Any) -> Any:
    """Return X, or the entries of a list, as NumPy and pandas hold them.

    Arrays come from the estimator's device; tables and columns of other libraries become those of
    `rnnx.estimators.reading.tables`.
    """
    if isinstance(X, list | tuple):
        return [on_host(estimator, row) for row in X] if any(map(_elsewhere, X)) else X
    if not is_device_array(X):
        return tables.read(X)
    return get_backend(estimator.backend, device=estimator.device, dtype=estimator.dtype).host(X)


def _elsewhere(row: Any) -> bool:
    return is_device_array(row) or tables.is_foreign(row)


def is_list(X: Any) -> bool:
    """Return whether X is a list of sequences, and not a table written as nested lists."""
    if not isinstance(X, list | tuple):
        return False
    shapes = [np.shape(row) if hasattr(row, "shape") else None for row in X]
    if any(shape is None for shape in shapes):
        return any(np.ndim(row[0]) > 0 for row in X if isinstance(row, list | tuple) and row)
    return any(len(shape or ()) != 1 for shape in shapes) or len(set(shapes)) > 1


def each(function: Callable[[Any], Any], rows: Rows) -> Rows:
    """Return a function of all steps, of an array as a whole or of each array in a list."""
    return [function(row) for row in rows] if isinstance(rows, list) else function(rows)


def time_major(rows: Rows) -> Rows:
    """Return an array (n, T, ...) as (T, n, ...), and a list unchanged."""
    return rows if isinstance(rows, list) else np.swapaxes(rows, 0, 1)


def framed(rows: Rows, steps: int) -> Rows:
    """Return frames of so many steps, (n, ⌈T / steps⌉, steps·F); the last value fills the last."""

    def one(x: np.ndarray) -> np.ndarray:
        *lead, T, F = x.shape
        missing = -T % steps
        filled = np.concatenate([x, np.repeat(x[..., -1:, :], missing, axis=-2)], axis=-2)
        return filled.reshape(*lead, (T + missing) // steps, steps * F)

    return rows if steps == 1 else each(one, rows)
