"""Forecast a year of CO₂ above Mauna Loa, month by month, and beat the seasonal naive forecast.

The data are the weekly measurements that statsmodels bundles, as monthly means since 1958. The last
fifth is held out. At each of its months, the next twelve are forecast from the values known then.
The seasonal naive forecast is last year's value; "with drift" adds last year's rise. The settings
were chosen on the last quarter of the training data.

    python examples/forecast.py --epochs 30

C. D. Keeling and T. P. Whorf, "Atmospheric CO2 concentrations derived from flask air samples at
sites in the SIO network", in Trends, Carbon Dioxide Information Analysis Center, 2004.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import common
import numpy as np
from matplotlib.figure import Figure

from rnnx import plots

try:
    from statsmodels.datasets import co2

    from rnnx.estimators import RNNForecaster
except ImportError:
    common.fail("this example needs scikit-learn and statsmodels: pip install 'rnnx[examples]'")

HORIZON, WINDOW, BATCH = 12, 48, 32
UNIT = "CO₂ (ppm)"


def main(arguments: Sequence[str] | None = None) -> int:
    start = time.perf_counter()
    options, backend = common.read(common.parser(__doc__, epochs=15), arguments)
    months, series = read()
    cut = len(series) - len(series) // 5
    learned = series[:cut]
    if options.steps:
        learned = learned[-(options.steps * BATCH + WINDOW + HORIZON) :]

    forecaster = RNNForecaster(
        HORIZON, window=WINDOW, season=12, epochs=options.epochs, batch_size=BATCH,
        backend=backend, random_state=options.seed, verbose=True,
    ).fit(learned)  # fmt: skip

    origins = range(cut, len(series) - HORIZON + 1)
    truth = np.stack([series[o : o + HORIZON] for o in origins])
    naive = np.stack([series[o - 12 : o - 12 + HORIZON] for o in origins])
    rise = np.asarray([[series[o - 1] - series[o - 13]] for o in origins])
    ours = forecaster.predict(np.stack([series[o - WINDOW : o] for o in origins]))
    forecasts = {"RNNForecaster": ours, "seasonal naive": naive, "… with drift": naive + rise}
    errors = {name: np.abs(f - truth) for name, f in forecasts.items()}

    print(f"mean absolute error over {len(origins)} origins and {HORIZON} months, ppm:")
    for name, error in errors.items():
        ratio = error.mean() / errors["RNNForecaster"].mean()
        print(f"  {name:15} {error.mean():.3f}   {ratio:.2f} times ours")
    print(f"wall time: {time.perf_counter() - start:.1f} s")
    common.save_figure(draw(months, series, ours, errors), options.out / "forecast.png")
    return common.verdict(errors["seasonal naive"].mean(), errors["RNNForecaster"].mean())


def read() -> tuple[np.ndarray, np.ndarray]:
    """Return the months and their means in ppm; the few missing ones are interpolated."""
    weekly = co2.load_pandas().data["co2"]
    monthly = weekly.resample("MS").mean().interpolate()
    return monthly.index.to_numpy(), monthly.to_numpy()


def draw(
    months: np.ndarray, series: np.ndarray, ours: np.ndarray, errors: dict[str, np.ndarray]
) -> Figure:
    """Plot the forecast of the last year, and the error by lead time."""
    figure, (last, lead) = common.panels(
        ("", "", ""), ("Error by lead time", "months ahead", "mean absolute error (ppm)")
    )
    plots.forecast(
        past=series[-60:-HORIZON], truth=series[-HORIZON:], predicted=ours[-1], season=12,
        time=months[-60:], xlabel="month", ylabel=UNIT, ax=last,
    )  # fmt: skip
    last.set_title("The last measured year")
    for name, error in errors.items():
        lead.plot(np.arange(1, HORIZON + 1), error.mean(axis=0), "o-", label=name)
    lead.set_ylim(bottom=0)
    lead.legend()
    return figure


if __name__ == "__main__":
    sys.exit(main())
