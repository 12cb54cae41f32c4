"""The contract of a core: one layer, one direction, one whole dense sequence.

Forward, from the input to all states::

    p_t = x_t W_ihᵀ + b_ih
    q_t = (h_{t-1} ⊙ m) W_hhᵀ + b_hh
    state_t = step(p_t, q_t, state_{t-1})
    h_t = h_t W_hrᵀ                     only where there is a projection

Backward, from the gradients with respect to the states to those with respect to the input, the
initial state and the parameters. The portable core defines the numbers; any other core gives the
same ones to rounding. A core is one module of this folder and one line in `rnnx.core.CORES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from rnnx.backend import Array, Backend
from rnnx.cells.base import Cell, State, recurrent_gates

Params = dict[str, Array]
Run = Callable[..., tuple[Array, State]]  # (x, *state) -> h (T, B, P), state; (B, ·) each
Step = Callable[..., State]  # (x, *state) -> state, with an axis of one layer before the others


class Job(NamedTuple):
    """What a core is asked to do: static facts alone, no array."""

    backend: Backend
    cell: Cell
    steps: int | None  # T; None for streaming, one step at a time
    batch: int | None  # B; None for streaming
    input_size: int
    hidden_size: int
    output_size: int  # P, the size of h: H, or that of the projection
    bias: bool
    options: frozenset[str] = frozenset()  # of "recurrent", "weight" and "reset", as in `Extras`
    precision: str = "float32"  # what a core may round the operands of float32 products to

    @property
    def rows(self) -> int:
        """Rows of weight_ih."""
        return len(self.cell.gates) * self.hidden_size

    @property
    def recurrent_rows(self) -> int:
        """Rows of weight_hh."""
        return len(recurrent_gates(self.cell)) * self.hidden_size

    @property
    def projected(self) -> bool:
        """Whether there is a projection."""
        return self.output_size != self.hidden_size


class Extras(NamedTuple):
    """The arrays of a layer's options; None where an option is not used."""

    recurrent: Array | None = None  # (B, P), dropout mask on h in the recurrent product
    weight: Array | None = None  # (G·H, P), dropout mask on weight_hh
    reset: Array | None = None  # (T, B) bool, rows whose state restarts at zero before a step
    lengths: Array | None = None  # (B,) int32, the steps of each row; for cores with `PADDING`

    @property
    def options(self) -> frozenset[str]:
        """The names of the options in use, but for lengths."""
        return frozenset([k for k in self._fields[:3] if getattr(self, k) is not None])

    def dropped(self, W: Array) -> Array:
        """Return weight_hh, or the gradient with respect to it, times its dropout mask."""
        return W if self.weight is None else W * self.weight


NONE = Extras()


class Trace(NamedTuple):
    """What a forward pass leaves behind."""

    state0: State  # (B, ·), the state before the first step
    states: State  # (T, B, ·), the state after every step
    saved: Any  # the core's own, a pytree; only the core that made it looks into it


class Arriving(NamedTuple):
    """The gradients that arrive from outside."""

    states: tuple[Array | None, ...]  # (T, B, ·), with respect to every state
    final: State  # (B, ·), with respect to the last state


class Gradients(NamedTuple):
    """What a backward pass returns: the gradients with respect to ..."""

    x: Array  # (T, B, I)
    state0: State  # (B, ·)
    params: Params  # by name
    h: Array | None  # (T, B, P), every h_t, through all that follows it; None unless asked for


class Core(Protocol):
    """One implementation of the contract; a module with these names, or an object."""

    @property
    def NAME(self) -> str:  # noqa: N802, modules write it as a constant
        """The name by which a layer asks for it."""
        ...

    @property
    def PADDING(self) -> bool:  # noqa: N802
        """Whether it ends each row by `Extras.lengths`.

        Beyond a row's end x and the gradients that arrive may hold anything; states, dx and dh are
        zero there, and the gradients of the last state are those of the row's own last one.
        Otherwise the core is given zeros there, and runs all steps.
        """
        ...

    @property
    def Saved(self) -> type[tuple[Any, ...]]:  # noqa: N802, a class
        """A NamedTuple of this core's own: what `forward` keeps for `backward`."""
        ...

    def declines(self, job: Job) -> str:
        """Return ``""`` where this core serves the job, else one line: why not."""
        ...

    def forward(
        self, job: Job, params: Params, x: Array, state0: State, extras: Extras, keep: bool
    ) -> Trace:
        """Run a sequence.

        Parameters
        ----------
        job : Job
            One that this core does not decline.
        params : dict
            ``weight_ih`` (G·H, I), ``weight_hh`` (G·H, P), ``bias_ih`` and ``bias_hh`` (G·H,) with
            `job.bias`, ``weight_hr`` (P, H) with a projection, and the cell's own.
        x : array, shape (T, B, I)
            The input.
        state0 : tuple of arrays, shape (B, ·)
            The state before the first step.
        extras : Extras
            Dropout masks and resets, and lengths where the core has `PADDING`.
        keep : bool
            Whether `backward` will follow; without it the saved part may be empty.
        """
        ...

    def backward(
        self,
        job: Job,
        params: Params,
        x: Array,
        trace: Trace,
        arriving: Arriving,
        extras: Extras,
        want_h: bool,
    ) -> Gradients:
        """Backpropagate through time.

        `x`, `trace` and `extras` are those of the whole sequence or of one block of it; `want_h`
        asks for the gradients with respect to every h_t as well.
        """
        ...

    def blocks(self, job: Job) -> int:
        """Return in how many blocks of time `backward` is best called."""
        ...

    def part(self, saved: Any, steps: slice) -> Any:
        """Return the saved part of some of the steps."""
        ...

    def step(self, job: Job, params: Params) -> Step:
        """Return a function that takes one step of a stream.

        It takes x, (I,) or (B, I), and the arrays of the state, (1, ·) or (1, B, ·), and returns
        the new arrays of the state.
        """
        ...

    def sequence(self, job: Job, params: Params) -> Run | None:
        """Return a function that runs whole sequences without BPTT; None for `forward` alone.

        It takes x, (T, B, I), and the arrays of the state, (B, ·), and returns h of every step and
        the new arrays of the state. The weights are prepared once for many calls.
        """
        ...
