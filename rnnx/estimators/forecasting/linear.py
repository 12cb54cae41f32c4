"""The linear path of the forecaster: many linear forecasts, averaged by how well each did.

The candidates are autoregressions and exponential smoothing. Each is fitted to the beginnings of
the series and forecasts what followed, from rolling origins. The weight of a candidate falls with
its mean absolute error; the average of linear forecasts is one linear function of the window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnx.estimators.forecasting import smoothing
from rnnx.estimators.forecasting.autoregression import Kind, Regressions, kinds, regress
from rnnx.estimators.forecasting.windows import Shape
from rnnx.estimators.reading.forms import Series

FOLDS = 8  # refits while the origin moves through the second half of the series
ORIGINS = 400  # at most, of all series
POWER = 20  # of the error: one that is 3.5 % larger halves the weight
CELLS = 2_000_000  # of an array that holds the windows of several candidates
TINY = 1e-12


class Linear(NamedTuple):
    """Forecasts that are linear in a window and its exogenous values."""

    past: np.ndarray  # (F, W, H)
    exog: np.ndarray  # (F, (W + H) * E, H)
    constant: np.ndarray  # (F, H)

    @staticmethod
    def shapes(shape: Shape, F: int, E: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of the three arrays."""
        H = shape.horizon
        return (F, shape.window, H), (F, shape.steps * E, H), (F, H)

    @classmethod
    def none(cls, shape: Shape, F: int, E: int) -> Linear:
        """Return what forecasts zero."""
        return cls(*map(np.zeros, cls.shapes(shape, F, E)))

    def forecast(self, past: np.ndarray, exog: np.ndarray) -> np.ndarray:
        """Return the forecasts (N, H, F) of windows (N, W, F) and their exog (N, W + H, E)."""
        outside = np.tensordot(exog.reshape(len(exog), -1), self.exog, (1, 1))  # (N, F, H)
        ahead = np.einsum("nwf,fwh->nfh", past, self.past) + outside + self.constant
        return np.swapaxes(ahead, 1, 2)


class Trial(NamedTuple):
    """What forecasts from N rolling origins were, before they were known."""

    past: np.ndarray  # (N, W, F)
    truth: np.ndarray  # (N, H, F)
    forecast: np.ndarray  # (N, H, F)


class Fold(NamedTuple):
    """The ends of what is learned, per series, and the origins (series, step) to forecast from."""

    ends: list[int]
    origins: list[tuple[int, int]]


def learn(data: Series, shape: Shape) -> tuple[Linear, Trial]:
    """Learn the linear path of scaled series, and return its forecasts from rolling origins."""
    plan = folds([len(row) for row in data.rows], shape)
    paths, trials = zip(
        *(_learn(Series([row[:, f] for row in data.rows], data.exog), shape, plan)
          for f in range(data.rows[0].shape[1])),
        strict=True,
    )  # fmt: skip
    return (
        Linear(*(np.stack(part) for part in zip(*paths, strict=True))),
        Trial(*(np.stack(part, axis=2) for part in zip(*trials, strict=True))),
    )


def folds(lengths: list[int], shape: Shape) -> list[Fold]:
    """Return rolling origins in the second half of each series, in order."""
    edges = []
    for T in lengths:
        last = T - shape.horizon
        first = max(shape.window, min(T // 2, last - shape.horizon))
        edges.append(np.linspace(first, last + 1, FOLDS + 1).round().astype(int))
    found = []
    for k in range(FOLDS):
        origins = [(i, o) for i, edge in enumerate(edges) for o in range(edge[k], edge[k + 1])]
        every = -(-len(origins) * FOLDS // ORIGINS) or 1
        if origins:
            found.append(Fold([int(edge[k]) for edge in edges], origins[::every]))
    return found


def _learn(data: Series, shape: Shape, plan: list[Fold]) -> tuple[tuple[np.ndarray, ...], Trial]:
    """Learn the path of one feature, series (T_i,)."""
    E, H = data.exog[0].shape[1], shape.horizon
    smooth = smoothing.candidates(shape.season, shape.window)
    families = kinds(shape.window, shape.season, max(plan[0].ends), E)
    forecasts, pasts, truths = [], [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for ends, origins in plan:
            part = data.cut([slice(0, end) for end in ends])
            past = np.stack([data.rows[i][o - shape.window : o] for i, o in origins])
            exog = np.stack([data.exog[i][o - shape.window : o + H] for i, o in origins])
            candidates = _Candidates(smooth, _fitted(families, part, shape), shape.season)
            forecasts.append(candidates.forecast(past, exog))
            pasts.append(past)
            truths.append(np.stack([data.rows[i][o : o + H] for i, o in origins]))
        forecast, truth = np.concatenate(forecasts, axis=1), np.concatenate(truths)
        weights = _weights(np.mean(np.abs(forecast - truth), axis=(1, 2)))
    kept = np.flatnonzero(weights)
    candidates = _Candidates(smooth, _fitted(families, data, shape), shape.season).only(kept)
    found = np.einsum("g,gnh->nh", weights[kept], forecast[kept])
    path = _path(candidates, weights[kept], shape, E)
    return path, Trial(np.concatenate(pasts), truth, found)


def _fitted(families: list[Kind], data: Series, shape: Shape) -> Regressions:
    return regress(families, data.rows, data.exog, shape.window)


def _weights(errors: np.ndarray) -> np.ndarray:
    """Return weights of sum 1, zero for the least ones."""
    errors = np.where(np.isfinite(errors), errors, np.inf) + TINY
    weights = (errors / np.min(errors)) ** -POWER
    weights[weights < 1e-3] = 0
    return weights / np.sum(weights)


class _Candidates(NamedTuple):
    """Forecasts that differ in their parameters: first smoothing, then regressions."""

    smooth: np.ndarray  # (G, 4)
    regressions: Regressions
    season: int

    def only(self, chosen: np.ndarray) -> _Candidates:
        G = len(self.smooth)
        return self._replace(
            smooth=self.smooth[chosen[chosen < G]],
            regressions=self.regressions.only(chosen[chosen >= G] - G),
        )

    def forecast(self, past: np.ndarray, exog: np.ndarray) -> np.ndarray:
        H = exog.shape[1] - past.shape[1]
        return np.concatenate(
            [
                smoothing.forecast(self.smooth, past, H, self.season),
                self.regressions.forecast(past, exog),
            ]
        )


def _path(
    candidates: _Candidates, weights: np.ndarray, shape: Shape, E: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the average of linear forecasts as a linear function, from its values at a basis."""
    W, steps = shape.window, shape.steps
    basis = np.eye(1 + W + steps * E)[:, 1:]  # the first row is zero
    past, exog = basis[:, :W], basis[:, W:].reshape(len(basis), steps, E)
    values = np.zeros((len(basis), shape.horizon))
    some = max(1, CELLS // (len(basis) * steps))
    for g in np.split(np.arange(len(weights)), range(some, len(weights), some)):
        values += np.tensordot(weights[g], candidates.only(g).forecast(past, exog), 1)
    constant, linear = values[0], values[1:] - values[0]
    return linear[:W], linear[W:], constant
