"""Sequences scaled one by one, with their levels and spreads as further features.

A sequence of mean m and deviation s gives, for each feature, at every step::

    (x_t - m) / s      arsinh(m / u)      log s

with the median deviation u of the training sequences. The last two are standardized over them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnx.estimators.reading import values
from rnnx.estimators.reading.forms import Rows, each

DECADES = 1.0  # that log10 s spans in the middle half of sequences to be scaled one by one
LEAST = 1e-6  # of the median deviation: no sequence counts as less spread


class Amplitudes(NamedTuple):
    """What the levels and spreads of the training sequences are like."""

    unit: np.ndarray  # (F,), the median deviation
    mean: np.ndarray  # (2F,), of arsinh(m / u) and log s
    scale: np.ndarray  # (2F,)

    @classmethod
    def of(cls, rows: Rows) -> Amplitudes:
        """Return the amplitudes of the training sequences."""
        spreads = _spreads(rows)
        unit = np.asarray([np.median(s[s > 0]) if np.any(s > 0) else 1.0 for s in spreads.T])
        beside = np.asarray(each(lambda x: _beside(x, unit), rows))  # (n, 2F)
        return cls(unit, *values.moments("X", [beside]))

    def scaled(self, rows: Rows, dtype: str) -> Rows:
        """Return the features (..., T, 3F) of sequences; missing values are at their mean."""

        def one(x: np.ndarray) -> np.ndarray:  # (..., T, F)
            m, s = (a[..., None, :] for a in _own(x, self.unit))
            with np.errstate(over="ignore"):
                z = np.where(np.isnan(x), 0.0, (x - m) / s)
                beside = ((_beside(x, self.unit) - self.mean) / self.scale)[..., None, :]
            spread = np.broadcast_to(beside, (*x.shape[:-1], beside.shape[-1]))
            found = np.concatenate([z, spread], axis=-1)
            values.check_range("X", x, dtype, found)
            return found

        return each(one, rows)


def differ(rows: Rows) -> bool:
    """Return whether the spreads of sequences differ by orders of magnitude."""
    spreads = _spreads(rows)
    logs = [np.log10(s[s > 0]) for s in spreads.T if np.any(s > 0)]
    spans = [np.subtract(*np.quantile(s, (0.75, 0.25))) for s in logs]
    return bool(spans) and float(np.mean(spans)) > DECADES


def _spreads(rows: Rows) -> np.ndarray:
    """Return the deviation of each feature of each sequence, (n, F)."""
    return np.asarray(each(lambda x: _own(x, np.zeros(x.shape[-1]))[1], rows))


def _own(x: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation (..., F) of sequences (..., T, F)."""
    known = ~np.isnan(x)
    count = np.maximum(np.sum(known, axis=-2), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        m = np.sum(np.where(known, x, 0.0), axis=-2) / count
        s = np.sqrt(np.sum(np.where(known, x - m[..., None, :], 0.0) ** 2, axis=-2) / count)
    return m, np.maximum(s, LEAST * unit)


def _beside(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return the level and the logarithm of the spread of sequences (..., T, F), (..., 2F)."""
    m, s = _own(x, unit)
    return np.concatenate([np.arcsinh(m / unit), np.log(s)], axis=-1)
