"""Gradient clipping."""

from __future__ import annotations

from rnnx.backend import Array
from rnnx.optim.shared import Params, namespace, scope
from rnnx.validate import positive


def global_norm(grads: Params) -> Array:
    """Return the joint norm of all gradients, ``√(Σ g²)`` over every entry of every array.

    Squares are taken relative to the largest entry, so that none of them overflows or underflows.
    Nothing is read back to the host.

    Parameters
    ----------
    grads : dict of arrays
        The gradients by name.

    Returns
    -------
    array, shape ()
        The norm: NaN if an entry is NaN, otherwise infinite if an entry is.

    Raises
    ------
    ValueError
        If `grads` is empty.

    Examples
    --------
    >>> import numpy as np
    >>> norm = global_norm({"w": np.asarray([3e25, 4e25], dtype="float32")})
    >>> f"{norm:.3g}"
    '5e+25'
    """
    xp = namespace(grads)
    with scope(grads):
        largest = xp.max(xp.stack([xp.max(xp.abs(g)) for g in grads.values()]))
        bound = xp.full_like(largest, xp.finfo(largest.dtype).max)
        unit = xp.where(xp.isfinite(largest), largest, bound)  # NaN and inf show in g / unit
        unit = xp.where(unit == 0, xp.ones_like(unit), unit)
        return unit * xp.sqrt(sum(xp.sum((g / unit) ** 2) for g in grads.values()))


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

    Raises
    ------
    ValueError
        If `max_norm` is not above 0, or `grads` is empty.

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
    xp = namespace(grads)
    with scope(grads):
        norm = global_norm(grads) if norm is None else norm
        bound = xp.full_like(norm, limit)
        scale = bound / xp.maximum(norm, bound)  # 1 exactly where the norm is within the bound
        return {k: g * scale for k, g in grads.items()}, norm
