"""Regular dates: the step between them, where it breaks, and the dates ahead.

The dates of a series are an array of datetime64, oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

CODES = {
    "day": "D", "hour": "h", "minute": "m", "second": "s",
    "millisecond": "ms", "microsecond": "us", "nanosecond": "ns",
}  # fmt: skip
UNITS = ("month", "business day", *CODES)


def _length(unit: str) -> Any:
    return np.timedelta64(1, CODES[unit])  # type: ignore[call-overload]  # of any text


class Step(NamedTuple):
    """The time from one date to the next: so many months, business days, hours."""

    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.number} {self.unit}{'s' * (self.number > 1)}"

    def after(self, at: np.ndarray) -> np.ndarray:
        """Return the date one step after each date of a series."""
        return self._moved(at, at, 1)

    def ahead(self, at: np.ndarray, n: int) -> np.ndarray:
        """Return the n dates after the last one of a series."""
        return self._moved(at, at[-1:], np.arange(1, n + 1))

    def breaks(self, at: np.ndarray) -> np.ndarray:
        """Return the numbers of the dates that are not one step after the date before them."""
        return np.flatnonzero(self.after(at)[:-1] != at[1:]) + 1

    def _moved(self, series: np.ndarray, at: np.ndarray, times: Any) -> np.ndarray:
        """Return dates so many steps after those of a series."""
        by, days = self.number * times, at.astype("M8[D]")
        if self.unit == "month":
            moved = _day_of_month(series)(at.astype("M8[M]") + by) + (at - days)
        elif self.unit == "business day":
            moved = np.busday_offset(days, by, roll="forward") + (at - days)
        else:
            moved = at + by * _length(self.unit)
        return moved.astype(at.dtype)


def find(series: Sequence[np.ndarray], known: Step | None = None) -> Step | None:
    """Return the step that most dates of all series follow: the known one if it is as good.

    Without a known step, None if no series has two dates.
    """
    found = [] if known is None else [known]
    pairs = [at for at in series if len(at) > 1]
    if pairs:
        months = _commonest([np.diff(at.astype("M8[M]")).astype(int) for at in pairs])
        whole = [at.astype("M8[D]") for at in pairs]
        business = _commonest([np.busday_count(days[:-1], days[1:]) for days in whole])
        fixed = _commonest([np.diff(at) for at in pairs])
        unit = next(name for name in CODES if fixed % _length(name) == 0)
        found += [Step("month", int(months))] * bool(months > 0)
        found += [Step(unit, int(fixed // _length(unit)))]
        found += [Step("business day", int(business))] * bool(business > 0)
    return min(found, key=lambda step: sum(len(step.breaks(at)) for at in pairs), default=None)


def _commonest(values: list[np.ndarray]) -> Any:
    found, counts = np.unique(np.concatenate(values), return_counts=True)
    return found[np.argmax(counts)]


def _day_of_month(series: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function of a month that gives the day on which most dates of a series are."""
    days, months = series.astype("M8[D]"), series.astype("M8[M]")
    day = np.argmax(np.bincount((days - months.astype("M8[D]")).astype(int)))

    def end(month: np.ndarray) -> np.ndarray:
        return (month + 1).astype("M8[D]") - 1

    def same(month: np.ndarray) -> np.ndarray:
        return np.minimum(month.astype("M8[D]") + day, end(month))

    def first(month: np.ndarray) -> np.ndarray:
        return np.busday_offset(month.astype("M8[D]"), 0, roll="forward")

    def last(month: np.ndarray) -> np.ndarray:
        return np.busday_offset(end(month), 0, roll="backward")

    return max((end, same, first, last), key=lambda of: np.sum(of(months) == days))
