"""Gradient clipping."""

from __future__ import annotations

from rnnx.backend import Array
from rnnx.optim.shared import Params, computing, zero_like
from rnnx.validate import positive


def global_norm(grads: Params) -> Array:
    """Return the joint norm of all gradients, ``√(Σ g²)`` over every entry of every array.

    Very large and very small gradients are scaled before they are squared, so that the squares do
    not overflow or underflow. Nothing is read back to the host.

    Parameters
    ----------
    grads : dict of arrays
        The gradients by name.

    Returns
    -------
    array, shape ()
        The norm: NaN if an entry is NaN, otherwise infinite if an entry is.

    Examples
    --------
    >>> import numpy as np
    >>> norm = global_norm({"w": np.asarray([3e25, 4e25], dtype="float32")})
    >>> f"{norm:.3g}"
    '5e+25'
    """
    with computing(grads) as xp:
        parts = [g for g in grads.values() if 0 not in g.shape] or [zero_like(grads)]
        largest = xp.max(xp.stack([xp.max(xp.abs(g)) for g in parts]))
        exponent = {32: 80, 64: 640}[xp.finfo(largest.dtype).bits]
        limit = 2.0 ** (exponent * 5 // 8)  # squares of numbers within 1/limit and limit are safe
        huge, tiny = ~(largest <= limit), largest < 1 / limit  # NaN is huge: no other overflows
        one, up = xp.ones_like(largest), xp.full_like(largest, 2.0**exponent)
        down = xp.full_like(largest, 2.0**-exponent)
        scale = xp.where(huge, down, xp.where(tiny, up, one))  # a power of 2: exact
        norm = xp.sqrt(sum(xp.sum((g * scale) ** 2) for g in parts))
        return norm * xp.where(huge, up, xp.where(tiny, down, one))


def clip_by_global_norm(
    grads: Params, max_norm: float, norm: Array | None = None
) -> tuple[Params, Array]:
    """Scale all gradients by one factor, so that their joint norm is at most `max_norm`.

    With n the `global_norm`, each gradient becomes ``g · max_norm / max(n, max_norm)``. There is no
    branch on a value, so nothing is copied to the host.

    Parameters
    ----------
    grads : dict of arrays
        The gradients by name.
    max_norm : float
        The largest norm allowed, above 0.
    norm : array, shape (), optional
        The global norm, if it is already known.

    Returns
    -------
    grads : dict of arrays
        The scaled gradients.
    norm : array, shape ()
        The norm before scaling.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, doi:10.48550/arXiv.1211.5063.

    Examples
    --------
    >>> import numpy as np
    >>> clipped, norm = clip_by_global_norm({"w": np.asarray([3.0, 4.0])}, max_norm=1.0)
    >>> float(norm), clipped["w"].round(3).tolist()
    (5.0, [0.6, 0.8])
    """
    limit = positive("max_norm", max_norm)
    with computing(grads) as xp:
        norm = global_norm(grads) if norm is None else norm
        bound = xp.full_like(norm, limit)
        scale = bound / xp.maximum(norm, bound)  # 1 exactly where the norm is within the bound
        return {k: g * scale for k, g in grads.items()}, norm
