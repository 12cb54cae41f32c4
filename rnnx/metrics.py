"""Metrics: figures that people read beside the loss; pure functions, without a gradient."""

from __future__ import annotations

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from rnnx.backend import Array, scope_of


def accuracy(
    logits: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """Return the share of positions whose largest logit, of equals the first, is the target's.

    Parameters
    ----------
    logits : array, shape (..., K)
        Scores of the classes.
    targets : array, shape (...)
        Integers in [0, K).
    mask : array, shape (...), optional
        Boolean: the positions that count.
    weights : array, shape (...), optional
        Of the positions, at least zero; 1 by default.

    Returns
    -------
    array, shape ()
        In [0, 1], in the logits' dtype.

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
    """Return the share of numbers on the right side: above zero where the target is above 1/2.

    Parameters
    ----------
    logits, targets : array, shape (...)
        Floating, of one shape; the targets in [0, 1].
    mask, weights : array, shape (...), optional
        As of `accuracy`.

    Returns
    -------
    array, shape ()
        In [0, 1], in the logits' dtype.

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
    """Return the weighted mean of the positions that count; 0 where none does, as of the losses."""
    xp = array_namespace(x)
    w = xp.ones_like(x) if weights is None else weights
    w = w if mask is None else xp.where(mask, w, xp.zeros_like(w))
    total = xp.sum(w)
    return xp.sum(w * x) / xp.where(total > 0, total, xp.ones_like(total))
