"""What a cell is: the contract between one step's mathematics and everything built around it.

Forward, one step, with the two products that the core computes::

    p_t = x_t W_ihᵀ + b_ih      q_t = h_{t-1} W_hhᵀ + b_hh
    state_t = step(p_t, q_t, state_{t-1})

Backward, one step, linear in the gradient that arrives::

    da_t, dq_t, dstate_{t-1} = step_backward(dstate_t)      the core adds dh_{t-1} += dq_t W_hh
    dp, dq, down = gradients(da)                            for all steps at once

B is the batch size, H the hidden size, G the number of gates, T the number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Protocol

Array = Any  # an array of any conforming library
State = tuple[Array, ...]
Own = Mapping[str, Array]  # a cell's own parameters, by name


class Steps(NamedTuple):
    """What is known of all steps of a sequence after the forward pass."""

    before: State  # (T, B, ·), the state before every step
    states: State  # (T, B, ·), the state after every step
    saved: State  # (T, B, ·), what the steps saved


class Parameter(NamedTuple):
    """The shape and the initial value of one of a cell's own parameters."""

    shape: tuple[int, ...]
    initial: float | str = 0.0
    """A number, or ``"weight"`` or ``"recurrent"``: drawn as weight_ih or as weight_hh is."""


class Cell(Protocol):
    """One step of a recurrent network, and its backward.

    Derive from this class, give `gates` and the four functions, and `rnnx.Recurrent` makes a layer
    of the cell. The functions are pure. They receive the array namespace `xp` and never import an
    array library, write into an array, or read a value back to the host.

    Attributes
    ----------
    gates : tuple of str
        The names of the G gates: row blocks of weight_ih and bias_ih, each of H rows.
    recurrent_gates : tuple of str, optional
        The gates that have rows in weight_hh and bias_hh; all of them by default.
    additive : bool
        Whether the step reads p and q only through p + q. Then dp = dq, and one bias is enough.
    biased : bool
        Whether the layer adds b_ih to p and b_hh to q; False for a cell with biases of its own.
    reads_h : bool
        Whether the step reads h_{t-1} other than through q. Where it does not, the layer can
        project h to a smaller size.
    """

    gates: ClassVar[tuple[str, ...]]
    recurrent_gates: ClassVar[tuple[str, ...] | None] = None
    additive: ClassVar[bool] = False
    biased: ClassVar[bool] = True
    reads_h: ClassVar[bool] = True

    def state_sizes(self, hidden_size: int) -> dict[str, int]:
        """Return the width of each state array by name. The first is h, the output."""
        return {"h": hidden_size}

    def parameters(self, hidden_size: int) -> dict[str, Parameter]:
        """Return the cell's own parameters by name; none by default."""
        return {}

    def step(
        self, xp: ModuleType, p: Array, q: Array, state: State, own: Own
    ) -> tuple[State, State]:
        """Take one step.

        Parameters
        ----------
        xp : module
            The Array API namespace.
        p : array, shape (B, G·H)
            The input's part of the pre-activation.
        q : array, shape (B, G·H)
            The recurrent part; only the rows of `recurrent_gates`.
        state : tuple of arrays, shape (B, ·)
            The state before the step.
        own : dict of arrays
            The cell's own parameters.

        Returns
        -------
        state : tuple of arrays, shape (B, ·)
            The state after the step.
        saved : tuple of arrays, shape (B, ·)
            What the backward needs beyond the states.
        """
        ...

    def linearize(self, xp: ModuleType, steps: Steps, own: Own) -> State:
        """Return what `step_backward` multiplies by, for all steps at once, as (T, B, ...) arrays.

        A step's backward is linear in the gradient that arrives. Its coefficients depend on the
        forward pass alone, so they are computed here, outside the loop over time.
        """
        ...

    def step_backward(
        self, xp: ModuleType, dstate: State, slopes: State, own: Own
    ) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """Go back through one step.

        Parameters
        ----------
        dstate : tuple of arrays, shape (B, ·)
            The gradient with respect to the state after the step.
        slopes : tuple of arrays, shape (B, ...)
            This step's part of what `linearize` returned.

        Returns
        -------
        da : array, shape (B, ·)
            Whatever `gradients` needs, in one array.
        dq : array, shape (B, G·H)
            The gradient with respect to q.
        dstate : tuple of arrays, shape (B, ·)
            The gradient with respect to the state before the step, without the path through q. The
            first entry is None for a cell that reads h_{t-1} only through q.
        """
        ...

    def gradients(
        self, xp: ModuleType, da: Array, steps: Steps, own: Own
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return dp, dq and the gradients of the cell's own parameters, for all steps at once.

        Parameters
        ----------
        da : array, shape (T, B, ·)
            What the steps' backward returned.

        Returns
        -------
        dp, dq : array, shape (T, B, G·H)
            By default `da` is both.
        down : dict of arrays
            The gradient with respect to each of the cell's own parameters, summed over steps and
            rows, by name.
        """
        return da, da, {}


def recurrent_gates(cell: Cell) -> tuple[str, ...]:
    """Return the gates that have rows in weight_hh."""
    return cell.gates if cell.recurrent_gates is None else cell.recurrent_gates


def sigmoid(xp: ModuleType, a: Array) -> Array:
    """σ(a) = 1 / (1 + exp(-a)), which keeps its relative accuracy down to the smallest numbers.

    Where exp overflows σ is 0; backends do not warn of that within their `scope`.
    """
    return 1 / (1 + xp.exp(-a))
