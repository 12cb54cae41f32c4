"""Windows of series: a past, its first forecast, and what really followed.

The first forecast is that of the linear path, or the naive one. The features of a step are: the
scaled value (in the future, the first forecast); the change since the season before (zero where
unknown); the exogenous values; if windows are scaled one by one, the window's level and spread; and
1 in the future, else 0. The target is the error of the first forecast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from rnnx.backend import Array, scope_of

Rows = list[np.ndarray]  # (T_i, F) each
SCALES = ("window", "standard")
BORDER = 3.0  # deviations


class Shape(NamedTuple):
    """Number of steps of a window's past and future, and of a season."""

    window: int
    horizon: int
    season: int

    @property
    def steps(self) -> int:
        """The number of all steps."""
        return self.window + self.horizon

    def naive(self) -> np.ndarray:
        """Return which past step is the naive forecast of each future step."""
        return self.window - self.season + np.arange(self.horizon) % self.season


class Scaling(NamedTuple):
    """How values are scaled: ``(value - mean) / scale``."""

    kind: str | None  # one of SCALES
    mean: np.ndarray  # (F,), of all values in the training data
    scale: np.ndarray  # (F,)
    exog_mean: np.ndarray  # (E,)
    exog_scale: np.ndarray  # (E,)

    def of(self, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and scale (N, 1, F) of windows whose past is (N, window, F)."""
        shape = (len(past), 1, past.shape[2])
        if self.kind is None:
            return np.zeros(shape), np.ones(shape)
        if self.kind == "standard":
            return np.broadcast_to(self.mean, shape), np.broadcast_to(self.scale, shape)
        std = np.std(past, axis=1, keepdims=True)
        return np.mean(past, axis=1, keepdims=True), np.maximum(std, 1e-3 * self.scale)

    def place(self, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return level and spread (N, 1, 2F) of windows, among those of the training data.

        A window far outside of these counts as one at their border.
        """
        if self.kind != "window":
            return np.zeros((len(mean), 1, 0))
        level, spread = (mean - self.mean) / self.scale, np.log(scale / self.scale)
        return np.clip(np.concatenate([level, spread], axis=2), -BORDER, BORDER)


class Windows(NamedTuple):
    """The network's data for N windows, and how to read its outputs."""

    x: np.ndarray  # (steps, N, 2F + E + 1), or with level and spread 2F more
    target: np.ndarray | None  # (steps, N, F); zero in the past
    first: np.ndarray  # the first forecast (N, horizon, F), scaled
    mean: np.ndarray  # (N, 1, F)
    scale: np.ndarray  # (N, 1, F)

    def corrections(self, outputs: np.ndarray) -> np.ndarray:
        """Return the part of the network's outputs (steps, N, F) that is ahead, (N, horizon, F)."""
        return np.swapaxes(outputs[-self.first.shape[1] :], 0, 1).astype("float64")


def sliding(series: np.ndarray, steps: int) -> np.ndarray:
    """Return all windows of a series (T, F), as (T - steps + 1, steps, F)."""
    view = np.lib.stride_tricks.sliding_window_view(series, steps, axis=0)  # (N, F, steps)
    return np.swapaxes(view, 1, 2)


def assemble(
    shape: Shape,
    scaling: Scaling,
    past: np.ndarray,
    first: np.ndarray,
    future: np.ndarray | None,
    exog: np.ndarray,
) -> Windows:
    """Assemble windows of pasts (N, window, F), first forecasts and futures (N, horizon, F).

    Their exogenous values are (N, steps, E).
    """
    mean, scale = scaling.of(past)
    scaled, first = (past - mean) / scale, (first - mean) / scale
    flag = np.zeros((len(past), shape.steps, 1))
    flag[:, shape.window :] = 1
    values = np.concatenate([scaled, first], axis=1)
    change = np.zeros_like(values)
    change[:, shape.season : shape.window] = scaled[:, shape.season :] - scaled[:, : -shape.season]
    outside = (exog - scaling.exog_mean) / scaling.exog_scale
    place = np.repeat(scaling.place(mean, scale), shape.steps, axis=1)
    x = np.swapaxes(np.concatenate([values, change, outside, place, flag], axis=2), 0, 1)
    if future is None:
        return Windows(x, None, first, mean, scale)
    target = np.zeros((len(past), shape.steps, past.shape[2]))
    target[:, shape.window :] = (future - mean) / scale - first
    return Windows(x, np.swapaxes(target, 0, 1), first, mean, scale)


def future_only(loss: Callable[..., Any], horizon: int) -> Callable[..., Any]:
    """Return a loss of the last steps only; the gradient of all others is zero."""

    def ahead(outputs: Array, target: Array) -> tuple[Array, Array]:
        xp = array_namespace(outputs)
        value, dy = loss(outputs[-horizon:, ...], target[-horizon:, ...])
        with scope_of(outputs):
            before = xp.zeros_like(outputs[:-horizon, ...])
            return value, xp.concat([before, dy], axis=0)

    return ahead
