"""The kinds of model that the command knows."""

from __future__ import annotations

from rnnx.cli.forecasting import Forecasting
from rnnx.cli.labelled import Labelled
from rnnx.cli.task import Task
from rnnx.cli.writing import Writing

TASKS: list[Task] = [
    Labelled("classifier", "one label per sequence, or per step"),
    Labelled("regressor", "one or several values per sequence, or per step"),
    Forecasting(),
    Writing(),
]
