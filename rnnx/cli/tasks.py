"""What can be learned: the four kinds of model behind ``rnnx train`` and ``rnnx predict``."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rnnx.cli import options


class Answer(NamedTuple):
    """What ``rnnx predict`` writes: a table, or a text; and what it says beside."""

    columns: list[str]
    rows: Iterable[list[Any]]
    text: str | None = None
    note: str = ""


class Task:
    """A kind of model.

    Attributes
    ----------
    name, model, room : str
        Of the command; of the class; of the package where that is.
    forms, examples : str
        For the help.
    """

    name: str
    model: str
    room = "rnnx.estimators"
    forms: str
    examples: str

    def load_class(self) -> Any:
        """Return the class of models."""
        return getattr(importlib.import_module(self.room), self.model)

    def relatives(self) -> list[Any]:
        """Return classes whose docstrings say what that of the class refers to."""
        return [importlib.import_module(self.room).RNNClassifier]

    def add_options(self, group: Any) -> None:
        """Add the options that say how the files are read."""
        raise NotImplementedError

    def read(self, model: Any, chosen: Namespace) -> Any:
        """Return what to learn from the files."""
        raise NotImplementedError

    def fit(self, model: Any, data: Any, chosen: Namespace) -> None:
        """Train the model."""
        model.fit(data.X, data.y)

    def columns(self, data: Any, chosen: Namespace) -> dict[str, Any]:
        """Return what `predict` reads new files by, in the words of the options."""
        raise NotImplementedError

    def describe(self, model: Any, data: Any) -> dict[str, Any]:
        """Return how much there was of what."""
        return dict(data.describe())

    def figures(self, model: Any, data: Any) -> dict[str, Any]:
        """Return how well it was learned: the figures of the epoch whose parameters are kept."""
        history, hidden = model.history_, ("step", "seconds", "learning_rate", "grad_norm")
        row = (history.best_epoch or len(history["epoch"])) - 1
        found = {name: history[name][row].item() for name in history if name not in hidden}
        found |= {"epochs": len(history["epoch"]), "stopped": history.stopped}
        return found | {"seconds": round(float(history["seconds"].sum()), 2)}

    def pictures(self, model: Any, data: Any) -> dict[str, Callable[[Any], None]]:
        """Return what draws each picture in an Axes, by the file's name."""

        def curves(ax: Any) -> None:
            model.history_.plot(ax=ax)

        return {"learning_curves.png": curves}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the summary in words."""
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
        """Return what the model says of the files."""
        raise NotImplementedError


def get(name: str) -> Task:
    """Return the task of a name in the command, or of the name of its class."""
    from rnnx.cli.forecasting import Forecasting
    from rnnx.cli.labelled import Labelled
    from rnnx.cli.writing import Writing

    tasks: list[Task] = [Labelled("classifier"), Labelled("regressor"), Forecasting(), Writing()]
    for task in tasks:
        if name in (task.name, task.model):
            return task
    raise ValueError(
        f"expected a model of `rnnx train`, one of {', '.join(task.model for task in tasks)}, got "
        f"a {name}"
    )


def add_columns(group: Any, kinds: Iterable[str]) -> None:
    """Add the options that name a CSV file's columns, as far as they are for these."""
    group.add_argument(
        "--delimiter", metavar="C", help="of CSV files: a character, or tab (default: a comma)"
    )
    group.add_argument("--id", metavar="NAME", help="the column that says of which sequence")
    group.add_argument("--time", metavar="NAME", help="the column to sort a sequence's rows by")
    texts = {
        "features": "the columns of features (default: all others)",
        "target": "the column to learn, or several of numbers",
        "exog": "the columns of values that are known ahead",
    }
    for name, text in texts.items():
        if name in kinds:
            group.add_argument(f"--{name}", type=options.names, metavar="NAME,...", help=text)
