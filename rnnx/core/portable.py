"""The portable core: the loop over time of any cell, on any backend. It defines the numbers.

Forward, for t = 1 ... T, after p = x W_ihᵀ + b_ih for all t in one product::

    q_t = (h_{t-1} ⊙ m) W_hhᵀ + b_hh    state_t = step(p_t, q_t, state_{t-1})
    h_t = h'_t W_hrᵀ                    only where there is a projection; h'_t is the cell's output

Backward, for t = T ... 1, from the gradients with respect to every state and to the last one::

    dh'_t = dh_t W_hr                   only where there is a projection
    da_t, dq_t, dstate = step_backward(dstate_t)
    dh_{t-1} = dq_t W_hh ⊙ m + dstate[0]

to which comes what arrives at t-1 from outside. Where a row is reset at step t, its state_{t-1} is
zero, and so is the gradient with respect to it. After the loop, each sum over all t one product::

    dW_ih = Σ dp_tᵀ x_t    dW_hh = Σ dq_tᵀ (h_{t-1} ⊙ m)    dx_t = dp_t W_ih
    db_ih = Σ dp_t         db_hh = Σ dq_t                   dW_hr = Σ dh_tᵀ h'_t
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from rnnx.backend import Array
from rnnx.cells.base import State, Steps
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Step, Trace
from rnnx.core.products import affine, bias_gradient, product, weight_gradient
from rnnx.core.sizes import LAYER_NAMES

NAME = "portable"
PADDING = False


class Saved(NamedTuple):
    """What the backward needs beyond the states."""

    cell: tuple[Array, ...] = ()  # (T, B, ·), what the cell's steps saved
    unprojected: Array | None = None  # (T, B, H), h' before a projection


def declines(job: Job) -> str:
    """Return ``""``: this core serves everything."""
    return ""


def forward(job: Job, params: Params, x: Array, state0: State, extras: Extras, keep: bool) -> Trace:
    """Run the cell over a sequence; see `rnnx.core.contract`."""
    xp, cell, own = job.backend.xp, job.cell, _own(params)
    p = affine(xp, x, params["weight_ih"], _input_bias(job, params))  # (T, B, G·H)
    W = _contiguous(xp, xp.matrix_transpose(extras.dropped(params["weight_hh"])))  # (P, G·H)
    bias, mask = None if cell.additive else params.get("bias_hh"), extras.recurrent
    W_hr = xp.matrix_transpose(params["weight_hr"]) if job.projected else None  # (H, P)
    count = len(state0)

    def step(state: State, inputs: State) -> tuple[State, State]:
        if extras.reset is not None:
            state = _cleared(xp, state, inputs[1])
        h = state[0] if mask is None else state[0] * mask
        q = h @ W if bias is None else h @ W + bias
        state, saved = cell.step(xp, inputs[0], q, state, own)
        if W_hr is not None:
            saved = (*saved, state[0])
            state = (state[0] @ W_hr, *state[1:])
        return state, (*state, *saved) if keep else state

    inputs = (p,) if extras.reset is None else (p, extras.reset[..., None])
    _, outputs = job.backend.scan(step, state0, inputs)
    states, saved = outputs[:count], outputs[count:]
    if not keep:
        return Trace(state0, states, Saved())
    if job.projected:
        return Trace(state0, states, Saved(saved[:-1], saved[-1]))
    return Trace(state0, states, Saved(saved))


def backward(
    job: Job,
    params: Params,
    x: Array,
    trace: Trace,
    arriving: Arriving,
    extras: Extras,
    want_h: bool,
) -> Gradients:
    """Backpropagate through time; see `rnnx.core.contract`."""
    xp, cell, own = job.backend.xp, job.cell, _own(params)
    before = previous(xp, trace, extras.reset)
    known = Steps(before, trace.states, trace.saved.cell)
    weight_hh = extras.dropped(params["weight_hh"])
    slopes = cell.linearize(xp, known, own)
    given = tuple(d for d in arriving.states if d is not None)
    first, mask, reset = len(slopes), extras.recurrent, extras.reset
    W_hr, keep_h = params.get("weight_hr"), want_h or job.projected

    def step(dstate: State, inputs: State) -> tuple[State, State]:
        outer = iter(inputs[first:])
        dstate = tuple(
            [
                d if all_t is None else d + next(outer)
                for d, all_t in zip(dstate, arriving.states, strict=True)
            ]
        )
        dh = dstate[0]
        if W_hr is not None:
            dstate = (dh @ W_hr, *dstate[1:])
        da, dq, dbefore = cell.step_backward(xp, dstate, inputs[:first], own)
        dh_before = dq @ weight_hh  # (B, P)
        if mask is not None:
            dh_before = dh_before * mask
        if dbefore[0] is not None:
            dh_before = dh_before + dbefore[0]
        dstate = (dh_before, *dbefore[1:])
        if reset is not None:
            dstate = _cleared(xp, dstate, inputs[-1])
        return dstate, (da, dh) if keep_h else (da,)

    inputs = (*slopes, *given) if reset is None else (*slopes, *given, reset[..., None])
    dstate0, outputs = job.backend.scan(step, arriving.final, inputs, reverse=True)
    dp, dq, down = cell.gradients(xp, outputs[0], known, own)
    dh = outputs[1] if keep_h else None
    grads = _parameter_gradients(job, params, x, before[0], (dp, dq), extras) | down
    if job.projected:
        grads = grads | {"weight_hr": weight_gradient(xp, dh, trace.saved.unprojected)}
    return Gradients(product(xp, dp, params["weight_ih"]), dstate0, grads, dh if want_h else None)


def blocks(job: Job) -> int:
    """Return the backend's choice: what is computed for a block should stay in the cache."""
    return job.backend.blocks(job.steps or 1, (job.batch or 1) * job.rows)


