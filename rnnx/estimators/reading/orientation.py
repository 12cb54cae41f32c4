"""Which way time runs in a forecaster's data: down the rows of a data frame, or along its columns.

A data frame with dates in its index is one series. One with steps as its columns is a table with a
series per row, like an array (n, T). Any other has two readings, and is refused.
"""

from __future__ import annotations

import re
from typing import Any

from rnnx.estimators.reading import columns, dates

TIMES = re.compile(
    r"(t|time|step|second|minute|hour|day|week|month|quarter|year|)[ _]?(\d+(?:\.\d+)?)",
    re.ASCII | re.IGNORECASE,
)


def is_series(X: Any) -> bool:
    """Return whether X is one data frame with a row per step."""
    return getattr(X, "ndim", 0) == 2 and dates.rows_of("X", X) is not None


def calendars_of(X: Any) -> tuple[list[str], list[Any] | None]:
    """Return the name of each series, and its dates, if they have any."""
    if isinstance(X, list | tuple):
        return _of_list(X)
    rows = dates.rows_of("X", X)
    if getattr(X, "ndim", 0) != 2:
        return ["X"], None if rows is None else [rows]
    ahead = dates.of(getattr(X, "columns", None))
    if rows is not None and ahead is not None:
        raise ValueError("X has dates as its index and as its columns: drop those that are no time")
    if rows is not None:
        return ["X"], [rows]
    if ahead is not None:
        return ["X"] * len(X), [ahead] * len(X)
    _check_table(X)
    return ["X"], None


def _of_list(X: Any) -> tuple[list[str], list[Any] | None]:
    names = [f"X[{i}]" for i in range(len(X))]
    indexes = [dates.rows_of(name, row) for name, row in zip(names, X, strict=True)]
    dated = [index is not None for index in indexes]
    if any(dated) and not all(dated):
        raise ValueError(
            f"all series must have dates or none, got {names[dated.index(False)]} without and "
            f"{names[dated.index(True)]} with them"
        )
    return names, indexes if any(dated) else None


def _check_table(X: Any) -> None:
    """Refuse a data frame unless its columns are steps by their names."""
    names = columns.names_of(X)
    if names is None or (all(map(dates.ISO.fullmatch, names)) and names == sorted({*names})):
        return
    found = [re.fullmatch(TIMES, name) for name in names]
    if all(found) and len({match[1] for match in found if match}) == 1:
        at = [float(match[2]) for match in found if match]
        if at == sorted({*at}):
            return
    raise ValueError(
        f"X is a data frame with columns {names!r:.200} and has two readings: give [X] for one "
        "series with a row per step, or X.to_numpy() for a series per row. With dates as its index "
        "it is one series, with steps as its columns, as in 't0', 't1', a series per row"
    )
