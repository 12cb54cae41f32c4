"""The compiled core: NumPy arrays in float32 and float64, for RNN, GRU and LSTM.

The loop over time runs in C, without the GIL, on threads that take slices of the batch and never
wait for each other. The products outside the loop are NumPy's. Numbers do not depend on the number
of threads. Without a C compiler at installation this core declines everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnx import threads
from rnnx.cells import GRUCell, LSTMCell, RNNCell
from rnnx.cells.base import State
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Step, Trace
from rnnx.core.products import affine, bias_gradient, product, weight_gradient

try:
    from rnnx.core import _native
except ImportError:  # no compiler at installation
    _native = None  # type: ignore[assignment]

NAME = "native"
CELLS = {RNNCell: 0, GRUCell: 1, LSTMCell: 2}
WORTH_A_THREAD = 1 << 21  # multiplications


class Saved(NamedTuple):
    """The gates of every step: nothing for an RNN; r, z, n, q_n or i, f, g, o as (T, B, 4H)."""

    gates: np.ndarray | None


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
    for option, words in (("recurrent", "recurrent dropout"), ("reset", "resets")):
        if option in job.options:
            return f"has no {words}"
    return "takes whole sequences only" if job.steps is None else ""


def forward(job: Job, params: Params, x: Any, state0: State, extras: Extras, keep: bool) -> Trace:
    """Run a sequence; see `rnnx.core.contract`."""
    T, B, H, G = x.shape[0], x.shape[1], job.hidden_size, len(job.cell.gates)
    W_hh = _recurrent_weight(params, extras)
    b, b_n = _biases(job, params)
    p = affine(np, x, params["weight_ih"])
    dtype = p.dtype
    h = np.empty((T, B, H), dtype)
    c = np.empty((T, B, H), dtype) if G == 4 else None
    gates = np.empty((T, B, 4 * H), dtype) if keep and G > 1 else None
    h0, c0 = _contiguous(state0[0]), _contiguous(state0[1]) if G == 4 else None
    _run(job, T, B, p, b, b_n, W_hh, h0, c0, h, c, gates)
    states = (h,) if c is None else (h, c)
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
    (T, B), H, G = x.shape[:2], job.hidden_size, len(job.cell.gates)
    W_hh = _recurrent_weight(params, extras)
    h, h0 = _contiguous(trace.states[0]), _contiguous(trace.state0[0])
    c = c0 = dc = None
    dh = np.array(arriving.final[0], h.dtype, order="C", copy=True)
    if G == 4:
        c, c0 = _contiguous(trace.states[1]), _contiguous(trace.state0[1])
        dc = np.array(arriving.final[1], h.dtype, order="C", copy=True)
    outer = [None if d is None else _contiguous(d) for d in (*arriving.states, None)][:2]
    dp = np.empty((T, B, G * H), h.dtype)
    dq = np.empty((T, B, G * H), h.dtype) if G == 3 else None
    whole = np.empty((T, B, H), h.dtype) if want_h else None
    _run(job, T, B, None, None, None, W_hh, h0, c0, h, c, trace.saved.gates, *outer, dh, dc, dp, dq,
         whole)  # fmt: skip
    dq = dp if dq is None else dq
    grads = {"weight_ih": weight_gradient(np, dp, x)}
    dW = weight_gradient(np, dq[:1], h0) if T == 1 else (
        weight_gradient(np, dq[1:], h[:-1]) + weight_gradient(np, dq[:1], h0)
    )
    grads["weight_hh"] = dW if extras.weight is None else dW * extras.weight
    if "bias_ih" in params:
        grads["bias_ih"] = bias_gradient(np, dp)
    if "bias_hh" in params:
        same = dq is dp and "bias_ih" in params
        grads["bias_hh"] = grads["bias_ih"] if same else bias_gradient(np, dq)
    state0 = (dh,) if dc is None else (dh, dc)
    return Gradients(product(np, dp, params["weight_ih"]), state0, grads, whole)


def blocks(job: Job) -> int:
    """Return 1: the whole sequence at once."""
    return 1


def part(saved: Saved, steps: slice) -> Saved:
    """Return the saved part of some of the steps."""
    return Saved(None if saved.gates is None else saved.gates[steps])


def step(job: Job, params: Params) -> Step:
    raise NotImplementedError


def _run(job: Job, T: int, B: int, *buffers: Any) -> None:
    """Run the loop over time on these buffers, in the order of `_native.c`."""
    H = job.hidden_size
    work = T * B * H * H * len(job.cell.gates)
    count = threads.get_num_threads() if work > WORTH_A_THREAD else 1
    relu = getattr(job.cell, "nonlinearity", "tanh") == "relu"
    missing = (None,) * (16 - len(buffers))
    _native.run(CELLS[type(job.cell)], relu, T, B, H, count, *buffers, *missing)


def _biases(job: Job, params: Params) -> tuple[Any, Any]:
    """Return what is added to the whole pre-activation, and b_hh of a GRU's n."""
    b, c = params.get("bias_ih"), params.get("bias_hh")
    if b is None or c is None:
        return b, None
    if job.cell.additive:
        return b + c, None
    H = job.hidden_size
    total = b.copy()
    total[: 2 * H] += c[: 2 * H]
    return total, _contiguous(c[2 * H :])


def _recurrent_weight(params: Params, extras: Extras) -> Any:
    W = params["weight_hh"]
    return _contiguous(W if extras.weight is None else W * extras.weight)


def _contiguous(x: Any) -> Any:
    return np.ascontiguousarray(x)
