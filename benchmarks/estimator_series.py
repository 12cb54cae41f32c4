"""The rivals of `RNNForecaster`, for `estimators.py`.

A rival learns a series, and is told the number of steps ahead and the steps in a season. It returns
a function from the values up to an origin, which may be a later one, to the forecast.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from estimator_rivals import ALPHAS, reservoir
from estimator_torch import gru_ahead, moments

Forecast = Callable[[np.ndarray], np.ndarray]
LONG = 24  # a season from which on the starting values are not estimated with the rest
LEAK = 1.0  # of the echo state network: none
WASH_OUT = 10  # first states of a reservoir, which its start still dominates


def naive(past: np.ndarray, horizon: int, season: int, seed: int) -> Forecast:
    """Return the value one season earlier."""
    return lambda past: past[-season:][np.arange(horizon) % season]


def autoregression(past: np.ndarray, horizon: int, season: int, seed: int) -> Forecast:
    """Least squares on a constant and lags, whose number AIC chooses.

    There are at most 10 log10(n) lags, or a season and one, and never more than a third of the
    steps.
    """
    from statsmodels.tsa.ar_model import AutoReg, ar_select_order

    n = len(past)
    most = min(max(season + 1, int(10 * np.log10(n))), n // 3)
    lags = ar_select_order(past, most, ic="aic").ar_lags or 0
    params = AutoReg(past, lags).fit().params

    def forecast(past: np.ndarray) -> np.ndarray:
        steps = {"start": len(past), "end": len(past) + horizon - 1}
        return np.asarray(AutoReg(past, lags).predict(params, **steps))

    return forecast


def smoothing(past: np.ndarray, horizon: int, season: int, seed: int) -> Forecast:
    """Exponential smoothing: AICc chooses the error, the trend and the season.

    Errors and seasons may be additive or multiplicative, trends none, linear or damped.
    """
    seasons = [None]
    if season > 1 and len(past) >= 2 * season:
        seasons += ["add", "mul"]
    errors = ["add", "mul"]
    if past.min() <= 0:
        errors, seasons = ["add"], [kind for kind in seasons if kind != "mul"]
    trends = [(None, False), ("add", False), ("add", True)]

    def model(past: np.ndarray, form: Any) -> Any:
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        error, (trend, damped), kind = form
        start = "heuristic" if kind and season > LONG else "estimated"
        return ETSModel(
            past, error, trend, damped, kind, season if kind else None, initialization_method=start
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forms that do not converge, which AICc passes over
        forms = list(product(errors, trends, seasons))
        fitted = [(form, model(past, form).fit(disp=False)) for form in forms]
    form, best = min(fitted, key=lambda each: np.nan_to_num(each[1].aicc, nan=np.inf))
    return lambda past: np.asarray(model(past, form).smooth(best.params).forecast(horizon))


def echo_state(past: np.ndarray, horizon: int, season: int, seed: int) -> Forecast:
    """Ridge regression from the state of a random network to the changes from the last value.

    The network reads the changes from step to step, which have no trend.
    """
    from sklearn.linear_model import RidgeCV

    run, scale = reservoir(seed, LEAK), moments(np.diff(past)[:, None])[1]

    def states(past: np.ndarray) -> np.ndarray:
        return run(np.diff(past, prepend=past[0])[:, None] / scale)

    ahead = np.lib.stride_tricks.sliding_window_view(past[1:], horizon)
    changes = (ahead - past[: len(ahead), None]) / scale
    first = min(WASH_OUT, len(past) // 3)
    readout = RidgeCV(ALPHAS).fit(states(past)[first : len(ahead)], changes[first:])
    return lambda past: past[-1] + scale * readout.predict(states(past)[-1:])[0]


RIVALS = {
    "seasonal naive": naive,
    "AR": autoregression,
    "smoothing": smoothing,
    "torch GRU": gru_ahead,
    "echo state": echo_state,
}
