"""What comes before a forecaster's network: choices by the data, the linear path, the windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.estimators.base import RecurrentEstimator
from rnnx.estimators.forecasting import choices
from rnnx.estimators.forecasting.linear import Linear, Trial, learn
from rnnx.estimators.forecasting.transform import Transform
from rnnx.estimators.forecasting.windows import Scaling, Shape, Windows, assemble, sliding
from rnnx.estimators.reading import inputs, values
from rnnx.estimators.reading.forms import Series

LEARNED = (  # beside the choices, before the network is made
    "_mean", "_scale", "_floor", "_exog_mean", "_exog_scale", "_past", "_outside", "_constant",
)  # fmt: skip


class Preparing(RecurrentEstimator):
    """The part of `RNNForecaster` that prepares series for its network."""

    horizon: int
    window: int | str
    season: int | str
    log: str
    scale: str | None
    linear: bool

    @property
    def window_(self) -> int:
        """The number of past steps that are read."""
        return int(self.chosen_["window"])

    @property
    def season_(self) -> int:
        """The number of steps in a season."""
        return int(self.chosen_["season"])

    def _spread(self, past: np.ndarray) -> np.ndarray:
        """Return what errors (N, horizon, F) after windows are divided by: a middle way.

        The errors of some series are as large as their windows vary, those of others are alike.
        """
        deviation = np.std(past, axis=1, keepdims=True)
        return np.sqrt(np.maximum(deviation, 1e-3 * self._scale))

    def _choose(self, data: Series) -> Trial | None:
        """Choose season, window, transform and scaling, and learn the linear path."""
        _, unit = values.moments("X", data.rows)  # refuses what is too large to go on with
        shortest = min(map(len, data.rows))
        window: Any = self.window
        season: Any = self.season
        if season == "auto":
            season = choices.season(data.rows)
            season = 1 if window != "auto" and season > window else season
        if window == "auto":
            window = choices.window(shortest, self.horizon, season)
        if window < season:
            raise ValueError(f"window must be at least the season, {season}, got {window}")
        log, scale = self.log, self.scale
        self.chosen_ = {"window": int(window), "season": int(season), "log": log, "scale": scale}
        self._check_lengths(data.rows, self._shape().steps)
        self._exog_size = data.exog[0].shape[1]
        self._exog_mean, self._exog_scale = values.moments("exog", data.exog)
        trial = self._choose_transform(data, unit)
        if scale == "auto":
            rows = self._standard(self._transform().of(data)).rows
            self.chosen_["scale"] = choices.scaling(rows, self.window_)
        self._share("chosen_", *LEARNED)
        return trial

    def _choose_transform(self, data: Series, unit: np.ndarray) -> Trial | None:
        """Choose the transform whose linear path is best, and keep that path."""
        positive = all(np.all(row > 0) for row in data.rows)
        if self.log == "always" and not positive:
            raise ValueError('X must be above 0 for log="always": use "auto" or "never"')
        kinds = [self.log == "always"]
        if self.log == "auto":
            kinds = [False, True] if positive and self.linear else [False]
        found = []
        for kind in kinds:
            transform = Transform.learned(kind, data.rows)
            changed = transform.of(data)
            self._mean, self._scale = values.moments("X", changed.rows)
            if not self.linear:
                self._set(transform)
                self._keep(Linear.none(self._shape(), len(self._mean), self._exog_size))
                return None
            path, trial = learn(self._standard(changed), self._shape())
            truth, forecast = (
                transform.inverse(part * self._scale + self._mean) for part in trial[1:]
            )
            error = np.abs(truth - forecast) / unit
            found.append((np.mean(error), path, trial, transform, self._mean, self._scale))
        _, path, trial, transform, self._mean, self._scale = min(found, key=lambda entry: entry[0])
        self._set(transform)
        self._keep(path)
        return trial

    def _set(self, transform: Transform) -> None:
        self.chosen_["log"], self._floor = "always" if transform.log else "never", transform.floor

    def _keep(self, path: Linear) -> None:
        self._past, self._outside, self._constant = (part.ravel() for part in path)

    def _path(self) -> Linear:
        sizes = Linear.shapes(self._shape(), len(self._mean), self._exog_size)
        parts = (self._past, self._outside, self._constant)
        return Linear(*(part.reshape(size) for part, size in zip(parts, sizes, strict=True)))

    def _transform(self) -> Transform:
        return Transform(self.chosen_["log"] == "always", self._floor)

    def _standard(self, data: Series) -> Series:
        """Return transformed series as the linear path reads them."""
        return Series(
            [(row - self._mean) / self._scale for row in data.rows],
            [(row - self._exog_mean) / self._exog_scale for row in data.exog],
        )

    def _shape(self) -> Shape:
        return Shape(self.window_, int(self._options["horizon"]), self.season_)

    def _sizes(self) -> tuple[int, int]:
        F = inputs.features_of(self)
        return (4 if self.chosen_["scale"] == "window" else 2) * F + self._exog_size + 1, F

    def _check_lengths(self, rows: list[np.ndarray], least: int) -> None:
        table = self._steps_in is not None and len(rows) > 1
        more = ": a table has a series per row, so one series (T, F) is X[None]" * table
        for i, row in enumerate(rows):
            if len(row) < least:
                raise ValueError(
                    f"each series must have at least {least} steps, the window's {self.window_} "
                    f"and those ahead, got {len(row)} in X[{i}]{more}"
                )

    def _scaling(self) -> Scaling:
        return Scaling(
            self.chosen_["scale"], self._mean, self._scale, self._exog_mean, self._exog_scale
        )

    def _cut(self, data: Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all windows of all series: past, future and exogenous values."""
        shape = self._shape()
        self._check_lengths(data.rows, shape.steps)
        whole, exog = (
            np.concatenate([sliding(row, shape.steps) for row in rows])
            for rows in (data.rows, data.exog)
        )
        return whole[:, : shape.window], whole[:, shape.window :], exog

    def _windows(self, data: Series) -> Windows:
        """Return all windows of transformed series."""
        return self._assembled(*self._cut(data))

    def _latest(self, data: Series) -> tuple[np.ndarray, np.ndarray]:
        """Return the last window of each transformed series and its exogenous values."""
        shape = self._shape()
        self._check_lengths(data.rows, shape.window)
        past = np.stack([row[-shape.window :] for row in data.rows])
        return past, np.stack([row[-shape.steps :] for row in data.exog])

    def _assembled(self, past: np.ndarray, future: np.ndarray | None, exog: np.ndarray) -> Windows:
        """Return windows whose scaled values the network's dtype can hold."""
        F, dtype, shape = past.shape[2], self._dtype, self._shape()
        with np.errstate(over="ignore", invalid="ignore"):
            first = past[:, shape.naive()]
            if self._options["linear"]:
                z = (past - self._mean) / self._scale
                outside = (exog - self._exog_mean) / self._exog_scale
                first = self._path().forecast(z, outside) * self._scale + self._mean
            found = assemble(shape, self._scaling(), past, first, future, exog)
        values.check_range("X", past, "float64", found.mean, found.scale)
        values.check_range("X", past, dtype, found.x[..., : 2 * F])
        values.check_range("exog", exog, dtype, found.x[..., 2 * F :])
        if future is not None and found.target is not None:
            values.check_range("X", future, dtype, found.target)
        return found
