"""What the optimizers share: one step with its checks, and arrays made where the parameters are."""

from __future__ import annotations

from dataclasses import fields
from numbers import Real
from typing import Any

from array_api_compat import array_namespace, is_array_api_obj

from rnnx.backend import Array, scope_of
from rnnx.validate import fraction, nonnegative, positive

Params = dict[str, Array]
State = dict[str, Any]
Rate = float | Array | None

RANGES = {
    "learning_rate": positive,
    "momentum": fraction,
    "beta1": fraction,
    "beta2": fraction,
    "alpha": fraction,
    "epsilon": positive,
    "weight_decay": nonnegative,
}


class Optimizer:
    """What every optimizer is: hyperparameters, and pure functions of dicts of arrays."""

    __slots__ = ()
    learning_rate: float

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # each optimizer is a dataclass
            if field.name in RANGES:
                value = RANGES[field.name](field.name, getattr(self, field.name))
                set_fields(self, **{field.name: value})

    def init(self, params: Params) -> State:
        """Return the state before the first step.

        Parameters
        ----------
        params : dict of arrays
            The parameters by name.

        Returns
        -------
        dict
            Zeros in the shapes of the parameters; what they stand for is the optimizer's own.
        """
        return {entry: zeros_like(params) for entry in self._entries()}

    def update(
        self, params: Params, grads: Params, state: State, learning_rate: Rate = None
    ) -> tuple[Params, State]:
        """Return the parameters and the state after one step.

        Parameters
        ----------
        params, grads : dict of arrays
            The parameters and their gradients, under the same names.
        state : dict
            The state that `init` or the previous step returned.
        learning_rate : float or array of shape (), optional
            The learning rate of this step, at least zero; default is the optimizer's own. An array
            must come from the parameters' library. It is cast to their dtype, and its value is not
            checked.

        Returns
        -------
        params : dict of arrays
            The new parameters, in the same dtype.
        state : dict
            The state for the next step.

        Raises
        ------
        ValueError
            If names, shapes or the state do not match, or the rate is negative or not finite.
        TypeError
            If the rate is an array of another library.
        """
        _check(self, params, grads, state, self._entries())
        with scope(params):
            rate = _rate(self, params, learning_rate)
            return self._step(namespace(params), params, grads, state, rate)

    def _entries(self) -> tuple[str, ...]:
        """Return the names of the state's entries."""
        raise NotImplementedError

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        """Return the parameters and the state after one step; all arguments are checked."""
        raise NotImplementedError


def namespace(params: Params) -> Any:
    """Return the Array API namespace of the parameters."""
    if not params:
        raise ValueError("expected parameters or gradients by name, got an empty dict")
    return array_namespace(*params.values())


def scope(params: Params) -> Any:
    """Return the context that keeps results on the parameters' device."""
    return scope_of(next(iter(params.values()), None))


def zeros_like(params: Params) -> Params:
    """Return zeros in the shapes of the parameters."""
    xp = namespace(params)
    with scope(params):
        return {k: xp.zeros_like(w) for k, w in params.items()}


def zero_like(params: Params) -> Array:
    """Return 0 as an array of shape (), with the dtype and device of the parameters."""
    xp = namespace(params)
    with scope(params):
        return xp.zeros_like(xp.sum(next(iter(params.values()))))


def set_fields(frozen: Any, **values: float) -> None:
    """Set fields of a frozen dataclass in its __post_init__."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)


def _check(
    optimizer: Any, params: Params, grads: Params, state: State, entries: tuple[str, ...]
) -> None:
    """Raise if the gradients do not match the parameters, or the state is another optimizer's."""
    if params.keys() != grads.keys():
        raise ValueError(f"grads must have the parameters' names {list(params)}, got {list(grads)}")
    for name, w in params.items():
        if w.shape != grads[name].shape:
            raise ValueError(
                f"grads[{name!r}] must have shape {tuple(w.shape)}, got {tuple(grads[name].shape)}"
            )
    if state.keys() != set(entries):
        raise ValueError(
            f"state must be of {type(optimizer).__name__}, with {sorted(entries)}, got "
            f"{sorted(state)}: make it with init(params)"
        )


def _rate(optimizer: Any, params: Params, learning_rate: Any) -> Any:
    """Return the learning rate of one step, in a form that does not widen the parameters."""
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