def part(saved: Saved, steps: slice) -> Saved:
    """Return the saved part of some of the steps."""
    h = saved.unprojected
    cell = tuple([s[steps, ...] for s in saved.cell])
    return Saved(cell, None if h is None else h[steps, ...])


def step(job: Job, params: Params) -> Step:
    """Return one step in the cell's own words, compiled where the backend compiles."""
    bk, cell, xp, own = job.backend, job.cell, job.backend.xp, _own(params)
    W, U = (xp.matrix_transpose(params[name]) for name in ("weight_ih", "weight_hh"))
    b, c, W_hr = params.get("bias_ih"), params.get("bias_hh"), params.get("weight_hr")

    def run(x: Array, state: State) -> State:
        p, q = x @ W, state[0] @ U
        p, q = (p, q) if b is None or c is None else (p + b, q + c)
        state, _ = cell.step(xp, p, q, state, own)
        return state if W_hr is None else (state[0] @ xp.matrix_transpose(W_hr), *state[1:])

    compiled = bk.compile(run)

    def one(x: Array, *state: Array) -> State:
        with bk.scope():
            if x.ndim == 1:
                return tuple(compiled(x[None, :], state))
            return tuple(s[None, ...] for s in compiled(x, tuple(s[0, ...] for s in state)))

    return one


def sequence(job: Job, params: Params) -> None:
    """Return None: `forward` runs sequences."""


def previous(xp: ModuleType, trace: Trace, reset: Array | None = None) -> State:
    """Return the state that every step started from, of shape (T, B, ·)."""
    before = tuple(
        xp.concat([s0[None, ...], s[:-1, ...]], axis=0)
        for s0, s in zip(trace.state0, trace.states, strict=True)
    )
    return before if reset is None else _cleared(xp, before, reset[..., None])


def _parameter_gradients(
    job: Job, params: Params, x: Array, h: Array, d: tuple[Array, Array], extras: Extras
) -> Params:
    """Return the gradients of weights and biases from dp, dq, and h before every step."""
    xp, (dp, dq) = job.backend.xp, d
    h = h if extras.recurrent is None else h * extras.recurrent
    grads = {
        "weight_ih": weight_gradient(xp, dp, x),
        "weight_hh": extras.dropped(weight_gradient(xp, dq, h)),
    }
    if "bias_ih" in params:
        grads = grads | {"bias_ih": bias_gradient(xp, dp)}
    if "bias_hh" in params:
        same = job.cell.additive and "bias_ih" in params  # in value: each has its own array
        db = xp.concat([grads["bias_ih"]], axis=0) if same else bias_gradient(xp, dq)
        grads = grads | {"bias_hh": db}
    return grads


def _own(params: Params) -> Params:
    """Return the cell's own parameters."""
    return {name: W for name, W in params.items() if name not in LAYER_NAMES}


def _input_bias(job: Job, params: Params) -> Array | None:
    """Return what is added to p: b_ih, and b_hh too where the cell reads p + q only."""
    b_ih, b_hh = params.get("bias_ih"), params.get("bias_hh")
    if b_ih is None or b_hh is None or not job.cell.additive:
        return b_ih
    return b_ih + b_hh


def _cleared(xp: ModuleType, arrays: State, where: Array) -> State:
    """Return the arrays with zeros where `where` is True; NaN there vanishes too."""
    return tuple([xp.where(where, xp.zeros_like(a), a) for a in arrays])


def _contiguous(xp: ModuleType, W: Array) -> Array:
    """Return a transposed matrix laid out in rows: the product with it runs faster in the loop."""
    return xp.reshape(xp.reshape(W, (-1,)), W.shape)
