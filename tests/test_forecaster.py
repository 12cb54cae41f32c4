"""The forecaster: its linear path, its choices, its intervals, its selection by scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score

import rnnx
from rnnx.estimators import RNNForecaster
from rnnx.estimators.forecasting import calibration, choices, linear, smoothing
from rnnx.estimators.forecasting.autoregression import Kind, kinds, regress
from rnnx.estimators.forecasting.windows import Shape
from rnnx.estimators.reading.forms import Series

FAST: dict[str, Any] = {"hidden_size": 4, "epochs": 2, "n_estimators": 1, "random_state": 0}


def autoregressive(n: int, seed: int = 0, noise: float = 1.0) -> np.ndarray:
    """Return y_t = 1.5 y_{t-1} - 0.75 y_{t-2} + noise, from a start far from its mean."""
    rng = np.random.default_rng(seed)
    y = np.zeros(n + 50)
    y[:2] = 5
    for t in range(2, n + 50):
        y[t] = 1.5 * y[t - 1] - 0.75 * y[t - 2] + noise * rng.standard_normal()
    return y[50:] if noise else y[:n]


def test_a_regression_finds_its_process() -> None:
    """Without noise, the coefficients of y itself, whatever differences were taken."""
    y = autoregressive(60, noise=0) + 3
    none = [np.zeros((60, 0))]
    for d in ([1.0], [1.0, -1.0]):
        found = regress([Kind(np.asarray(d), [2], True, False)], [y], none, 8)
        ahead = found.forecast(y[None, 20:28], np.zeros((1, 13, 0)))  # by penalty
        np.testing.assert_allclose(ahead[0, 0], y[28:33], atol=1e-4)
        past = -np.convolve(d, [1, -1.5, 0.75])[1:]
        np.testing.assert_allclose(found.past[0, : len(past)], past, atol=1e-4)


def test_a_regression_on_exogenous_values_finds_them() -> None:
    """y_t = 0.6 y_{t-1} + 2 x_t - x_{t-1}: each coefficient, and the forecast."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 1)), np.zeros(200)
    for t in range(1, 200):
        y[t] = 0.6 * y[t - 1] + 2 * x[t, 0] - x[t - 1, 0]
    found = regress([Kind(np.ones(1), [1], True, True)], [y], [x], 6)
    np.testing.assert_allclose(found.past[0], [0.6, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.exog[0, :, 0], [2, -1, 0, 0, 0, 0], atol=1e-6)
    ahead = found.forecast(y[None, 50:56], x[None, 50:60])
    np.testing.assert_allclose(ahead[0, 0], y[56:60], atol=1e-6)


def test_smoothing_is_that_of_its_equations() -> None:
    """The recursion written out for one window; and what a line and a season must give."""
    y = np.random.default_rng(0).standard_normal(12)
    parameters = np.asarray([[0.3, 0.0, 1.0, np.nan]])
    level = y[:8].mean()
    for value in y:
        level += 0.3 * (value - level)
    found = smoothing.forecast(parameters, y[None], 2, 4)
    np.testing.assert_allclose(found[0, 0], [level, level])
    t = np.arange(30)
    exact = 2 + 0.5 * t + np.asarray([1.0, -2.0, 1.0])[t % 3]
    both = smoothing.forecast(np.asarray([[0.2, 0.1, 1.0, 0.1]]), exact[None, :24], 6, 3)
    np.testing.assert_allclose(both[0, 0], exact[24:], atol=1e-9)


def test_the_path_is_the_average_of_its_candidates() -> None:
    """On windows that it has not seen: one linear function, exogenous values included."""
    rng = np.random.default_rng(0)
    shape = Shape(8, 3, 4)
    some = linear._Candidates(
        smoothing.candidates(4, 8)[::40],
        regress(kinds(8, 4, 60, 1)[:2], [rng.standard_normal(60)], [rng.random((60, 1))], 8),
        4,
    )
    past, exog = rng.standard_normal((5, 8)), rng.standard_normal((5, 11, 1))
    forecasts = some.forecast(past, exog)
    weights = rng.dirichlet(np.ones(len(forecasts)))
    parts = linear._path(some, weights, shape, 1)
    path = linear.Linear(*(part[None] for part in parts))
    np.testing.assert_allclose(
        path.forecast(past[..., None], exog)[..., 0], np.tensordot(weights, forecasts, 1)
    )


def test_the_linear_path_is_as_good_as_its_process() -> None:
    """Errors of an autoregression's forecasts within a tenth of those that nobody can avoid."""
    y = autoregressive(900)
    forecaster = RNNForecaster(1, season=1, log="never", **FAST).fit(y[:300])
    steps = range(300, 899)
    error = [forecaster.predict(y[t - 40 : t])[0] - y[t] for t in steps]
    assert np.std(error) < 1.1  # of noise with deviation 1
    smooth = np.sin(np.arange(400) / 5) + np.sin(np.arange(400) / 9)
    exact = RNNForecaster(1, **FAST).fit(smooth[:300])
    assert abs(exact.predict(smooth[:399])[0] - smooth[399]) < 1e-4


def test_a_network_that_does_not_help_is_left_out() -> None:
    """White noise: the factor is 0 and the forecast is the linear one."""
    noise = np.random.default_rng(0).standard_normal(300)
    forecaster = RNNForecaster(2, **FAST | {"epochs": 30}).fit(noise)
    np.testing.assert_array_equal(forecaster.factor_, 0)
    past = noise[None, -forecaster.window_ :, None]
    z = (past - forecaster._mean) / forecaster._scale
    ahead = forecaster._path().forecast(z, np.zeros((1, forecaster.window_ + 2, 0)))
    np.testing.assert_allclose(
        forecaster.predict(noise), (ahead * forecaster._scale + forecaster._mean)[0, :, 0]
    )


def test_a_network_that_helps_is_used() -> None:
    """The logistic map, which no linear forecast can follow."""
    y = np.full(400, 0.3)
    for t in range(1, 400):
        y[t] = 3.9 * y[t - 1] * (1 - y[t - 1])
    options = {"n_estimators": 1, "hidden_size": 16, "epochs": 40, "random_state": 0}
    both, alone = (RNNForecaster(1, **options, linear=k).fit(y[:300]) for k in (True, False))
    assert both.factor_[0] > 0.5
    assert both.score(y[250:]) > 0.8
    assert alone.score(y[250:]) > 0.8
    np.testing.assert_array_equal(alone.factor_, 1)


def test_factors_need_more_than_chance() -> None:
    """A correction of half the error is worth twice itself; noise and few origins nothing."""
    rng = np.random.default_rng(0)
    error = rng.standard_normal((60, 3, 2))
    np.testing.assert_allclose(calibration.factors(error, error / 0.5), 0.5)
    np.testing.assert_array_equal(calibration.factors(error, error / 4), 1)  # no more than 1
    np.testing.assert_array_equal(calibration.factors(error, -error), 0)
    np.testing.assert_array_equal(calibration.factors(error, rng.standard_normal((60, 3, 2))), 0)
    np.testing.assert_array_equal(calibration.factors(error[:29], error[:29]), 0)


@pytest.mark.parametrize("period", [1, 2, 4, 7, 12, 24])
def test_a_season_is_found(period: int) -> None:
    """Beside a trend and noise; none in white noise, in a random walk or in a constant."""
    rng = np.random.default_rng(period)
    t = np.arange(150)
    pattern = rng.standard_normal(period) * 3 * (period > 1)
    y = pattern[t % period] + 0.05 * t + rng.standard_normal(150)
    assert choices.season([y[:, None], y[20:, None]]) == period
    assert choices.season([np.cumsum(rng.standard_normal(150))[:, None]]) == 1
    assert choices.season([np.ones((30, 1))]) == choices.season([np.ones((4, 1))]) == 1


def test_choices_are_told_and_can_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    """In `chosen_`, in words, and by hand."""
    t = np.arange(96)
    y = np.exp(0.02 * t + 0.5 * np.sin(2 * np.pi * t / 12)) * 50
    one = RNNForecaster(6, **FAST, verbose=True).fit(y)
    expected = {"window": 45, "season": 12, "log": "always", "scale": "window"}
    assert expected.items() <= one.chosen_.items()
    assert "season=12" in capsys.readouterr().out
    assert (one.window_, one.season_) == (45, 12)
    given = {"window": 20, "season": 4, "log": "never", "scale": None}
    other = RNNForecaster(6, **FAST, **given).fit(y)
    assert given.items() <= other.chosen_.items()
    with pytest.raises(ValueError, match='above 0 for log="always"'):
        RNNForecaster(6, log="always", **FAST).fit(y - 200)
    assert np.all(np.isfinite(one.predict(np.maximum(y - 60, 0))))  # zeros count as small values


@pytest.mark.parametrize("log", ["never", "always"])
def test_intervals_hold_what_they_say(log: str) -> None:
    """90 % of what follows, for each of four steps, and half of it between the quartiles."""
    y = autoregressive(1500, seed=3)
    y = np.exp(y / 10) if log == "always" else y
    forecaster = RNNForecaster(4, season=1, log=log, **FAST).fit(y[:700])
    origins = range(700, 1496)
    q = np.stack([forecaster.predict(y[t - 40 : t], quantiles=(0.05, 0.25, 0.5, 0.75, 0.95))
                  for t in origins], axis=1)  # fmt: skip
    truth = np.stack([y[t : t + 4] for t in origins])
    assert np.all(np.diff(q, axis=0) >= 0)
    np.testing.assert_allclose(np.mean((q[0] <= truth) & (truth <= q[4])), 0.9, atol=0.03)
    np.testing.assert_allclose(np.mean((q[1] <= truth) & (truth <= q[3])), 0.5, atol=0.05)
    np.testing.assert_array_equal(q[2, 0], forecaster.predict(y[660:700]))


def test_offsets_are_those_of_conformal_prediction() -> None:
    """The ⌈(N + 1)(1 - α)⌉-th smallest error; a refusal where there are too few for that."""
    scores = np.arange(1.0, 20)[:, None, None]  # 19 errors
    np.testing.assert_array_equal(
        calibration.offsets(scores, [0.05, 0.5, 0.95, 0.75])[:, 0, 0], [-18, 0, 18, 10]
    )
    assert calibration.offsets(scores, [0.975])[0, 0, 0] == 19
    with pytest.raises(ValueError, match=r"quantile 0\.97\d* needs .* forecasts .*, got 19"):
        calibration.offsets(scores, [0.976])
    with pytest.raises(ValueError, match="quantiles must be numbers between 0 and 1"):
        calibration.read_quantiles([0.5, 1.0])
    with pytest.raises(ValueError, match="quantiles must be numbers between 0 and 1, got 'low'"):
        calibration.read_quantiles("low")


def test_quantiles_in_every_form_and_in_files(tmp_path: Path) -> None:
    """Quantiles come first, then the form of the forecast; a file keeps them bit for bit."""
    t = np.arange(120)
    y = np.stack([np.sin(t / 3), np.cos(t / 5)], axis=1)
    y = y + 0.1 * np.random.default_rng(0).standard_normal(y.shape)
    for X, form in ((y[:, 0], (3,)), (y.T, (2, 3)), ([y, y[20:]], (2, 3, 2))):
        forecaster = RNNForecaster(3, **FAST).fit(X)
        q = forecaster.predict(X, quantiles=[0.1, 0.5, 0.9])
        assert q.shape == (3, *form)
        np.testing.assert_array_equal(q[1], forecaster.predict(X))
        forecaster.save(tmp_path / "model.safetensors")
        loaded: Any = rnnx.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(loaded.predict(X, quantiles=[0.1, 0.5, 0.9]), q)
        assert loaded.chosen_ == forecaster.chosen_
    untested = RNNForecaster(3, validation_fraction=0, **FAST).fit(y[:, 0])
    with pytest.raises(ValueError, match="needs 9 forecasts of known steps to calibrate, got 0"):
        untested.predict(y[:, 0], quantiles=[0.05])


def test_selection_by_scikit_learn() -> None:
    """One series in the splits of time, each test part forecast from its own past."""
    y = autoregressive(200, noise=0.1)
    split = TimeSeriesSplit(3, test_size=40)
    one = RNNForecaster(2, window=12, season=1, **FAST)
    assert cross_val_score(one, y, cv=split).min() > 0.5
    search = GridSearchCV(one, {"window": [8, 16]}, cv=split, error_score="raise").fit(y)
    assert search.predict(y).shape == (2,)
    assert search.best_estimator_.window_ in (8, 16)
    fitted = search.best_estimator_
    ends = range(fitted.window_, 39)
    forecasts = [fitted.predict(y[160 : 160 + end]) for end in ends]
    truth = np.stack([y[160 + end : 162 + end] for end in ends])
    rest = np.sum((truth - forecasts) ** 2) / np.sum((truth - truth.mean()) ** 2)
    assert fitted.score(y[160:]) == pytest.approx(1 - rest)
    with pytest.raises(ValueError, match="at least 18 steps, the window's 16 and those ahead"):
        RNNForecaster(2, window=16, season=1, **FAST).fit(y).score(y[:17])


def test_windows_tell_their_level_and_spread() -> None:
    """A daily demand by temperature and holidays: as good with either scale."""
    rng = np.random.default_rng(0)
    t = np.arange(500)
    heat = 15 + 10 * np.sin(2 * np.pi * t / 365) + 3 * rng.standard_normal(500)
    holiday = ((t % 7 == 6) | (rng.random(500) < 0.03)).astype(float)
    demand = 100 + np.maximum(0, heat - 18) * 3 - 25 * holiday + 2 * rng.standard_normal(500)
    exog, options = np.stack([heat, holiday], axis=1), FAST | {"hidden_size": 16, "epochs": 20}
    scores = [
        RNNForecaster(7, scale=scale, **options).fit(demand[:400], exog=exog[:400])
        .score(demand[340:], exog=exog[340:])
        for scale in ("window", "standard")
    ]  # fmt: skip
    assert min(scores) > 0.9
    assert abs(scores[0] - scores[1]) < 0.05


@pytest.mark.parametrize(
    "X",
    [
        np.full(40, 3.0),
        np.arange(20.0),
        np.zeros((1, 30)),
        np.ones((2, 25, 3)),
        np.arange(6.0) ** 2,
    ],
    ids=["constant", "line", "zeros", "three features", "six steps"],
)
def test_series_with_little_in_them(X: np.ndarray) -> None:
    """A constant goes on, a line as well; short ones are learned without a network."""
    forecaster = RNNForecaster(2, **FAST).fit(X)
    found = forecaster.predict(X)
    assert np.all(np.isfinite(found))
    if np.ptp(X) == 0:
        np.testing.assert_allclose(found, X.flat[0], atol=1e-3)
    elif X.size == 20:
        np.testing.assert_allclose(found, [20, 21], atol=0.5)


def test_the_same_seed_gives_the_same_forecast() -> None:
    """Bit for bit, quantiles included."""
    y = autoregressive(150)
    one, other = (RNNForecaster(3, **FAST).fit(y).predict(y, quantiles=[0.1, 0.9]) for _ in "ab")
    np.testing.assert_array_equal(one, other)


def test_several_series_are_learned_together() -> None:
    """Of different lengths; what is learned of one serves the others."""
    rows = [autoregressive(n, seed=n) for n in (60, 80, 150)]
    forecaster = RNNForecaster(1, **FAST).fit(rows)
    assert forecaster.predict(rows).shape == (3, 1, 1)
    data = Series([row[:, None] for row in rows], [np.zeros((len(row), 0)) for row in rows])
    ends = {fold.ends[0] for fold in linear.folds([len(row) for row in rows], Shape(10, 2, 1))}
    assert max(ends) <= 60
    assert linear.learn(data, Shape(10, 2, 1))[1].truth.shape[1:] == (2, 1)
