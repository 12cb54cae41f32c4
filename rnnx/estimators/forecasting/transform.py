"""The transform of a series before all else: its logarithm, or none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnx.estimators.forecasting.windows import Rows
from rnnx.estimators.reading.forms import Series

LOG = ("auto", "always", "never")


class Transform(NamedTuple):
    """A transform; the logarithm of values below the floor is that of the floor."""

    log: bool
    floor: np.ndarray  # (F,)

    @classmethod
    def learned(cls, log: bool, rows: Rows) -> Transform:
        """Return the transform whose floor is half of the smallest values."""
        return cls(log, np.min([np.min(row, axis=0) for row in rows], axis=0) / 2)

    def of(self, data: Series) -> Series:
        """Return transformed series."""
        if not self.log:
            return data
        return data._replace(rows=[np.log(np.maximum(row, self.floor)) for row in data.rows])

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return values in the unit of the series."""
        if not self.log:
            return values
        with np.errstate(over="ignore"):
            return np.exp(values)
