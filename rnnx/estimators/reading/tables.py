"""Tables and columns of Arrow, polars and cuDF, as NumPy and pandas hold them.

None of these libraries is imported: each object is read with its own methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


class Table:
    """Named columns of equal length."""

    ndim = 2

    def __init__(self, columns: list[tuple[Any, np.ndarray]]) -> None:
        for name, column in columns:
            if column.ndim != 1:
                raise ValueError(
                    f"column {name!r} must hold one value per row, got arrays of shape "
                    f"{column.shape[1:]}: give a column for each of their numbers"
                )
        self._columns = columns

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and of columns."""
        return len(self), len(self._columns)

    @property
    def names(self) -> list[Any]:
        """The names of the columns."""
        return [name for name, _ in self._columns]

    def items(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield the names and the columns."""
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns[0][1]) if self._columns else 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        columns = [column for _, column in self._columns] or [np.zeros(0)]
        if any(column.dtype.kind not in "fiub" for column in columns):  # times beside numbers
            columns = [column.astype(object) for column in columns]
        stacked = np.stack(columns, axis=1)
        return stacked if dtype is None else stacked.astype(dtype)


def is_foreign(given: Any) -> bool:
    """Return whether `read` changes an object."""
    return _library(given) in ("cudf", "polars", "pyarrow")


def read(given: Any) -> Any:
    """Return a table of these libraries as a `Table`, a column as an array, all else unchanged.

    Data frames and series of cuDF become those of pandas.
    """
    if not is_foreign(given):
        return given
    if _library(given) == "cudf":
        try:
            return given.to_pandas(nullable=True)
        except NotImplementedError:  # by columns of categories or times
            return given.to_pandas()
    if hasattr(given, "collect"):
        raise TypeError(
            f"expected data, got a polars {type(given).__name__}, which is not computed yet: call "
            "collect() first"
        )
    if hasattr(given, "get_columns"):  # polars
        return Table([(column.name, _column(column)) for column in given.get_columns()])
    if hasattr(given, "column_names"):  # Arrow
        return Table(list(zip(given.column_names, map(_column, given.columns), strict=True)))
    return _column(given)


def _library(given: Any) -> str:
    return type(given).__module__.partition(".")[0]


def _column(column: Any) -> np.ndarray:
    """Return a column, missing numbers and flags as NaN, missing texts as None."""
    array = np.asarray(column)
    if array.dtype.kind == "O" and all(v is None or isinstance(v, bool) for v in array.flat):
        return array.astype("float64")
    return array
