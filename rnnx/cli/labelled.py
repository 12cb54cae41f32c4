"""Classifiers and regressors: one target per sequence, or per step."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnx.cli import samples
from rnnx.cli.samples import Samples
from rnnx.cli.task import Answer, Task, add_columns

EXAMPLES = """\
examples:
  rnnx train {name} wide.csv --target {target} --out results
  rnnx train {name} long.csv --id trial --time t --target {target} --out results \\
      --validation-fraction 0.2 --hidden-size 64 --bidirectional
  rnnx train {name} X.npy --target-file y.npy --out results --epochs 100
"""


class Labelled(Task):
    """`RNNClassifier` or `RNNRegressor`."""

    forms = samples.FORMS

    def __init__(self, name: str) -> None:
        self.name, self.classes = name, name == "classifier"
        self.model = "RNNClassifier" if self.classes else "RNNRegressor"
        self.examples = EXAMPLES.format(name=name, target="label" if self.classes else "value")

    def add_options(self, group: Any) -> None:
        """Add the options for CSV and NPY files."""
        add_columns(group, ("features", "target"))
        group.add_argument(
            "--target-file",
            type=Path,
            metavar="Y.npy",
            help="targets for the sequences of an NPY file",
        )

    def read(self, model: Any, chosen: Namespace) -> Samples:
        """Return the sequences and their targets."""
        return samples.read(chosen, classes=self.classes, learn=True)

    def columns(self, data: Samples, chosen: Namespace) -> dict[str, Any]:
        """Return the columns of the sequences, with the features in order."""
        kept = {name: getattr(chosen, name) for name in ("delimiter", "id", "time")}
        return kept | {"features": data.features, "target": data.targets}

    def describe(self, model: Any, data: Samples) -> dict[str, Any]:
        """Return the size of the data and, for labels, the share of the most common class."""
        found = super().describe(model, data)
        if not self.classes:
            return found
        labels = np.concatenate([np.ravel(row) for row in data.y])
        _, counts = np.unique(labels, return_counts=True)
        return found | {"classes": len(counts), "commonest": float(counts.max() / counts.sum())}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the data and the results as sentences."""
        data = summary["data"]
        low, high = data["steps"]
        text = (
            f"{data['sequences']} sequences of {low if low == high else f'{low} to {high}'} steps, "
            f"{data['features']} feature{'s' * (data['features'] > 1)}"
        )
        if self.classes:
            more = f"{data['classes']} classes, the most common {data['commonest']:.3g} of all"
        else:
            more = f"the loss is the {summary['options']['loss']} of standardized targets"
        return [f"{text}; {more}", *super().sentences(summary)]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the labels or values and, with `proba`, the probabilities."""
        chosen.per_step = model.per_step
        data = samples.read(chosen, classes=self.classes, learn=False)
        found = model.predict(data.X)
        p = model.predict_proba(data.X) if chosen.proba else None
        outputs = np.shape(found[0])[1 if model.per_step else 0 :]
        columns = ["prediction"]
        if outputs:
            targets = data.targets or [str(k) for k in range(outputs[0])]
            columns = [f"prediction_{name}" for name in targets]
        if p is not None:
            columns += [f"probability_{label}" for label in model.classes_]
        lead = list(data.names) if model.per_step else [data.names[0]]
        rows = _steps(data, found, p) if model.per_step else _sequences(data, found, p)
        return Answer([*lead, *columns], rows, note=self._score(model, data))

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


def _sequences(data: Samples, found: Any, p: Any) -> Iterator[list[Any]]:
    """Yield one row per sequence."""
    for i, key in enumerate(data.keys):
        more = [] if p is None else p[i].tolist()
        yield [key, *np.atleast_1d(found[i]).tolist(), *more]


def _steps(data: Samples, found: Any, p: Any) -> Iterator[list[Any]]:
    """Yield one row per step of each sequence."""
    for i, (key, steps) in enumerate(zip(data.keys, data.steps, strict=True)):
        for t, step in enumerate(steps):
            more = [] if p is None else p[i][t].tolist()
            yield [key, step, *np.atleast_1d(found[i][t]).tolist(), *more]
