"""Losses: each returns the loss and its gradient, by equations that never overflow.

Pure functions over arrays of any conforming library: nothing is read back to the host.
"""

from __future__ import annotations

import math
from types import ModuleType

from array_api_compat import array_namespace, is_array_api_obj
from array_api_compat import device as device_of

from rnnx.backend import Array, scope_of


def softmax_cross_entropy(
    logits: Array, targets: Array, mask: Array | None = None
) -> tuple[Array, Array]:
    """Mean negative log-likelihood of integer targets under a softmax, and its gradient.

    Forward, for each of the N positions that count, with z its logits and k its target::

        log p = (z - max z) - log Σ_j exp(z_j - max z)      no exponent above zero
        L = -1/N Σ log p_k

    Backward::

        dz = (p - onehot(k)) / N

    Parameters
    ----------
    logits : array, shape (..., K)
        Unnormalised log-probabilities, floating.
    targets : array, shape (...)
        Integers in [0, K). At a position that counts, one outside makes the loss NaN.
    mask : array, shape (...), optional
        Boolean: the positions that count. Where none does, the loss and the gradient are zero.

    Returns
    -------
    loss : array, shape ()
        In nats per position.
    dlogits : array, shape (..., K)
        Zero where the mask is False.

    Raises
    ------
    ValueError, TypeError
        Where the shapes do not fit, or `targets` is not of integers, or `mask` not boolean.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dlogits = softmax_cross_entropy(np.zeros((1, 2)), np.asarray([0]))
    >>> round(float(loss), 4), dlogits.tolist()
    (0.6931, [[-0.5, 0.5]])
    """
    xp = _namespace("logits", logits)
    _check(xp, "targets", targets, logits.shape[:-1], "integral")
    _check(xp, "mask", mask, logits.shape[:-1], "bool")
    with scope_of(logits):
        return _cross_entropy(xp, logits, targets, mask)


def _cross_entropy(
    xp: ModuleType, logits: Array, targets: Array, mask: Array | None
) -> tuple[Array, Array]:
    k = xp.astype(targets, xp.int32)  # a narrower type may not hold all classes
    classes = xp.arange(logits.shape[-1], dtype=xp.int32, device=device_of(logits))
    hit = k[..., None] == classes  # (..., K)
    inside = xp.any(hit, axis=-1)  # (...)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    log_p = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    loss = -xp.sum(xp.where(hit, log_p, xp.zeros_like(log_p)), axis=-1)
    dlogits = xp.exp(log_p) - xp.astype(hit, logits.dtype)
    loss = xp.where(inside, loss, xp.full_like(loss, xp.nan))
    dlogits = xp.where(inside[..., None], dlogits, xp.full_like(dlogits, xp.nan))
    counts = None if mask is None else mask[..., None]
    return _mean(xp, loss, mask), _per_count(xp, dlogits, counts, math.prod(loss.shape))


def mean_squared_error(
    outputs: Array, targets: Array, mask: Array | None = None
) -> tuple[Array, Array]:
    """Mean squared error and its gradient.

    Forward, over the N numbers that count::

        L = 1/N Σ (y - target)²

    Backward::

        dy = 2 (y - target) / N

    Parameters
    ----------
    outputs, targets : array, shape (...)
        Floating, of one shape.
    mask : array, shape (...), optional
        Boolean: the numbers that count. Where none does, the loss and the gradient are zero.

    Returns
    -------
    loss : array, shape ()
        In the square of the outputs' unit.
    doutputs : array, shape (...)
        Zero where the mask is False.

    Raises
    ------
    ValueError, TypeError
        Where the shapes do not fit, or `mask` is not boolean.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dy = mean_squared_error(np.asarray([1.0, 3.0]), np.asarray([0.0, 0.0]))
    >>> float(loss), dy.tolist()
    (5.0, [1.0, 3.0])
    """
    xp = _namespace("outputs", outputs)
    _check(xp, "targets", targets, outputs.shape, "real floating")
    _check(xp, "mask", mask, outputs.shape, "bool")
    with scope_of(outputs):
        error = outputs - targets
        size = math.prod(error.shape)
        return _mean(xp, error * error, mask), _per_count(xp, 2 * error, mask, size)


def _mean(xp: ModuleType, loss: Array, mask: Array | None) -> Array:
    """Return the mean of `loss` where `mask` is True; zero where it is nowhere."""
    return xp.sum(_per_count(xp, loss, mask, math.prod(loss.shape)))


def _per_count(xp: ModuleType, x: Array, mask: Array | None, size: int) -> Array:
    """Return x / N, N the number of True in `mask` or else `size`, and zero where it is False."""
    if mask is None:
        return x / size
    count = xp.sum(xp.astype(mask, x.dtype))
    # where, not a product: NaN where nothing counts shall stay without effect
    return xp.where(mask, x, xp.zeros_like(x)) / xp.maximum(count, xp.ones_like(count))


def _namespace(name: str, x: Array) -> ModuleType:
    """Return the namespace of an array of real floating numbers."""
    if not is_array_api_obj(x):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}: use xp.stack on a list")
    xp = array_namespace(x)
    _check(xp, name, x, x.shape, "real floating")
    return xp


def _check(xp: ModuleType, name: str, x: Array | None, shape: tuple[int, ...], kind: str) -> None:
    """Raise where `x` does not have this shape and kind of dtype."""
    if x is None:
        return
    if not is_array_api_obj(x) or array_namespace(x) is not xp:
        raise TypeError(
            f"{name} must be an array of {xp.__name__.rpartition('.')[2]}, got one of "
            f"{type(x).__module__.partition('.')[0]}: convert it with backend.asarray"
        )
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(x.shape)}")
    if not xp.isdtype(x.dtype, kind):
        raise TypeError(f"{name} must have a dtype of kind {kind!r}, got {x.dtype}")
