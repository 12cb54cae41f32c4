"""Read CSV files as columns; every error names the file, line and column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnx.cli import lines
from rnnx.cli.form import Form

LABEL = 100  # characters: NumPy makes all texts as long as the longest


class Table(NamedTuple):
    """The rows of one or more files."""

    columns: list[str]
    rows: list[list[str]]
    places: list[tuple[Path, int]]  # file and line of each row
    unnamed: list[str]  # columns without a name in the file, such as the index of a data frame
    form: Form

    def column(self, name: str, option: str) -> list[str]:
        """Return the cells of a column that `option` names."""
        if name not in self.columns:
            raise ValueError(
                f"{self.places[0][0]} has no column {name!r} ({option}): it has "
                f"{brief(self.columns)}"
            )
        j = self.columns.index(name)
        return [row[j] for row in self.rows]

    def numbers(self, names: list[str], option: str, *, empty: bool = False) -> np.ndarray:
        """Return columns of finite numbers (rows, columns); with `empty`, NaN for an empty cell."""
        columns = [self.column(name, option) for name in names]
        read = self.form.number
        values = np.asarray([[_read_as(read, c, np.nan) for c in cells] for cells in columns]).T
        for i, j in np.argwhere(~np.isfinite(values)):
            if columns[j][i] or not empty:
                hint = self.form.hint(columns[j][i])
                raise self.wrong(i, names[j], "a finite number", hint)
        return values

    def labels(self, name: str, option: str) -> np.ndarray:
        """Return a column of labels: integers if Python would write all of them so, else texts."""
        cells = self.column(name, option)
        for i, cell in enumerate(cells):
            if not 0 < len(cell) <= LABEL:
                raise self.wrong(i, name, f"a label of at most {LABEL} characters")
        labels = np.asarray([_read_as(int, cell, 0) for cell in cells])
        whole = labels.dtype.kind == "i" and list(map(str, labels)) == cells
        return labels if whole else np.asarray(cells)

    def times(self, name: str, option: str) -> np.ndarray:
        """Return a column of times: numbers, or dates; with a date format, dates alone."""
        cells, form = self.column(name, option), self.form
        if form.date_format is None:
            numbers = np.asarray([_read_as(form.number, cell, np.nan) for cell in cells])
            if np.all(np.isfinite(numbers)):
                return numbers
        dates = np.asarray([_read_as(form.date, cell, form.date("")) for cell in cells])
        lost = np.isnat(dates)
        if form.date_format is not None:
            for i in np.flatnonzero(lost):
                raise self.wrong(i, name, f"a date of the form {form.date_format}")
            return dates
        more = ": give --date-format for others, such as %d.%m.%Y"
        for i in [*np.flatnonzero(lost & ~np.isfinite(numbers)), *np.flatnonzero(lost)]:
            expected = "a number, or a date like 2024-01-31 or 2024-01-31T12:00"
            raise self.wrong(i, name, expected, form.hint(cells[i]) or more)
        return dates

    def groups(self, name: str | None, time: str | None) -> dict[str, np.ndarray]:
        """Return the row numbers of each sequence, in the order of the file or of time.

        Sequences are in the order of their first rows. Without `name` all rows are one, ``""``.
        """
        keys = self.column(name, "--id") if name else [""] * len(self.rows)
        if name and "" in keys:
            raise self.wrong(keys.index(""), name, "a sequence")
        found: dict[str, list[int]] = {}
        for i, key in enumerate(keys):
            found.setdefault(key, []).append(i)
        groups = {key: np.asarray(rows) for key, rows in found.items()}
        if time is None:
            return groups
        at = self.times(time, "--time")
        return {key: self._sorted(rows, at, key, time) for key, rows in groups.items()}

    def counts(self, name: str, groups: Sequence[np.ndarray]) -> bool:
        """Return whether a column counts the rows of each file, or of each group."""
        cells = self.column(name, "")
        values = np.asarray([_read_as(self.form.number, cell, np.nan) for cell in cells])
        files = [path for path, _ in self.places]
        same = np.asarray([a == b for a, b in pairwise(files)], dtype=bool)
        by_file = bool(np.all(np.diff(values)[same] == 1))
        by_group = bool(groups) and all(np.all(np.diff(values[rows]) == 1) for rows in groups)
        return len(cells) > 1 and (by_file or by_group)

    def place(self, i: int, column: str) -> str:
        """Return the place of row i of a column, in words."""
        path, line = self.places[i]
        return f"{path}, line {line}, column {column!r}"

    def wrong(self, i: Any, column: str, expected: str, more: str = "") -> ValueError:
        """Return the error for the cell of row i of a column."""
        cell = self.column(column, "")[i]
        got = f"{cell!r:.80}" if cell else "an empty cell"
        return ValueError(f"{self.place(i, column)}: expected {expected}, got {got}{more}")

    def _sorted(self, rows: np.ndarray, at: np.ndarray, key: str, time: str) -> np.ndarray:
        """Return the rows of a sequence sorted by time; no time may occur twice."""
        order = rows[np.argsort(at[rows], kind="stable")]
        for i in order[1:][at[order][1:] == at[order][:-1]]:
            of = f"sequence {key!r}" if key else "the series: several need --id"
            raise self.wrong(i, time, "each time once", f" twice in {of}")
        return order


def read(paths: Sequence[Path], form: Form) -> Table:
    """Return the table in files with the same columns, named in the first line of each."""
    columns: list[str] = []
    rows: list[list[str]] = []
    places: list[tuple[Path, int]] = []
    for path in paths:
        (named, _), *rest = lines.read(path, form)
        found = [name or f"column {j}" for j, name in enumerate(named, 1)]
        if len(set(found)) < len(found):
            raise ValueError(
                f"{path} must name each column once in its first line, got {brief(found)}"
            )
        columns = columns or found
        if found != columns:
            raise ValueError(
                f"{path} must have the columns of {paths[0]}, {brief(columns)}, got {brief(found)}"
            )
        rows += [cells for cells, _ in rest]
        places += [(path, line) for _, line in rest]
    return Table(columns, rows, places, [name for name in columns if name not in named], form)


def _read_as(kind: Callable[[str], Any], text: str, otherwise: Any) -> Any:
    try:
        return kind(text)
    except ValueError:
        return otherwise


def brief(names: list[str]) -> str:
    """Return names separated by commas, at most about a dozen of them."""
    more = f" and {len(names) - 12} more" * (len(names) > 13)
    return ", ".join(" ".join(name.split())[:40] for name in (names[:12] if more else names)) + more
