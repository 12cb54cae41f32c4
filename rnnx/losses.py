"""Losses: each returns the loss and its gradient, by equations that never overflow.

Pure functions over arrays of any conforming library: nothing is read back to the host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

from array_api_compat import array_namespace, is_array_api_obj
from array_api_compat import device as device_of

from rnnx.backend import Array, scope_of
from rnnx.validate import positive

Pointwise = Callable[[ModuleType, Array, Array], tuple[Array, Array]]  # -> loss, its slope


def softmax_cross_entropy(
    logits: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Mean negative log-likelihood of integer targets under a softmax, and its gradient.

    Forward, for each position that counts, with z its logits, k its target and w its weight::

        log p = (z - max z) - log Σ_j exp(z_j - max z)      no exponent above zero
        L = -Σ w log p_k / Σ w

    Backward::

        dz = w (p - onehot(k)) / Σ w

    Parameters
    ----------
    logits : array, shape (..., K)
        Unnormalised log-probabilities, floating.
    targets : array, shape (...)
        Integers in [0, K). At a position that counts, one outside makes the loss NaN.
    mask : array, shape (...), optional
        Boolean: the positions that count. Where none does, the loss and the gradient are zero.
    weights : array, shape (...), optional
        Of the positions, floating and at least zero; 1 by default. For weights of classes, take
        those of the targets.

    Returns
    -------
    loss : array, shape ()
        In nats per position.
    dlogits : array, shape (..., K)
        Zero where the mask is False.

    Raises
    ------
    ValueError, TypeError
        Where a shape or a kind of dtype does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dlogits = softmax_cross_entropy(np.zeros((1, 2)), np.asarray([0]))
    >>> round(float(loss), 4), dlogits.tolist()
    (0.6931, [[-0.5, 0.5]])
    """
    shape = tuple(getattr(logits, "shape", ()))[:-1]
    xp = _checked("logits", logits, targets, mask, weights, shape, "integral")
    with scope_of(logits):
        loss, dlogits = _cross_entropy(xp, logits, targets)
        share = _share(xp, loss, mask, weights)
        return _sum(xp, share, loss, mask), _spread(xp, share[..., None], dlogits, mask)


