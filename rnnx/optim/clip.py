"""Clipping of gradients."""

from __future__ import annotations

from typing import Any

from rnnx.backend import Array
from rnnx.optim.shared import Params, namespace, scope
from rnnx.validate import positive


def clip_by_global_norm(
    grads: Params, max_norm: float, norm: Array | None = None
) -> tuple[Params, Array]:
    """Scale all gradients by one factor, so that their joint norm is at most `max_norm`.

    With ``n = √(Σ g²)`` over all entries of all gradients, each becomes
    ``g · max_norm / max(n, max_norm)``: no branch on a value, so no copy to the host.

    Parameters
    ----------
    grads : dict of arrays
        The gradients by name.
    max_norm : float
        The bound, above zero.
    norm : array, shape (), optional
        n, where it is known already.

    Returns
    -------
    grads : dict of arrays
        The scaled gradients.
    norm : array, shape ()
        n, before the scaling.

    Raises
    ------
    ValueError
        For a bound that is not above zero.

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
        norm = _global_norm(xp, grads) if norm is None else norm
        bound = xp.full_like(norm, limit)
        scale = bound / xp.maximum(norm, bound)  # 1 exactly where the norm is within the bound
        return {k: g * scale for k, g in grads.items()}, norm


def _global_norm(xp: Any, grads: Params) -> Array:
    """Return √(Σ g²), also where a square overflows."""
    largest = xp.max(xp.stack([xp.max(xp.abs(g)) for g in grads.values()]))
    unit = xp.where(largest > 0, largest, xp.ones_like(largest))
    return unit * xp.sqrt(sum(xp.sum((g / unit) ** 2) for g in grads.values()))
