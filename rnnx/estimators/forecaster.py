"""A forecaster: several steps ahead of each series, from a window of its past."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.metrics import r2_score

from rnnx import validate
from rnnx.data import chunks
from rnnx.estimators.base import RecurrentEstimator, unchanged_on_error
from rnnx.estimators.forecasting.learning import CHOSEN, Forecasting
from rnnx.estimators.forecasting.linear import Linear
from rnnx.estimators.forecasting.transform import LOG
from rnnx.estimators.forecasting.windows import SCALES, Shape
from rnnx.estimators.reading import inputs
from rnnx.estimators.reading.dates import read_step
from rnnx.estimators.reading.forms import on_host
from rnnx.estimators.reading.series import compared, continued, read_series
from rnnx.estimators.regressor import LOSSES
from rnnx.networks.options import Checks, auto, flag, one_of, optional, texts


@dataclass(eq=False, repr=False, kw_only=True)
class RNNForecaster(Forecasting):
    """Forecast several steps ahead of each series: a linear forecast, corrected by a network.

    The linear forecast averages autoregressions and exponential smoothing, weighted by their errors
    from rolling origins. The recurrent network reads a window of the past and then the steps ahead,
    where its input is the linear forecast and the exogenous values. Its outputs correct the linear
    forecast, as far as this helped in the held-out part of the series.

    Parameters
    ----------
    horizon : int
        Number of steps ahead.
    window : int or "auto"
        Number of past steps to read. "auto" is the largest of 32, two horizons and four seasons,
        but at most half of the shortest series.
    season : int or "auto"
        Number of steps in a season, 1 for none. "auto" finds it in the autocorrelation of the
        changes from step to step.
    log : {"auto", "always", "never"}
        Whether to forecast logarithms. "auto" does so if all values are above 0 and the linear
        forecast is then better. Later values below half of the smallest in `fit` count as that.
    scale : {"auto", "window", "standard"} or None
        How the network's values are scaled: by the mean and deviation of each window, which follows
        a trend, with both as further inputs; or by those of all series; or not at all. "auto" takes
        "window" if the level of windows varies about as much as the values.
    linear : bool
        Whether to begin with the linear forecast; else with the naive one, the value one season
        earlier.
    {network}
    loss : {"squared_error", "absolute_error", "huber"}
        Loss of the scaled values.
    validation_fraction : float or "auto"
        Fraction in [0, 1) of each series, at its end, that `fit` holds out. From it come the best
        epoch, `factor_` and, unless the linear forecast stays alone, the intervals. With "auto", a
        fifth or two horizons, all is then learned again from the whole series. With 0, `factor_`
        is 1.
    {budget}
    {batches}
    {layout}
    {place}

    Attributes
    ----------
    model_ : rnnx.Sequential
        The trained network.
    factor_ : numpy.ndarray, shape (horizon,)
        Factor in [0, 1] of the network's correction for each step ahead; 0 where it did not help.
    window_, season_ : int
        Number of past steps that are read, and of steps in a season.
    chosen_ : dict
        The options that may be "auto": what was chosen or given.
    history_ : rnnx.train.History
        The training history, of scaled values: of the training that held a part out, if any did.
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

    Notes
    -----
    Intervals are those of split-conformal prediction, from the absolute errors of forecasts from
    rolling origins in the training series, for each step ahead, divided by the square root of the
    window's deviation: a middle way, as the errors of some series are as large as their windows
    vary, and those of others are alike. The intervals hold the stated share of the truth if the
    errors to come are like those; no distribution is assumed.

    References
    ----------
    A linear path beside a recurrent one: G. Lai, W.-C. Chang, Y. Yang and H. Liu, "Modeling long-
    and short-term temporal patterns with deep neural networks", SIGIR 2018,
    doi:10.1145/3209978.3210006. Scaling by window: T. Kim et al., "Reversible instance
    normalization for accurate time-series forecasting against distribution shift", ICLR 2022. The
    seasonal naive forecast and exponential smoothing: R. J. Hyndman and G. Athanasopoulos,
    "Forecasting: principles and practice", 3rd ed., OTexts, 2021. Intervals: V. Vovk, A. Gammerman
    and G. Shafer, "Algorithmic learning in a random world", Springer, 2005; J. Lei et al.,
    "Distribution-free predictive inference for regression", JASA 113 (2018), 1094-1111; for series,
    C. Xu and Y. Xie, "Conformal prediction interval for dynamic time-series", ICML 2021.

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
    window: int | str = "auto"
    season: int | str = "auto"
    log: str = "auto"
    scale: str | None = "auto"
    linear: bool = True
    loss: str = "squared_error"
    learning_rate: float = 0.005

    _converged = 1e-6

    _checks: ClassVar[Checks] = RecurrentEstimator._checks | {
        "horizon": validate.size,
        "window": auto(validate.size),
        "season": auto(validate.size),
        "log": one_of(LOG),
        "scale": auto(optional(one_of(SCALES))),
        "linear": flag,
        "loss": one_of(LOSSES),
    }
    _auto = (*CHOSEN, *RecurrentEstimator._auto)
    _json: ClassVar[Checks] = RecurrentEstimator._json | {
        "_origins": validate.count,
        "_exog_size": validate.count,
        "_exog_columns": optional(texts),
        "_date_step": optional(read_step),
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def fit(self, X: Any, y: None = None, *, exog: Any = None, comm: Any = None) -> Self:
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
        comm : communicator, optional
            Train with all processes of a communicator, as `rnnx.train.fit` does. Give each the same
            data; what is random comes from rank 0.

        Returns
        -------
        self
        """
        with unchanged_on_error(self, comm):
            first = not (self.warm_start and hasattr(self, "model_"))
            return self._fit(X, exog, first=first)

    def partial_fit(self, X: Any, y: None = None, *, exog: Any = None, comm: Any = None) -> Self:
        """Train for one epoch on all windows of these series, continuing from the last call.

        Arguments are those of `fit`. After `fit`, the linear forecast, `factor_` and the intervals
        stay. Without it, the first call chooses and learns what comes before the network, which
        then has the factor 1 and no intervals.
        """
        with unchanged_on_error(self, comm):
            first = not hasattr(self, "model_")
            return self._fit(X, exog, first=first, once=True)

    def predict(self, X: Any, *, exog: Any = None, quantiles: Any = None) -> Any:
        """Forecast the steps after each series.

        Parameters
        ----------
        X : array or list of arrays
            As for `fit`, each series with at least `window_` steps. Or an iterator of such X, or a
            Dask array in chunks of series, each of them whole; without `exog`.
        exog : array or list of arrays
            If `fit` was given any: the values of each series' steps and of the horizon after them.
        quantiles : sequence of float, optional
            Quantiles in (0, 1) to forecast, such as ``(0.05, 0.5, 0.95)``; 0.5 is the forecast
            itself, and 0.05 to 0.95 an interval that holds 90 % of what follows.

        Returns
        -------
        numpy.ndarray, pandas.Series, pandas.DataFrame or list of these
            (n, horizon) for (n, T), (horizon,) for (T,), else (n, horizon, F), in the layout and
            the unit of X. If pandas objects have dates as their index, such objects with the dates
            ahead. With Q quantiles, an array, as of `numpy.quantile`: (Q, n, horizon) and so on.
            Of an iterator an iterator of these, of a Dask array a Dask array, lazily.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            Before `fit`, if a series is shorter than the window or has other features than in
            `fit`, or if too few forecasts were tested for these quantiles.
        """
        if chunks.given(X):
            if exog is not None:
                raise ValueError(
                    "exog cannot be given with chunks of series: predict each chunk with its exog, "
                    "as in (forecaster.predict(X, exog=exog) for X, exog in chunks)"
                )
            own = partial(self.predict, quantiles=quantiles)
            return self._by_chunk(own, X, out=0 if quantiles is None else 1)
        self._check_is_fitted()
        offsets = None if quantiles is None else self._offsets(quantiles)
        data = read_series(self, X, exog, reset=False, more=int(self._options["horizon"]))
        found = self._forecast(*self._latest(self._transform().of(data)), offsets)
        forecasts = continued(self, X, found)
        return forecasts[0] if quantiles is None else np.stack(forecasts)

    def score(self, X: Any, y: Any = None, *, exog: Any = None) -> float:
        """Return R² of the forecasts: 1 is perfect, 0 as good as the mean of the truth.

        Parameters
        ----------
        X, exog
            As for `predict`.
        y : array, optional
            What followed, in the shape that `predict` returns. By default, X is forecast from each
            of its steps that has a window before it and the horizon after it, and `exog` ends with
            X. Of several origins, each forecast counts. So a test part of `TimeSeriesSplit` is
            scored from its own past, and needs a window and a horizon.
        """
        self._check_is_fitted()
        if y is not None:
            return float(r2_score(*compared(on_host(self, y), self.predict(X, exog=exog))))
        data = read_series(self, X, exog, reset=False)
        _, future, _ = self._cut(data)
        past, _, exog = self._cut(self._transform().of(data))
        return float(r2_score(np.ravel(future), np.ravel(self._forecast(past, exog)[0])))

    def _arrays(self) -> dict[str, int]:
        F, E = inputs.features_of(self), self._exog_size
        shape = Shape(self.window_, self.horizon, self.season_)  # a file may be being read
        sizes = Linear.shapes(shape, F, E)
        path = dict(zip(("_past", "_outside", "_constant"), map(prod, sizes), strict=True))
        tested = {"factor_": self.horizon, "_scores": self._origins * self.horizon * F}
        scaling = {"_floor": F, "_mean": F, "_scale": F, "_exog_mean": E, "_exog_scale": E}
        return scaling | path | tested

    def _check_fitted(self) -> None:
        super()._check_fitted()
        if self.window_ < self.season_:
            raise ValueError(f"the window, {self.window_}, is shorter than a season")
        if not np.all((self.factor_ >= 0) & (self.factor_ <= 1)):
            raise ValueError(f"factor_ must be in [0, 1], got {self.factor_}")
        if len(self._exog_columns or "") not in (0, self._exog_size):
            raise ValueError(f"expected {self._exog_size} names of exogenous columns")
