"""What forecasts of known steps teach: how far to trust the network, and how wide intervals are."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

ENOUGH = 10  # forecasts without a common step, to judge a network by


def factors(error: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """Return the factor in [0, 1] of a network's correction, per step ahead.

    Of the forecasts that it corrects, `error` is truth less forecast; both are (N, H, F), in the
    order of time. The factors minimize the squared error. They are 0 unless they lower the absolute
    error by two standard errors, where forecasts that overlap count as one, of at least `ENOUGH`.
    """
    along = np.sum(error * correction, axis=(0, 2))
    found = np.clip(along / np.maximum(np.sum(correction**2, axis=(0, 2)), 1e-300), 0, 1)
    gain = np.abs(error) - np.abs(error - found[:, None] * correction)
    of_origin = np.mean(gain, axis=(1, 2))
    independent = len(error) / error.shape[1]
    chance = 2 * np.std(of_origin) / np.sqrt(independent)
    return found if independent >= ENOUGH and np.mean(of_origin) > chance else 0 * found


def read_quantiles(quantiles: Any) -> list[float]:
    """Return quantiles in (0, 1)."""
    try:
        found = np.atleast_1d(np.asarray(quantiles, dtype="float64"))
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.ndim != 1 or not found.size or not np.all((found > 0) & (found < 1)):
        raise ValueError(f"quantiles must be numbers between 0 and 1, got {quantiles!r:.80}")
    return list(found.tolist())


def offsets(scores: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Return what to add to a forecast for each quantile, (Q, H, F), from scores (N, H, F).

    Scores are absolute errors, in the order of size. The interval from q to 1 - q is as wide as the
    one of split-conformal prediction, with the ⌈(N + 1)(1 - 2q)⌉-th score as half its width.
    """
    N, found = len(scores), []
    for q in quantiles:
        rank = ceil(round((N + 1) * abs(1 - 2 * q), 9))
        if rank > N:
            least = ceil(round(1 / (2 * min(q, 1 - q)), 9)) - 1
            raise ValueError(
                f"the quantile {q:g} needs {least} forecasts of known steps to calibrate, got {N}: "
                "call fit, not partial_fit alone, with longer series, a larger validation_fraction "
                "or quantiles nearer to 0.5"
            )
        width = scores[rank - 1] if rank else np.zeros(scores.shape[1:])
        found.append(np.sign(q - 0.5) * width)
    return np.stack(found)
