"""What an index of pandas says: one series, its dates in order without gaps, and those ahead."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("pandas", reason="needs pandas")

import pandas as pd
from sklearn.base import clone
from test_estimator_inputs import EXOG, SERIES, SMALL, Y

import rnnx
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor

DAYS = pd.date_range("2024-01-01", periods=63, name="day")
MONTHS = pd.date_range("1950-01-01", periods=63, freq="MS")
UV = np.stack([SERIES, SERIES**2], axis=1)
FRAME = pd.DataFrame(UV, MONTHS[:60], ["u", "v"])


def forecaster(**options: Any) -> RNNForecaster:
    return RNNForecaster(3, **SMALL, **options)


def refused(words: str, call: Callable[[], Any]) -> None:
    """Assert that a call raises ValueError in one line with these words."""
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def without_frequency(index: Any) -> Any:
    return pd.DatetimeIndex(index.to_numpy(), name=index.name).tz_localize(index.tz)


@pytest.mark.parametrize("frequency", ["MS", "ME", "QS", "YS", "W-MON", "B", "BME", "D", "h", "s"])
def test_a_series_is_forecast_with_its_dates(frequency: str) -> None:
    """The values of the array, the dates of pandas, with the name, with and without a frequency."""
    index = pd.date_range("2019-12-30", periods=63, freq=frequency, name="when")
    expected = forecaster().fit(SERIES).predict(SERIES)
    for dates in (index, without_frequency(index)):
        series = pd.Series(SERIES, dates[:60], name="co2")
        found = forecaster().fit(series).predict(series)
        pd.testing.assert_series_equal(
            found, pd.Series(expected, index[60:], name="co2"), check_freq=False
        )


@pytest.mark.parametrize("frequency", ["M", "Q", "Y", "W", "D", "h"])
def test_periods_are_continued_too(frequency: str) -> None:
    """With the frequency that they have."""
    index = pd.period_range("2019-12", periods=63, freq=frequency)
    series = pd.Series(SERIES, index[:60])
    pd.testing.assert_index_equal(forecaster().fit(series).predict(series).index, index[60:])


@pytest.mark.parametrize(("frequency", "start"), [("D", "2024-01-30"), ("h", "2024-03-28 20:00")])
def test_dates_of_a_time_zone(frequency: str, start: str) -> None:
    """Days by the clock on the wall, hours by that of UTC, over the change to summer time."""
    index = pd.date_range(start, periods=63, freq=frequency, tz="Europe/Zurich")
    assert index[0].utcoffset() != index[-1].utcoffset()
    for dates in (index, pd.DatetimeIndex(index, freq=None)):
        series = pd.Series(SERIES, dates[:60])
        found = forecaster().fit(series).predict(series).index
        assert (found == index[60:]).all()


def test_a_calendar_of_its_own() -> None:
    """A frequency that pandas was given is followed, such as the third Friday of a month."""
    index = pd.date_range("2020-01-01", periods=63, freq="WOM-3FRI")
    series = pd.Series(SERIES, index[:60])
    assert (forecaster().fit(series).predict(series).index == index[60:]).all()
    refused("X must have dates at a step of 28 days", lambda: forecaster().fit(
        series.set_axis(without_frequency(index[:60]))))  # fmt: skip


def test_a_frame_with_dates_is_one_series() -> None:
    """A row per time: in fit, predict and score, with its columns in the forecast."""
    one, plain = forecaster().fit(FRAME), forecaster().fit([UV])
    assert one.feature_names_in_.tolist() == ["u", "v"]
    expected = plain.predict([UV])
    pd.testing.assert_frame_equal(
        one.predict(FRAME), pd.DataFrame(expected[0], MONTHS[60:], ["u", "v"]), check_freq=False
    )
    assert one.score(FRAME) == plain.score([UV])
    assert (one.predict(FRAME.to_period("M")).index == MONTHS[60:].to_period("M")).all()
    refused(
        "X must have the columns of fit in the same order", lambda: one.predict(FRAME[["v", "u"]])
    )


def test_lists_with_dates() -> None:
    """A list of frames, or of series, each with its own dates; arrays stay arrays."""
    one = forecaster().fit([FRAME, FRAME[5:50]])
    found = one.predict([FRAME, FRAME[5:50]])
    assert [type(part) for part in found] == [pd.DataFrame] * 2
    assert (found[1].index == MONTHS[50:53]).all()
    plain = forecaster().fit([UV, UV[5:50]]).predict([UV, UV[5:50]])
    assert isinstance(plain, np.ndarray)
    np.testing.assert_array_equal(np.stack(found), plain)
    series = [FRAME["u"], FRAME["v"][3:]]
    found = forecaster().fit(series).predict(series)
    assert [part.name for part in found] == ["u", "v"]
    refused(r"all series must have dates or none, got X\[1\] without and X\[0\] with them",
            lambda: one.predict([FRAME, UV]))  # fmt: skip


def test_a_table_with_dates_as_columns() -> None:
    """A series per row: the forecast has the same rows, and the dates ahead as columns."""
    table = FRAME.T
    expected = forecaster().fit(UV.T).predict(UV.T)
    pd.testing.assert_frame_equal(
        forecaster().fit(table).predict(table),
        pd.DataFrame(expected, ["u", "v"], MONTHS[60:]),
        check_freq=False,
    )
    refused("must have its dates in order", lambda: forecaster().fit(table[table.columns[::-1]]))
    both = table.set_axis(DAYS[:2])
    refused("dates as its index and as its columns", lambda: forecaster().fit(both))


def disorder(frame: Any) -> dict[str, tuple[Any, str]]:
    """Return data with dates that are not at a constant step, and the words for each."""
    again = pd.concat([frame[:5], frame[4:]])
    unknown = frame.set_axis([*frame.index[:-1], pd.NaT])
    return {
        "shuffled": (frame.sample(frac=1, random_state=0), r"in order, got .*: sort it, X\.sort"),
        "backward": (frame[::-1], "in order, got 1954-11-01 after 1954-12-01"),
        "twice": (again, "each date once, got 1950-05-01 twice"),
        "gap": (frame.drop(frame.index[7]), "at a step of 1 month, expected 1950-08-01 after 1950-0"
                r"7-01, got 1950-09-01: add the missing rows, as with X\.asfreq"),
        "missing": (unknown, "a date for each row, got a missing one"),
    }  # fmt: skip


@pytest.mark.parametrize("case", disorder(FRAME))
def test_dates_out_of_order_are_refused(case: str) -> None:
    """In fit and in predict; of a series, a frame, a list of frames, and exogenous values."""
    one = forecaster().fit(FRAME)
    data, words = disorder(FRAME)[case]
    for call in (lambda: forecaster().fit(data), lambda: one.predict(data)):
        refused("X must have .*" + words, call)
    refused("X must have .*" + words, lambda: forecaster().fit(data["u"]))
    refused(r"X\[1\] must have .*" + words, lambda: forecaster().fit([FRAME, data]))
    few = slice(0, len(data))
    refused(r"exog\[0\] must have .*" + words, lambda: forecaster().fit(SERIES[few], exog=data))
    assert one.predict(FRAME).shape == (3, 2)


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_sequences_with_dates_are_in_order(kind: Any) -> None:
    """A classifier takes dates with gaps, but none out of order."""
    rows = [FRAME[i : i + 9].drop(FRAME.index[i + 4]) for i in range(12)]
    found = kind(**SMALL).fit(rows, Y).predict(rows)
    plain = [row.to_numpy() for row in rows]
    np.testing.assert_array_equal(found, kind(**SMALL).fit(plain, Y).predict(plain))
    rows[7] = rows[7][::-1]
    refused(r"X\[7\] must have its dates in order", lambda: kind(**SMALL).fit(rows, Y))


def test_exogenous_values_have_the_dates_of_the_series() -> None:
    """Also ahead of it; without dates their rows count."""
    series = pd.Series(SERIES, DAYS[:60])
    exog = pd.DataFrame(EXOG, DAYS, ["p", "q"])
    one = forecaster().fit(series, exog=exog[:60])
    expected = forecaster().fit(SERIES, exog=EXOG[:60]).predict(SERIES, exog=EXOG)
    np.testing.assert_array_equal(one.predict(series, exog=exog), expected)
    np.testing.assert_array_equal(one.predict(series, exog=exog.set_axis(range(63))), expected)
    late = exog.set_axis(DAYS.shift(1))
    refused(r"exog\[0\] must have the dates of X\[0\], expected 2024-01-01 in row 0, got",
            lambda: forecaster().fit(series, exog=late[:60]))  # fmt: skip
    refused(r"dates of X\[0\] and those ahead, expected", lambda: one.predict(series, exog=late))
    other = exog.set_axis([*DAYS[:61], *DAYS.shift(1)[61:]])
    refused("expected 2024-03-02 in row 61, got 2024-03-03: take",
            lambda: one.predict(series, exog=other))  # fmt: skip
    both = forecaster().fit([series, series[9:]], exog=[exog[:60], exog[9:60]])
    assert len(both.predict([series, series[9:]], exog=[exog, exog[9:]])) == 2
    refused(r"exog\[1\] must have the dates of X\[1\] and those ahead",
            lambda: both.predict([series, series[9:]], exog=[exog, exog[8:62]]))  # fmt: skip


def test_the_step_of_fit_is_kept(tmp_path: Path) -> None:
    """By later calls, files and pickles: other steps are refused, a short past is understood."""
    index = pd.bdate_range("2024-01-01", periods=60)
    series = pd.Series(SERIES, without_frequency(index))
    one = forecaster(window=5).fit(series)
    one.save(tmp_path / "model.safetensors")
    again = [one, rnnx.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(one))]
    weekend = pd.Series(SERIES, DAYS[:60])
    for other in again:
        assert str(other.predict(series[:5]).index[0].date()) == "2024-01-08"  # not the Saturday
        refused("X has dates at a step of 1 day, but had 1 business day in fit",
                lambda other=other: other.predict(weekend))  # fmt: skip
        assert other.predict(SERIES).shape == (3,)
    refused("had 1 business day in fit", lambda: one.partial_fit(weekend))
    assert clone(one).fit(weekend).predict(weekend).index[0] == DAYS[60]
    unknown = forecaster(window=1).fit(SERIES)
    refused("X has one date, which does not say how long", lambda: unknown.predict(series[:1]))


def test_a_frame_without_dates_has_two_readings() -> None:
    """Unless its columns are numbers or steps by name: one line with both ways out."""
    frame = FRAME.reset_index(drop=True)
    refused(r"two readings: give \[X\] for one series .*, or X\.to_numpy\(\) for a series per row",
            lambda: forecaster().fit(frame))  # fmt: skip
    sensors = pd.DataFrame(UV.T, columns=[f"sensor {i}" for i in range(60)])
    refused("two readings", lambda: forecaster().fit(sensors))
    expected = forecaster().fit(UV.T).predict(UV.T)
    for names in (
        range(60), range(5, 65), [f"t{i}" for i in range(60)], [str(m)[:7] for m in MONTHS[:60]],
        np.arange(60) / 4,
    ):  # fmt: skip
        table = pd.DataFrame(UV.T, columns=names)
        np.testing.assert_array_equal(forecaster().fit(table).predict(table), expected)
        back = table[table.columns[::-1]]
        refused("two readings|in order", lambda back=back: forecaster().fit(back))


def test_dates_that_are_no_dates_yet() -> None:
    """Texts and Python's dates: how to convert them."""
    for index in (MONTHS[:60].astype(str), pd.Index(MONTHS[:60].date)):
        for data in (FRAME.set_axis(index), FRAME["u"].set_axis(index)):
            refused(r"X\.index = pandas\.to_datetime\(X\.index\)",
                    lambda data=data: forecaster().fit(data))  # fmt: skip


