"""Sequences in the cells of arrays of objects and of data frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.estimators.reading.tables import Table


def unpacked(name: str, given: Any) -> Any:
    """Return an array of objects, or a data frame, whose cells are sequences as a list of them.

    In a data frame each column is a feature, as in sktime's nested form. All else is unchanged.
    """
    if getattr(given, "ndim", 0) == 2 and hasattr(given, "iloc"):
        return _of_frame(name, given) if _is_nested(given) else given
    cells = given.to_numpy() if hasattr(given, "iloc") else given
    if not isinstance(cells, np.ndarray) or cells.dtype != object or cells.ndim != 1:
        return given
    return list(cells) if len(cells) and all(np.ndim(cell) > 0 for cell in cells) else given


def _is_nested(frame: Any) -> bool:
    return frame.size > 0 and all(
        dtype.kind == "O" and np.ndim(cell) > 0
        for dtype, cell in zip(frame.dtypes, frame.iloc[0], strict=True)
    )


def _of_frame(name: str, frame: Any) -> list[Table]:
    """Return the rows of a nested data frame as tables of their features."""
    found = []
    for i, cells in enumerate(frame.to_numpy()):
        if len({np.shape(cell) for cell in cells}) > 1:
            shapes = [np.shape(cell) for cell in cells]
            raise ValueError(
                f"row {i} of {name} must hold sequences of equal length, one per feature, got "
                f"shapes {shapes!s:.200}"
            )
        found.append(Table([*zip(frame.columns, map(np.asarray, cells), strict=True)]))
    return found
