"""Ridge regressions of a series on its past, by order, differences and penalty.

With d(B) the differences and z = d(B) y, each is

    z_t = k + Σ_{i=1..p} a_i z_{t-i} + Σ_{i=0..p} b_i · d(B) x_{t-i}

with the exogenous values x, if there are any. In terms of y this is again an autoregression, which
is iterated to forecast several steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnnx.estimators.forecasting.windows import Rows

ORDERS = (0, 1, 2, 3, 4, 6, 9, 13, 18, 24, 32)
PENALTIES = (1e-10, 1e-6, 1e-2, 0.1, 0.3, 1.0, 3.0)  # in units of the mean square and of p / n
PAIRS = 20_000  # steps that a regression learns from, at most


class Kind(NamedTuple):
    """What one set of regressions has in common."""

    differences: np.ndarray  # coefficients of d(B)
    orders: list[int]
    intercept: bool
    exog: bool


class Regressions(NamedTuple):
    """G autoregressions of y."""

    past: np.ndarray  # (G, W), of the values 1, 2, ... steps before
    exog: np.ndarray  # (G, W, E), of the exogenous values 0, 1, ... steps before
    constant: np.ndarray  # (G,)

    def only(self, chosen: np.ndarray) -> Regressions:
        """Return some of them."""
        return Regressions(self.past[chosen], self.exog[chosen], self.constant[chosen])

    def forecast(self, past: np.ndarray, exog: np.ndarray) -> np.ndarray:
        """Return the forecasts (G, N, H) of windows (N, W) and their exog (N, W + H, E)."""
        (N, W), (G, H) = past.shape, (len(self.past), exog.shape[1] - past.shape[1])
        y = np.concatenate([np.broadcast_to(past, (G, N, W)), np.zeros((G, N, H))], axis=2)
        before = self.past[:, ::-1, None]  # oldest first
        outside = self.exog[:, ::-1].reshape(G, 1, W * exog.shape[2], 1)
        for t in range(W, W + H):
            now = (y[:, :, t - W : t] @ before)[..., 0] + self.constant[:, None]
            if exog.shape[2]:
                x = exog[:, t - W + 1 : t + 1].reshape(1, N, 1, -1)
                now += (x @ outside)[..., 0, 0]
            y[:, :, t] = now
        return y[:, :, W:]


def kinds(window: int, season: int, steps: int, E: int) -> list[Kind]:
    """Return the regressions that so many steps allow: at most a third as many coefficients."""
    found = []
    for ordinary, seasonal in ((0, 0), (1, 0), (0, 1), (1, 1)):
        if seasonal and season == 1:
            continue
        d = np.ones(1)
        if ordinary:
            d = np.convolve(d, [1.0, -1.0])
        if seasonal:
            d = np.convolve(d, [1.0, *[0.0] * (season - 1), -1.0])
        degree = len(d) - 1
        possible = sorted({*ORDERS, *((season, season + 1, 2 * season) if season > 1 else ())})
        for exog in (False, True)[: 1 + bool(E)]:
            most = (steps - degree) / 3
            orders = [
                p
                for p in possible
                if p + degree <= window - exog and (p + exog * E * (p + 1) <= max(most, 1))
            ]
            intercepts = (True, False)[: 1 + bool(degree)] if orders else ()
            found += [Kind(d, orders, intercept, exog) for intercept in intercepts]
    return found


def regress(kinds: list[Kind], rows: Rows, exog: Rows, window: int) -> Regressions:
    """Return the regressions, by kind, order and penalty, of series (T_i,) and exog (T_i, E)."""
    E = exog[0].shape[1]
    parts = [part for kind in kinds for part in _solved(kind, rows, exog)]
    found = Regressions(
        np.zeros((len(parts), window)), np.zeros((len(parts), window, E)), np.zeros(len(parts))
    )
    for g, (d, a, b, k) in enumerate(parts):
        past = -np.convolve(d, [1.0, *-a])[1:]
        found.past[g, : len(past)] = past
        found.constant[g] = k
        for e in range(b.shape[1]):
            lags = np.convolve(d, b[:, e])
            found.exog[g, : len(lags), e] = lags
    return found


Solution = tuple[np.ndarray, np.ndarray, np.ndarray, float]  # d, a (p,), b (p + 1, E), k


def _solved(kind: Kind, rows: Rows, exog: Rows) -> Iterator[Solution]:
    P, E = max(kind.orders), exog[0].shape[1] if kind.exog else 0
    A, z = _pairs(kind, P, rows, [x[:, :E] for x in exog])
    means, mean = np.zeros(A.shape[1]), 0.0
    if kind.intercept and len(z):
        means, mean = np.mean(A, axis=0), np.mean(z)
    A, z = A - means, z - mean
    n = max(len(z), 1)
    gram, moment = A.T @ A / n, A.T @ z / n
    for p in kind.orders:
        used = np.r_[0:p, P : P + (p + 1) * E]
        size = len(used)
        values, vectors = np.linalg.eigh(gram[np.ix_(used, used)])
        projected = vectors.T @ moment[used]
        unit = max(float(np.mean(values)) if size else 0.0, 1e-300) * size / n
        for penalty in PENALTIES[: None if size else 1]:
            c = vectors @ (projected / (np.maximum(values, 0) + penalty * unit))
            yield (
                kind.differences,
                c[:p],
                c[p:].reshape(p + 1, E) if E else np.zeros((1, 0)),
                float(mean - means[used] @ c),
            )


def _pairs(kind: Kind, P: int, rows: Rows, exog: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the regressors (n, P + (P + 1) E), by lag, and what they explain (n,)."""
    d = kind.differences
    every = -(-sum(map(len, rows)) // PAIRS)
    A, z = [np.zeros((0, P + (P + 1) * exog[0].shape[1]))], [np.zeros(0)]
    for y, x in zip(rows, exog, strict=True):
        if len(y) < P + len(d):
            continue
        of_y = _lags(np.convolve(y, d, "valid"), P)[::every]
        of_x = [_lags(np.convolve(column, d, "valid"), P)[::every] for column in x.T]
        A.append(
            np.concatenate([of_y[:, 1:], np.stack(of_x, 2).reshape(len(of_y), -1)], axis=1)
            if of_x
            else of_y[:, 1:]
        )
        z.append(of_y[:, 0])
    return np.concatenate(A), np.concatenate(z)


def _lags(z: np.ndarray, P: int) -> np.ndarray:
    """Return the values of each step and of the P steps before, latest first."""
    return np.lib.stride_tricks.sliding_window_view(z, P + 1)[:, ::-1]
