"""What the optimizers share: their checks, and arrays made where the parameters are."""

from __future__ import annotations

from numbers import Real
from typing import Any

from array_api_compat import array_namespace, is_array_api_obj

from rnnx.backend import Array, scope_of
from rnnx.validate import nonnegative

Params = dict[str, Array]
State = dict[str, Any]
Rate = float | Array | None


def namespace(params: Params) -> Any:
    """Return the Array API namespace of the parameters."""
    if not params:
        raise ValueError("expected parameters or gradients by name, got an empty dict")
    return array_namespace(*params.values())


def scope(params: Params) -> Any:
    """Return the context in which what is computed stays on the parameters' device."""
    return scope_of(next(iter(params.values()), None))


def zeros_like(params: Params) -> Params:
    """Return zeros in the shapes of the parameters."""
    xp = namespace(params)
    with scope(params):
        return {k: xp.zeros_like(w) for k, w in params.items()}


def zero_like(params: Params) -> Array:
    """Return 0 with no axes, in the dtype and on the device of the parameters."""
    xp = namespace(params)
    with scope(params):
        return xp.zeros_like(xp.sum(next(iter(params.values()))))


def check(optimizer: Any, params: Params, grads: Params, state: State, entries: set[str]) -> None:
    """Raise where the gradients do not fit the parameters, or the state another optimizer."""
    if params.keys() != grads.keys():
        raise ValueError(f"grads must have the parameters' names {list(params)}, got {list(grads)}")
    for name, w in params.items():
        if w.shape != grads[name].shape:
            raise ValueError(
                f"grads[{name!r}] must have shape {tuple(w.shape)}, got {tuple(grads[name].shape)}"
            )
    if state.keys() != entries:
        raise ValueError(
            f"state must be of {type(optimizer).__name__}, with {sorted(entries)}, got "
            f"{sorted(state)}: make it with init(params)"
        )


def rate_of(optimizer: Any, params: Params, learning_rate: Any) -> Any:
    """Return the rate of one step: the optimizer's own, a number, or an array without axes.

    Neither a NumPy scalar nor an array of a wider dtype may widen the parameters.
    """
    if learning_rate is None:
        return optimizer.learning_rate
    if isinstance(learning_rate, Real) or not is_array_api_obj(learning_rate):
        return nonnegative("learning_rate", learning_rate)
    xp = namespace(params)
    if array_namespace(learning_rate) is not xp:
        raise TypeError(
            "learning_rate must be a number or an array of the parameters' library, got "
            f"{type(learning_rate).__module__}.{type(learning_rate).__name__}: give a Python float"
        )
    if learning_rate.shape != ():
        raise ValueError(
            f"learning_rate must be a number or have shape (), got {tuple(learning_rate.shape)}"
        )
    return xp.astype(learning_rate, next(iter(params.values())).dtype, copy=False)


def set_fields(frozen: Any, **values: float) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)
