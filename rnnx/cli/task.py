"""The base of the kinds of model behind ``rnnx train`` and ``rnnx predict``."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnx.cli.options import names
from rnnx.io.models import KINDS

FORM = ("delimiter", "decimal", "date_format", "encoding")  # those that `rnnx.cli.form` reads
COLUMNS: dict[str, dict[str, Any]] = {  # options that say how to read files
    "delimiter": {"metavar": "C", "help": "of CSV files: one character, or tab (default: a comma)"},
    "decimal": {"metavar": "C", "help": "of CSV files: . or , (default: a point)"},
    "date_format": {
        "metavar": "FORMAT",
        "help": "of dates in --time, as for strptime: %%d.%%m.%%Y (default: ISO 8601)",
    },
    "encoding": {"metavar": "NAME", "help": "of CSV files, such as latin-1 (default: utf-8)"},
    "id": {"metavar": "NAME", "help": "column with the sequence each row belongs to"},
    "time": {"metavar": "NAME", "help": "column to sort the rows of a sequence by"},
    "features": {
        "type": names, "metavar": "NAME,...",
        "help": "columns with the features (default: all other columns)",
    },
    "target": {
        "type": names, "metavar": "NAME,...",
        "help": "column to predict, or several columns of numbers",
    },
    "exog": {
        "type": names, "metavar": "NAME,...", "help": "columns with exogenous values, known ahead",
    },
    "target_file": {
        "type": Path, "metavar": "Y.npy", "help": "targets for the sequences of an NPY file",
    },
}  # fmt: skip


class Answer(NamedTuple):
    """What ``rnnx predict`` writes: a table or a text, and a note on stderr."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]
    text: str | None = None
    note: str = ""

    @classmethod
    def table(cls, columns: Sequence[tuple[str, Sequence[Any]]], note: str = "") -> Answer:
        """Return the table with these names and cells."""
        cells = (cells for _, cells in columns)
        return cls([name for name, _ in columns], zip(*cells, strict=True), note=note)


class Task:
    """A kind of model.

    Attributes
    ----------
    name, model, help : str
        The name in the command, the model's class, and what the model predicts.
    columns, predicting : tuple of str
        The options in `COLUMNS` that it has, and those of ``rnnx predict`` alone.
    forms, examples : str
        What the help says about the files, and its examples.
    loss_label : str
        What the losses are, for the axis of their plot.
    """

    name: str
    model: str
    help: str
    columns: tuple[str, ...] = ()
    predicting: tuple[str, ...] = ()
    forms: str
    examples: str
    loss_label = "loss"

    def load_class(self) -> Any:
        """Return the class of the model."""
        return getattr(importlib.import_module(KINDS[self.model]), self.model)

    def read(self, chosen: Namespace, model: Any = None) -> Any:
        """Return the data in the files, to train with or, with a fitted model, to predict for."""
        raise NotImplementedError

    def fit(self, model: Any, data: Any, chosen: Namespace, comm: Any) -> None:
        """Train the model, in the processes of a communicator."""
        raise NotImplementedError

    def describe(self, data: Any) -> dict[str, Any]:
        """Return the size of the training data."""
        raise NotImplementedError

    def figures(self, model: Any, data: Any) -> dict[str, Any]:
        """Return the loss and metrics of the epoch whose parameters are kept."""
        history, hidden = model.history_, ("step", "seconds", "learning_rate", "grad_norm")
        row = (history.best_epoch or len(history["epoch"])) - 1
        found = {name: history[name][row].item() for name in history if name not in hidden}
        histories = getattr(model, "histories_", [history])
        seconds = sum(float(history["seconds"].sum()) for history in histories)
        found |= {"epochs": len(history["epoch"]), "stopped": history.stopped}
        return found | {"networks": len(histories), "seconds": round(seconds, 2)}

    def pictures(self, model: Any, data: Any) -> dict[str, Callable[[Any], None]]:
        """Return the functions that draw each plot in an Axes, by file name."""

        def curves(ax: Any) -> None:
            model.history_.plot(ax=ax).set_ylabel(self.loss_label)

        return {"learning_curves.png": curves}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the summary as sentences."""
        figures = summary["figures"]
        known = [f"training {k} {v:.4g}" for k, v in figures.items() if k in ("loss", "accuracy")]
        text = f"epoch {figures['epoch']} of {figures['epochs']}: {', '.join(known)}"
        held = [
            f"{k.removeprefix('validation_')} {v:.4g}"
            for k, v in figures.items()
            if k.startswith("validation_")
        ]
        if figures["networks"] > 1:
            text = f"first of {figures['networks']} networks: {text}"
        text += f"; held out: {', '.join(held)} (the best epoch is kept)" * bool(held)
        chosen = ", ".join(f"{name} {value}" for name, value in summary["chosen"].items())
        return [*([f"chosen by the data: {chosen}"] if chosen else []), text]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the predictions for the files."""
        raise NotImplementedError


def extent(steps: Sequence[int]) -> str:
    """Return the smallest and the largest number of steps, in words."""
    return " to ".join(map(str, sorted({*steps}))) + " steps"


def predicted(names: Sequence[Any], values: np.ndarray) -> list[tuple[str, list[Any]]]:
    """Return the columns of predictions (rows,) or (rows, names), each with its name."""
    columns = np.reshape(values, (len(values), -1)).T.tolist()
    titles = [f"prediction_{name}" for name in names] if len(columns) > 1 else ["prediction"]
    return list(zip(titles, columns, strict=True))
