"""The kinds of model, by name."""

from __future__ import annotations

from rnnx.cli.forecasting import Forecasting
from rnnx.cli.labelled import Labelled
from rnnx.cli.task import Task
from rnnx.cli.writing import Writing

TASKS: list[Task] = [Labelled("classifier"), Labelled("regressor"), Forecasting(), Writing()]


def get(name: str) -> Task:
    """Return the kind of model with this name in the command, or with a class of this name."""
    for task in TASKS:
        if name in (task.name, task.model):
            return task
    raise ValueError(
        f"expected a model of `rnnx train`, one of {', '.join(task.model for task in TASKS)}, got "
        f"a {name}"
    )
