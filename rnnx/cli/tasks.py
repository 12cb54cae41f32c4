"""The kinds of model, by name."""

from __future__ import annotations

from pathlib import Path

from rnnx import io
from rnnx.cli.forecasting import Forecasting
from rnnx.cli.labelled import Labelled
from rnnx.cli.task import Task
from rnnx.cli.writing import Writing

TASKS: list[Task] = [Labelled("classifier"), Labelled("regressor"), Forecasting(), Writing()]


def get(name: str) -> Task:
    """Return the kind of model with this name in the command."""
    return next(task for task in TASKS if task.name == name)


def of_file(path: Path) -> Task:
    """Return the kind of the model in a file."""
    kind = io.describe(path).kind
    for task in TASKS:
        if task.model == kind:
            return task
    known = ", ".join(task.model for task in TASKS)
    raise ValueError(f"{path} must hold a model of `rnnx train`, one of {known}, got a {kind}")
