"""Forecasters: several steps ahead of each series."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rnnx.cli import series
from rnnx.cli.series import Series
from rnnx.cli.task import Answer, Task, add_columns

EXAMPLES = """\
examples:
  rnnx train forecaster airline.csv --time month --target passengers --out results \\
      --horizon 12 --season 12 --validation-fraction 0.25
  rnnx train forecaster shops.csv --id shop --time day --target sales --exog holiday,price \\
      --out results --horizon 7 --season 7
  rnnx predict results airline.csv --out forecast.csv
"""


class Forecasting(Task):
    """`RNNForecaster`."""

    name, model = "forecaster", "RNNForecaster"
    forms, examples = series.FORMS, EXAMPLES

    def add_options(self, group: Any) -> None:
        """Add the options for CSV files."""
        add_columns(group, ("target", "exog"))

    def read(self, model: Any, chosen: Namespace) -> Series:
        """Return the series."""
        return series.read(chosen, ahead=None)

    def fit(self, model: Any, data: Series, chosen: Namespace) -> None:
        """Train the forecaster."""
        model.fit(data.X, exog=data.exog)

    def columns(self, data: Series, chosen: Namespace) -> dict[str, Any]:
        """Return the columns of the series."""
        names = ("delimiter", "id", "time", "target", "exog")
        return {name: getattr(chosen, name) for name in names}

    def figures(self, model: Any, data: Series) -> dict[str, Any]:
        """Return the results of the training, and the errors of forecasts of the last steps."""
        forecasts, h = self._last(model, data), model.horizon
        errors = np.stack([f - row[-h:] for f, row in zip(forecasts, data.rows(), strict=True)])
        naive = np.stack([_naive(model, row) - row[-h:] for row in data.rows()])
        mae, base = (np.mean(np.abs(e), axis=(0, 1)) for e in (errors, naive))
        last = {
            name: {"mae": float(mae[k]), "naive_mae": float(base[k])}
            for k, name in enumerate(_targets(data))
        }
        return super().figures(model, data) | {"last": last}

    def pictures(self, model: Any, data: Series) -> dict[str, Callable[[Any], None]]:
        """Return what draws the learning curves, and the forecast of the last steps of a series."""

        def forecast(ax: Any) -> None:
            from rnnx import plots

            row, h, name = data.rows()[0][:, 0], model.horizon, _targets(data)[0]
            first = max(0, len(row) - h - max(model.window_, 3 * h))
            at = None if data.times is None else data.times[0][first : len(row)]
            plots.forecast(
                row[first:-h], row[-h:], self._last(model, data)[0, :, 0],
                baseline=_naive(model, row), baseline_label=_naive_name(model.season),
                time=at, xlabel=None if at is None else data.names[1], ylabel=name, ax=ax,
            )  # fmt: skip
            of = f" of {data.keys[0]}" if data.keys[0] else ""
            ax.set_title(f"The last {h} steps{of}, {_seen(model.validation_fraction)}")

        return super().pictures(model, data) | {"forecast.png": forecast}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the data and the results as sentences."""
        data, chosen, figures = summary["data"], summary["options"], summary["figures"]
        low, high = data["steps"]
        text = (
            f"{data['series']} series of {low if low == high else f'{low} to {high}'} steps; "
            f"the loss is the {chosen['loss']} of scaled values"
        )
        kind = _naive_name(chosen["season"])
        last = [
            f"last {chosen['horizon']} steps of {name} ({_seen(chosen['validation_fraction'])}): "
            f"mean absolute error {found['mae']:.4g}; {kind}: {found['naive_mae']:.4g}"
            for name, found in figures["last"].items()
        ]
        return [text, *super().sentences(summary), *last]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the forecasts, one row per step ahead."""
        data = series.read(chosen, ahead=model.horizon)
        forecasts = model.predict(data.X, exog=data.exog)
        forecasts = np.reshape(forecasts, (len(data.keys), model.horizon, -1))
        targets = _targets(data)
        columns = [f"prediction_{name}" for name in targets] if len(targets) > 1 else ["prediction"]
        key, time = data.names
        known = [len(row) for row in data.rows()]
        at = None
        if data.cells is not None:
            at = [cells[n : n + model.horizon] for cells, n in zip(data.cells, known, strict=True)]
            at = at if min(map(len, at)) == model.horizon else None
        lead = [*([] if key is None else [key]), "step", *([] if at is None else [time])]
        return Answer([*lead, *columns], _rows(data, forecasts, at))

    def _last(self, model: Any, data: Series) -> np.ndarray:
        """Forecast the last steps of each series (n, horizon, F) from the steps before them."""
        forecasts = model.predict(data.before(model.horizon), exog=data.exog)
        return np.reshape(forecasts, (len(data.keys), model.horizon, -1))


def _rows(data: Series, forecasts: np.ndarray, at: list[list[str]] | None) -> Iterator[list[Any]]:
    """Yield one row per step ahead of each series."""
    for i, key in enumerate(data.keys):
        for step, values in enumerate(forecasts[i].tolist()):
            lead = [key] * (data.names[0] is not None) + [step + 1]
            yield [*lead, *([] if at is None else [at[i][step]]), *values]


def _naive(model: Any, row: np.ndarray) -> np.ndarray:
    """Return the naive forecast of the last steps of a series."""
    past = row[: -model.horizon]
    return past[len(past) - model.season + np.arange(model.horizon) % model.season]


def _targets(data: Series) -> list[str]:
    """Return the names of the values per step."""
    return data.targets or [f"X[{k}]" for k in range(data.rows()[0].shape[1])]


def _naive_name(season: int) -> str:
    return "last value" if season == 1 else f"seasonal naive, {season} steps"


def _seen(fraction: float) -> str:
    return "held out" if fraction else "seen in training"
