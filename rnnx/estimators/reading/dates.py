"""The dates of pandas's indexes: in order, without gaps, and continued over a forecast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx import calendar, validate
from rnnx.calendar import Step

ISO = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d.*)?)?", re.ASCII)
WHOLE = ("month", "business day", "day")  # steps on the clock of a time zone, not of UTC


class Calendar(NamedTuple):
    """The dates of one series, without gaps."""

    index: Any
    at: np.ndarray
    step: Step | None  # None: that of the index's own frequency, if it has one

    def ahead(self, name: str, steps: int) -> Any:
        """Return the dates after the last one."""
        index, kind = self.index, type(self.index)
        if self.step is not None:
            values = self.step.ahead(self.at, steps)
            if _are_periods(index):
                return kind(values, freq=index.freq, name=index.name)
            found = kind(values, name=index.name)
            if index.tz is None:
                return found
            if self.step.unit not in WHOLE:
                return found.tz_localize("UTC").tz_convert(index.tz)
            first = np.ones(steps, dtype=bool)
            return found.tz_localize(index.tz, ambiguous=first, nonexistent="shift_forward")
        if index.freq is not None:
            last, freq = index[-1], index.freq
            return kind([last + k * freq for k in range(1, steps + 1)], name=index.name)
        raise ValueError(
            f"{name} has one date, which does not say how long a step is: give more, or a "
            "frequency, as in X.asfreq('D')"
        )


def read_step(name: str, value: Any) -> Step:
    """Return the step in a file."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{name} must be a unit and a number, got {value!r:.80}")
    return Step(
        validate.one_of("unit", value[0], calendar.UNITS), validate.size("number", value[1])
    )


def of(labels: Any) -> Any:
    """Return labels of pandas if they are dates, else None."""
    dtype = str(getattr(labels, "dtype", ""))
    return labels if dtype.startswith(("datetime64", "period")) else None


def rows_of(name: str, given: Any) -> Any:
    """Return the dates of the rows of a pandas object, or None; refuse dates that are no dates."""
    index: Any = given.index if hasattr(given, "iloc") else None
    check_levels(name, index)
    if getattr(index, "inferred_type", "") in ("date", "datetime") or _are_texts(index):
        raise ValueError(
            f"{name} has dates as {index.inferred_type} objects in its index: convert them, "
            "X.index = pandas.to_datetime(X.index)"
        )
    return of(index)


def check_levels(name: str, index: Any) -> None:
    """Refuse an index of several levels, which has the rows of several sequences."""
    if getattr(index, "nlevels", 1) > 1:
        raise ValueError(
            f"{name} has an index of {index.nlevels} levels, expected one: give a list with a data "
            "frame per sequence, [x.droplevel(0) for _, x in X.groupby(level=0, sort=False)]"
        )


def check_order(name: str, index: Any) -> None:
    """Refuse dates that are missing, out of order or there twice; None has none."""
    if index is None:
        return
    if index.hasnans:
        raise ValueError(f"{name} must have a date for each row, got a missing one: fill it")
    values = index.asi8
    back = np.flatnonzero(np.diff(values) < 0)
    if len(back):
        first, then = index[back[0]], index[back[0] + 1]
        raise ValueError(
            f"{name} must have its dates in order, got {text(then)} after {text(first)}: sort it, "
            "X.sort_index()"
        )
    again = np.flatnonzero(np.diff(values) == 0)
    if len(again):
        raise ValueError(
            f"{name} must have each date once, got {text(index[again[0]])} twice: aggregate its "
            "rows, or give a list with a series each"
        )


def read(names: Sequence[str], indexes: Sequence[Any], known: Step | None) -> list[Calendar]:
    """Return the calendars of series with dates; all must have the same step, the known one."""
    for name, index in zip(names, indexes, strict=True):
        check_order(name, index)
    business = any(_frequency(index) == "B" for index in indexes)
    prior = known or (Step("business day", 1) if business else None)
    dates = [_wall(index) for index in indexes]
    step = calendar.find(dates, prior)
    if any(_zone(index) for index in indexes) and (step is None or step.unit not in WHOLE):
        dates = [_wall(index) if _are_periods(index) else _utc(index) for index in indexes]
        step = calendar.find(dates, prior)
    found = []
    for name, index, at in zip(names, indexes, dates, strict=True):
        broken = np.zeros(0) if step is None else step.breaks(at)
        if step is not None and len(broken) and _frequency(index) is None:
            raise _gap(name, index, step, at, int(broken[0]))
        found.append(Calendar(index, at, None if len(broken) else step))
    steps = {calendar.step for calendar in found}
    if known is not None and steps - {known, None}:
        raise ValueError(f"{names[0]} has dates at a step of {step}, but had {known} in fit")
    return found


def check_same(name: str, index: Any, expected: Any, like: str) -> None:
    """Refuse dates that are not the expected ones."""
    if len(index) != len(expected):
        return  # an error of shapes, which is found later
    differs = np.flatnonzero(~np.asarray(index == expected))
    if len(differs):
        i = differs[0]
        raise ValueError(
            f"{name} must have the dates of {like}, expected {text(expected[i])} in row {i}, got "
            f"{text(index[i])}: take them by date, as in exog.reindex"
        )


def text(date: Any) -> str:
    """Return a date as text, without a time that is midnight."""
    return str(date).removesuffix(" 00:00:00")


def _are_texts(index: Any) -> bool:
    if getattr(index, "inferred_type", "") != "string" or not len(index):
        return False
    return all(ISO.fullmatch(str(label)) for label in index)


def _frequency(index: Any) -> str | None:
    """Return the frequency that dates were made with; that of periods does not rule out gaps."""
    return None if _are_periods(index) else index.freqstr


def _are_periods(index: Any) -> bool:
    return index.dtype.kind == "O"


def _zone(index: Any) -> Any:
    return getattr(index, "tz", None)


def _utc(index: Any) -> np.ndarray:
    return index.asi8.view(f"M8[{index.unit}]")


def _wall(index: Any) -> np.ndarray:
    """Return dates as the clock on the wall shows them, and periods by their first day."""
    if _are_periods(index):
        return index.to_timestamp().to_numpy()
    return (index if index.tz is None else index.tz_localize(None)).to_numpy()


def _gap(name: str, index: Any, step: Step, at: np.ndarray, i: int) -> ValueError:
    expected = Calendar(index[:i], at[:i], step).ahead(name, 1)[0]
    return ValueError(
        f"{name} must have dates at a step of {step}, expected {text(expected)} after "
        f"{text(index[i - 1])}, got {text(index[i])}: add the missing rows, as with X.asfreq, and "
        "fill them; or, if each row is a step, drop the dates with X.reset_index(drop=True)"
    )
