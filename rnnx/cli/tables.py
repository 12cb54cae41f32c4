"""Read CSV files as columns; every error names the file, line and column."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Table(NamedTuple):
    """The rows of one or more files."""

    columns: list[str]
    rows: list[list[str]]
    places: list[tuple[Path, int]]  # file and line of each row
    unnamed: list[str]  # columns without a name in the file, such as the index of a data frame

    def column(self, name: str, option: str) -> list[str]:
        """Return the cells of a column that `option` names."""
        if name not in self.columns:
            raise ValueError(
                f"{self.places[0][0]} has no column {name!r} ({option}): it has "
                f"{_brief(self.columns)}"
            )
        j = self.columns.index(name)
        return [row[j] for row in self.rows]

    def numbers(self, name: str, option: str, *, empty: bool = False) -> np.ndarray:
        """Return a column of finite numbers; with `empty`, NaN for an empty cell."""
        cells = self.column(name, option)
        try:
            values = np.asarray([float(cell) for cell in cells])
            if np.all(np.isfinite(values)):
                return values
        except ValueError:
            pass
        return np.asarray([self._number(i, name, cell, empty) for i, cell in enumerate(cells)])

    def labels(self, name: str, option: str) -> np.ndarray:
        """Return a column of labels: integers if all of them are, else texts."""
        cells = self.column(name, option)
        for i, cell in enumerate(cells):
            if not cell:
                raise ValueError(f"{self.place(i, name)}: expected a label, got an empty cell")
        return labels(cells)

    def times(self, name: str, option: str) -> np.ndarray:
        """Return a column of times: numbers, or dates in ISO 8601."""
        cells = self.column(name, option)
        try:
            return self.numbers(name, option)
        except ValueError:
            return np.asarray([self._date(i, name, cell) for i, cell in enumerate(cells)])

    def groups(self, name: str | None, time: str | None) -> dict[str, np.ndarray]:
        """Return the row numbers of each sequence, in the order of the file or of time.

        Sequences are in the order of their first rows. Without `name` all rows are one, ``""``.
        """
        found: dict[str, list[int]] = {}
        for i, key in enumerate(self.column(name, "--id") if name else [""] * len(self.rows)):
            if name and not key:
                raise ValueError(f"{self.place(i, name)}: expected a sequence, got an empty cell")
            found.setdefault(key, []).append(i)
        if time is None:
            return {key: np.asarray(rows) for key, rows in found.items()}
        at = self.times(time, "--time")
        return {key: self._sorted(np.asarray(rows), at, key, time) for key, rows in found.items()}

    def place(self, i: int, column: str) -> str:
        """Return the place of row i of a column, in words."""
        path, line = self.places[i]
        return f"{path}, line {line}, column {column!r}"

    def _sorted(self, rows: np.ndarray, at: np.ndarray, key: str, time: str) -> np.ndarray:
        """Return the rows of a sequence sorted by time; no time may occur twice."""
        order = rows[np.argsort(at[rows], kind="stable")]
        twice = np.flatnonzero(at[order][1:] == at[order][:-1])
        if len(twice):
            i = order[twice[0] + 1]
            of = f"sequence {key!r}" if key else "the series: several need --id"
            raise ValueError(
                f"{self.place(i, time)}: expected each time once, got {self.column(time, '')[i]!r} "
                f"twice in {of}"
            )
        return order

    def _number(self, i: int, name: str, cell: str, empty: bool) -> float:
        if empty and not cell:
            return math.nan
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            got = repr(cell) if cell else "an empty cell"
            raise ValueError(f"{self.place(i, name)}: expected a finite number, got {got}")
        return value

    def _date(self, i: int, name: str, cell: str) -> Any:
        try:
            value: Any = np.datetime64(cell.removesuffix("Z"), "us")
        except ValueError:
            value = np.datetime64("NaT", "us")
        if np.isnat(value):
            raise ValueError(
                f"{self.place(i, name)}: expected a number, or a date like 2024-01-31 or "
                f"2024-01-31T12:00, got {cell!r}"
            )
        return value


def read(paths: Sequence[Path], delimiter: str | None) -> Table:
    """Return the table in files with the same columns, named in the first line of each.

    The default `delimiter` is a comma.
    """
    tables = [_read(path, _character(delimiter or ",")) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.columns != tables[0].columns:
            raise ValueError(
                f"{path} must have the columns of {paths[0]}, {_brief(tables[0].columns)}, got "
                f"{_brief(table.columns)}"
            )
    rows = [row for table in tables for row in table.rows]
    places = [place for table in tables for place in table.places]
    return Table(tables[0].columns, rows, places, tables[0].unnamed)


def labels(cells: Iterable[str]) -> np.ndarray:
    """Return integers if Python would write all texts so, else the texts."""
    cells = list(cells)
    whole = all(len(c) < 19 and re.fullmatch(r"0|-?[1-9][0-9]*", c) for c in cells)  # in int64
    return np.asarray([int(cell) for cell in cells] if whole else cells)


def _read(path: Path, delimiter: str) -> Table:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            lines = [([cell.strip() for cell in row], reader.line_num) for row in reader if row]
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text file in UTF-8, got other bytes") from None
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if len(lines) < 2:
        raise ValueError(
            f"{path} must have a line of column names and rows below it, got {len(lines)} line(s)"
        )
    named = lines[0][0]
    columns = [name or f"column {j}" for j, name in enumerate(named, 1)]
    if len(set(columns)) < len(columns):
        raise ValueError(
            f"{path} must name each column once in its first line, got {_brief(columns)}"
        )
    for cells, line in lines:
        if len(cells) != len(columns):
            raise ValueError(
                f"{path}, line {line}: expected {len(columns)} cells, one per column name, got "
                f"{len(cells)} (--delimiter is {delimiter!r})"
            )
    rows, places = [row for row, _ in lines[1:]], [(path, line) for _, line in lines[1:]]
    unnamed = [column for column, name in zip(columns, named, strict=True) if not name]
    return Table(columns, rows, places, unnamed)


def _character(delimiter: str) -> str:
    """Return the delimiter that an option means; a tab has a name."""
    character = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(character) != 1 or character in '\r\n"':
        raise ValueError(f"--delimiter must be one character, or tab, got {delimiter!r}")
    return character


def _brief(names: list[str]) -> str:
    """Return names separated by commas, at most about a dozen of them."""
    more = f" and {len(names) - 12} more" * (len(names) > 13)
    return ", ".join(names[:12] if more else names) + more
