"""Read series and their exogenous values, for the forecaster."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.estimators import columns
from rnnx.estimators.forms import is_list, on_host
from rnnx.estimators.inputs import read_sequences, sequence
from rnnx.estimators.values import plain, real
from rnnx.estimators.windows import Series


def read_series(estimator: Any, X: Any, exog: Any, *, reset: bool, more: int = 0) -> Series:
    """Return series (T_i, F) and their exogenous values (T_i + more, E); E is 0 for None.

    Numbers and names of columns are learned if `reset`, else compared.
    """
    X, exog = on_host(estimator, X), on_host(estimator, exog)
    _refuse_times_in_rows(X)
    single = not is_list(X) and plain("X", X).ndim == 1
    table = real("X", X)[None] if single else X
    rows = list(read_sequences(estimator, table, reset=reset, any_length=True))
    if exog is not None:
        listed = isinstance(exog, list | tuple) and not single
        exog = [exog] if single else list(exog if listed else real("exog", exog))
    names = None if exog is None else columns.common("exog", exog)
    if reset:
        estimator._exog_columns = names
    elif exog is not None:
        columns.check("exog", names, estimator._exog_columns, estimator)
    return Series(rows, _read_exog(exog, rows, None if reset else estimator._exog_size, more))


def _refuse_times_in_rows(X: Any) -> None:
    """Refuse one data frame with a row per time, because a table has a row per series."""
    dtype = getattr(getattr(X, "index", None), "dtype", None)
    if getattr(X, "ndim", 0) == 2 and str(dtype).startswith(("datetime64", "period")):
        raise ValueError(
            "X must have a row per series, got a data frame with a row per time: give [X] for one "
            "series with a feature per column, or X.T for a series per column"
        )


def _read_exog(
    exog: Any, series: list[np.ndarray], width: int | None, more: int
) -> list[np.ndarray]:
    """Return the exogenous values of each series; E must be `width` unless that is None."""
    if exog is None:
        if width:
            raise ValueError(f"exog must have {width} values per step, as in fit, got none")
        return [np.zeros((len(row) + more, 0)) for row in series]
    if len(exog) != len(series):
        raise ValueError(f"exog must be of {len(series)} series like X, got {len(exog)}")
    found = [sequence(f"exog[{i}]", values) for i, values in enumerate(exog)]
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
