"""Which axis of a sequence is time: that of its rows, ``"TF"``, or of its columns, ``"FT"``."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.estimators.reading.forms import Rows

LAYOUTS = ("TF", "FT")


def has_rows(given: Any) -> bool:
    """Return whether a sequence is a data frame or table, with a row per step in any layout."""
    return hasattr(given, "columns") or hasattr(given, "names")


def steps_first(array: np.ndarray, layout: str | None) -> np.ndarray:
    """Return an array (..., T, F), or (..., F, T) in the layout ``"FT"``, as (..., T, F)."""
    if layout != "FT" or array.ndim < 2:
        return array
    return np.ascontiguousarray(np.swapaxes(array, -1, -2))


def check_given(rows: Rows, whole: str) -> None:
    """Refuse sequences of one shape with more features than steps, whose layout was not given."""
    shapes = {row.shape for row in rows}
    T, F = min(shapes)
    if len(shapes) == 1 and F > T:
        raise ValueError(
            f"X {whole} has two readings: give layout='TF' for (steps, features) = {(T, F)}, or "
            f"layout='FT' for (features, steps) = {(T, F)}"
        )


def check_features(rows: list[np.ndarray], layout: str | None, *, reset: bool) -> None:
    """Refuse a list whose sequences have different numbers of features."""
    way = f"give layout={'TF' if layout == 'FT' else 'FT'!r}" if reset else "swap their axes"
    for i, row in enumerate(rows):
        if row.shape[1] == rows[0].shape[1]:
            continue
        same = len({len(row) for row in rows}) == 1
        raise ValueError(
            f"X[{i}] must have {rows[0].shape[1]} features like X[0], got {row.shape[1]}"
            + f": if each sequence has {len(row)} features, {way}" * same
        )
