"""What the optimizers share: checked hyperparameters, and one step with its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from numbers import Real
from typing import Any

from array_api_compat import array_namespace, is_array_api_obj

from rnnx.backend import Array, scope_of
from rnnx.validate import fraction, nonnegative, positive, size

Params = dict[str, Array]
State = dict[str, Any]
Entries = dict[str, Callable[[Params], Any]]  # the state's entries, and how each is made
Rate = float | Array | None

RANGES: dict[str, Callable[[str, Any], float]] = {
    "learning_rate": positive,
    "momentum": fraction,
    "beta1": fraction,
    "beta2": fraction,
    "alpha": fraction,
    "epsilon": positive,
    "weight_decay": nonnegative,
    "steps": size,
    "final": nonnegative,
    "every": size,
    "factor": positive,
}


class Checked:
    """A frozen dataclass whose fields are in their ranges, and plain Python numbers."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # each subclass is a dataclass
            if field.name in RANGES:
                value = RANGES[field.name](field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)


class Optimizer(Checked):
    """What every optimizer is: hyperparameters, and pure functions of dicts of arrays."""

    __slots__ = ()
    learning_rate: float

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
        return {entry: make(params) for entry, make in self._entries().items()}

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
        self._check(params, grads, state)
        with computing(params) as xp:
            rate = self.learning_rate if learning_rate is None else learning_rate
            return self._step(xp, params, grads, state, _rate(xp, params, rate))

    def _check(self, params: Params, grads: Params, state: State) -> None:
        """Raise if the gradients do not match the parameters, or the state is another's."""
        if params.keys() != grads.keys():
            raise ValueError(
                f"grads must have the parameters' names {list(params)}, got {list(grads)}"
            )
        for name, w in params.items():
            shape, got = tuple(w.shape), tuple(grads[name].shape)
            if shape != got:
                raise ValueError(f"grads[{name!r}] must have shape {shape}, got {got}")
        entries = self._entries()
        if state.keys() != entries.keys():
            raise ValueError(
                f"state must be of {type(self).__name__}, with {sorted(entries)}, got "
                f"{sorted(state)}: make it with init(params)"
            )

    def _entries(self) -> Entries:
        raise NotImplementedError

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        raise NotImplementedError


@contextmanager
def computing(arrays: Params) -> Iterator[Any]:
    """Give the namespace of the arrays; what is made meanwhile stays on their device."""
    if not arrays:
        raise ValueError("expected parameters or gradients by name, got an empty dict")
    with scope_of(next(iter(arrays.values()))):
        yield array_namespace(*arrays.values())


def zeros_like(params: Params) -> Params:
    """Return zeros in the shapes of the parameters."""
    with computing(params) as xp:
        return {k: xp.zeros_like(w) for k, w in params.items()}


def zero_like(params: Params) -> Array:
    """Return 0 as an array of shape (), with the dtype and device of the parameters."""
    with computing(params) as xp:
        return xp.zeros_like(xp.sum(next(iter(params.values()))))


def _rate(xp: Any, params: Params, rate: Any) -> Any:
    """Return the learning rate of one step, in a form that does not widen the parameters."""
    if isinstance(rate, Real) or not is_array_api_obj(rate):
        return nonnegative("learning_rate", rate)
    if array_namespace(rate) is not xp:
        raise TypeError(
            "learning_rate must be a number or an array of the parameters' library, got "
            f"{type(rate).__module__}.{type(rate).__name__}: give a Python float"
        )
    if rate.shape != ():
        raise ValueError(
            f"learning_rate must be a number or have shape (), got {tuple(rate.shape)}"
        )
    return xp.astype(rate, next(iter(params.values())).dtype, copy=False)
