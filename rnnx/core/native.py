"""The compiled core: NumPy arrays in float32 and float64, for RNN, GRU and LSTM.

A whole pass runs in C, without the GIL, on threads that take slices of the batch. Numbers do not
depend on how many there are. Where rnnx was installed without a C compiler, this core declines
everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx.cells import GRUCell, LSTMCell, RNNCell
from rnnx.cells.base import State
from rnnx.core import threads
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Step, Trace
from rnnx.core.sizes import LAYER_NAMES

try:
    from rnnx.core import _native
except ImportError:  # no compiler at installation
    _native = None  # type: ignore[assignment]

NAME = "native"
CELLS: dict[type, int] = {RNNCell: 0, GRUCell: 1, LSTMCell: 2}
BUFFERS = (
    "x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h0", "c0", "h", "c", "gates",
    "outer_h", "outer_c", "dh", "dc", "dx", "dW_ih", "dW_hh", "db", "whole",
)  # fmt: skip
WORTH_A_THREAD = 1 << 22  # multiplications
BLOCK = 1 << 17  # numbers of p or da at a time, so that they stay in the cache


class Saved(NamedTuple):
    """The gates of every step, as the loop over time lays them out; None for an RNN.

    The shape is (T, groups of units, B, 4, units of a group), the order that of the compiled code.
    """

    gates: np.ndarray | None = None


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
    state0 = tuple(map(_in_rows, state0))
    states = tuple([np.empty((T, B, H), dtype) for _ in state0])
    gates = None
    if keep and not isinstance(job.cell, RNNCell):
        lanes = _native.lanes(dtype.itemsize)
        gates = np.empty((T, -(-H // lanes), B, 4, lanes), dtype)
    _run(job, x, params, extras, gates=gates, **_named("h0 c0", state0), **_named("h c", states))
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
    H, dtype = job.hidden_size, x.dtype
    state0, states = (tuple(map(_in_rows, s)) for s in trace[:2])
    outer = tuple([None if d is None else _in_rows(d) for d in arriving.states])
    dstate = tuple([np.array(d, dtype, order="C") for d in arriving.final])
    dW, dW_hh = np.empty((job.rows, x.shape[2]), dtype), np.empty((job.recurrent_rows, H), dtype)
    db = (
        np.empty((1 if trace.saved.gates is None else 4, H), dtype) if "bias_ih" in params else None
    )
    dx, whole = np.empty(x.shape, dtype), np.empty_like(states[0]) if want_h else None
    _run(
        job, x, params, extras, gates=trace.saved.gates, dx=dx, dW_ih=dW, dW_hh=dW_hh, db=db,
        whole=whole, **_named("h0 c0", state0), **_named("h c", states),
        **_named("outer_h outer_c", outer), **_named("dh dc", dstate),
    )  # fmt: skip
    grads = {"weight_ih": dW, "weight_hh": extras.dropped(dW_hh)}
    if db is not None:
        found = {"bias_ih": db, "bias_hh": db}
        if isinstance(job.cell, GRUCell):  # from n, r, z, q
            found = {"bias_ih": db[[1, 2, 0]], "bias_hh": db[1:]}
        if isinstance(job.cell, LSTMCell):  # from i, f, o, g
            found = dict.fromkeys(found, db[[0, 1, 3, 2]])
        grads |= {name: np.ravel(d) for name, d in found.items() if name in params}
    return Gradients(dx, dstate, grads, whole)


def blocks(job: Job) -> int:
    """Return 1: the whole sequence at once."""
    return 1


def part(saved: Saved, steps: slice) -> Saved:
    """Return the saved part of some of the steps."""
    return Saved(None if saved.gates is None else saved.gates[steps])


def step(job: Job, params: Params) -> Step:
    """Return one step on weights laid out once; the state keeps an axis of one layer."""
    given = (params.get(name) for name in LAYER_NAMES[:4])
    made = _native.Stepper(
        CELLS[type(job.cell)], _is_relu(job), job.input_size, job.hidden_size,
        *(None if W is None else _in_rows(W) for W in given), np.empty_like,
    )  # fmt: skip

    def take(x: Any, *state: Any) -> State:
        """Take a step; arrays that are not laid out in rows are copied first."""
        try:
            found: State = made(x, *state)
        except (BufferError, TypeError):
            found = made(*map(_in_rows, (x, *state)))
        return found

    return take


def _run(job: Job, x: Any, params: Params, extras: Extras, **buffers: np.ndarray | None) -> None:
    """Run the loop over time on named buffers."""
    (T, B, features), H = x.shape, job.hidden_size
    work = T * B * job.recurrent_rows * (H + features)
    buffers |= {name: params.get(name) for name in LAYER_NAMES[:4]}
    buffers |= {"x": x, "weight_hh": extras.dropped(params["weight_hh"])}
    _native.run(
        CELLS[type(job.cell)], _is_relu(job), T, B, features, H,
        max(1, min(T, BLOCK // max(1, B * job.recurrent_rows))),
        threads.get_num_threads() if work > WORTH_A_THREAD else 1,
        *[b if b is None else _in_rows(b) for b in map(buffers.get, BUFFERS)],
    )  # fmt: skip


def _is_relu(job: Job) -> bool:
    return getattr(job.cell, "nonlinearity", "tanh") == "relu"


def _named(names: str, arrays: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names.split(), arrays, strict=False))


def _in_rows(x: Any) -> np.ndarray:
    """Return an array laid out in rows, each number at a multiple of its size."""
    return np.ascontiguousarray(x) if x.flags.aligned else np.array(x, order="C")
