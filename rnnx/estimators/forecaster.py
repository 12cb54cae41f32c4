"""A forecaster: several steps ahead of each series, from a window of its past."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.metrics import r2_score

from rnnx import validate
from rnnx.data import Sequences
from rnnx.estimators import inputs, values
from rnnx.estimators.base import RecurrentEstimator, unchanged_on_error
from rnnx.estimators.dates import read_step
from rnnx.estimators.forms import on_host
from rnnx.estimators.regressor import LOSSES
from rnnx.estimators.series import compared, continued, read_series
from rnnx.estimators.windows import Scaling, Series, Shape, Windows, assemble, future_only, sliding
from rnnx.networks.options import Checks, one_of, optional, texts
from rnnx.train import predict


@dataclass(eq=False, repr=False, kw_only=True)
class RNNForecaster(RecurrentEstimator):
    """Forecast several steps ahead of each series with a recurrent network.

    The network reads a window of the past and then the steps ahead, where its input is the naive
    forecast (the value one season earlier) and the exogenous values. Its outputs correct the naive
    forecast. It is trained with Adam on all windows of all series.

    Parameters
    ----------
    horizon : int
        Number of steps ahead.
    window : int or None
        Number of past steps to read. By default the largest of 32, two horizons and four seasons,
        limited to what the shortest series has.
    season : int
        Number of steps in a season. The naive forecast is the value one season earlier; with 1, the
        last value.
    scale : {"window", "standard"} or None
        Scale by the mean and deviation of each window, which follows a trend; or of all series
        together; or not at all.
    {network}
    loss : {"squared_error", "absolute_error", "huber"}
        Loss of the scaled values.
    validation_fraction : float
        Fraction in [0, 1) of each series, at its end, that `fit` holds out. It then keeps the
        parameters of the epoch with the lowest validation loss.
    {budget}
    {batches}
    {layout}
    {place}

    Attributes
    ----------
    model_ : rnnx.Sequential
        The trained network.
    window_ : int
        Number of past steps that the network reads.
    history_ : rnnx.train.History
        The training history, of scaled values.
    n_iter_ : int
        Number of epochs trained.
    n_features_in_ : int
        Values per step; for a table (n, T), its number of columns.
    feature_names_in_ : numpy.ndarray of str
        Names of these columns, if X was a data frame or a list of data frames.

    Raises
    ------
    ValueError
        In `fit`, if a series is too short for a window and the horizon, numbers are not finite, or
        an option is out of range.

    References
    ----------
    Scaling by window: T. Kim et al., "Reversible instance normalization for accurate time-series
    forecasting against distribution shift", ICLR 2022. The seasonal naive forecast: R. J. Hyndman
    and G. Athanasopoulos, "Forecasting: principles and practice", 3rd ed., OTexts, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx.estimators import RNNForecaster
    >>> series = np.sin(np.arange(240) / 4) + 0.01 * np.arange(240)
    >>> forecaster = RNNForecaster(horizon=6, epochs=20, random_state=0).fit(series[:-6])
    >>> forecast = forecaster.predict(series[:-6])
    >>> forecast.shape, bool(np.max(np.abs(forecast - series[-6:])) < 0.2)
    ((6,), True)
    """

    horizon: int = field(default=1, kw_only=False)
    window: int | None = None
    season: int = 1
    scale: str | None = "window"
    loss: str = "squared_error"
    learning_rate: float = 0.005
    validation_fraction: float = 0.0

    _converged = 1e-6

    _checks: ClassVar[Checks] = RecurrentEstimator._checks | {
        "horizon": validate.size,
        "window": optional(validate.size),
        "season": validate.size,
        "scale": optional(one_of(("window", "standard"))),
        "loss": one_of(LOSSES),
    }
    _json: ClassVar[Checks] = RecurrentEstimator._json | {
        "window_": validate.size,
        "_exog_size": validate.count,
        "_exog_columns": optional(texts),
        "_date_step": optional(read_step),
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def fit(self, X: Any, y: None = None, *, exog: Any = None) -> Self:
        """Fit to series, starting from new weights.

        If `fit` fails or is interrupted, the forecaster stays as it was.

        Parameters
        ----------
        X : array or list of arrays
            n series, oldest value first: (n, T), (n, T, F), a list of (T_i, F), or one (T,).
            A data frame with dates as its index is one series (T, F). Other objects of pandas,
            Arrow, polars and cuDF are read as arrays of their shape.
        y : None
            Not used: the series are their own targets.
        exog : array or list of arrays, optional
            Exogenous values of each step, known ahead, in the form of X: (n, T, E), a list of
            (T_i, E), or (T, E) for one series.

        Returns
        -------
        self
        """
        return self._fit(X, exog, first=not (self.warm_start and hasattr(self, "model_")))

    def partial_fit(self, X: Any, y: None = None, *, exog: Any = None) -> Self:
        """Train for one epoch on all windows of these series, continuing from the last call.

        Arguments are those of `fit`. The first call sets the window and learns the scaling.
        """
        return self._fit(X, exog, first=not hasattr(self, "model_"), once=True)

    def predict(self, X: Any, *, exog: Any = None) -> Any:
        """Forecast the steps after each series.

        Parameters
        ----------
        X : array or list of arrays
            As for `fit`, each series with at least `window_` steps.
        exog : array or list of arrays
            If `fit` was given any: the values of each series' steps and of the horizon after them.

        Returns
        -------
        numpy.ndarray, pandas.Series, pandas.DataFrame or list of these
            (n, horizon) for (n, T), (horizon,) for (T,), else (n, horizon, F), in the layout and
            the unit of X. If pandas objects have dates as their index, such objects with the dates
            ahead.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            Before `fit`, or if a series is shorter than the window or has other features than in
            `fit`.
        """
        self._check_is_fitted()
        forecast = self._forecast(
            read_series(self, X, exog, reset=False, more=int(self._options["horizon"]))
        )
        return continued(self, X, forecast)

    def score(self, X: Any, y: Any = None, *, exog: Any = None) -> float:
        """Return R² of the forecasts: 1 is perfect, 0 as good as the mean of the truth.

        Parameters
        ----------
        X, exog
            As for `predict`.
        y : array, optional
            What followed, in the shape that `predict` returns. By default, the last `horizon` steps
            of each series are forecast from the steps before them, and `exog` ends with X.
        """
        self._check_is_fitted()
        if y is not None:
            return float(r2_score(*compared(on_host(self, y), self.predict(X, exog=exog))))
        data, shape = read_series(self, X, exog, reset=False), self._shape()
        self._check_lengths(data.rows, shape.steps)
        past = Series([row[: -shape.horizon] for row in data.rows], data.exog)
        truth = np.stack([row[-shape.horizon :] for row in data.rows])
        return float(r2_score(np.ravel(truth), np.ravel(self._forecast(past))))

    def _fit(self, X: Any, exog: Any, *, first: bool, once: bool = False) -> Self:
        """Learn all windows, except those of a fraction at the end of each series; all, `once`."""
        with unchanged_on_error(self):
            options = self._read_options()
            if first:
                self._options = options
            data = read_series(self, X, exog, reset=first)
            fraction = 0.0 if once else self.validation_fraction
            kept = [slice(0, len(row) - int(fraction * len(row))) for row in data.rows]
            if first:
                self._choose_window(min(part.stop for part in kept))
                self._mean, self._scale = values.moments("X", data.cut(kept).rows)
                self._exog_size = data.exog[0].shape[1]
                self._exog_mean, self._exog_scale = values.moments("exog", data.cut(kept).exog)
                steps = self._shape().steps
                windows_of = [max(0, part.stop - steps + 1) for part in kept]
                self._begin(max(1, sum(windows_of)), steps, alone=once)
            windows = self._windows(data.cut(kept))
            held_out = self._held_out(data, kept, fraction) if fraction else None
            loss = future_only(LOSSES[self.loss], self._shape().horizon)
            epochs = 1 if once else self._now("epochs")
            return self._learn(windows, held_out, epochs, loss, {})

    def _choose_window(self, shortest: int) -> None:
        horizon, season, window = self.horizon, self.season, self.window
        if window is None:
            window = max(season, min(shortest - horizon, max(32, 2 * horizon, 4 * season)), 1)
        if window < season:
            raise ValueError(f"window must be at least the season, {season}, got {window}")
        self.window_ = int(window)

    def _held_out(self, data: Series, kept: list[slice], fraction: float) -> Sequences:
        """Return the windows whose future lies in the part of each series that is held out."""
        shape = self._shape()
        held = [len(row) - part.stop for row, part in zip(data.rows, kept, strict=True)]
        if min(held) < shape.horizon:
            raise ValueError(
                f"validation_fraction={fraction} holds out {min(held)} steps of a series, fewer "
                f"than the horizon, {shape.horizon}: give a larger one"
            )
        return self._windows(data.cut([slice(-(n + shape.window), None) for n in held]))

    def _shape(self) -> Shape:
        return Shape(self.window_, int(self._options["horizon"]), int(self._options["season"]))

    def _sizes(self) -> tuple[int, int]:
        F = inputs.features_of(self)
        return 2 * F + self._exog_size + 1, F

    def _arrays(self) -> dict[str, int]:
        F, E = inputs.features_of(self), self._exog_size
        return {"_mean": F, "_scale": F, "_exog_mean": E, "_exog_scale": E}

    def _check_fitted(self) -> None:
        super()._check_fitted()
        if self.window_ < self.season or self.window not in (None, self.window_):
            raise ValueError(f"window_ does not fit the options, got {self.window_}")
        if len(self._exog_columns or "") not in (0, self._exog_size):
            raise ValueError(f"expected {self._exog_size} names of exogenous columns")

    def _check_lengths(self, rows: list[np.ndarray], least: int) -> None:
        for i, row in enumerate(rows):
            if len(row) < least:
                raise ValueError(
                    f"each series must have at least {least} steps, the window's {self.window_} "
                    f"and those ahead, got {len(row)} in X[{i}]"
                )

    def _scaling(self) -> Scaling:
        kind = self._options["scale"]
        return Scaling(kind, self._mean, self._scale, self._exog_mean, self._exog_scale)

    def _windows(self, data: Series) -> Sequences:
        """Return all windows of all series."""
        shape = self._shape()
        self._check_lengths(data.rows, shape.steps)
        whole, exog = (
            np.concatenate([sliding(row, shape.steps) for row in rows])
            for rows in (data.rows, data.exog)
        )
        windows = self._assembled(whole[:, : shape.window], whole[:, shape.window :], exog)
        return Sequences(windows.x, windows.target)

    def _forecast(self, data: Series) -> np.ndarray:
        """Return the forecasts (n, horizon, F) of series whose exog covers the horizon."""
        shape = self._shape()
        self._check_lengths(data.rows, shape.window)
        past = np.stack([row[-shape.window :] for row in data.rows])
        exog = np.stack([row[-shape.steps :] for row in data.exog])
        windows = self._assembled(past, None, exog)
        with np.errstate(over="ignore", invalid="ignore"):
            return values.finite(windows.values(predict(self.model_, windows.x)))

    def _assembled(self, past: np.ndarray, future: np.ndarray | None, exog: np.ndarray) -> Windows:
        """Return windows whose scaled values the network's dtype can hold."""
        F, dtype = past.shape[2], self._dtype
        with np.errstate(over="ignore", invalid="ignore"):
            found = assemble(self._shape(), self._scaling(), past, future, exog)
        values.check_range("X", past, "float64", found.mean, found.scale)
        values.check_range("X", past, dtype, found.x[..., : 2 * F])
        values.check_range("exog", exog, dtype, found.x[..., 2 * F :])
        if future is not None and found.target is not None:
            values.check_range("X", future, dtype, found.target)
        return found
