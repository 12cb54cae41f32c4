"""Exponential smoothing with a damped trend and an additive season, run over windows.

With fixed parameters α, β, φ, γ it is a linear function of the window y_1 ... y_W:

    e_t = y_t - (l_{t-1} + φ b_{t-1} + s_{t-m})
    l_t = l_{t-1} + φ b_{t-1} + α e_t
    b_t = φ b_{t-1} + α β e_t
    s_t = s_{t-m} + (1 - α) γ e_t

The first level, trend and season are those of the window's beginning. The forecast h steps ahead is
l_W + (φ + ... + φ^h) b_W + s.

References
----------
R. J. Hyndman, A. B. Koehler, J. K. Ord and R. D. Snyder, "Forecasting with exponential smoothing",
Springer, 2008.
"""

from __future__ import annotations

from itertools import product

import numpy as np

LEVELS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)  # α; 1 alone is the naive forecast
TRENDS = (  # β and φ
    (0.0, 1.0), (0.01, 1.0), (0.05, 0.9), (0.05, 0.98), (0.1, 1.0), (0.2, 0.9), (0.2, 0.98),
    (0.5, 0.8), (0.5, 0.9),
)  # fmt: skip
SEASONS = (0.0, 0.1, 0.3, 0.6)  # γ; 0 keeps the season of the window's beginning


def candidates(season: int, window: int) -> np.ndarray:
    """Return α, β, φ, γ (G, 4) of all candidates; γ is NaN without a season."""
    seasonal = SEASONS if 1 < season <= window // 2 else ()
    return np.asarray(
        [(a, b, p, g) for g, a, (b, p) in product((np.nan, *seasonal), LEVELS, TRENDS)]
    )


def forecast(parameters: np.ndarray, past: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Return the forecasts (G, N, horizon) of windows (N, W) by parameters (G, 4)."""
    kinds, where = np.unique(parameters[:, 3], return_inverse=True)  # equal NaN count as one
    found = np.empty((len(parameters), len(past), horizon))
    for i, gamma in enumerate(kinds):
        period = 1 if np.isnan(gamma) else season
        found[where == i] = _smoothed(parameters[where == i, :3], gamma, past, horizon, period)
    return found


def _smoothed(
    parameters: np.ndarray, gamma: float, past: np.ndarray, horizon: int, m: int
) -> np.ndarray:
    a, b, phi = (column[:, None] for column in parameters.T)  # (G, 1) each
    first, slope, start = _start(past, m)
    level = np.where(b > 0, first, np.mean(past[:, : max(2 * m, 8)], axis=1))  # (G, N)
    trend = np.where(b > 0, slope, 0.0)
    seasons = np.repeat(start[:, None], len(parameters), axis=1)  # (m, G, N)
    gamma = 0.0 if np.isnan(gamma) else gamma
    for t, y in enumerate(past.T):
        level = level + phi * trend
        e = y - level - seasons[t % m]
        level, trend = level + a * e, phi * trend + a * b * e
        seasons[t % m] += (1 - a) * gamma * e
    damping = np.cumsum(phi ** np.arange(1, horizon + 1), axis=1)  # (G, horizon)
    repeated = seasons[(past.shape[1] + np.arange(horizon)) % m]  # (horizon, G, N)
    ahead: np.ndarray = level[..., None] + damping[:, None] * trend[..., None]
    return ahead + np.moveaxis(repeated, 0, 2)


def _start(past: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return level and trend (N,) before the first step, and the season (m, N)."""
    if m == 1:
        T = min(past.shape[1], 8)
        line = np.stack([np.ones(T), np.arange(1.0, T + 1)], axis=1)
        first, slope = np.linalg.pinv(line) @ past[:, :T].T
        return first, slope, np.zeros((1, len(past)))
    years = past[:, : 2 * m].reshape(-1, 2, m)
    means = np.mean(years, axis=2)  # (N, 2)
    slope = (means[:, 1] - means[:, 0]) / m
    first = means[:, 0] - slope * (m + 1) / 2
    line = first[:, None] + slope[:, None] * np.arange(1, 2 * m + 1)
    season = np.mean(years - line.reshape(years.shape), axis=1)
    return first, slope, (season - np.mean(season, axis=1, keepdims=True)).T
