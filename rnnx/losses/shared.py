"""What the losses share: their checks, weights and masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from array_api_compat import array_namespace, is_array_api_obj

from rnnx._doc import shared
from rnnx.backend import Array

documented = shared(
    parameters="""
    Parameters
    ----------
    outputs, targets : array, shape (...)
        Floating, of equal shape.
    {counts}
    """,
    returns="""
    Returns
    -------
    loss : array, shape ()
        The weighted mean over the positions that count.
    doutputs : array, shape (...)
        The gradient with respect to the outputs; zero where the mask is False.

    {raises}
    """,
    counts="""
    mask : array, shape (...), optional
        Boolean: which positions count. If none counts, all results are zero.
    weights : array, shape (...), optional
        The weight of each position, floating and at least 0; default is 1.
    """,
    raises="""
    Raises
    ------
    ValueError, TypeError
        If a shape or a dtype does not match.
    """,
)


Loss = TypeVar("Loss", bound=Callable[..., Any])


def takes(targets: str) -> Callable[[Loss], Loss]:
    """Return a decorator that notes what the targets of a loss are: "labels" or "numbers"."""

    def mark(loss: Loss) -> Loss:
        loss.__dict__.update(targets=targets)
        return loss

    return mark


def targets_of(loss: Any) -> str | None:
    """Return what the targets of a loss are; None for a loss that does not say it."""
    while isinstance(loss, partial):
        loss = loss.func
    return getattr(loss, "targets", None)


def averaged(
    xp: ModuleType, loss: Array, gradient: Array, mask: Array | None, weights: Array | None
) -> tuple[Array, Array]:
    """Return Σ w l / Σ w and its gradient w dl / Σ w; NaN that does not count has no effect."""
    share = shares(xp, loss, mask, weights)
    if mask is not None:
        loss = xp.where(mask, loss, xp.zeros_like(loss))
        gradient = xp.where(mask, gradient, xp.zeros_like(gradient))
    return xp.sum(share * loss), share * gradient


def shares(xp: ModuleType, like: Array, mask: Array | None, weights: Array | None) -> Array:
    """Return w / Σ w for every position: zero where the mask is False, or if nothing counts."""
    w = xp.ones_like(like) if weights is None else weights
    w = w if mask is None else xp.where(mask, w, xp.zeros_like(w))
    weight = xp.sum(w)
    return w / xp.where(weight > 0, weight, xp.ones_like(weight))


def checked(
    name: str, x: Array, targets: Array, mask: Array | None, weights: Array | None, kind: str
) -> ModuleType:
    """Return the namespace of a loss's arguments; raise if they do not match each other."""
    if not is_array_api_obj(x):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}: use xp.stack on a list")
    xp = array_namespace(x)
    _check(xp, name, x, x.shape, "real floating")
    shape = x.shape[:-1] if kind == "integral" else x.shape  # without the classes
    _check(xp, "targets", targets, shape, kind)
    if mask is not None:
        _check(xp, "mask", mask, shape, "bool")
    if weights is not None:
        _check(xp, "weights", weights, shape, "real floating")
    return xp


def _check(xp: ModuleType, name: str, x: Array, shape: tuple[int, ...], kind: str) -> None:
    """Raise if `x` does not have this shape and kind of dtype."""
    if not is_array_api_obj(x) or array_namespace(x) is not xp:
        raise TypeError(
            f"{name} must be an array of {xp.__name__.rpartition('.')[2]}, got one of "
            f"{type(x).__module__.partition('.')[0]}: convert it with backend.asarray"
        )
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(x.shape)}")
    if not xp.isdtype(x.dtype, kind):
        raise TypeError(f"{name} must have a dtype of kind {kind!r}, got {x.dtype}")