@pytest.mark.parametrize("kind", [RNNClassifier, RNNForecaster])
def test_an_index_of_two_levels(kind: Any) -> None:
    """Several sequences in one frame: the words that make a list of them work."""
    panel = pd.concat({"a": FRAME, "b": FRAME}, names=["id", "month"])
    refused(r"levels, expected one: give a list", lambda: kind(**SMALL).fit(panel, Y))
    rows = [x.droplevel(0) for _, x in panel.groupby(level=0, sort=False)]
    assert [len(part) for part in rows] == [60, 60]
    kind(**SMALL).fit(rows, [0, 1])


def test_what_followed_has_the_form_of_the_forecast() -> None:
    """A score with pandas's y: its dates, columns and shape are those of the forecast."""
    one = forecaster().fit(FRAME[:57])
    truth = FRAME[57:]
    found = one.score(FRAME[:57], truth)
    assert found == one.score(FRAME[:57], truth.to_numpy())
    assert found == one.score([FRAME[:57]], [truth])
    refused("y must have the dates of the forecast, expected 1954-10-01",
            lambda: one.score(FRAME[:57], FRAME[56:59]))  # fmt: skip
    refused("y must have the columns of X", lambda: one.score(FRAME[:57], truth[["v", "u"]]))
    refused(r"y must have the shape of the forecast, \(3, 2\), got \(2, 3\)",
            lambda: one.score(FRAME[:57], truth.to_numpy().T))  # fmt: skip
    refused("y must be of 1 series", lambda: one.score([FRAME[:57]], [truth, truth]))
