"""Metrics: numbers for people to read beside the loss. Pure functions, without a gradient."""

from __future__ import annotations

from array_api_compat import array_namespace
from array_api_compat import device as device_of

from rnnx.backend import Array, scope_of
from rnnx.losses.shared import documented, shares


@documented
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
    {counts}

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
        hits = xp.astype(xp.any(own, axis=-1) & ~xp.any(ahead, axis=-1), logits.dtype)
        return xp.sum(shares(xp, hits, mask, weights) * hits)


@documented
def binary_accuracy(
    logits: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """Return the share of logits on the right side: above 0 exactly where the target is above 1/2.

    Parameters
    ----------
    logits, targets : array, shape (...)
        Floating, of equal shape; targets in [0, 1].
    {counts}

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
        hits = xp.astype((logits > 0) == (targets > 0.5), logits.dtype)
        return xp.sum(shares(xp, hits, mask, weights) * hits)
