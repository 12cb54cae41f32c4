"""Classifiers and regressors: one target per sequence, or per step."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx.cli import arrays, tables
from rnnx.cli.form import Form
from rnnx.cli.tables import Table
from rnnx.cli.task import FORM, Answer, Task, extent, predicted

FORMS = """\
files:
  CSV, long form (with --id): one row per time step. --id is the column that names the sequence,
    --time the column to sort by (default: the order of the rows), --target the label or value: the
    same in all rows of a sequence or, with --per-step, one per row. Sequences may differ in length.
  CSV, wide form (without --id): one row per sequence. Its columns are the steps of one feature, and
    --target.
  NPY: X of shape (n, T, F) or (n, T), with --target-file y.npy; with --layout FT, (n, F, T).
  NPZ: arrays X and y and, for padded sequences, lengths (n,).
With --missing indicator, cells of features may be empty, and X may hold NaN.
The first line of a CSV file names its columns. A column without a name is called "column 1" and so
on, by position. The features are all named columns without another role, or those of --features; a
saved index, such as "Unnamed: 0", is left out with a note.
Several CSV files with the same columns are read as one. gzip may have packed them (.csv.gz).
"""
EXAMPLES = """\
examples:
  rnnx train {name} wide.csv --target {target} --out results
  rnnx train {name} long.csv --id trial --time t --target {target} --out results \\
      --validation-fraction 0.2 --hidden-size 64 --bidirectional true
  rnnx train {name} X.npy --target-file y.npy --out results --epochs 100
