"""Metrics: numbers for people to read beside the loss. Pure functions, without a gradient."""

from __future__ import annotations

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from rnnx.backend import Array, scope_of
from rnnx.losses.shared import shares


def accuracy(
    logits: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """Return the share of positions whose largest logit is the target's; of equals, the first.

    Parameters
    ----------
    logits : array, shape (..., K)
        Scores of the classes.
    targets : array, shape (...)
        Integers in [0, K).
    mask : array, shape (...), optional
        Boolean: which positions count.
    weights : array, shape (...), optional
        The weight of each position, at least 0; default is 1.

    Returns
    -------
    array, shape ()
        In [0, 1], in the dtype of the logits.

    Examples
    --------
    >>> import numpy as np
    >>> float(accuracy(np.asarray([[0.1, 0.9], [0.8, 0.2]]), np.asarray([1, 1])))
    0.5
    """
    xp = array_namespace(logits)
    with scope_of(logits):
        k = xp.astype(targets, xp.int32)[..., None]  # (..., 1)
        classes = xp.arange(logits.shape[-1], dtype=k.dtype, device=device_of(logits))
        own = classes == k  # (..., K)
        score = xp.sum(xp.where(own, logits, xp.zeros_like(logits)), axis=-1, keepdims=True)
        ahead = (logits > score) | ((logits == score) & (classes < k)) | xp.isnan(score)
        hits = xp.any(own, axis=-1) & ~xp.any(ahead, axis=-1)
        return _mean(xp.astype(hits, logits.dtype), mask, weights)


def binary_accuracy(
    logits: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """Return the share of logits on the right side: above 0 exactly where the target is above 1/2.

    Parameters
    ----------
    logits, targets : array, shape (...)
        Floating, of equal shape; targets in [0, 1].
    mask : array, shape (...), optional
        Boolean: which positions count.
    weights : array, shape (...), optional
        The weight of each position, at least 0; default is 1.

    Returns
    -------
    array, shape ()
        In [0, 1], in the dtype of the logits.

    Examples
    --------
    >>> import numpy as np
    >>> float(binary_accuracy(np.asarray([3.0, -1.0]), np.asarray([1.0, 1.0])))
    0.5
    """
    xp = array_namespace(logits)
    with scope_of(logits):
        return _mean(xp.astype((logits > 0) == (targets > 0.5), logits.dtype), mask, weights)


def _mean(x: Array, mask: Array | None, weights: Array | None) -> Array:
    """Return the weighted mean over the positions that count; 0 if none does, as in the losses."""
    xp = array_namespace(x)
    return xp.sum(shares(xp, x, mask, weights) * x)
