"""The compiled core: NumPy arrays in float32 and float64, for RNN, GRU and LSTM.

The loop over time runs in C, without the GIL, on threads that take slices of the batch and never
wait for each other. Numbers do not depend on how many there are. The products outside the loop are
NumPy's. Where rnnx was installed without a C compiler, this core declines everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx.cells import GRUCell, LSTMCell, RNNCell
from rnnx.cells.base import State
from rnnx.core import threads
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Step, Trace
from rnnx.core.products import weight_gradient

try:
    from rnnx.core import _native
except ImportError:  # no compiler at installation
    _native = None  # type: ignore[assignment]

NAME = "native"
CELLS: dict[type, int] = {RNNCell: 0, GRUCell: 1, LSTMCell: 2}
BUFFERS = (
    "p", "bias", "bias_n", "panels", "h0", "c0", "h", "c", "gates", "outer_h", "outer_c",
    "dh", "dc", "dp", "dq", "whole", "sums",
)  # fmt: skip
WORTH_A_THREAD = 1 << 22  # multiplications
BLOCK = 1 << 19  # numbers of p or dp at a time
LINE = 64  # bytes of the cache


class Saved(NamedTuple):
    """The gates of every step, (T, B, 4H): r, z, n, q_n or i, f, g, o; None for an RNN."""

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
    """Run a sequence; see `rnnx.core.contract`.

    The input's product is made for a block of steps at a time, so that it stays in the cache.
    """
    (T, B), H = x.shape[:2], job.hidden_size
    W, panels = params["weight_ih"].T, _panels(job, params, extras, backward=False)
    bias, bias_n = _biases(job, params)
    state0 = tuple(map(_in_rows, state0))
    states = tuple(np.empty((T, B, H), W.dtype) for _ in state0)
    gated = keep and not isinstance(job.cell, RNNCell)
    gates = np.empty((T, B, 4 * H), W.dtype) if gated else None
    rows, before, made = x.reshape(T, -1, x.shape[-1]), state0, _loop(job)
    for part in _blocks(T, B * job.rows):
        after = tuple(s[part] for s in states)
        made(
            p=rows[part].reshape(-1, W.shape[0]) @ W, bias=bias, bias_n=bias_n, panels=panels,
            gates=None if gates is None else gates[part], **_named("h0 c0", before),
            **_named("h c", after),
        )  # fmt: skip
        before = tuple(s[-1] for s in after)
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
    """Backpropagate through time; see `rnnx.core.contract`.

    The products with dp and dq are made for a block of steps at a time, as in `forward`.
    """
    (T, B), H, W = x.shape[:2], job.hidden_size, params["weight_ih"]
    state0, states = (tuple(map(_in_rows, s)) for s in trace[:2])
    h, dtype = states[0], W.dtype
    outer = tuple(None if d is None else _in_rows(d) for d in arriving.states)
    dstate = tuple(np.array(d, dtype, order="C") for d in arriving.final)
    width = 4 * H if trace.saved.gates is not None else H
    sums = np.zeros((B, width), dtype) if "bias_ih" in params else None
    whole = np.empty_like(h) if want_h else None
    panels, made = _panels(job, params, extras, backward=True), _loop(job)
    parts = _blocks(T, B * job.rows)
    steps = parts[0].stop
    dp = np.empty((steps, B, job.rows), dtype)
    dq = np.empty_like(dp) if isinstance(job.cell, GRUCell) else dp
    dx = np.empty(x.shape, dtype)
    dW, dW_hh = np.zeros_like(W), np.zeros((job.recurrent_rows, H), dtype)
    for part in reversed(parts):
        n, start = part.stop - part.start, part.start
        before = tuple(s[start - 1] for s in states) if start else state0
        made(
            panels=panels, gates=None if trace.saved.gates is None else trace.saved.gates[part],
            dp=dp[:n], dq=dq[:n] if dq is not dp else None, sums=sums,
            whole=None if whole is None else whole[part],
            **_named("h0 c0", before), **_named("h c", [s[part] for s in states]),
            **_named("outer_h outer_c", [None if d is None else d[part] for d in outer]),
            **_named("dh dc", dstate),
        )  # fmt: skip
        rows = dp[:n].reshape(n * B, -1)
        np.matmul(rows, W, out=dx[part].reshape(n * B, -1))
        terms = [(dW, rows, x[part]), (dW_hh, dq[:1], before[0])]
        terms += [(dW_hh, dq[1:n], h[start : part.stop - 1])] if n > 1 else []
        for total, d, input_ in terms:
            total += weight_gradient(np, d, input_)
    grads = {"weight_ih": dW, "weight_hh": extras.dropped(dW_hh)}
    grads |= _bias_gradients(job, params, sums)
    return Gradients(dx, dstate, grads, whole)


def blocks(job: Job) -> int:
    """Return 1: the whole sequence at once."""
    return 1


def part(saved: Saved, steps: slice) -> Saved:
    """Return the saved part of some of the steps."""
    return Saved(None if saved.gates is None else saved.gates[steps])


def step(job: Job, params: Params) -> Step:
    """Return one step on weights laid out once; the state keeps an axis of one layer."""
    made = _native.Stepper(
        CELLS[type(job.cell)], _is_relu(job), job.input_size, job.hidden_size,
        job.backend.dtype_name == "float64",
        *map(_in_rows, (params["weight_ih"], params["weight_hh"])),
        *_biases(job, params), np.empty_like,
    )  # fmt: skip

    def take(x: Any, *state: Any) -> State:
        """Take a step; arrays that are not laid out in rows are copied first."""
        try:
            found: State = made(x, *state)
        except (BufferError, TypeError):
            found = made(*map(_in_rows, (x, *state)))
        return found

    return take


def _blocks(T: int, width: int) -> list[slice]:
    """Return slices of the steps, each of about `BLOCK` numbers of this width."""
    steps = max(1, min(T, BLOCK // width))
    return [slice(t, min(t + steps, T)) for t in range(0, T, steps)]


def _loop(job: Job) -> Any:
    """Return a function that runs some of the steps on named buffers."""
    kind, B, H = CELLS[type(job.cell)], job.batch, job.hidden_size
    work = (job.steps or 0) * (B or 0) * H * job.recurrent_rows
    count = threads.get_num_threads() if work > WORTH_A_THREAD else 1
    relu = _is_relu(job)

    def run(**buffers: Any) -> None:
        _native.run(kind, relu, len(buffers["h"]), B, H, count, *map(buffers.get, BUFFERS))

    return run


def _is_relu(job: Job) -> bool:
    return getattr(job.cell, "nonlinearity", "tanh") == "relu"


def _panels(job: Job, params: Params, extras: Extras, *, backward: bool) -> np.ndarray:
    """Return weight_hh laid out for the loop over time, at the start of a cache line."""
    W = _in_rows(extras.dropped(params["weight_hh"]))
    kind, H = CELLS[type(job.cell)], job.hidden_size
    room = np.empty(_native.pack(kind, backward, H, W) + LINE // W.itemsize, W.dtype)
    start = -room.ctypes.data % LINE // W.itemsize
    panels = room[start : start + len(room) - LINE // W.itemsize]
    _native.pack(kind, backward, H, W, panels)
    return panels


def _named(names: str, arrays: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names.split(), arrays, strict=False))


def _biases(job: Job, params: Params) -> tuple[Any, Any]:
    """Return what is added to the whole pre-activation, and b_hh of a GRU's n."""
    b, c = params.get("bias_ih"), params.get("bias_hh")
    if b is None or c is None:
        return b if b is None else _in_rows(b), None
    if job.cell.additive:
        return b + c, None
    total, both = b.copy(), 2 * job.hidden_size
    total[:both] += c[:both]
    return total, c[both:].copy()


def _bias_gradients(job: Job, params: Params, sums: Any) -> Params:
    """Return the gradients of the biases from the sums over time of dp and dq, (B, ·)."""
    if sums is None:
        return {}
    db, H = np.sum(sums, axis=0), job.hidden_size
    dq = np.concatenate([db[: 2 * H], db[3 * H :]]) if isinstance(job.cell, GRUCell) else db
    found = {"bias_ih": db[: job.rows], "bias_hh": dq}
    return {name: d for name, d in found.items() if name in params}


def _in_rows(x: Any) -> np.ndarray:
    """Return an array laid out in rows, each number at a multiple of its size."""
    return np.ascontiguousarray(x) if x.flags.aligned else np.array(x, order="C")
