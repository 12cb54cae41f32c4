"""The compiled core: NumPy arrays in float32 and float64, for RNN, GRU and LSTM.

A whole pass runs in C, without the GIL, on threads that take slices of the batch, or some units of
each step where there are fewer rows than threads. Numbers do not depend on how many there are.
Where rnnx was installed without a C compiler, this core declines everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx.cells import GRUCell, LSTMCell, RNNCell
from rnnx.cells.base import State
from rnnx.core import threads
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Run, Step, Trace
from rnnx.core.sizes import LAYER_NAMES

try:
    from rnnx.core import _native as _native  # for rnnx.train, too
except ImportError:  # no compiler at installation
    _native = None  # type: ignore[assignment]

NAME = "native"
PADDING = True
CELLS: dict[type, int] = {RNNCell: 0, GRUCell: 1, LSTMCell: 2}
BUFFERS = (
    "x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "lengths", "h0", "c0", "h", "c", "gates",
    "outer_h", "outer_c", "dh", "dc", "dx", "dW_ih", "dW_hh", "db", "whole",
)  # fmt: skip
WORTH_A_THREAD = 1 << 22  # multiplications
WORTH_MEETING = 1 << 16  # multiplications of a row's step, which threads share
LEAST_UNITS = 64  # of a thread
LARGE = 1 << 18  # bytes of an array
BLOCK = 1 << 17  # numbers of p or da at a time, so that they stay in the cache


class Saved(NamedTuple):
    """The gates of every step, as the loop over time lays them out; None for an RNN.

    The shape is (T, groups of units, B, 4, units of a group), the order that of the compiled code.
    """

    gates: np.ndarray | None = None


def installed() -> str:
    """Return what runs on NumPy here, in words."""
    if _native is None:
        return "portable core; the native one was not compiled, for want of a C compiler"
    return f"native core, compiled, with {_native.instructions()} vectors"


def declines(job: Job) -> str:
    """Return why this core cannot serve a job, or ``""``."""
    if _native is None:
        return "was not compiled: install rnnx where there is a C compiler"
    if job.backend.name != "numpy" or job.backend.dtype_name not in ("float32", "float64"):
        return f"runs on NumPy only, not on {job.backend.name}"
    if type(job.cell) not in CELLS:
        return f"has no {type(job.cell).__name__}"
    if job.projected:
        return "has no projection"
    words = {"recurrent": "recurrent dropout", "reset": "resets"}
    return next((f"has no {words[name]}" for name in words if name in job.options), "")


def forward(job: Job, params: Params, x: Any, state0: State, extras: Extras, keep: bool) -> Trace:
    """Run a sequence; see `rnnx.core.contract`."""
    (T, B), H, dtype = x.shape[:2], job.hidden_size, x.dtype
    states = tuple([_empty((T, B, H), dtype) for _ in state0])
    gates = None
    if keep and not isinstance(job.cell, RNNCell):
        lanes = _native.lanes(dtype.itemsize)
        gates = _empty((T, -(-H // lanes), B, 4, lanes), dtype)
    nothing = (None,) * (len(BUFFERS) - 11)
    _run(job, params, x, extras, (*_two(state0), *_two(states), gates, *nothing))
    return Trace(state0, states, Saved(gates))


def backward(
    job: Job,
    params: Params,
    x: Any,
    trace: Trace,
    arriving: Arriving,
    extras: Extras,
    want_h: bool,
) -> Gradients:
    """Backpropagate through time; see `rnnx.core.contract`."""
    H, dtype, gates = job.hidden_size, x.dtype, trace.saved.gates
    lanes = _native.lanes(dtype.itemsize)
    if gates is not None and gates.shape[-1] != lanes:
        raise ValueError(
            f"expected a cache made with {lanes} numbers to a vector, got {gates.shape[-1]}: call "
            "forward again on this processor"
        )
    dstate = tuple([np.array(d, dtype, order="C") for d in arriving.final])
    dx, whole = _empty(x.shape, dtype), _empty(trace.states[0].shape, dtype) if want_h else None
    dW, dW_hh = np.empty((job.rows, x.shape[2]), dtype), np.empty((job.recurrent_rows, H), dtype)
    slots = 1 if gates is None else 4
    biased = "bias_ih" in params or "bias_hh" in params
    db = np.empty((slots, H), dtype) if biased else None
    _run(
        job, params, x, extras,
        (*_two(trace.state0), *_two(trace.states), gates, *_two(arriving.states), *_two(dstate),
         dx, dW, dW_hh, db, whole),
    )  # fmt: skip
    grads = {"weight_ih": dW, "weight_hh": extras.dropped(dW_hh)}
    if db is not None:
        grads |= _bias_gradients(job, db)
    return Gradients(dx, dstate, {name: grads[name] for name in params}, whole)


def blocks(job: Job) -> int:
    """Return 1: the whole sequence at once."""
    return 1


def part(saved: Saved, steps: slice) -> Saved:
    """Return the saved part of some of the steps."""
    return Saved(None if saved.gates is None else saved.gates[steps])


def step(job: Job, params: Params) -> Step:
    """Return one step on weights laid out once; the state keeps an axis of one layer."""
    made = _laid_out(job, params)

    def take(x: Any, *state: Any) -> State:
        """Take a step; arrays that are not laid out in rows are copied first."""
        found: State = _on_rows(made, (), (x, *state))
        return found

    return take


def sequence(job: Job, params: Params) -> Run:
    """Return a function that runs sequences on weights laid out once."""
    made, H = _laid_out(job, params), job.hidden_size

    def run(x: Any, *state: Any) -> tuple[Any, State]:
        """Run x (T, B, I); arrays that are not laid out in rows are copied first."""
        y = _empty((*x.shape[:2], H), x.dtype)
        after = tuple([np.empty(s.shape, s.dtype) for s in state])
        _on_rows(made.sequence, _how(job, x.shape), (x, *state, y, *after))
        return y, after

    return run


def _run(job: Job, params: Params, x: Any, extras: Extras, buffers: tuple[Any, ...]) -> None:
    """Run a pass on the buffers that follow the parameters in `BUFFERS`."""
    given = (
        x, params["weight_ih"], extras.dropped(params["weight_hh"]), params.get("bias_ih"),
        params.get("bias_hh"), extras.lengths, *buffers,
    )  # fmt: skip
    sizes = (
        CELLS[type(job.cell)], _is_relu(job), *x.shape, job.hidden_size, *_how(job, x.shape)
    )  # fmt: skip
    _on_rows(_native.run, sizes, given)


def _how(job: Job, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the steps of a block, and the number of threads.

    More threads than rows share the units of every step, and meet after it.
    """
    (T, B, features), H, rows = shape, job.hidden_size, job.recurrent_rows
    block = max(1, min(T, BLOCK // max(1, B * rows)))
    if T * B * rows * (H + features) <= WORTH_A_THREAD:
        return block, 1
    count = threads.get_num_threads()
    if count > B:
        count = max(B, min(count, H // LEAST_UNITS)) if rows * H >= WORTH_MEETING else B
    return block, count


def _laid_out(job: Job, params: Params) -> Any:
    given = (params.get(name) for name in LAYER_NAMES[:4])
    return _native.Stepper(
        CELLS[type(job.cell)], _is_relu(job), job.input_size, job.hidden_size,
        *(None if W is None else in_rows(W) for W in given), np.empty_like,
    )  # fmt: skip


def _is_relu(job: Job) -> bool:
    return getattr(job.cell, "nonlinearity", "tanh") == "relu"


def _two(state: Sequence[Any]) -> tuple[Any, Any]:
    """Return h's array and c's, None for a cell without c."""
    return (state[0], state[1]) if len(state) > 1 else (state[0], None)


def _bias_gradients(job: Job, db: np.ndarray) -> Params:
    """Return the gradients of b_ih and b_hh from those of each gate's, and of q for a GRU."""
    if isinstance(job.cell, GRUCell):
        return {"bias_ih": db[:3].ravel(), "bias_hh": np.concatenate([*db[:2], db[3]])}
    return {"bias_ih": db.ravel(), "bias_hh": db.flatten()}


def _empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array without values, a large one in memory that is kept for the next call."""
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    return np.frombuffer(memoryview(_native.Room(size)), dtype).reshape(shape)


def _on_rows(function: Any, numbers: tuple[Any, ...], buffers: tuple[Any, ...]) -> Any:
    """Call a function of `_native`; arrays that are not laid out in rows are copied first."""
    try:
        return function(*numbers, *buffers)
    except (BufferError, ValueError):
        return function(*numbers, *[b if b is None else in_rows(b) for b in buffers])


def in_rows(x: Any) -> np.ndarray:
    """Return an array laid out in rows, each number at a multiple of its size."""
    return np.ascontiguousarray(x) if x.flags.aligned else np.array(x, order="C")
