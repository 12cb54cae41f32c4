"""Series to forecast, from CSV files with one row per step, or from arrays."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnx.cli import arrays, tables
from rnnx.cli.tables import Table

FORMS = """\
files:
  CSV: one row per time step. --target is the column of the series, or several columns to forecast
    together; --time the column to sort by (default: the order of the rows); --id the column that
    identifies the series, if there are several; --exog columns of values that are known ahead. Rows
    at the end with an empty target are the future: with --exog, `predict` needs one per step ahead.
  NPY: X of shape (T,), (n, T) or (n, T, F).
  NPZ: such an X, and exog of shape (T, E) or (n, T, E), which for `predict` covers the steps ahead.
The first line of a CSV file names its columns. A column without a name is called "column 1" and so
on, by position. Other columns are ignored. Several CSV files with the same columns are read as one.
"""


class Series(NamedTuple):
    """Series for a forecaster, with their exogenous values."""

    X: Any  # (T,), (n, T), (n, T, F), or a list of (T_i, F)
    exog: Any  # in the form of X, or None
    keys: list[str]  # one per series
    times: list[np.ndarray] | None  # per series, numbers or dates, with those ahead
    cells: list[list[str]] | None  # as written in the file
    names: tuple[str | None, str]  # columns of keys and times
    targets: list[str] | None

    def describe(self) -> dict[str, Any]:
        """Return the numbers of series, steps and values."""
        lengths = [len(row) for row in self.rows()]
        return {
            "series": len(lengths),
            "steps": [min(lengths), max(lengths)],
            "values": self.rows()[0].shape[1],
            "exog": 0 if self.exog is None else int(np.shape(_listed(self.exog, 1)[0])[1]),
        }

    def rows(self) -> list[np.ndarray]:
        """Return each series as (T_i, F)."""
        return _listed(self.X, 0)

    def before(self, steps: int) -> Any:
        """Return X without its last steps, in the same form."""
        if isinstance(self.X, list):
            return [row[:-steps] for row in self.X]
        return self.X[:-steps] if self.X.ndim == 1 else self.X[:, :-steps]


def read(options: Namespace, *, ahead: int | None) -> Series:
    """Return the series in files, with the exogenous values of `ahead` more steps if not None."""
    if arrays.given(options, "id", "time", "target", "exog"):
        return _of_arrays(options.files[0])
    if not options.target:
        raise ValueError("--target must name the column of the series, got none")
    outside = options.exog or []
    used = [*options.target, *outside, *filter(None, [options.id, options.time])]
    if len(set(used)) < len(used):
        raise ValueError("--target, --exog, --id and --time must name different columns")
    return _of_table(tables.read(options.files, options.delimiter), options, outside, ahead)


def _of_table(table: Table, options: Namespace, outside: list[str], ahead: int | None) -> Series:
    """Return the series of CSV files."""
    groups = table.groups(options.id, options.time)
    columns = [table.numbers(name, "--target", empty=True) for name in options.target]
    values = np.stack(columns, axis=1)
    exog = [table.numbers(name, "--exog") for name in outside]
    around = np.stack(exog, axis=1) if exog else None
    X, E, used = [], [], []
    for key, rows in groups.items():
        known = _known(table, options.target, rows, values)
        more = 0 if ahead is None else ahead
        if around is not None and len(rows) < known + more:
            of = f"series {key!r}" if key else "the series"
            raise ValueError(
                f"{table.place(rows[-1], options.target[0])}: expected {more} rows ahead, with an "
                f"empty target and --exog values, at the end of {of}, got {len(rows) - known}"
            )
        X.append(values[rows[:known]])
        E.append(None if around is None else around[rows[: known + more]])
        used.append(rows)
    times = cells = None
    if options.time:
        at, written = table.times(options.time, "--time"), table.column(options.time, "--time")
        times = [at[rows] for rows in used]
        cells = [[written[i] for i in rows] for rows in used]
    alone = options.id is None and len(options.target) == 1
    return Series(
        X[0][:, 0] if alone else X,
        None if around is None else E[0] if alone else E,
        list(groups), times, cells, (options.id, options.time or "step"), options.target,
    )  # fmt: skip


def _known(table: Table, names: list[str], rows: np.ndarray, values: np.ndarray) -> int:
    """Return how many steps of a series have targets: all except some at its end."""
    missing = np.isnan(values[rows])
    there = np.flatnonzero(~np.all(missing, axis=1))
    known = int(there[-1]) + 1 if len(there) else 0
    gaps = np.argwhere(missing[:known])
    if known == 0 or len(gaps):
        row, column = gaps[0] if len(gaps) else (0, 0)
        raise ValueError(
            f"{table.place(rows[row], names[column])}: expected a number, got an empty cell: fill "
            "it; only the last rows of a series, its future, may be empty"
        )
    return known


def _of_arrays(path: Path) -> Series:
    """Return the series of an NPY or NPZ file."""
    found = arrays.read(path)
    X, exog = arrays.numbers(path, "X", found, (1, 2, 3)), None
    arrays.check_finite(path, "X", X)
    if "exog" in found:
        exog = arrays.numbers(path, "exog", found, (2,) if X.ndim == 1 else (3,))
        arrays.check_finite(path, "exog", exog)
    keys = [str(i) for i in range(1 if X.ndim == 1 else len(X))]
    return Series(X, exog, keys, None, None, ("series" if X.ndim > 1 else None, "step"), None)


def _listed(values: Any, single: int) -> list[np.ndarray]:
    """Return a list of series (T, ·); a single one has `single` axes after its steps."""
    if isinstance(values, list):
        return values
    if values.ndim == 1 + single:
        values = values[None]
    return list(values if values.ndim == 3 else values[:, :, None])
