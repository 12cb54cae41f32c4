"""The data sets of `estimators.py`: all small ones that three packages bundle, as sequences.

sktime, scikit-learn and statsmodels bring them along; nothing is downloaded. `CHOSEN` names the
sets on which the defaults of our estimators were chosen. All others judge them, and are looked at
once.

Left out, because they are no sequences, have no future to forecast, or are here already:

- sktime: `UnitTest.tsf`, which its authors call a dummy; `segmentation`, sequences joined to one
  for the sake of the joints; `Longley` of statsmodels is the one of sktime.
- scikit-learn: iris, wine, breast cancer, diabetes and linnerud are tables whose columns have no
  order. The rows of an image of a digit have one.
- statsmodels: anes96, cancer, ccard, china_smoking, committee, cpunish, engel, fair, heart,
  modechoice, randhie, scotland, spector, star98 and statecrime are surveys and cross-sections;
  stackloss is a regression on a plant's settings; strikes holds durations in no order of time.
- Of a panel (fertility, grunfeld) or of several columns, a few series stand for all. No column is
  known ahead, so there are no exogenous values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

CHOSEN = {
    "GunPoint", "ArrowHead", "OSULeaf", "JapaneseVowels", "Tecator", "Airline", "Lynx", "Sunspots",
    "CO2",
}  # fmt: skip
MOST = 30  # origins of a series, at most
FREQUENCIES = {  # steps ahead, and steps in a season
    "yearly": (4, 1), "quarterly": (4, 4), "monthly": (12, 12), "hourly": (24, 24),
    "half-hourly": (48, 48), "360 Hz": (24, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    """Sequences (T_i, F) with one target each, divided as the archive divides them."""

    task: str  # classification or regression
    x: list[np.ndarray]
    y: np.ndarray
    x_test: list[np.ndarray]
    y_test: np.ndarray

    def score(self, predict: Callable[[list[np.ndarray]], np.ndarray]) -> float:
        """Return the accuracy, or the root of the mean squared error, on the test part."""
        found = predict(self.x_test)
        if self.task == "classification":
            return float(np.mean(found == self.y_test))
        return float(np.sqrt(np.mean((found - self.y_test) ** 2)))


@dataclass(frozen=True)
class Timed:
    """A series (T,), how far to forecast it, and the season that the rivals are told.

    The last quarter, or two horizons if that is more, is the test part. Of a short series, the
    horizon is a sixth at most.
    """

    values: np.ndarray
    longest: int
    season: int
    task: str = "series"

    @property
    def horizon(self) -> int:
        """Number of steps ahead."""
        return min(self.longest, len(self.values) // 6)

    @property
    def start(self) -> int:
        """The first step of the test part."""
        return len(self.values) - max(2 * self.horizon, len(self.values) // 4)

    @property
    def origins(self) -> range:
        """The numbers of steps known at a forecast: every k-th, so that there are not too many."""
        stop = len(self.values) - self.horizon + 1
        return range(self.start, stop, -(-(stop - self.start) // MOST))

    def score(self, forecast: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the mean absolute error over all origins and steps ahead."""
        errors = [
            np.abs(forecast(self.values[:origin]) - self.values[origin:][: self.horizon])
            for origin in self.origins
        ]
        return float(np.mean(errors))

    def coverage(self, interval: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the share of all values ahead that lie in the intervals of their forecasts."""
        held = []
        for origin in self.origins:
            (low, high), truth = interval(self.values[:origin]), self.values[origin:]
            held.append((low <= truth[: self.horizon]) & (truth[: self.horizon] <= high))
        return float(np.mean(held))


Problem = Labelled | Timed


def archive(name: str, task: str = "classification") -> Labelled:
    """Read a set of sktime that is divided into a training and a test part."""
    from sktime.datasets import load_from_tsfile

    def read(part: str) -> tuple[list[np.ndarray], np.ndarray]:
        path = str(sktime_file(f"{name}/{name}_{part}.ts"))
        x, y = load_from_tsfile(path, return_data_type="nested_univ")
        rows = [np.stack([np.asarray(channel, float) for channel in row], 1) for row in x.values]
        return rows, np.asarray(y, str if task == "classification" else float)

    return Labelled(task, *read("TRAIN"), *read("TEST"))


def digits() -> Labelled:
    """Return images of digits, 8 rows of 8 pixels each; the last quarter, by others, is tested."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = list(found.images), found.target.astype(str)
    return Labelled("classification", x[:1347], y[:1347], x[1347:], y[1347:])


def sktime_file(name: str) -> Path:
    import sktime.datasets

    return Path(sktime.datasets.__file__).parent / "data" / name


def of_sktime(file: str, column: str) -> np.ndarray:
    import pandas as pd

    return pd.read_csv(sktime_file(file))[column].to_numpy(float)


def of_statsmodels(name: str, column: str) -> np.ndarray:
    return statsmodels_table(name)[column].to_numpy(float)


def statsmodels_table(name: str) -> Any:
    return import_module(f"statsmodels.datasets.{name}").load_pandas().data


def lynx() -> np.ndarray:
    """Return the logarithm to base 10 of the lynx trapped, as is usual for this series."""
    return np.log10(of_sktime("Lynx/Lynx.csv", "0"))


def co2() -> np.ndarray:
    """Return monthly means of the weekly values; months without any are interpolated."""
    return statsmodels_table("co2")["co2"].resample("MS").mean().interpolate().to_numpy()


def el_nino() -> np.ndarray:
    """Return the months of all years, one after the other."""
    return statsmodels_table("elnino").drop(columns="YEAR").to_numpy(float).ravel()


def of_panel(name: str, key: str, unit: str, columns: str | None = None) -> np.ndarray:
    """Return the series of one unit of a panel: a column, or the columns of years of its row."""
    table = statsmodels_table(name)
    found = table[table[key] == unit]
    if columns is not None:
        return found[columns].to_numpy(float)
    years = found[[c for c in found.columns if c.isdigit()]].to_numpy(float).ravel()
    return years[np.isfinite(years)]


def series(read: Callable[[], np.ndarray], frequency: str, season: int | None = None) -> Timed:
    ahead, usual = FREQUENCIES[frequency]
    return Timed(read(), ahead, season or usual)


CLASSIFICATION = (
    "GunPoint", "ArrowHead", "OSULeaf", "JapaneseVowels", "ACSF1", "BasicMotions",
    "ItalyPowerDemand", "PLAID", "UnitTest",
)  # fmt: skip
READERS: dict[str, tuple[Any, ...]] = {  # by name of the series: what reads it, frequency, season
    "Airline": (partial(of_sktime, "Airline/Airline.csv", "Passengers"), "monthly"),
    "Lynx": (lynx, "yearly", 10),  # the cycle that ecologists know
    "Sunspots": (partial(of_statsmodels, "sunspots", "SUNACTIVITY"), "yearly", 11),
    "CO2": (co2, "monthly"),
    "ShampooSales": (partial(of_sktime, "ShampooSales/ShampooSales.csv", "Sales"), "monthly"),
    "PBS": (partial(of_sktime, "PBS_dataset/PBS_dataset.csv", "Scripts"), "monthly"),
    "Seatbelts": (partial(of_sktime, "seatbelts/seatbelts.csv", "KSI"), "monthly"),
    "Longley": (partial(of_sktime, "Longley/Longley.csv", "TOTEMP"), "yearly"),
    "Solar": (partial(of_sktime, "solar/solar.csv", "solar_gen"), "half-hourly"),
    "Yahoo": (partial(of_sktime, "yahoo/yahoo.csv", "data"), "hourly"),
    "ECG (mitdb)": (partial(of_sktime, "mitdb/mitdb.csv", "data"), "360 Hz"),
    "Nile": (partial(of_statsmodels, "nile", "volume"), "yearly"),
    "El Niño": (el_nino, "monthly"),
    "Electrical equipment": (
        partial(of_statsmodels, "elec_equip", "STS.M.I7.W.TOVT.NS0016.4.000"), "monthly",
    ),
    "Grunfeld, General Motors": (
        partial(of_panel, "grunfeld", "firm", "General Motors", "invest"), "yearly",
    ),
    "Fertility, Sweden": (partial(of_panel, "fertility", "Country Name", "Sweden"), "yearly"),
} | {
    f"Uschange, {column}": (partial(of_sktime, "Uschange/Uschange.csv", column), "quarterly")
    for column in ("Consumption", "Income", "Unemployment")
} | {
    f"{title}, {column}": (partial(of_statsmodels, name, column), frequency)
    for title, name, frequency, columns in (
        ("US economy", "macrodata", "quarterly", ("realgdp", "infl", "unemp")),
        ("Danish money", "danish_data", "quarterly", ("lrm", "ibo")),
        ("German economy", "interest_inflation", "quarterly", ("Dp", "R")),
        ("Copper", "copper", "yearly", ("WORLDCONSUMPTION", "COPPERPRICE")),
    )
    for column in columns
}  # fmt: skip
SETS: dict[str, dict[str, Callable[[], Problem]]] = {
    "classification": {name: partial(archive, name) for name in CLASSIFICATION}
    | {"Digits": digits},
    "regression": {
        name: partial(archive, name, "regression") for name in ("Tecator", "Covid3Month")
    },
    "series": {name: partial(series, *facts) for name, facts in READERS.items()},
}


def part_of(name: str) -> str:
    return "chosen" if name in CHOSEN else "judged"
