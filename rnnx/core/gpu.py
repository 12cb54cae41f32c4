"""The cores for CuPy: RNN, GRU and LSTM in CUDA, one core for each way through time.

``fused`` launches two kernels a step, a product and all the rest; ``persistent`` runs a whole
sequence in one launch. The portable loop launches one kernel for every operation of a step, 3 to 16
of them, and a GPU that waits for launches is idle. What both share is in `rnnx.core.cuda`, which is
imported, and CuPy with it, when the first job for CuPy comes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from rnnx.cells import GRUCell, LSTMCell, RNNCell
from rnnx.cells.base import State
from rnnx.core import portable
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Step, Trace

CELLS = (RNNCell, GRUCell, LSTMCell)


class Fused(NamedTuple):
    """What the way back needs of every step, (T, B, 4, H); None for an RNN."""

    gates: Any = None


class Persistent(NamedTuple):
    """The same, of the other core."""

    gates: Any = None


class OnCuPy:
    """A core for CuPy; see `rnnx.core.contract` for its functions."""

    PADDING = True

    def __init__(self, name: str, saved: type[Fused | Persistent]) -> None:
        self.NAME, self.Saved = name, saved

    def declines(self, job: Job) -> str:
        """Return why this core cannot serve a job, or ``""``."""
        if job.backend.name != "cupy":
            return f"runs on CuPy only, not on {job.backend.name}"
        if type(job.cell) not in CELLS:
            return f"has no {type(job.cell).__name__}"
        if job.steps is None:
            return "takes whole sequences only"
        if job.projected:
            return "has no projection"
        if "recurrent" in job.options:
            return "has no recurrent dropout"
        return str(self._loop().declines(job))

    def forward(
        self, job: Job, params: Params, x: Any, state0: State, extras: Extras, keep: bool
    ) -> Trace:
        """Run a sequence."""
        run, whole = self._loop().forward, _shared("whole")
        states, gates = whole.forward(job, params, x, state0, extras, keep, run)
        return Trace(state0, states, self.Saved(gates))

    def backward(
        self,
        job: Job,
        params: Params,
        x: Any,
        trace: Trace,
        arriving: Arriving,
        extras: Extras,
        want_h: bool,
    ) -> Gradients:
        """Backpropagate through time."""
        run, whole = self._loop().backward, _shared("whole")
        found: Gradients = whole.backward(job, params, x, trace, arriving, extras, want_h, run)
        return found

    def blocks(self, job: Job) -> int:
        """Return 1: the whole sequence at once."""
        return 1

    def part(self, saved: Any, steps: slice) -> Any:
        """Return the saved part of some of the steps."""
        return self.Saved(None if saved.gates is None else saved.gates[steps])

    def step(self, job: Job, params: Params) -> Step:
        """Return the portable core's step."""
        return portable.step(job, params)

    def sequence(self, job: Job, params: Params) -> None:
        """Return None: `forward` runs sequences."""

    def _loop(self) -> Any:
        """Return the module of the loop over time."""
        return _shared(self.NAME)


def _shared(name: str) -> Any:
    """Return a module that imports CuPy."""
    return import_module(f"rnnx.core.cuda.{name}")


fused, persistent = OnCuPy("fused", Fused), OnCuPy("persistent", Persistent)
