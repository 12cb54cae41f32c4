"""Forecasters: several steps ahead of each series."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnx.cli import arrays, tables, times
from rnnx.cli.form import Form
from rnnx.cli.tables import Table
from rnnx.cli.task import FORM, Answer, Task, extent, predicted

FORMS = """\
files:
  CSV: one row per time step. --target is the column of the series, or several columns to forecast
    together; --time the column to sort by (default: the order of the rows); --id the column that
    identifies the series, if there are several; --exog columns of values that are known ahead. Rows
    at the end with an empty target are the future: with --exog, `predict` needs one per step ahead.
    Times are numbers or dates at a constant step; without the future rows, forecasts continue them.
  NPY: X of shape (T,), (n, T) or (n, T, F); with --layout FT, (n, F, T).
  NPZ: such an X, and exog of shape (T, E) or (n, T, E), which for `predict` covers the steps ahead.
The first line of a CSV file names its columns. A column without a name is called "column 1" and so
on, by position. Other columns are ignored. Several CSV files with the same columns are read as one.
gzip may have packed them (.csv.gz). Times are numbers, or dates such as 2024-01-31.
"""
EXAMPLES = """\
examples:
  rnnx train forecaster airline.csv --time month --target passengers --out results \\
      --horizon 12 --validation-fraction 0.25
  rnnx train forecaster shops.csv --id shop --time day --target sales --exog holiday,price \\
      --out results --horizon 7
  rnnx predict results airline.csv --quantiles 0.05,0.95 --out forecast.csv
