"""How a forecaster learns: what it chooses, its linear path, its network, and what it tests."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from rnnx.data import Sequences
from rnnx.estimators import calibration, choices, inputs, values
from rnnx.estimators.base import RecurrentEstimator, unchanged_on_error
from rnnx.estimators.linear import Linear, Trial, learn
from rnnx.estimators.regressor import LOSSES
from rnnx.estimators.series import read_series
from rnnx.estimators.transform import Transform
from rnnx.estimators.windows import Scaling, Series, Shape, Windows, assemble, future_only, sliding
from rnnx.train import predict

HELD_OUT = 0.2  # of each series, with validation_fraction="auto"
CHOSEN = ("window", "season", "log", "scale")  # before the network is made
TESTED = 1000  # origins whose errors are kept, at most


class Forecasting(RecurrentEstimator):
    """The part of `RNNForecaster` that is not its interface."""

    horizon: int
    window: int | str
    season: int | str
    log: str
    scale: str | None
    linear: bool
    loss: str

    factor_: np.ndarray  # (H,)
    _scores: np.ndarray  # (N * H * F,)

    @property
    def window_(self) -> int:
        """The number of past steps that are read."""
        return int(self.chosen_["window"])

    @property
    def season_(self) -> int:
        """The number of steps in a season."""
        return int(self.chosen_["season"])

    def _fit(self, X: Any, exog: Any, *, first: bool, once: bool = False) -> Self:
        """Learn series, the first time from new weights; `once`, one epoch without a test."""
        with unchanged_on_error(self):
            options = self._read_options()
            if first:
                self._options = options
            data = read_series(self, X, exog, reset=first)
            fraction: Any = 0.0 if once else self.validation_fraction
            part = self._part(data, 0.0 if fraction == "auto" else fraction)
            trial = self._choose(data.until(part)) if first else None
            data = self._transform().of(data)
            if fraction == "auto" and first:
                return self._fit_twice(data, trial)
            held_out = self._after(data, part) if part else None
            self._train_on(
                data.until(part), held_out, new=first, alone=once, epochs=1 if once else None
            )
            return self._test(held_out, trial, trust=held_out is None) if first else self

    def _fit_twice(self, data: Series, trial: Trial | None) -> Self:
        """Test on the end of the series what is learned before it, then learn the whole."""
        part, path = self._part(data, None), self._path()
        if not part:
            self._train_on(data, None, alone=self.linear)
            return self._test(None, trial, trust=not self.linear)
        if self.linear:
            self._keep(learn(self._standard(data.until(part)), self._shape())[0])
        held_out = self._after(data, part)
        self._train_on(data.until(part), held_out, alone=True)
        self._test(held_out, trial, trust=not self.linear)
        self._keep(path)
        if np.any(self.factor_):
            history, tested = self.history_, self.chosen_
            self._train_on(data, None, epochs=history.best_epoch)
            self.history_ = history
            self.chosen_ = tested | {"n_estimators": self.chosen_["n_estimators"]}
        return self

    def _train_on(
        self,
        data: Series,
        held_out: Series | None,
        *,
        new: bool = True,
        alone: bool = False,
        epochs: int | None = None,
    ) -> None:
        """Train the network on the windows of series."""
        if new:
            steps = self._shape().steps
            self._check_lengths(data.rows, steps)
            self._begin(sum(len(row) - steps + 1 for row in data.rows), steps, alone=alone)
        windows = self._windows(data)
        tested = None if held_out is None else Sequences(*self._windows(held_out)[:2])
        loss = future_only(LOSSES[self.loss], self._shape().horizon)
        epochs = epochs or int(self._now("epochs"))
        self._learn(Sequences(windows.x, windows.target), tested, epochs, loss, {})

    def _structure(self, steps: float) -> dict[str, Any]:
        return {name: self.chosen_[name] for name in CHOSEN}

    def _training(self, alone: bool) -> dict[str, Any]:
        found = super()._training(alone)
        if self.validation_fraction == "auto":
            found["validation_fraction"] = HELD_OUT
            if self.epochs == "auto":
                found["patience"] = self._given("patience", lambda: max(10, found["epochs"] // 4))
        return found

    def _check_patience(self, fraction: float | str) -> None:
        if self.validation_fraction != "auto":  # else there is a test wherever it is possible
            super()._check_patience(fraction)

    def _test(self, held_out: Series | None, trial: Trial | None, *, trust: bool) -> Self:
        """Learn the factor of the network, 1 if it is trusted, and errors for the intervals."""
        self.factor_ = np.full(self._shape().horizon, float(trust))
        errors = np.zeros((0, *self._path().constant.T.shape))
        if held_out is not None:
            windows, past = self._windows(held_out), self._cut(held_out)[0]
            missed = windows.corrections(np.asarray(windows.target))
            found = windows.corrections(predict(self.model_, windows.x))
            if not trust:
                self.factor_ = calibration.factors(missed, found)
            errors = (missed - self.factor_[:, None] * found) * windows.scale / self._spread(past)
        if trial is not None and not np.any(self.factor_):
            past = trial.past * self._scale + self._mean
            errors = (trial.truth - trial.forecast) * self._scale / self._spread(past)
        errors = errors[:: -(-len(errors) // TESTED) or 1]
        self._origins = len(errors)
        self._scores = np.sort(np.abs(errors), axis=0).ravel()
        return self

    def _spread(self, past: np.ndarray) -> np.ndarray:
        """Return what errors (N, horizon, F) after windows are divided by: a middle way.

        The errors of some series are as large as their windows vary, those of others are alike.
        """
        deviation = np.std(past, axis=1, keepdims=True)
        return np.sqrt(np.maximum(deviation, 1e-3 * self._scale))

    def _part(self, data: Series, fraction: float | None) -> list[int]:
        """Return how many steps at the end of each series are held out, none if it is empty.

        Without a fraction, as many as the windows that remain allow.
        """
        lengths = [len(row) for row in data.rows]
        if fraction is not None:
            held = [int(fraction * T) for T in lengths]
            if fraction and min(held) < self.horizon:
                raise ValueError(
                    f"validation_fraction={fraction} holds out {min(held)} steps of a series, "
                    f"fewer than the horizon, {self.horizon}: give a larger one"
                )
            return held if fraction else []
        shape = self._shape()
        held = [max(int(HELD_OUT * T), 2 * shape.horizon) for T in lengths]
        room = min(T - n for T, n in zip(lengths, held, strict=True))
        return held if room >= shape.steps else []

    def _after(self, data: Series, held: list[int]) -> Series:
        """Return what is held out, with the window before it."""
        return data.cut([slice(-(n + self.window_), None) for n in held])

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
        for i, row in enumerate(rows):
            if len(row) < least:
                raise ValueError(
                    f"each series must have at least {least} steps, the window's {self.window_} "
                    f"and those ahead, got {len(row)} in X[{i}]"
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

    def _forecast(
        self, past: np.ndarray, exog: np.ndarray, offsets: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Return the forecast (N, horizon, F) of windows, or one per offset."""
        windows = self._assembled(past, None, exog)
        ahead = windows.first
        with np.errstate(over="ignore", invalid="ignore"):
            if np.any(self.factor_):
                outputs = windows.corrections(predict(self.model_, windows.x))
                ahead = ahead + self.factor_[:, None] * outputs
            ahead = ahead * windows.scale + windows.mean
            found = [ahead]
            if offsets is not None:
                found = [ahead + offset * self._spread(past) for offset in offsets]
            return [values.finite(self._transform().inverse(forecast)) for forecast in found]

    def _offsets(self, quantiles: Any) -> np.ndarray:
        """Return the offset of each quantile, in units of the spread: (Q, horizon, F)."""
        scores = self._scores.reshape(self._origins, *self._path().constant.T.shape)
        return calibration.offsets(scores, calibration.read_quantiles(quantiles))

    def _assembled(self, past: np.ndarray, future: np.ndarray | None, exog: np.ndarray) -> Windows:
        """Return windows whose scaled values the network's dtype can hold."""
        F, dtype, shape = past.shape[2], self._dtype, self._shape()
        with np.errstate(over="ignore", invalid="ignore"):
            first = past[:, shape.naive()]
            if self.linear:
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
