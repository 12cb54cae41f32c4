"""What the losses share: their checks, weights and masks."""

from __future__ import annotations

from types import ModuleType

from array_api_compat import array_namespace, is_array_api_obj

from rnnx.backend import Array


def shares(xp: ModuleType, like: Array, mask: Array | None, weights: Array | None) -> Array:
    """Return w / Σ w for every position: zero where the mask is False, or if nothing counts."""
    w = xp.ones_like(like) if weights is None else weights
    w = w if mask is None else xp.where(mask, w, xp.zeros_like(w))
    weight = xp.sum(w)
    return w / xp.where(weight > 0, weight, xp.ones_like(weight))


def total(xp: ModuleType, share: Array, loss: Array, mask: Array | None) -> Array:
    """Return the weighted mean: the sum of share * loss over what counts."""
    return xp.sum(spread(xp, share, loss, mask))


def spread(xp: ModuleType, share: Array, x: Array, mask: Array | None) -> Array:
    """Return share * x, but zero where the mask is False, even if x is NaN there."""
    if mask is not None:
        mask = mask[..., None] if mask.ndim < x.ndim else mask
        x = xp.where(mask, x, xp.zeros_like(x))
    return share * x


def checked(
    outputs: tuple[str, Array],
    targets: Array,
    mask: Array | None,
    weights: Array | None,
    shape: tuple[int, ...],
    kind: str,
) -> ModuleType:
    """Return the namespace of a loss's arguments; raise if they do not match each other."""
    name, x = outputs
    if not is_array_api_obj(x):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}: use xp.stack on a list")
    xp = array_namespace(x)
    _check(xp, name, x, x.shape, "real floating")
    _check(xp, "targets", targets, shape, kind)
    _check(xp, "mask", mask, shape, "bool")
    _check(xp, "weights", weights, shape, "real floating")
    return xp


def _check(xp: ModuleType, name: str, x: Array | None, shape: tuple[int, ...], kind: str) -> None:
    """Raise if `x` does not have this shape and kind of dtype."""
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
