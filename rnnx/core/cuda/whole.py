"""A whole pass on CuPy: the products over all steps, around a loop over time that kernels run.

As in `rnnx.core.portable`, the input's part of the gates is one product before the loop, and every
gradient of a weight is one after it. Gates lie as (T, B, S, H): the S = 4 numbers of a unit that
the way back needs of a GRU or an LSTM; an RNN needs h alone. Rows end by `Extras.lengths`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cupy

from rnnx.cells import GRUCell, RNNCell
from rnnx.cells.base import State
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Trace
from rnnx.core.cuda.products import Matrix, Products, rows
from rnnx.core.products import bias_gradient


class Sequence(NamedTuple):
    """What a loop over time runs on; arrays laid out in rows, None where there is none."""

    job: Job
    products: Products
    weight: Any  # weight_hh (G·H, H)
    biases: tuple[Any, Any]  # b_ih and b_hh, (G·H,)
    lengths: Any  # (B,) int32
    reset: Any  # (T, B) bool
    state0: State  # (B, H) each
    states: State  # (T, B, H) each
    gates: Any  # (T, B, S, H), for an RNN h

    @property
    def slots(self) -> int:
        """S."""
        return 1 if isinstance(self.job.cell, RNNCell) else 4


class Returning(NamedTuple):
    """What a loop back through time fills, and what arrives at it."""

    outer: tuple[Any, ...]  # (T, B, H) or None, for each state
    dstate: State  # (B, H) each, with respect to the last state; then, to the initial one
    da: Any  # (T, B, S, H)
    whole: Any  # (T, B, H) or None


Forward = Callable[[Sequence, bool], None]
Backward = Callable[[Sequence, Returning], None]


def forward(
    job: Job, params: Params, x: Any, state0: State, extras: Extras, keep: bool, loop: Forward
) -> tuple[State, Any]:
    """Return the states of all steps, and the gates if the way back needs them."""
    (T, B, features), H = x.shape, job.hidden_size
    states = tuple([cupy.empty((T, B, H), x.dtype) for _ in state0])
    alone = isinstance(job.cell, RNNCell)
    gates = states[0] if alone else cupy.empty((T, B, 4, H), x.dtype)
    run = _sequence(job, params, extras, _in_rows(*state0), states, gates)
    x, W = _in_rows(x, params["weight_ih"])
    to = Matrix(gates.data.ptr, run.slots * H)  # p, in the first slots
    run.products.into(to, rows(x), rows(W).T, (T * B, job.rows, features))
    loop(run, keep)
    return states, gates if keep and not alone else None


def backward(
    job: Job,
    params: Params,
    x: Any,
    trace: Trace,
    arriving: Arriving,
    extras: Extras,
    want_h: bool,
    loop: Backward,
) -> Gradients:
    """Return the gradients."""
    (T, B, _), H, states = x.shape, job.hidden_size, _in_rows(*trace.states)
    gates = states[0] if trace.saved.gates is None else _in_rows(trace.saved.gates)[0]
    run = _sequence(job, params, extras, _in_rows(*trace.state0), states, gates)
    da = cupy.empty((T, B, run.slots, H), x.dtype)
    dstate = tuple([cupy.array(d, order="C") for d in arriving.final])
    outer = tuple([None if d is None else cupy.ascontiguousarray(d) for d in arriving.states])
    whole = cupy.empty((T, B, H), x.dtype) if want_h else None
    loop(run, Returning(outer, dstate, da, whole))
    x = _in_rows(x)[0]
    if extras.lengths is not None:  # padding may hold anything, and 0 times NaN is NaN
        x = cupy.where(_steps(extras.lengths, T)[..., None], x, cupy.zeros((), x.dtype))
    dx, dW = _through_input(run, params, x, da)
    grads = {"weight_ih": dW, "weight_hh": extras.dropped(_recurrent(run, da))}
    if any(b is not None for b in run.biases):
        grads |= _bias_gradients(job, da)
    return Gradients(dx, dstate, {name: grads[name] for name in params}, whole)


def two(arrays: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return h's array and c's, None for a cell without c."""
    return (arrays[0], arrays[1]) if len(arrays) > 1 else (arrays[0], None)


def _sequence(
    job: Job, params: Params, extras: Extras, state0: State, states: State, gates: Any
) -> Sequence:
    products = Products(job.backend.dtype_name, job.precision)
    weight = _in_rows(extras.dropped(params["weight_hh"]))[0]
    biases = _in_rows(params.get("bias_ih"), params.get("bias_hh"))
    lengths, reset = _in_rows(extras.lengths, extras.reset)
    return Sequence(
        job, products, weight, (biases[0], biases[1]), lengths, reset, state0, states, gates
    )


def _through_input(run: Sequence, params: Params, x: Any, da: Any) -> tuple[Any, Any]:
    """dx = dp W_ih and dW_ih = Σ dpᵀ x, over the slots of da that are dp."""
    (T, B, features), H, width = x.shape, run.job.hidden_size, run.slots * run.job.hidden_size
    W = _in_rows(params["weight_ih"])[0]
    dx, dW = cupy.empty(x.shape, x.dtype), cupy.empty(W.shape, x.dtype)
    # (slot of da, gate, number of gates): a GRU's dp_n comes after its dq_n
    parts = ((0, 0, 2), (3, 2, 1)) if isinstance(run.job.cell, GRUCell) else ((0, 0, run.slots),)
    for slot, gate, count in parts:
        dp = Matrix(da[0, 0, slot:].data.ptr, width)
        first, K = gate * H, count * H
        run.products.into(rows(dx), dp, rows(W[first:]), (T * B, features, K), add=gate > 0)
        run.products.into(rows(dW[first:]), dp.T, rows(x), (K, features, T * B))
    return dx, dW


def _recurrent(run: Sequence, da: Any) -> Any:
    """dW_hh = Σ dq_tᵀ h_{t-1}."""
    (T, B, slots, H), G = da.shape, run.job.recurrent_rows
    h0, h, dW = run.state0[0], run.states[0], cupy.empty_like(run.weight)
    if run.reset is not None:
        before = cupy.concatenate([h0[None], h[:-1]])
        h = cupy.where(run.reset[..., None], cupy.zeros((), h.dtype), before)
        h0, h = h[0], h[1:]
    run.products.into(rows(dW), Matrix(da.data.ptr, slots * H).T, rows(h0), (G, H, B))
    if T > 1:
        rest = Matrix(da[1:].data.ptr, slots * H)
        run.products.into(rows(dW), rest.T, rows(h), (G, H, (T - 1) * B), add=True)
    return dW


def _bias_gradients(job: Job, da: Any) -> Params:
    """db_ih = Σ dp_t and db_hh = Σ dq_t."""
    (T, B, S, H) = da.shape
    db = bias_gradient(cupy, cupy.reshape(da, (T, B, S * H)))  # (S·H,)
    if isinstance(job.cell, GRUCell):
        return {"bias_ih": cupy.concatenate([db[: 2 * H], db[3 * H :]]), "bias_hh": db[: 3 * H]}
    return {"bias_ih": db, "bias_hh": db.copy()}


def _steps(lengths: Any, T: int) -> Any:
    """Return where a row has a step, (T, B)."""
    return cupy.arange(T, dtype=lengths.dtype)[:, None] < lengths


def _in_rows(*arrays: Any) -> tuple[Any, ...]:
    return tuple([None if x is None else cupy.ascontiguousarray(x) for x in arrays])
