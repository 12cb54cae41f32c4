"""Windows of series: a past, its naive continuation, and what really followed.

The input of a step is the scaled value, of the past as it was, of the future as the naive forecast
has it; then what the naive forecast of a season before was off by, zero where that is not known;
the exogenous values; and whether the step is in the future. The target is what the naive forecast
is off by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from rnnx.backend import Array, scope_of


class Shape(NamedTuple):
    """The steps of a window's past and future, and of a season."""

    window: int
    horizon: int
    season: int

    @property
    def steps(self) -> int:
        """The steps in all."""
        return self.window + self.horizon

    def naive(self) -> np.ndarray:
        """Return the step of the past that is the naive forecast of each step of the future."""
        return self.window - self.season + np.arange(self.horizon) % self.season


class Scaling(NamedTuple):
    """How values become numbers of about one: ``(value - mean) / scale``."""

    kind: str | None  # "window", "standard" or None
    mean: np.ndarray  # (F,), of all values that were fitted
    scale: np.ndarray  # (F,)
    exog_mean: np.ndarray  # (E,)
    exog_scale: np.ndarray  # (E,)

    def of(self, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and scale, (N, 1, F), for windows whose past is (N, window, F)."""
        shape = (len(past), 1, past.shape[2])
        if self.kind is None:
            return np.zeros(shape), np.ones(shape)
        if self.kind == "standard":
            return np.broadcast_to(self.mean, shape), np.broadcast_to(self.scale, shape)
        std = np.std(past, axis=1, keepdims=True)
        return np.mean(past, axis=1, keepdims=True), np.maximum(std, 1e-3 * self.scale)


class Windows(NamedTuple):
    """What a model is given of N windows, and how to read its outputs."""

    x: np.ndarray  # (steps, N, 2F + E + 1)
    target: np.ndarray | None  # (steps, N, F); zero in the past
    naive: np.ndarray  # (N, horizon, F), scaled
    mean: np.ndarray  # (N, 1, F)
    scale: np.ndarray  # (N, 1, F)

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Return the forecasts (N, horizon, F) that a model's outputs (steps, N, F) stand for."""
        ahead = np.swapaxes(outputs[-self.naive.shape[1] :], 0, 1).astype("float64")
        return (self.naive + ahead) * self.scale + self.mean


def sliding(series: np.ndarray, steps: int) -> np.ndarray:
    """Return all windows of (T, F), one beginning at each step: (T - steps + 1, steps, F)."""
    view = np.lib.stride_tricks.sliding_window_view(series, steps, axis=0)  # (N, F, steps)
    return np.swapaxes(view, 1, 2)


def assemble(
    shape: Shape, scaling: Scaling, past: np.ndarray, future: np.ndarray | None, exog: np.ndarray
) -> Windows:
    """Return the windows of pasts (N, window, F), futures (N, horizon, F), exog (N, steps, E)."""
    mean, scale = scaling.of(past)
    scaled = (past - mean) / scale
    naive = scaled[:, shape.naive()]  # (N, horizon, F)
    flag = np.zeros((len(past), shape.steps, 1))
    flag[:, shape.window :] = 1
    values = np.concatenate([scaled, naive], axis=1)
    change = np.zeros_like(values)
    change[:, shape.season : shape.window] = scaled[:, shape.season :] - scaled[:, : -shape.season]
    outside = (exog - scaling.exog_mean) / scaling.exog_scale
    x = np.swapaxes(np.concatenate([values, change, outside, flag], axis=2), 0, 1)
    if future is None:
        return Windows(x, None, naive, mean, scale)
    target = np.zeros((len(past), shape.steps, past.shape[2]))
    target[:, shape.window :] = (future - mean) / scale - naive
    return Windows(x, np.swapaxes(target, 0, 1), naive, mean, scale)


def future_only(loss: Callable[..., Any], horizon: int) -> Callable[..., Any]:
    """Return a loss of the last steps only: the gradient by the others is zero."""

    def ahead(outputs: Array, target: Array) -> tuple[Array, Array]:
        xp = array_namespace(outputs)
        value, dy = loss(outputs[-horizon:, ...], target[-horizon:, ...])
        with scope_of(outputs):
            before = xp.zeros_like(outputs[:-horizon, ...])
            return value, xp.concat([before, dy], axis=0)

    return ahead
