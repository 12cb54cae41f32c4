"""Loss functions: each returns the loss and its gradient, by equations that never overflow.

Pure functions over arrays of any conforming library. Nothing is read back to the host.
"""

from rnnx.losses.numbers import (
    binary_cross_entropy,
    huber,
    mean_absolute_error,
    mean_squared_error,
)
from rnnx.losses.softmax import softmax_cross_entropy

LOSSES = {  # by the names that `rnnx.train.fit` and the estimators take
    "cross_entropy": softmax_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "squared_error": mean_squared_error,
    "absolute_error": mean_absolute_error,
    "huber": huber,
}

__all__ = [
    "LOSSES",
    "binary_cross_entropy",
    "huber",
    "mean_absolute_error",
    "mean_squared_error",
    "softmax_cross_entropy",
]
