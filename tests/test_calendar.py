"""Dates: their step, where it breaks and what comes next, against pandas's own calendars."""

from __future__ import annotations

import numpy as np
import pytest

from rnnx.calendar import Step, find

FREQUENCIES = {
    "MS": Step("month", 1), "ME": Step("month", 1), "2MS": Step("month", 2),
    "QS": Step("month", 3), "QE": Step("month", 3), "YS": Step("month", 12),
    "YE-JUN": Step("month", 12), "BMS": Step("month", 1), "BME": Step("month", 1),
    "B": Step("business day", 1), "D": Step("day", 1), "W-WED": Step("day", 7),
    "10D": Step("day", 10), "h": Step("hour", 1), "6h": Step("hour", 6),
    "90min": Step("minute", 90), "s": Step("second", 1), "250ms": Step("millisecond", 250),
    "7us": Step("microsecond", 7), "3ns": Step("nanosecond", 3),
}  # fmt: skip


def dates(*texts: str) -> np.ndarray:
    return np.asarray(texts, dtype="M8[us]")


@pytest.mark.parametrize("start", ["1999-12-20", "2023-12-31 17:30"])
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_the_dates_ahead_are_those_of_pandas(frequency: str, start: str) -> None:
    """For every start in two years of a month, over leap days and weekends, with a time of day."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    at = pd.date_range(start, periods=60, freq=frequency).to_numpy()
    if frequency.endswith("ns"):
        at = at.astype("M8[ns]")
    for first in range(12):
        known = at[first:36]
        step = find([known])
        assert step == FREQUENCIES[frequency]
        assert not len(step.breaks(known))
        np.testing.assert_array_equal(step.ahead(known, 24), at[36:])


def test_days_of_a_month() -> None:
    """Any day, the last ones cut to short months."""
    for day in (2, 15, 29, 30):
        months = np.arange("2023-09", "2025-09", dtype="M8[M]")
        end = (months + 1).astype("M8[D]") - 1
        at = np.minimum(months.astype("M8[D]") + day - 1, end)
        step = find([at[:12]])
        assert step == Step("month", 1)
        np.testing.assert_array_equal(step.ahead(at[:12], 12), at[12:])


@pytest.mark.parametrize("frequency", ["MS", "B", "D", "h", "QE"])
def test_a_gap_is_found_where_it_is(frequency: str) -> None:
    """Whatever date is left out, but for the ends; and a date that is too many."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    at = pd.date_range("2023-12-31", periods=30, freq=frequency).to_numpy()
    for i in range(1, 29):
        gappy = np.delete(at, i)
        step = find([gappy])
        assert step == FREQUENCIES[frequency]
        assert step.breaks(gappy).tolist() == [i]
        assert step.after(gappy)[i - 1] == at[i]
    more = np.insert(at, 4, at[3] + (at[4] - at[3]) // 2)
    assert find([more]).breaks(more)[0] == 4


def test_series_share_a_step_and_keep_their_own_days() -> None:
    """Each month on the first or on the last day; a week of workdays among business days."""
    first, last = dates("2024-01-01", "2024-02-01"), dates("2024-01-31", "2024-02-29", "2024-03-31")
    step = find([first, last])
    assert step == Step("month", 1)
    assert step.ahead(first, 1) == dates("2024-03-01")
    assert step.ahead(last, 1) == dates("2024-04-30")
    week = np.arange("2024-01-01", "2024-01-06", dtype="M8[D]")
    assert find([week]) == Step("day", 1)
    assert find([week], Step("business day", 1)) == Step("business day", 1)
    assert find([week, dates("2024-01-05", "2024-01-08", "2024-01-09")]) == Step("business day", 1)


def test_the_known_step_is_kept_only_if_it_fits() -> None:
    """One date has no step, and takes any; other dates have their own."""
    assert find([dates("2024-01-01")]) is None
    assert find([dates("2024-01-01")], Step("hour", 6)) == Step("hour", 6)
    monthly = dates("2024-01-01", "2024-02-01", "2024-03-01")
    assert find([monthly], Step("day", 1)) == Step("month", 1)


def test_a_step_has_words() -> None:
    """One or several."""
    assert [str(Step("hour", n)) for n in (1, 6)] == ["1 hour", "6 hours"]