def _cross_entropy(xp: ModuleType, logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the loss of every position, and the gradient by its logits."""
    narrow = xp.iinfo(targets.dtype).bits < 32  # too narrow, perhaps, to hold all classes
    k = xp.astype(targets, xp.int32) if narrow else targets
    classes = xp.arange(logits.shape[-1], dtype=k.dtype, device=device_of(logits))
    hit = k[..., None] == classes  # (..., K)
    inside = xp.any(hit, axis=-1)  # (...)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    log_p = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    loss = -xp.sum(xp.where(hit, log_p, xp.zeros_like(log_p)), axis=-1)
    dlogits = xp.exp(log_p) - xp.astype(hit, logits.dtype)
    loss = xp.where(inside, loss, xp.full_like(loss, xp.nan))
    dlogits = xp.where(inside[..., None], dlogits, xp.full_like(dlogits, xp.nan))
    return loss, dlogits


def mean_squared_error(
    outputs: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Mean squared error and its gradient.

    Forward, for each number that counts, with w its weight::

        L = Σ w (y - target)² / Σ w

    Backward::

        dy = 2 w (y - target) / Σ w

    Parameters
    ----------
    outputs, targets : array, shape (...)
        Floating, of one shape.
    mask : array, shape (...), optional
        Boolean: the numbers that count. Where none does, the loss and the gradient are zero.
    weights : array, shape (...), optional
        Of the numbers, floating and at least zero; 1 by default.

    Returns
    -------
    loss : array, shape ()
        In the square of the outputs' unit.
    doutputs : array, shape (...)
        Zero where the mask is False.

    Raises
    ------
    ValueError, TypeError
        Where a shape or a kind of dtype does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dy = mean_squared_error(np.asarray([1.0, 3.0]), np.asarray([0.0, 0.0]))
    >>> float(loss), dy.tolist()
    (5.0, [1.0, 3.0])
    """
    return _pointwise(outputs, targets, mask, weights, _squared)


def mean_absolute_error(
    outputs: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Mean absolute error and its gradient.

    Forward, for each number that counts, with w its weight::

        L = Σ w |y - target| / Σ w

    Backward::

        dy = w sign(y - target) / Σ w                 0 where they are equal

    Parameters
    ----------
    outputs, targets : array, shape (...)
        Floating, of one shape.
    mask : array, shape (...), optional
        Boolean: the numbers that count. Where none does, the loss and the gradient are zero.
    weights : array, shape (...), optional
        Of the numbers, floating and at least zero; 1 by default.

    Returns
    -------
    loss : array, shape ()
        In the outputs' unit.
    doutputs : array, shape (...)
        Zero where the mask is False.

    Raises
    ------
    ValueError, TypeError
        Where a shape or a kind of dtype does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dy = mean_absolute_error(np.asarray([1.0, -3.0]), np.asarray([0.0, 0.0]))
    >>> float(loss), dy.tolist()
    (2.0, [0.5, -0.5])
    """
    return _pointwise(outputs, targets, mask, weights, _absolute)


def huber(
    outputs: Array,
    targets: Array,
    mask: Array | None = None,
    weights: Array | None = None,
    *,
    delta: float = 1.0,
) -> tuple[Array, Array]:
    """Huber's loss and its gradient: squared for small errors, linear for large ones.

    Forward, for each number that counts, with w its weight and e = y - target::

        L = Σ w l(e) / Σ w          l(e) = e²/2 where |e| <= δ, else δ (|e| - δ/2)

    Backward::

        dy = w min(max(e, -δ), δ) / Σ w

    Parameters
    ----------
    outputs, targets : array, shape (...)
        Floating, of one shape.
    mask : array, shape (...), optional
        Boolean: the numbers that count. Where none does, the loss and the gradient are zero.
    weights : array, shape (...), optional
        Of the numbers, floating and at least zero; 1 by default.
    delta : float
        δ, above zero, in the outputs' unit.

    Returns
    -------
    loss : array, shape ()
        In the square of the outputs' unit.
    doutputs : array, shape (...)
        Zero where the mask is False.

    Raises
    ------
    ValueError, TypeError
        Where a shape or a kind of dtype does not fit.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964), 73-101,
    doi:10.1214/aoms/1177703732.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dy = huber(np.asarray([1.0, 4.0]), np.asarray([0.0, 0.0]), delta=2.0)
    >>> float(loss), dy.tolist()
    (3.25, [0.5, 1.0])
    """
    delta = positive("delta", delta)
    return _pointwise(outputs, targets, mask, weights, partial(_huber, delta))


def binary_cross_entropy(
    outputs: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Mean negative log-likelihood of probabilities under a sigmoid, and its gradient.

    Forward, for each number that counts, with w its weight, z = outputs the logits::

        L = Σ w l(z) / Σ w          l(z) = max(z, 0) - z target + log(1 + exp(-|z|))

    Backward::

        dy = w (σ(z) - target) / Σ w

    Parameters
    ----------
    outputs, targets : array, shape (...)
        Floating, of one shape; the outputs are logits, the targets in [0, 1], such as 0.0 and 1.0.
    mask : array, shape (...), optional
        Boolean: the numbers that count. Where none does, the loss and the gradient are zero.
    weights : array, shape (...), optional
        Of the numbers, floating and at least zero; 1 by default.

    Returns
    -------
    loss : array, shape ()
        In nats per number.
    doutputs : array, shape (...)
        Zero where the mask is False.

    Raises
    ------
    ValueError, TypeError
        Where a shape or a kind of dtype does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dz = binary_cross_entropy(np.asarray([0.0, 0.0]), np.asarray([1.0, 0.0]))
    >>> round(float(loss), 4), dz.tolist()
    (0.6931, [-0.25, 0.25])
    """
    return _pointwise(outputs, targets, mask, weights, _binary)


def _squared(xp: ModuleType, y: Array, target: Array) -> tuple[Array, Array]:
    error = y - target
    return error * error, 2 * error


def _absolute(xp: ModuleType, y: Array, target: Array) -> tuple[Array, Array]:
    error = y - target
    return xp.abs(error), xp.sign(error)


def _huber(delta: float, xp: ModuleType, y: Array, target: Array) -> tuple[Array, Array]:
    error = y - target
    bound = xp.full_like(error, delta)
    slope = xp.minimum(xp.maximum(error, -bound), bound)
    return slope * (error - 0.5 * slope), slope  # e²/2, and δ (|e| - δ/2) beyond


def _binary(xp: ModuleType, z: Array, target: Array) -> tuple[Array, Array]:
    positive_part = xp.maximum(z, xp.zeros_like(z))
    loss = positive_part - z * target + xp.log1p(xp.exp(-xp.abs(z)))
    return loss, 0.5 * xp.tanh(0.5 * z) + 0.5 - target


def _pointwise(
    outputs: Array, targets: Array, mask: Array | None, weights: Array | None, function: Pointwise
) -> tuple[Array, Array]:
    """Return the weighted mean of a function of each number, and its gradient."""
    shape = tuple(getattr(outputs, "shape", ()))
    xp = _checked("outputs", outputs, targets, mask, weights, shape, "real floating")
    with scope_of(outputs):
        loss, slope = function(xp, outputs, targets)
        share = _share(xp, loss, mask, weights)
        return _sum(xp, share, loss, mask), _spread(xp, share, slope, mask)


def _share(xp: ModuleType, like: Array, mask: Array | None, weights: Array | None) -> Array:
    """Return w / Σ w of every position: zero where the mask is False, and where no other counts."""
    w = xp.ones_like(like) if weights is None else weights
    w = w if mask is None else xp.where(mask, w, xp.zeros_like(w))
    total = xp.sum(w)
    return w / xp.where(total > 0, total, xp.ones_like(total))


def _sum(xp: ModuleType, share: Array, loss: Array, mask: Array | None) -> Array:
    return xp.sum(_spread(xp, share, loss, mask))


def _spread(xp: ModuleType, share: Array, x: Array, mask: Array | None) -> Array:
    """Return x in its shares; where the mask is False, NaN too has no effect."""
    if mask is not None:
        mask = mask[..., None] if mask.ndim < x.ndim else mask
        x = xp.where(mask, x, xp.zeros_like(x))
    return share * x


def _checked(
    name: str,
    outputs: Array,
    targets: Array,
    mask: Array | None,
    weights: Array | None,
    shape: tuple[int, ...],
    kind: str,
) -> ModuleType:
    """Return the namespace of a loss's arguments, which must fit each other."""
    xp = _namespace(name, outputs)
    _check(xp, "targets", targets, shape, kind)
    _check(xp, "mask", mask, shape, "bool")
    _check(xp, "weights", weights, shape, "real floating")
    return xp


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
