"""The loop over time of any cell, on any backend: the definition of the core.

Forward, for t = 1 ... T::

    r_t = h_{t-1} W_hhᵀ                 state_t = step(z_t, r_t, state_{t-1})

Backward, for t = T ... 1, from the gradients of every state and of the last one::

    dz_t, dr_t, dstate = step_backward(dstate_t)
    dh_{t-1} = dr_t W_hh + dstate[0]    plus what arrives at t-1 from outside

Nothing else is inside the loop. T is time, B batch, H hidden size, G the cell's number of gates.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rnnx.backend import Backend

Array = Any
States = tuple[Array, ...]


def forward(
    backend: Backend, cell: Any, z: Array, weight_hh: Array, state0: States
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
    weight_hh : array, shape (G·H, H)
        The recurrent weights.
    state0 : tuple of arrays, shape (B, H)
        The state before the first step.

    Returns
    -------
    states : tuple of arrays, shape (T, B, H)
        The state after every step.
    saved : tuple of arrays
        What `backward` needs beside the states.
    """
    xp = backend.xp
    W = _contiguous(xp, xp.matrix_transpose(weight_hh))  # (H, G·H)

    def step(state: States, inputs: States) -> tuple[States, States]:
        (z_t,) = inputs
        state, saved = cell.step(xp, z_t, state[0] @ W, state)
        return state, (*state, *saved)

    _, outputs = backend.scan(step, state0, (z,))
    return outputs[: cell.state_size], outputs[cell.state_size :]


def backward(
    backend: Backend,
    cell: Any,
    dstates: tuple[Array | None, ...],
    dstate_T: States,
    states: States,
    saved: States,
    weight_hh: Array,
) -> tuple[Array, Array, States]:
    """Backpropagate through time.

    Parameters
    ----------
    backend, cell, weight_hh
        As given to `forward`.
    dstates : tuple of arrays, shape (T, B, H), or None
        The gradients of the loss by every state, one array or None per array of the state.
    dstate_T : tuple of arrays, shape (B, H)
        The gradients by the final state, added to those of `dstates` at the last step.
    states, saved : tuple of arrays
        As returned by `forward`.

    Returns
    -------
    dz, dr : array, shape (T, B, G·H)
        The gradients by z and by r. For an additive cell they are the same array.
    dstate0 : tuple of arrays, shape (B, H)
        The gradients by the initial state.
    """
    xp = backend.xp
    slopes = cell.linearize(xp, states, saved)
    given = tuple(d for d in dstates if d is not None)

    def step(dstate: States, inputs: States) -> tuple[States, States]:
        outer = iter(inputs[len(slopes) :])
        dstate = tuple(
            d if all_t is None else d + next(outer)
            for d, all_t in zip(dstate, dstates, strict=True)
        )
        dz, dr, dbefore = cell.step_backward(xp, dstate, inputs[: len(slopes)])
        through_r = dr @ weight_hh  # (B, H)
        dh = through_r if dbefore[0] is None else through_r + dbefore[0]
        return (dh, *dbefore[1:]), (dz,) if cell.additive else (dz, dr)

    dstate0, outputs = backend.scan(step, dstate_T, (*slopes, *given), reverse=True)
    return outputs[0], outputs[-1], dstate0


def _contiguous(xp: ModuleType, W: Array) -> Array:
    """Return a transposed matrix laid out in rows: the product with it runs faster in the loop."""
    return xp.reshape(xp.reshape(W, (-1,)), W.shape)
