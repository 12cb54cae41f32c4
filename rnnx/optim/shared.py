"""What the optimizers share: their checks, and arrays made where the parameters are."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from rnnx.backend import Array, scope_of

Params = dict[str, Array]
State = dict[str, Any]


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


def set_fields(frozen: Any, **values: float) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)