"""
INDEXES = ("Unnamed: 0", "index", "level_0")  # what the index of a data frame is saved as


class Samples(NamedTuple):
    """Sequences for a classifier or a regressor, with their targets."""

    X: Any  # (n, T, F), (n, T), or a list of (T_i, F)
    y: Any  # as the estimators take it, or None
    keys: list[str]  # one per sequence
    names: tuple[str, str] = ("row", "step")  # columns of keys and times in the output
    times: Sequence[Sequence[Any]] | None = None  # of each step of each sequence


class Labelled(Task):
    """`RNNClassifier` or `RNNRegressor`."""

    forms = FORMS
    columns = (*FORM, "id", "time", "features", "target", "target_file")

    def __init__(self, name: str, text: str) -> None:
        self.name, self.help, self.classes = name, text, name == "classifier"
        self.model = "RNNClassifier" if self.classes else "RNNRegressor"
        self.predicting = ("proba",) * self.classes
        self.examples = EXAMPLES.format(name=name, target="label" if self.classes else "value")

    def read(self, chosen: Namespace, model: Any = None) -> Samples:
        """Return the sequences and their targets, which new files need not have."""
        learn = model is None
        options = chosen if learn else model
        per_step, gaps = options.per_step, options.missing == "indicator"
        if arrays.given(chosen):
            layout = chosen.layout if learn else model.layout or "TF"
            return _of_arrays(chosen, self.classes, per_step, learn, layout, gaps)
        if chosen.target_file is not None:
            raise ValueError("--target-file is for an NPY file: give --target for a CSV file")
        if learn and not chosen.target:
            raise ValueError("--target must name the column to predict, got none")
        if self.classes and chosen.target and len(chosen.target) > 1:
            raise ValueError(f"--target must name one column of labels, got {len(chosen.target)}")
        if chosen.id is None and (chosen.time or per_step):
            flag = "--time" if chosen.time else "--per-step"
            raise ValueError(f"{flag} needs the long form, one row per step: also give --id")
        return _of_table(chosen, self.classes, per_step, learn, gaps)

    def fit(self, model: Any, data: Samples, chosen: Namespace, comm: Any) -> None:
        """Train the classifier or regressor."""
        model.set_params(layout=model.layout or "TF")  # in doubt, `read` has refused the file
        model.fit(arrays.laid_out(data.X, model.layout), data.y, comm=comm)

    def describe(self, data: Samples) -> dict[str, Any]:
        """Return the size of the data and, for labels, the share of the most common class."""
        lengths = [len(row) for row in data.X]
        found = {
            "sequences": len(lengths),
            "steps": [min(lengths), max(lengths)],
            "features": 1 if np.ndim(data.X[0]) == 1 else int(np.shape(data.X[0])[1]),
        }
        if not self.classes:
            return found
        labels = np.concatenate([np.ravel(row) for row in data.y])
        _, counts = np.unique(labels, return_counts=True)
        return found | {"classes": len(counts), "commonest": float(counts.max() / counts.sum())}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the data and the results as sentences."""
        data = summary["data"]
        text = (
            f"{data['sequences']} sequences of {extent(data['steps'])}, "
            f"{data['features']} feature{'s' * (data['features'] > 1)}"
        )
        if self.classes:
            more = f"{data['classes']} classes, the most common {data['commonest']:.3g} of all"
        else:
            more = f"the loss is the {summary['options']['loss']} of standardized targets"
        names = summary["columns"]["features"]  # None for arrays
        what = "features" if summary["columns"]["id"] else "steps"
        used = [f"{what}: {tables.brief(names)}"] if names else []
        return [f"{text}; {more}", *used, *super().sentences(summary)]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the labels or values and, with `proba`, the probabilities."""
        data = self.read(chosen, model)
        X = arrays.laid_out(data.X, model.layout)
        found = model.predict(X)
        p = model.predict_proba(X) if chosen.proba else None
        lead: list[tuple[str, list[Any]]] = [(data.names[0], data.keys)]
        if model.per_step:
            times = data.times or [range(len(row)) for row in data.X]
            keys = [key for key, row in zip(data.keys, times, strict=True) for _ in row]
            lead = [(data.names[0], keys), (data.names[1], [t for row in times for t in row])]
            found, p = (None if rows is None else np.concatenate(rows) for rows in (found, p))
        columns = [*lead, *predicted(chosen.target or range(np.size(found[0])), found)]
        if p is not None:
            labels = [f"probability_{label}" for label in model.classes_]
            columns += zip(labels, p.T.tolist(), strict=True)
        return Answer.table(columns, note=self._score(model, data._replace(X=X)))

    def _score(self, model: Any, data: Samples) -> str:
        """Return the score in words, if the files have targets."""
        y: Any = data.y
        if y is None or (not self.classes and len(data.keys) < 2):
            return ""
        if self.classes and model.classes_.dtype.kind == "U":  # texts, some of them digits
            y = [np.asarray(row, dtype="U") for row in y] if isinstance(y, list) else y.astype("U")
        elif self.classes and y[0].dtype.kind == "U":
            return "not scored: some labels of the file are not integers, as in training"
        figure = "accuracy" if self.classes else "R²"
        return f"{figure} {model.score(data.X, y):.4g} of {len(data.keys)} sequences"


def _of_table(chosen: Namespace, classes: bool, per_step: bool, learn: bool, gaps: bool) -> Samples:
    """Return the sequences of CSV files: one per row, or one per id."""
    table = tables.read(chosen.files, Form.of(chosen))
    y: Any = _targets(table, chosen.target or [], classes, learn)
    chosen.features = _features(table, chosen)
    if chosen.id is None:
        X = table.numbers(chosen.features, "--features", empty=gaps)
        return Samples(X, y, [str(i) for i in range(len(X))])
    groups = table.groups(chosen.id, chosen.time)
    X = table.numbers(chosen.features, "--features", empty=gaps)
    if y is not None and per_step:
        y = [y[rows] for rows in groups.values()]
    elif y is not None:
        _check_constant(table, chosen.target, groups, y)
        y = y[[rows[0] for rows in groups.values()]]
    times = None
    if chosen.time:
        cells = table.column(chosen.time, "--time")
        times = [[cells[i] for i in rows] for rows in groups.values()]
    names = chosen.id, chosen.time or "step"
    return Samples([X[rows] for rows in groups.values()], y, list(groups), names, times)


def _targets(table: Table, names: list[str], classes: bool, learn: bool) -> np.ndarray | None:
    """Return labels (rows,) or values (rows,) or (rows, K); None if new data lacks some."""
    if not learn and not all(
        name in table.columns and all(table.column(name, "--target")) for name in names
    ):
        return None
    if classes and names:
        return table.labels(names[0], "--target")
    values = table.numbers(names, "--target") if names else None
    return values[:, 0] if len(names) == 1 and values is not None else values


def _features(table: Table, chosen: Namespace) -> list[str]:
    """Return the columns of the features."""
    used = [chosen.id, chosen.time, *(chosen.target or [])]
    if chosen.features is None:
        found = [name for name in table.columns if name not in [*used, *table.unnamed]]
        groups = [*table.groups(chosen.id, None).values()] if chosen.id else []
        saved = [name for name in found if name in INDEXES and table.counts(name, groups)]
        for name in saved:
            print(
                f"rnnx: note: column {name!r} counts the rows, like a saved index, and is no "
                "feature: name it in --features if it is one",
                file=sys.stderr,
            )
        found = [name for name in found if name not in saved]
        if not found:
            raise ValueError(f"{chosen.files[0]} has no column left for features")
        return found
    for name in chosen.features:
        if name in used:
            raise ValueError(f"--features must not repeat the other columns, got {name!r}")
        table.column(name, "--features")
    return list(chosen.features)


def _check_constant(
    table: Table, names: list[str], groups: dict[str, np.ndarray], values: np.ndarray
) -> None:
    """Raise ValueError if a target differs within a sequence."""
    for key, rows in groups.items():
        differs = np.reshape(values[rows] != values[rows[0]], (len(rows), -1))
        for row, column in np.argwhere(differs):
            first = table.column(names[column], "--target")[rows[0]]
            more = f" and {first!r}: give --per-step for one target per row"
            same = f"the same in all rows of sequence {key!r}"
            raise table.wrong(rows[row], names[column], same, more)


def _of_arrays(
    chosen: Namespace, classes: bool, per_step: bool, learn: bool, layout: str | None, gaps: bool
) -> Samples:
    """Return the sequences of an NPY or NPZ file."""
    path = chosen.files[0]
    found = arrays.read(path)
    if chosen.target_file is not None:
        if "y" in found:
            raise ValueError(f"{path} has targets, y, of its own: do not give --target-file")
        found |= arrays.read(chosen.target_file, "y")
    if learn and "y" not in found:
        raise ValueError(f"{path} must have targets: give --target-file, or y in an NPZ file")
    given = arrays.numbers(path, "X", found, (2, 3))
    X: Any = arrays.steps_first(path, given, layout)
    y: Any = found.get("y")
    shape, kinds = X.shape[: 1 + per_step], "iubfU" if classes else "iubf"
    if y is not None and (y.shape[: len(shape)] != shape or y.dtype.kind not in kinds):
        what = "label" if classes else "number"
        steps = f"{shape[1]} steps of the " if per_step else ""
        raise ValueError(
            f"y in {chosen.target_file or path} must hold a {what} for each of the "
            f"{steps}{shape[0]} sequences of X in {path}, got {y.dtype} of shape {y.shape}"
        )
    lengths = arrays.read_lengths(path, found, X.shape)
    known = np.where(np.isnan(given), 0, given) if gaps else given
    arrays.check_finite(path, "X", known, lengths, layout)
    if y is not None and y.dtype.kind == "f":
        arrays.check_finite(chosen.target_file or path, "y", y, lengths if per_step else None)
    keys = [str(i) for i in range(len(X))]
    if lengths is not None:
        X = [np.reshape(row, (len(row), -1))[:n] for row, n in zip(X, lengths, strict=True)]
        if y is not None and per_step:
            y = [row[:n] for row, n in zip(y, lengths, strict=True)]
    return Samples(X, y, keys)
