"""Read series and their exogenous values, for the forecaster, and give forecasts their form."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.estimators.reading import columns, dates, orientation
from rnnx.estimators.reading.dates import Calendar
from rnnx.estimators.reading.forms import Series, is_list, on_host
from rnnx.estimators.reading.inputs import read_sequences, sequence
from rnnx.estimators.reading.layout import steps_first
from rnnx.estimators.reading.nested import unpacked
from rnnx.estimators.reading.values import plain, real


def read_series(estimator: Any, X: Any, exog: Any, *, reset: bool, more: int = 0) -> Series:
    """Return series (T_i, F) and their exogenous values (T_i + more, E); E is 0 for None.

    Numbers and names of columns, and the step of dates, are learned if `reset`, else compared.
    """
    X, exog = (unpacked(name, on_host(estimator, v)) for name, v in (("X", X), ("exog", exog)))
    frame = orientation.is_series(X)
    single = frame or (not is_list(X) and plain("X", X).ndim == 1)
    calendars = read_calendars(estimator, X, reset=reset)
    table = [X] if frame else real("X", X)[None] if single else X
    rows = list(read_sequences(estimator, table, reset=reset, any_length=True))
    if exog is not None:
        listed = isinstance(exog, list | tuple) and not single
        exog = [exog] if single else list(exog if listed else real("exog", exog))
    names = None if exog is None else columns.common("exog", exog)
    if reset:
        estimator._exog_columns = names
    elif exog is not None:
        columns.check("exog", names, estimator._exog_columns, estimator)
    width = None if reset else estimator._exog_size
    found = _read_exog(exog, rows, width, more, estimator._options["layout"])
    if exog is not None:
        _check_dates(exog, calendars, more)
    return Series(rows, found)


def read_calendars(estimator: Any, X: Any, *, reset: bool = False) -> list[Calendar] | None:
    """Return the dates of each series, or None if they have none.

    Their step is learned if `reset`, else compared.
    """
    names, indexes = orientation.calendars_of(X)
    if reset:
        estimator._date_step = None
    if indexes is None:
        return None
    found = dates.read(names, indexes, estimator._date_step)
    if reset:
        estimator._date_step = next((c.step for c in found if c.step is not None), None)
    return found


def continued(estimator: Any, X: Any, forecasts: list[np.ndarray]) -> list[Any]:
    """Return forecasts (n, horizon, F) in the form of X each: pandas objects if X has dates."""
    X = unpacked("X", on_host(estimator, X))
    calendars = read_calendars(estimator, X)
    if calendars is None:
        return [_without_dates(X, y, estimator._options["layout"]) for y in forecasts]
    ahead = [calendar.ahead("X", forecasts[0].shape[1]) for calendar in calendars]
    return [_with_dates(X, y, ahead) for y in forecasts]


def compared(y: Any, predicted: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what followed and its forecast as vectors; y must have the form of the forecast."""
    if isinstance(predicted, list):
        if len(y) != len(predicted):
            raise ValueError(f"y must be of {len(predicted)} series like X, got {len(y)}")
        pairs = [compared(*pair) for pair in zip(y, predicted, strict=True)]
        truths, forecasts = zip(*pairs, strict=True)
        return np.concatenate(truths), np.concatenate(forecasts)
    index = dates.of(getattr(y, "index", None))
    if index is not None and hasattr(predicted, "iloc"):
        dates.check_same("y", index, predicted.index, "the forecast")
    names = columns.names_of(y), columns.names_of(predicted)
    if None not in names and names[0] != names[1]:
        raise ValueError(f"y must have the columns of X, {names[1]!r:.200}, got {names[0]!r:.200}")
    truth = np.asarray(y)
    if np.squeeze(truth).shape != np.squeeze(predicted).shape:
        raise ValueError(
            f"y must have the shape of the forecast, {np.shape(predicted)}, got {truth.shape}"
        )
    return np.ravel(truth), np.ravel(predicted)


def _without_dates(X: Any, forecast: np.ndarray, layout: str | None) -> np.ndarray:
    whole = steps_first(forecast, layout)  # or the features: a swap
    if is_list(X):
        return whole
    return {1: forecast[0, :, 0], 2: forecast[:, :, 0]}.get(np.ndim(X), whole)


def _with_dates(X: Any, forecast: np.ndarray, ahead: list[Any]) -> Any:
    if isinstance(X, list | tuple):
        return [_like(*parts) for parts in zip(X, forecast, ahead, strict=True)]
    if orientation.is_series(X) or X.ndim == 1:
        return _like(X, forecast[0], ahead[0])
    return type(X)(forecast[:, :, 0], index=X.index, columns=ahead[0])


def _like(given: Any, forecast: np.ndarray, ahead: Any) -> Any:
    """Return a forecast (horizon, F) with its dates, as the pandas object of the series."""
    if given.ndim == 1:
        return type(given)(forecast[:, 0], index=ahead, name=given.name)
    return type(given)(forecast, index=ahead, columns=given.columns)


def _check_dates(exog: list[Any], calendars: list[Calendar] | None, more: int) -> None:
    """Compare the dates of exogenous values with those of X and of the steps ahead."""
    for i, values in enumerate(exog):
        index = dates.rows_of(f"exog[{i}]", values)
        if index is None:
            continue
        if calendars is None:
            dates.read([f"exog[{i}]"], [index], None)
            continue
        expected = calendars[i].index
        if more:
            expected = expected.append(calendars[i].ahead(f"X[{i}]", more))
        dates.check_same(f"exog[{i}]", index, expected, f"X[{i}]{' and those ahead' * bool(more)}")


def _read_exog(
    exog: Any, series: list[np.ndarray], width: int | None, more: int, layout: str | None
) -> list[np.ndarray]:
    """Return the exogenous values of each series; E must be `width` unless that is None."""
    if exog is None:
        if width:
            raise ValueError(f"exog must have {width} values per step, as in fit, got none")
        return [np.zeros((len(row) + more, 0)) for row in series]
    if len(exog) != len(series):
        raise ValueError(f"exog must be of {len(series)} series like X, got {len(exog)}")
    found = [sequence(f"exog[{i}]", values, layout) for i, values in enumerate(exog)]
    expected, like = (found[0].shape[1], "like exog[0]") if width is None else (width, "as in fit")
    for i, (row, values) in enumerate(zip(series, found, strict=True)):
        if len(values) != len(row) + more:
            raise ValueError(
                f"exog[{i}] must have shape ({len(row) + more}, E): a row for each step of "
                f"X[{i}]{f' and of the {more} steps ahead' if more else ''}, got {values.shape}"
            )
        if values.shape[1] != expected:
            raise ValueError(
                f"exog must have {expected} values per step, {like}, got {values.shape[1]} in "
                f"exog[{i}]"
            )
    return found