"""


class Series(NamedTuple):
    """Series for a forecaster, with their exogenous values."""

    X: list[np.ndarray]  # (T_i, F) each
    exog: list[np.ndarray] | None  # (T_i, E) each, or longer by the horizon
    keys: list[str]  # one per series
    name: str | None  # column of the keys in the output
    targets: list[str]  # names of the F values
    time: str | None = None  # column of the times
    times: list[np.ndarray] | None = None  # per series, numbers or dates, with those ahead
    ahead: list[list[str]] | None = None  # the times of the steps to forecast, as in the file


class Forecasting(Task):
    """`RNNForecaster`."""

    name, model, help = "forecaster", "RNNForecaster", "the next steps of each series"
    columns = (*FORM, "id", "time", "target", "exog")
    predicting = ("quantiles",)
    forms, examples = FORMS, EXAMPLES

    def read(self, chosen: Namespace, model: Any = None) -> Series:
        """Return the series; to forecast, with the exogenous values of the steps ahead."""
        if arrays.given(chosen):
            layout = chosen.layout if model is None else model.layout or "TF"
            return _of_arrays(chosen.files[0], layout)
        if not chosen.target:
            raise ValueError("--target must name the column of the series, got none")
        used = [*chosen.target, *(chosen.exog or []), *filter(None, [chosen.id, chosen.time])]
        if len(set(used)) < len(used):
            raise ValueError("--target, --exog, --id and --time must name different columns")
        table = tables.read(chosen.files, Form.of(chosen))
        return _of_table(table, chosen, 0 if model is None else model.horizon)

    def fit(self, model: Any, data: Series, chosen: Namespace, comm: Any) -> None:
        """Train the forecaster."""
        model.set_params(layout=model.layout or "TF")  # in doubt, `read` has refused the file
        X, exog = (arrays.laid_out(rows, model.layout) for rows in (data.X, data.exog))
        model.fit(X, exog=exog, comm=comm)

    def describe(self, data: Series) -> dict[str, Any]:
        """Return the numbers of series, steps and values."""
        lengths = [len(row) for row in data.X]
        return {
            "series": len(lengths),
            "steps": [min(lengths), max(lengths)],
            "values": len(data.targets),
            "exog": 0 if data.exog is None else data.exog[0].shape[1],
        }

    def figures(self, model: Any, data: Series) -> dict[str, Any]:
        """Return the results of the training, and the errors of forecasts of the last steps."""
        truth = np.stack([row[-model.horizon :] for row in data.X])
        naive = np.stack([_naive(model, row) for row in data.X])
        mae, base = (np.mean(np.abs(f - truth), axis=(0, 1)) for f in (_last(model, data), naive))
        last = {
            name: {"mae": float(mae[k]), "naive_mae": float(base[k])}
            for k, name in enumerate(data.targets)
        }
        own = {"season": model.season_, "factor": float(np.mean(model.factor_))}
        return super().figures(model, data) | {"last": last} | own

    def pictures(self, model: Any, data: Series) -> dict[str, Callable[[Any], None]]:
        """Return what draws the learning curves, and the forecast of the last steps of a series."""

        def forecast(ax: Any) -> None:
            from rnnx import plots

            row, h = data.X[0][:, 0], model.horizon
            first = max(0, len(row) - h - max(model.window_, 3 * h))
            at = None if data.times is None else data.times[0][first : len(row)]
            plots.forecast(
                past=row[first:-h], truth=row[-h:], predicted=_last(model, data)[0, :, 0],
                baseline=_naive(model, row), baseline_label=_naive_name(model.season_),
                interval=_interval(model, data), interval_label="90 % interval",
                time=at, xlabel=data.time, ylabel=data.targets[0], ax=ax,
            )  # fmt: skip
            of = f" of {data.keys[0]}" if data.keys[0] else ""
            ax.set_title(f"The last {h} steps{of}, {_seen(model.validation_fraction)}")

        return super().pictures(model, data) | {"forecast.png": forecast}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the data and the results as sentences."""
        data, chosen, figures = summary["data"], summary["options"], summary["figures"]
        text = (
            f"{data['series']} series of {extent(data['steps'])}; "
            f"the loss is the {chosen['loss']} of scaled values"
        )
        exog = summary["columns"]["exog"]  # None for arrays
        text += f"; known ahead: {tables.brief(exog)}" if exog else ""
        kind, factor = _naive_name(figures["season"]), figures["factor"]
        used = f"the network corrects the linear forecast by a factor of {factor:.2g}"
        if not factor:
            used = "the network is left out: it did not help in the held-out part of the series"
        last = [used] if chosen["linear"] else []
        last += [
            f"last {chosen['horizon']} steps of {name} ({_seen(chosen['validation_fraction'])}): "
            f"mean absolute error {found['mae']:.4g}; {kind}: {found['naive_mae']:.4g}"
            for name, found in figures["last"].items()
        ]
        return [text, *super().sentences(summary), *last]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the forecasts, one row per step ahead."""
        data, h = self.read(chosen, model), model.horizon
        quantiles = chosen.quantiles or []
        forecasts, *others = map(
            np.concatenate, _quantiles(model, data.X, data.exog, [0.5, *quantiles])
        )
        lead: list[tuple[str, Any]] = [("step", [*range(1, h + 1)] * len(data.X))]
        if data.name is not None:
            lead.insert(0, (data.name, np.repeat(data.keys, h).tolist()))
        if data.ahead is not None:
            lead.append((str(data.time), np.concatenate(data.ahead).tolist()))
        found = predicted(data.targets, forecasts)
        for q, ends in zip(quantiles, others, strict=True):
            titled = predicted(data.targets, ends)
            found += [(f"{title}_{q:g}", cells) for title, cells in titled]
        return Answer.table([*lead, *found])


def _of_table(table: Table, chosen: Namespace, ahead: int) -> Series:
    """Return the series of CSV files, with exogenous values for so many steps after them."""
    groups = table.groups(chosen.id, chosen.time)
    values = table.numbers(chosen.target, "--target", empty=True)
    exog = table.numbers(chosen.exog, "--exog") if chosen.exog else None
    X, E = [], []
    for key, rows in groups.items():
        known = _known(table, chosen.target, rows, values)
        X.append(values[rows[:known]])
        if exog is None:
            continue
        if len(rows) < known + ahead:
            of = f"series {key!r}" if key else "the series"
            raise ValueError(
                f"{table.place(rows[-1], chosen.target[0])}: expected {ahead} rows ahead, with an "
                f"empty target and --exog values, at the end of {of}, got {len(rows) - known}"
            )
        E.append(exog[rows[: known + ahead]])
    data = Series(X, E or None, list(groups), chosen.id, chosen.target)
    if not chosen.time:
        return data
    lengths = [len(row) for row in X]
    at, cells = times.read(table, chosen.time, [*groups.values()], lengths, ahead)
    return data._replace(time=chosen.time, times=at, ahead=cells)


def _known(table: Table, names: list[str], rows: np.ndarray, values: np.ndarray) -> int:
    """Return how many steps of a series have targets: all except some at its end."""
    missing = np.isnan(values[rows])
    there = np.flatnonzero(~np.all(missing, axis=1))
    known = int(there[-1]) + 1 if len(there) else 1
    for row, column in np.argwhere(missing[:known]):
        more = ": fill it; only the last rows of a series, its future, may be empty"
        raise table.wrong(rows[row], names[column], "a number", more)
    return known


def _of_arrays(path: Path, layout: str | None) -> Series:
    """Return the series of an NPY or NPZ file."""
    found = arrays.read(path)
    X, exog = arrays.numbers(path, "X", found, (1, 2, 3)), None
    arrays.check_finite(path, "X", X)
    if "exog" in found:
        exog = arrays.numbers(path, "exog", found, (2,) if X.ndim == 1 else (3,))
        arrays.check_finite(path, "exog", exog)
        exog = arrays.laid_out([exog] if X.ndim == 1 else list(exog), layout)
    X = arrays.steps_first(path, X, layout)
    name = None if X.ndim == 1 else "series"
    X = [X[:, None]] if X.ndim == 1 else list(X if X.ndim == 3 else X[:, :, None])
    targets = [f"X[{k}]" for k in range(X[0].shape[1])]
    return Series(X, exog, [str(i) for i in range(len(X))], name, targets)


def _quantiles(model: Any, X: Any, exog: Any, quantiles: Any) -> list[np.ndarray]:
    """Forecast quantiles of series (T_i, F), as (n, horizon, F) each."""
    X, exog = (arrays.laid_out(rows, model.layout) for rows in (X, exog))
    found = model.predict(X, exog=exog, quantiles=quantiles)
    return [arrays.laid_out(forecast, model.layout) for forecast in found]


def _last(model: Any, data: Series) -> np.ndarray:
    """Forecast the last steps of each series (n, horizon, F) from the steps before them."""
    return _quantiles(model, _past(model, data), data.exog, (0.5,))[0]


def _past(model: Any, data: Series) -> list[np.ndarray]:
    return [row[: -model.horizon] for row in data.X]


def _interval(model: Any, data: Series) -> tuple[Any, Any] | None:
    """Return the 90 % interval (2, horizon) of the first series, None if too little was tested."""
    try:
        lower, upper = _quantiles(model, _past(model, data), data.exog, (0.05, 0.95))
    except ValueError:
        return None
    return lower[0, :, 0], upper[0, :, 0]


def _naive(model: Any, row: np.ndarray) -> np.ndarray:
    """Return the naive forecast of the last steps of a series."""
    past = row[: -model.horizon]
    return past[len(past) - model.season_ + np.arange(model.horizon) % model.season_]


def _naive_name(season: int) -> str:
    return "last value" if season == 1 else f"seasonal naive, {season} steps"


def _seen(fraction: float | str) -> str:
    return "seen in training" if fraction in (0, "auto") else "held out"
