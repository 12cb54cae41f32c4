"""The base of the kinds of model behind ``rnnx train`` and ``rnnx predict``."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rnnx.cli import options


class Answer(NamedTuple):
    """What ``rnnx predict`` writes: a table or a text, and a note on stderr."""

    columns: list[str]
    rows: Iterable[list[Any]]
    text: str | None = None
    note: str = ""


class Task:
    """A kind of model.

    Attributes
    ----------
    name, model, room : str
        The name in the command, the model's class, and the package of that class.
    forms, examples : str
        What the help says about the files, and its examples.
    """

    name: str
    model: str
    room = "rnnx.estimators"
    forms: str
    examples: str

    def load_class(self) -> Any:
        """Return the class of the model."""
        return getattr(importlib.import_module(self.room), self.model)

    def add_options(self, group: Any) -> None:
        """Add the options for reading the files."""
        raise NotImplementedError

    def read(self, model: Any, chosen: Namespace) -> Any:
        """Return the training data in the files."""
        raise NotImplementedError

    def fit(self, model: Any, data: Any, chosen: Namespace) -> None:
        """Train the model."""
        model.fit(data.X, data.y)

    def columns(self, data: Any, chosen: Namespace) -> dict[str, Any]:
        """Return the options by which `predict` reads new files."""
        raise NotImplementedError

    def describe(self, model: Any, data: Any) -> dict[str, Any]:
        """Return the size of the training data."""
        return dict(data.describe())

    def figures(self, model: Any, data: Any) -> dict[str, Any]:
        """Return the loss and metrics of the epoch whose parameters are kept."""
        history, hidden = model.history_, ("step", "seconds", "learning_rate", "grad_norm")
        row = (history.best_epoch or len(history["epoch"])) - 1
        found = {name: history[name][row].item() for name in history if name not in hidden}
        found |= {"epochs": len(history["epoch"]), "stopped": history.stopped}
        return found | {"seconds": round(float(history["seconds"].sum()), 2)}

    def pictures(self, model: Any, data: Any) -> dict[str, Callable[[Any], None]]:
        """Return the functions that draw each plot in an Axes, by file name."""

        def curves(ax: Any) -> None:
            model.history_.plot(ax=ax)

        return {"learning_curves.png": curves}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the summary as sentences."""
        figures = summary["figures"]
        known = [f"{k} {v:.4g}" for k, v in figures.items() if k in ("loss", "accuracy")]
        text = f"epoch {figures['epoch']} of {figures['epochs']}: {', '.join(known)}"
        held = [
            f"{k.removeprefix('validation_')} {v:.4g}"
            for k, v in figures.items()
            if k.startswith("validation_")
        ]
        return [text + (f"; held out: {', '.join(held)} (the best epoch is kept)" * bool(held))]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the predictions for the files."""
        raise NotImplementedError


def add_columns(group: Any, kinds: Iterable[str]) -> None:
    """Add the options that name the columns of a CSV file, of these kinds."""
    group.add_argument(
        "--delimiter", metavar="C", help="of CSV files: one character, or tab (default: a comma)"
    )
    group.add_argument("--id", metavar="NAME", help="column with the sequence each row belongs to")
    group.add_argument("--time", metavar="NAME", help="column to sort the rows of a sequence by")
    texts = {
        "features": "columns with the features (default: all other columns)",
        "target": "column to predict, or several columns of numbers",
        "exog": "columns with exogenous values, known ahead",
    }
    for name, text in texts.items():
        if name in kinds:
            group.add_argument(f"--{name}", type=options.names, metavar="NAME,...", help=text)
