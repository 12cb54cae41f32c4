"""A forecaster: several steps ahead of each series, from a window of its past."""

from __future__ import annotations

from os import PathLike
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from rnnx import io, validate
from rnnx.data import Sequences
from rnnx.estimators import inputs, saving
from rnnx.estimators.regressor import LOSSES
from rnnx.estimators.training import Continued, build, held_out_fraction, train_model
from rnnx.estimators.windows import Scaling, Shape, Windows, assemble, future_only, sliding
from rnnx.train import History, predict

SCALES = ("window", "standard")


class RNNForecaster(BaseEstimator):
    """Forecast several steps ahead of each series with a recurrent network.

    The network reads a window of the past and then the steps ahead, for which it gets the naive
    forecast (the value of one season before) and the exogenous values; its outputs correct the
    naive forecast. It is trained with Adam on all windows of all series.

    Parameters
    ----------
    horizon : int
        Steps ahead.
    window : int or None
        Steps of the past that are read; by default the most of 32, two horizons and four seasons,
        or what the shortest series has.
    season : int
        Steps of a season: the naive forecast is the value that many steps before, and with 1 the
        last value.
    scale : {"window", "standard"} or None
        Scaling inside: by mean and deviation of each window, which follows a trend; of all series
        together; or none.
    hidden_size : int
        Units of a layer.
    cell : {"gru", "lstm", "rnn"}
        The recurrent layers' kind.
    num_layers : int
        How many are stacked.
    loss : {"squared_error", "absolute_error", "huber"}
        What is minimized, of scaled values.
    dropout, epochs, batch_size, learning_rate, schedule, weight_decay, clip_norm
        The training, as of `RNNClassifier`; an epoch is all windows.
    validation_fraction : float
        In [0, 1): the share of each series, at its end, that is held out in `fit`; the parameters
        that are best on it are kept.
    patience, backend, device, dtype, random_state, verbose
        As of `RNNClassifier`.

    Attributes
    ----------
    model_ : rnnx.Sequential
        The network.
    window_ : int
        The steps of the past that are read.
    history_ : rnnx.train.History
        The figures of the last training, of scaled values.
    n_features_in_, n_iter_ : int
        Values a step (for a table (n, T), its columns); epochs done.

    Raises
    ------
    ValueError
        In `fit`: for series too short for a window and the horizon, numbers that are not finite,
        options outside their ranges.

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

    _fitted = (
        "n_features_in_", "n_iter_", "window_", "_steps_in", "_mean", "_scale", "_exog_mean",
        "_exog_scale",
    )  # fmt: skip

    def __init__(
        self,
        horizon: int = 1,
        *,
        window: int | None = None,
        season: int = 1,
        scale: str | None = "window",
        hidden_size: int = 32,
        cell: str = "gru",
        num_layers: int = 1,
        loss: str = "squared_error",
        dropout: float = 0.0,
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 0.005,
        schedule: str = "cosine",
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        backend: Any = "numpy",
        device: Any = None,
        dtype: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.horizon = horizon
        self.window = window
        self.season = season
        self.scale = scale
        self.hidden_size = hidden_size
        self.cell = cell
        self.num_layers = num_layers
        self.loss = loss
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.backend = backend
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = False
        return tags

    def fit(self, X: Any, y: None = None, *, exog: Any = None) -> Self:
        """Fit to series, from new weights.

        Where this ends by an error, or is interrupted, the forecaster stays as it was.

        Parameters
        ----------
        X : array or list of arrays
            n series, oldest value first: (n, T), (n, T, F), a list of (T_i, F), or one (T,).
        y : None
            Not used: the series are their own targets.
        exog : array or list of arrays, optional
            Other values of each step, known ahead, in the form of X: (n, T, E), a list of (T_i, E),
            or (T, E) for one series.

        Returns
        -------
        self
        """
        with saving.unchanged_on_error(self):
            epochs = validate.size("epochs", self.epochs)
            series, outside = self._read(X, exog, reset=True)
            fraction = held_out_fraction(self)
            self._start(series, outside, fraction)
            return self._train(series, outside, epochs, fraction)

    def partial_fit(self, X: Any, y: None = None, *, exog: Any = None) -> Self:
        """Go through all windows of these series once, from where the last call ended.

        Arguments are those of `fit`; window and scaling are those of the first call.
        """
        first = not hasattr(self, "model_")
        with saving.unchanged_on_error(self):
            series, outside = self._read(X, exog, reset=first)
            if first:
                self._start(series, outside, 0.0)
            return self._train(series, outside, 1, 0.0)

    def predict(self, X: Any, *, exog: Any = None) -> np.ndarray:
        """Return what follows each series.

        Parameters
        ----------
        X : array or list of arrays
            As for `fit`; of any lengths from `window_` on.
        exog : array or list of arrays
            As for `fit`, where it was given: of each series' steps and the horizon after them.

        Returns
        -------
        numpy.ndarray
            (n, horizon) for (n, T), (horizon,) for (T,), else (n, horizon, F); in the unit of X.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            Before `fit`; for series shorter than the window, or other features than in `fit`.
        """
        check_is_fitted(self, "model_")
        series, outside = self._read(X, exog, reset=False, ahead=True)
        forecast = self._forecast(series, outside)
        if isinstance(X, list | tuple) and inputs.is_list(X):
            return forecast
        axes = np.ndim(X)
        return forecast[0, :, 0] if axes == 1 else forecast[:, :, 0] if axes == 2 else forecast

    def score(self, X: Any, y: Any = None, *, exog: Any = None) -> float:
        """Return R² of forecasts; 1 is perfect, 0 that of the truth's mean.

        Parameters
        ----------
        X, exog
            As for `predict`.
        y : array, optional
            What followed, in the shape that `predict` returns. By default the last `horizon` steps
            of each series are forecast from those before them, and `exog` ends with X.
        """
        check_is_fitted(self, "model_")
        if y is not None:
            predicted, y = self.predict(X, exog=exog), inputs.on_host(self, y)
            return float(r2_score(np.ravel(y), np.ravel(predicted)))
        series, outside = self._read(X, exog, reset=False)
        shape = self._shape()
        self._check_lengths(series, shape.steps)
        past = [row[: -shape.horizon] for row in series]
        truth = np.stack([row[-shape.horizon :] for row in series])
        return float(r2_score(np.ravel(truth), np.ravel(self._forecast(past, outside))))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted forecaster to a file that `load` reads, without pickle.

        The options are those that it was fitted with, whatever was set since.
        """
        check_is_fitted(self, "model_")
        header, arrays = saving.packed(self, self._fitted)
        io.save(path, type(self).__name__, header, arrays)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        backend: Any = "numpy",
        device: Any = None,
        dtype: str | None = None,
    ) -> Self:
        """Return the forecaster that `save` wrote, on any backend."""
        return saving.load(cls, cls._fitted, path, backend, device, dtype)

    def _read(
        self, X: Any, exog: Any, *, reset: bool, ahead: bool = False
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the series (T_i, F) and their exogenous values; of the horizon too, if `ahead`."""
        X, exog = inputs.on_host(self, X), inputs.on_host(self, exog)
        single = not inputs.is_list(X) and np.ndim(X) == 1
        rows = np.asarray(X)[None] if single else X
        series = list(inputs.read_sequences(self, rows, reset=reset, any_length=True))
        more = int(self._options["horizon"]) if ahead else 0
        return series, self._read_exog(exog, series, single, more, reset)

    def _read_exog(
        self, exog: Any, series: list[np.ndarray], single: bool, more: int, reset: bool
    ) -> list[np.ndarray]:
        expected = None if reset else len(self._exog_mean)
        if exog is None:
            if expected:
                raise ValueError(f"exog must have {expected} values a step, as in fit, got none")
            return [np.zeros((len(row) + more, 0)) for row in series]
        given = [exog] if single else list(np.asarray(exog) if hasattr(exog, "iloc") else exog)
        if len(given) != len(series):
            raise ValueError(f"exog must be of {len(series)} series like X, got {len(given)}")
        found: list[np.ndarray] = []
        for i, (row, values) in enumerate(zip(series, given, strict=True)):
            array = np.asarray(values, dtype="float64")
            array = array[:, None] if array.ndim == 1 else array
            if array.ndim != 2 or len(array) != len(row) + more or not array.shape[1]:
                raise ValueError(
                    f"exog[{i}] must have shape ({len(row) + more}, E): a row for each step of "
                    f"X[{i}]{f' and of the {more} steps ahead' if more else ''}, got {array.shape}"
                )
            if not np.all(np.isfinite(array)):
                raise ValueError(f"exog[{i}] contains NaN or infinity: remove or fill them")
            expected = array.shape[1] if expected is None else expected
            if array.shape[1] != expected:
                raise ValueError(
                    f"exog must have {expected} values a step, "
                    f"{'like exog[0]' if reset else 'as in fit'}, got {array.shape[1]} in exog[{i}]"
                )
            found.append(array)
        return found

    def _shape(self) -> Shape:
        return Shape(self.window_, int(self._options["horizon"]), int(self._options["season"]))

    def _start(self, series: list[np.ndarray], outside: list[np.ndarray], fraction: float) -> None:
        """Choose the window, learn the scaling of what is not held out, and make a new model."""
        self._options = self.get_params(deep=False)
        horizon, season = (validate.size(k, getattr(self, k)) for k in ("horizon", "season"))
        if self.scale is not None:
            validate.one_of("scale", self.scale, SCALES)
        parts = _kept(series, fraction)
        shortest = min(part.stop for part in parts)
        if self.window is None:
            self.window_ = max(season, min(shortest - horizon, max(32, 2 * horizon, 4 * season)), 1)
        else:
            self.window_ = validate.size("window", self.window)
        if self.window_ < season:
            raise ValueError(f"window must be at least the season, {season}, got {self.window_}")
        self._check_lengths(series, self.window_ + horizon)
        self._mean, self._scale = inputs.moments(_cut(series, parts))
        self._exog_mean, self._exog_scale = inputs.moments(_cut(outside, parts))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self._rng = np.random.default_rng(seed)
        self._rebuild()
        self.n_iter_ = 0

    def _rebuild(self) -> None:
        """Make the model that these sizes ask for."""
        if not hasattr(self, "_rng"):
            self._rng = np.random.default_rng(0)
        inputs_ = 2 * len(self._mean) + len(self._exog_mean) + 1
        self.model_ = build(self, inputs_, len(self._mean), self._rng)
        self._opt_state = None
        self.history_ = History()

    def _check_lengths(self, series: list[np.ndarray], least: int) -> None:
        for i, row in enumerate(series):
            if len(row) < least:
                raise ValueError(
                    f"each series must have at least {least} steps, the window's {self.window_} "
                    f"and those ahead, got {len(row)} in X[{i}]"
                )

    def _scaling(self) -> Scaling:
        kind = self._options["scale"]
        return Scaling(kind, self._mean, self._scale, self._exog_mean, self._exog_scale)

    def _train(
        self, series: list[np.ndarray], outside: list[np.ndarray], epochs: int, fraction: float
    ) -> Self:
        """Learn all windows, but for those of a fraction of each series, at its end."""
        shape = self._shape()
        self._check_lengths(series, shape.steps)
        kept = _kept(series, fraction)
        held = [len(row) - part.stop for row, part in zip(series, kept, strict=True)]
        last = [slice(-(n + shape.window), None) for n in held]
        if fraction and min(held) < shape.horizon:
            raise ValueError(
                f"validation_fraction={fraction} holds out {min(held)} steps of a series, fewer "
                f"than the horizon, {shape.horizon}: give a larger one"
            )
        if fraction:
            self._check_lengths(_cut(series, kept), shape.steps)
        data = self._windows(shape, series, outside, kept)
        held_out = self._windows(shape, series, outside, last) if fraction else None
        optimizer = Continued(self, self._opt_state)
        loss = LOSSES[validate.one_of("loss", self.loss, LOSSES)]
        self.history_ = train_model(
            self, self.model_, data, held_out, optimizer, future_only(loss, shape.horizon), {},
            epochs, self._rng,
        )  # fmt: skip
        self._opt_state = optimizer.state
        self.n_iter_ += len(self.history_["epoch"])
        return self

    def _windows(
        self, shape: Shape, series: list[np.ndarray], outside: list[np.ndarray], parts: list[slice]
    ) -> Sequences:
        """Return all windows of a part of each series."""
        whole = np.concatenate([sliding(row, shape.steps) for row in _cut(series, parts)])
        around = [sliding(row, shape.steps) for row in _cut(outside, parts)]
        past, future = whole[:, : shape.window], whole[:, shape.window :]
        windows = assemble(shape, self._scaling(), past, future, np.concatenate(around))
        return Sequences(windows.x, windows.target)

    def _forecast(self, series: list[np.ndarray], outside: list[np.ndarray]) -> np.ndarray:
        """Return the forecasts (n, horizon, F) of series whose exog goes on for the horizon."""
        shape = self._shape()
        self._check_lengths(series, shape.window)
        past = np.stack([row[-shape.window :] for row in series])
        around = np.stack([row[-shape.steps :] for row in outside])
        windows: Windows = assemble(shape, self._scaling(), past, None, around)
        return windows.values(predict(self.model_, windows.x))


def _kept(series: list[np.ndarray], fraction: float) -> list[slice]:
    """Return the part of each series that is learned where a fraction at its end is held out."""
    return [slice(0, len(row) - int(fraction * len(row))) for row in series]


def _cut(rows: list[np.ndarray], parts: list[slice]) -> list[np.ndarray]:
    return [row[part] for row, part in zip(rows, parts, strict=True)]
