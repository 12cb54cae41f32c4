"""What a forecaster chooses by the data: its season, its window, its scaling."""

from __future__ import annotations

import numpy as np

from rnnx.estimators.forecasting.windows import Rows, sliding

LONGEST = 1000  # season to look for, in steps
LEAST = 0.3  # autocorrelation of the changes, one season apart


def season(rows: Rows) -> int:
    """Return the number of steps in a season of series (T_i, F), 1 if there is none.

    The autocorrelation of the changes from step to step, over all series and features, must have a
    peak there that is clearly above that of noise. Of positive values, it is that of logarithms,
    which single large values do not govern.
    """
    if all(np.all(row > 0) for row in rows):
        rows = [np.log(row) for row in rows]
    lags = min(min(map(len, rows)) // 3, LONGEST)
    if lags < 2:
        return 1
    total, steps = np.zeros(lags + 2), 0
    for row in rows:
        change = np.diff(row, axis=0)
        change = change - np.mean(change, axis=0)
        change = change / np.maximum(np.std(change, axis=0), 1e-300)
        size = 2 ** int(np.ceil(np.log2(2 * len(change))))
        power = np.abs(np.fft.rfft(change, size, axis=0)) ** 2
        total += np.sum(np.fft.irfft(power, size, axis=0), axis=1)[: lags + 2]
        steps += change.size
    if not total[0] > 0:
        return 1
    r = total / total[0]
    lag = np.arange(2, lags + 1)
    valley = np.minimum.accumulate(r[2:])[1:] < r[lag] / 2  # not the slope of a slow wave
    peak = (r[lag] > r[lag - 1]) & (r[lag] >= r[lag + 1]) & valley
    peak &= r[lag] >= max(LEAST, 3 / np.sqrt(steps))
    if not np.any(peak):
        return 1
    highest = int(lag[np.argmax(np.where(peak, r[lag], -1))])
    for k in lag[peak & (r[lag] > 0.9 * r[highest])]:  # the highest may be that of a multiple
        times = round(highest / k)
        if k > 3 and times > 1 and abs(highest - k * times) < times:
            return int(k)
    return highest


def window(shortest: int, horizon: int, season: int) -> int:
    """Return the number of past steps to read: at most half of the shortest series."""
    wanted = max(32, 2 * horizon, 2 * season, min(4 * season, 128))
    return max(min(wanted, (shortest - horizon) // 2), season, 1)


def scaling(rows: Rows, window: int) -> str:
    """Return "window" if the level of windows varies about as the values do, else "standard".

    The values of the series have mean 0 and deviation 1.
    """
    means = np.concatenate([np.mean(sliding(row, window), axis=1) for row in rows])
    return "window" if np.sqrt(np.mean(means**2)) > 0.4 else "standard"
