"""The loop over time of any cell, on any backend: the definition of the core.

Forward, for t = 1 ... T::

    q_t = (h_{t-1} ⊙ m) W_hhᵀ + b_hh    state_t = step(z_t, q_t, state_{t-1})
    h_t = h_t W_hrᵀ                     only where there is a projection

Backward, for t = T ... 1, from the gradients of every state and of the last one::

    dh_t = dh_t W_hr                    only where there is a projection
    dz_t, dq_t, dstate = step_backward(dstate_t)
    dh_{t-1} = dq_t W_hh ⊙ m + dstate[0]

to which comes what arrives at t-1 from outside. m, one mask for all steps, is recurrent dropout;
where a row is reset at step t, its state_{t-1} is zero, and so is the gradient by it. T is time, B
batch, H hidden size, P the size of h (H, or that of the projection), G the cell's number of gates.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from rnnx.backend import Array, Backend

States = tuple[Array, ...]


class Extras(NamedTuple):
    """What most layers do without; each None where it is not used."""

    bias_hh: Array | None = None  # (G·H,), where it cannot be added to z
    weight_hr: Array | None = None  # (P, H), the projection
    mask: Array | None = None  # (B, P), recurrent dropout
    reset: Array | None = None  # (T, B) bool, rows whose state restarts at a step


class Gradients(NamedTuple):
    """What the backward returns."""

    dz: Array  # (T, B, G·H)
    dq: Array  # (T, B, G·H); for an additive cell the same array as dz
    dh: Array | None  # (T, B, P), the whole gradient by h_t, where there is a projection
    dstate0: States  # (B, ·)


NONE = Extras()


def forward(
    backend: Backend,
    cell: Any,
    z: Array,
    weight_hh: Array,
    state0: States,
    extras: Extras = NONE,
    keep: bool = True,
) -> tuple[States, States]:
    """Run the cell over a sequence.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    cell : object
        A cell of `rnnx.cells`.
    z : array, shape (T, B, G·H)
        The input's part of every pre-activation.
    weight_hh : array, shape (G·H, P)
        The recurrent weights.
    state0 : tuple of arrays, shape (B, ·)
        The state before the first step.
    extras : Extras
        Projection, recurrent dropout, resets.
    keep : bool
        Whether `backward` will follow; else `saved` is empty.

    Returns
    -------
    states : tuple of arrays, shape (T, B, ·)
        The state after every step.
    saved : tuple of arrays
        What `backward` needs beside the states.
    """
    xp = backend.xp
    W = _contiguous(xp, xp.matrix_transpose(weight_hh))  # (P, G·H)
    bias, mask = extras.bias_hh, extras.mask
    W_hr = None if extras.weight_hr is None else xp.matrix_transpose(extras.weight_hr)  # (H, P)

    def step(state: States, inputs: States) -> tuple[States, States]:
        if extras.reset is not None:
            state = _cleared(xp, state, inputs[1])
        h = state[0] if mask is None else state[0] * mask
        q = h @ W if bias is None else h @ W + bias
        state, saved = cell.step(xp, inputs[0], q, state)
        if W_hr is not None:
            state = (state[0] @ W_hr, *state[1:])
        return state, (*state, *saved) if keep else state

    inputs = (z,) if extras.reset is None else (z, extras.reset[..., None])
    _, outputs = backend.scan(step, state0, inputs)
    return outputs[: cell.state_size], outputs[cell.state_size :]


def backward(
    backend: Backend,
    cell: Any,
    dstates: tuple[Array | None, ...],
    dstate_T: States,
    before: States,
    states: States,
    saved: States,
    weight_hh: Array,
    extras: Extras = NONE,
) -> Gradients:
    """Backpropagate through time.

    Parameters
    ----------
    backend, cell, weight_hh, extras
        As given to `forward`.
    dstates : tuple of arrays, shape (T, B, ·), or None
        The gradients of the loss by every state, one array or None per array of the state.
    dstate_T : tuple of arrays, shape (B, ·)
        The gradients by the final state, added to those of `dstates` at the last step.
    before : tuple of arrays, shape (T, B, ·)
        The state that every step started from; see `previous`.
    states, saved : tuple of arrays
        As returned by `forward`.

    Returns
    -------
    Gradients
        By z, by q, by the projected h, by the initial state.
    """
    xp = backend.xp
    slopes = cell.linearize(xp, before, states, saved)
    given = tuple(d for d in dstates if d is not None)
    first, W_hr, mask, reset = len(slopes), extras.weight_hr, extras.mask, extras.reset

    def step(dstate: States, inputs: States) -> tuple[States, States]:
        outer = iter(inputs[first:])
        dstate = tuple(
            [
                d if all_t is None else d + next(outer)
                for d, all_t in zip(dstate, dstates, strict=True)
            ]
        )
        dh = dstate[0]
        if W_hr is not None:
            dstate = (dh @ W_hr, *dstate[1:])
        da, dq, dbefore = cell.step_backward(xp, dstate, inputs[:first])
        dh_before = dq @ weight_hh  # (B, P)
        if mask is not None:
            dh_before = dh_before * mask
        if dbefore[0] is not None:
            dh_before = dh_before + dbefore[0]
        dbefore = (dh_before, *dbefore[1:])
        if reset is not None:
            dbefore = _cleared(xp, dbefore, inputs[-1])
        return dbefore, (da,) if W_hr is None else (da, dh)

    inputs = (*slopes, *given) if reset is None else (*slopes, *given, reset[..., None])
    dstate0, outputs = backend.scan(step, dstate_T, inputs, reverse=True)
    dz, dq = cell.gradients(xp, outputs[0])
    return Gradients(dz, dq, None if W_hr is None else outputs[1], dstate0)


def previous(xp: ModuleType, state0: States, states: States, reset: Array | None = None) -> States:
    """Return the state that every step started from, of shape (T, B, ·)."""
    before = tuple(
        xp.concat([s0[None, ...], s[:-1, ...]], axis=0)
        for s0, s in zip(state0, states, strict=True)
    )
    return before if reset is None else _cleared(xp, before, reset[..., None])


def _cleared(xp: ModuleType, arrays: States, where: Array) -> States:
    """Return the arrays with zeros where `where` is True; NaN there vanishes too."""
    return tuple([xp.where(where, xp.zeros_like(a), a) for a in arrays])


def _contiguous(xp: ModuleType, W: Array) -> Array:
    """Return a transposed matrix laid out in rows: the product with it runs faster in the loop."""
    return xp.reshape(xp.reshape(W, (-1,)), W.shape)
