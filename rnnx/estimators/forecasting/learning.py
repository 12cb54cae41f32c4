"""How a forecaster learns: its network, what it tests, and what intervals come from that."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from rnnx.data import Sequences
from rnnx.estimators import budget
from rnnx.estimators.forecasting import calibration
from rnnx.estimators.forecasting.linear import Trial, learn
from rnnx.estimators.forecasting.preparing import Preparing
from rnnx.estimators.forecasting.windows import future_only
from rnnx.estimators.reading import values
from rnnx.estimators.reading.forms import Series
from rnnx.estimators.reading.series import read_series
from rnnx.estimators.regressor import LOSSES
from rnnx.train import predict

HELD_OUT = 0.2  # of each series, with validation_fraction="auto"
CHOSEN = ("window", "season", "log", "scale")  # before the network is made
TESTED = 1000  # origins whose errors are kept, at most


class Forecasting(Preparing):
    """The part of `RNNForecaster` that learns and forecasts."""

    loss: str

    factor_: np.ndarray  # (H,)
    _scores: np.ndarray  # (N * H * F,)

    def _fit(self, X: Any, exog: Any, *, first: bool, once: bool = False) -> Self:
        """Learn series, the first time from new weights; `once`, one epoch without a test."""
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
        self._warn(windows.x.shape[1], "window", np.inf)

    def _structure(self, steps: float) -> dict[str, Any]:
        return {name: self.chosen_[name] for name in CHOSEN}

    def _training(self, alone: bool) -> dict[str, Any]:
        found = super()._training(alone)
        if self.validation_fraction == "auto":
            found["validation_fraction"] = HELD_OUT
            if self.epochs == "auto":
                found["patience"] = self._given(
                    "patience", lambda: budget.patience(found["epochs"])
                )
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
        self._share("factor_", "_origins", "_scores")
        return self

    def _part(self, data: Series, fraction: float | None) -> list[int]:
        """Return how many steps at the end of each series are held out, none if it is empty.

        Without a fraction, as many as the windows that remain allow.
        """
        lengths, horizon = [len(row) for row in data.rows], int(self._options["horizon"])
        if fraction is not None:
            held = [int(fraction * T) for T in lengths]
            if fraction and min(held) < horizon:
                raise ValueError(
                    f"validation_fraction={fraction} holds out {min(held)} steps of a series, "
                    f"fewer than the horizon, {horizon}: give a larger one"
                )
            return held if fraction else []
        shape = self._shape()
        held = [max(int(HELD_OUT * T), 2 * horizon) for T in lengths]
        room = min(T - n for T, n in zip(lengths, held, strict=True))
        return held if room >= shape.steps else []

    def _after(self, data: Series, held: list[int]) -> Series:
        """Return what is held out, with the window before it."""
        return data.cut([slice(-(n + self.window_), None) for n in held])

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
