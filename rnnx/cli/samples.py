"""Sequences and their targets, from CSV files in long or wide form, or from arrays."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnx.cli import arrays, tables
from rnnx.cli.tables import Table

FORMS = """\
files:
  CSV, long form (with --id): one row per time step. --id is the column that names the sequence,
    --time the column to sort by (default: the order of the rows), --target the label or value: the
    same in all rows of a sequence or, with --per-step, one per row. Sequences may differ in length.
  CSV, wide form (without --id): one row per sequence. Its columns are the steps of one feature, and
    --target.
  NPY: X of shape (n, T, F) or (n, T), with --target-file y.npy.
  NPZ: arrays X and y and, for padded sequences, lengths (n,).
The first line of a CSV file names its columns. A column without a name is called "column 1" and so
on, by position. The features are all named columns without another role, or those of --features.
Several CSV files with the same columns are read as one.
"""


class Samples(NamedTuple):
    """Sequences for a classifier or a regressor, with their targets."""

    X: Any  # (n, T, F), (n, T), or a list of (T_i, F)
    y: Any  # as the estimators take it, or None
    keys: list[str]  # one per sequence
    steps: list[list[str]]  # the time of each step, or its number
    names: tuple[str, str]  # columns of keys and steps in the output
    features: list[str] | None  # of a CSV file
    targets: list[str] | None

    def describe(self) -> dict[str, Any]:
        """Return the numbers of sequences, steps and features."""
        lengths = [len(row) for row in self.X]
        return {
            "sequences": len(lengths),
            "steps": [min(lengths), max(lengths)],
            "features": 1 if np.ndim(self.X[0]) == 1 else int(np.shape(self.X[0])[1]),
        }


def read(options: Namespace, *, classes: bool, learn: bool) -> Samples:
    """Return the sequences in files, with their targets: required to `learn`, else if present."""
    if arrays.given(options, "id", "time", "features", "target"):
        return _of_arrays(options, classes, learn)
    if options.target_file is not None:
        raise ValueError("--target-file is for an NPY file: give --target for a CSV file")
    if learn and not options.target:
        raise ValueError("--target must name the column to predict, got none")
    if classes and options.target and len(options.target) > 1:
        raise ValueError(f"--target must name one column of labels, got {len(options.target)}")
    if options.id is None and (options.time or options.per_step):
        flag = "--time" if options.time else "--per-step"
        raise ValueError(f"{flag} needs the long form, one row per step: also give --id")
    table = tables.read(options.files, options.delimiter)
    targets = _present(table, options.target or [], learn)
    if options.id is None:
        return _wide(table, options, targets, classes)
    return _long(table, options, targets, classes)


def _wide(table: Table, options: Namespace, targets: list[str], classes: bool) -> Samples:
    """Return sequences of one feature, one per row."""
    features = _features(table, options, options.target or [])
    X = np.stack([table.numbers(name, "--features") for name in features], axis=1)
    y = _targets(table, targets, classes) if targets else None
    keys = [str(i) for i in range(len(X))]
    steps = [features] * len(X)
    return Samples(X, y, keys, steps, ("row", "step"), features, options.target)


def _long(table: Table, options: Namespace, targets: list[str], classes: bool) -> Samples:
    """Return sequences of several rows each."""
    used = [options.id, *filter(None, [options.time]), *(options.target or [])]
    features = _features(table, options, used)
    groups = table.groups(options.id, options.time)
    matrix = np.stack([table.numbers(name, "--features") for name in features], axis=1)
    y: Any = None
    if targets:
        values = _targets(table, targets, classes)
        rows = list(groups.values())
        if options.per_step:
            y = [values[group] for group in rows]
        else:
            _check_constant(table, targets, groups, values)
            y = values[[group[0] for group in rows]]
    steps = [[str(t) for t in range(len(group))] for group in groups.values()]
    if options.time:
        cells = table.column(options.time, "--time")
        steps = [[cells[i] for i in group] for group in groups.values()]
    names = options.id, options.time or "step"
    X = [matrix[group] for group in groups.values()]
    return Samples(X, y, list(groups), steps, names, features, options.target)


def _present(table: Table, wanted: list[str], learn: bool) -> list[str]:
    """Return the columns of the targets; none if new data lacks them or leaves them empty."""
    if not learn and (
        not any(name in table.columns for name in wanted)
        or not all(cell for name in wanted for cell in table.column(name, "--target"))
    ):
        return []
    for name in wanted:
        table.column(name, "--target")
    return list(wanted)


def _features(table: Table, options: Namespace, used: list[str]) -> list[str]:
    """Return the columns of the features."""
    if options.features is None:
        found = [name for name in table.columns if name not in [*used, *table.unnamed]]
        if not found:
            raise ValueError(f"{options.files[0]} has no column left for features")
        return found
    for name in options.features:
        if name in used:
            raise ValueError(f"--features must not repeat the other columns, got {name!r}")
        table.column(name, "--features")
    return list(options.features)


def _targets(table: Table, names: list[str], classes: bool) -> np.ndarray:
    """Return labels (rows,), or values (rows,) or (rows, K)."""
    if classes:
        return table.labels(names[0], "--target")
    values = [table.numbers(name, "--target") for name in names]
    return values[0] if len(values) == 1 else np.stack(values, axis=1)


def _check_constant(
    table: Table, names: list[str], groups: dict[str, np.ndarray], values: np.ndarray
) -> None:
    """Raise ValueError if a target differs within a sequence."""
    for key, rows in groups.items():
        same = np.reshape(values[rows] == values[rows[0]], (len(rows), -1))
        if not np.all(same):
            row, column = np.argwhere(~same)[0]
            cells = table.column(names[column], "--target")
            raise ValueError(
                f"{table.place(rows[row], names[column])}: expected the same in all rows of "
                f"sequence {key!r}, got {cells[rows[row]]!r} and {cells[rows[0]]!r}: give "
                "--per-step for one target per row"
            )


def _of_arrays(options: Namespace, classes: bool, learn: bool) -> Samples:
    """Return the sequences of an NPY or NPZ file."""
    path: Path = options.files[0]
    found = arrays.read(path)
    if options.target_file is not None:
        if "y" in found:
            raise ValueError(f"{path} has targets, y, of its own: do not give --target-file")
        found["y"] = next(iter(arrays.read(options.target_file).values()))
    if learn and "y" not in found:
        raise ValueError(f"{path} must have targets: give --target-file, or y in an NPZ file")
    X = arrays.numbers(path, "X", found, (2, 3))
    y: Any = found.get("y")
    kinds = "iubfU" if classes else "iubf"
    if y is not None and (y.ndim == 0 or len(y) != len(X) or y.dtype.kind not in kinds):
        what = "label" if classes else "number"
        raise ValueError(
            f"y must hold a {what} for each of the {len(X)} sequences of X in {path}, got "
            f"{y.dtype} of shape {y.shape}"
        )
    lengths = arrays.read_lengths(path, found, X.shape)
    if lengths is not None:
        X = [np.reshape(row, (len(row), -1))[:n] for row, n in zip(X, lengths, strict=True)]
        if y is not None and options.per_step:
            y = [row[:n] for row, n in zip(y, lengths, strict=True)]
    _check_finite(path, "X", X)
    if y is not None:
        _check_finite(options.target_file or path, "y", y)
    steps = [[str(t) for t in range(len(row))] for row in X]
    keys = [str(i) for i in range(len(X))]
    return Samples(X, y, keys, steps, ("row", "step"), None, None)


def _check_finite(path: Path, name: str, values: Any) -> None:
    """Raise ValueError if a number of an array, or of a list of arrays, is not finite."""
    rows = [("", values)] if isinstance(values, np.ndarray) else enumerate(values)
    for i, row in rows:
        if row.dtype.kind == "f":
            arrays.check_finite(path, name, row, str(i))
