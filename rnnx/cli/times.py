"""The times of a series in a CSV file: at a constant step, and those ahead as the file has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx import calendar
from rnnx.cli.form import Form
from rnnx.cli.tables import Table

_DECIMAL = re.compile(r"[+-]?\d+(?:\.(\d*))?", re.ASCII)
_UNITS: dict[int, Any] = {
    7: "M",
    10: "D",
    13: "h",
    16: "m",
    19: "s",
}  # of a date, by the length of its text


class Numbers(NamedTuple):
    """A step between numbers that were rounded to some decimals, or None."""

    step: float
    decimals: int | None

    def __str__(self) -> str:
        return f"{self.step:g}"

    def ahead(self, at: np.ndarray, n: int) -> np.ndarray:
        """Return the n numbers after the last one of a series."""
        if self.decimals == 0 or len(at) < 3:
            return at[-1] + self.step * np.arange(1, n + 1)
        places = np.arange(len(at) + n) - len(at)
        line = np.polyfit(places[: len(at)], at - at[-1], 1)  # evens out how they were rounded
        return at[-1] + np.polyval(line, places[len(at) :])

    def breaks(self, at: np.ndarray) -> np.ndarray:
        """Return the places of the numbers that are not one step after the one before them."""
        rounding = 0.0 if not self.decimals else min(1.01 * 10.0**-self.decimals, self.step / 4)
        error = rounding + 1e-9 * np.max(np.abs(at)) * (self.decimals != 0)
        return np.flatnonzero(np.abs(np.diff(at) - self.step) > error) + 1


def read(
    table: Table, name: str, series: Sequence[np.ndarray], known: Sequence[int], ahead: int
) -> tuple[list[np.ndarray], list[list[str]] | None]:
    """Return the times of series of rows, and the cells of so many steps after the known ones.

    The times of all series must have one step; without a step the cells are None.
    """
    at, cells = table.times(name, "--time"), table.column(name, "--time")
    times = [at[rows] for rows in series]
    step = _step(times, cells, table.form)
    if step is None:
        return times, None
    for rows, found in zip(series, times, strict=True):
        for i in step.breaks(found)[:1]:
            raise _gap(table, name, rows, found, int(i), step)
    return times, [
        _ahead(found, [cells[i] for i in rows], n, ahead, step, table.form)
        for rows, found, n in zip(series, times, known, strict=True)
    ]


def _step(times: list[np.ndarray], cells: list[str], form: Form) -> Any:
    if times[0].dtype.kind == "M":
        return calendar.find(times)
    with np.errstate(over="ignore"):
        steps = np.concatenate([np.diff(at) for at in times])
    if not len(steps) or not np.all(np.isfinite(steps)):
        return None
    found = [_DECIMAL.fullmatch(cell.replace(form.decimal, ".")) for cell in cells]
    plain = all(match is not None for match in found)
    decimals = max(len(match[1] or "") for match in found if match) if plain else None
    return Numbers(float(np.median(steps)), decimals)


def _ahead(
    at: np.ndarray, cells: list[str], known: int, steps: int, step: Any, form: Form
) -> list[str]:
    """Return the cells of the steps ahead: those that the file has, and more like them."""
    there = cells[known : known + steps]
    last = known + len(there)
    more = step.ahead(at[:last], steps - len(there))
    return there + [_written(value, cells[last - 1], step, form) for value in more]


def _written(value: Any, like: str, step: Any, form: Form) -> str:
    """Return a time as text, in the form of another cell."""
    if isinstance(step, Numbers):
        text = f"{value:.12g}" if step.decimals is None else f"{value:.{step.decimals}f}"
        return text.replace(".", form.decimal)
    if form.date_format is not None:
        return form.written(value, like)
    size = len(like.removesuffix("Z"))
    text = str(np.datetime_as_string(value, unit=_UNITS.get(size, "us")))[:size]
    zone = "Z" if like.endswith("Z") else ""
    return text.replace("T", like[10:11] or "T") + zone


def _gap(
    table: Table, name: str, rows: np.ndarray, at: np.ndarray, i: int, step: Any
) -> ValueError:
    cells = table.column(name, "--time")
    before = cells[rows[i - 1]]
    expected = _written(step.ahead(at[:i], 1)[0], before, step, table.form)
    line = table.places[rows[i - 1]][1]
    return table.wrong(
        rows[i], name, f"{expected}, {step} after {before} in line {line}",
        ": add the rows between, or leave --time out if each row is a step",
    )  # fmt: skip
