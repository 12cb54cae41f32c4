"""One layer in one direction over a batch with padding: the core between two permutations.

What the core must not know is put around it here: the order in which rows are read, zeros beyond
their ends, the final state at each row's last valid step, and recomputation.

`backward` goes through time in blocks, so that what it computes of all steps of a block at once
stays in the processor's cache; how many is the backend's to say.

Checkpointing keeps, of every chunk of k steps, only the states before it; `backward` runs each
chunk forward again before it goes back through it. The gradients are the same to rounding, and
memory beside x and h falls from T steps to T/k + k.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from array_api_compat import device as device_of

from rnnx.backend import Array, Backend
from rnnx.core import layer
from rnnx.core.layer import Noise, Params
from rnnx.core.portable import States
from rnnx.layers.order import DENSE, Order, take


class Setting(NamedTuple):
    """What a pass of one direction runs with, beside its input."""

    order: Order
    noise: Noise
    reset: Array | None  # (T, B) bool, in the order of reading


class Kept(NamedTuple):
    """What `backward` needs of one direction, in the order of reading."""

    state0: States
    states: States  # (T, B, ·), zero beyond each row's end; (h,) alone with checkpoints
    saved: States
    checkpoints: tuple[States, ...]  # the states before every chunk; empty without checkpoints


def read(xp: ModuleType, order: Order, x: Array) -> Array:
    """Return x (T, B, ·) in the order of reading, zero beyond each row's end."""
    return _masked(xp, order.valid, _ordered(xp, order, x))


def unread(xp: ModuleType, order: Order, x: Array) -> Array:
    """Return what is in the order of reading, x (T, B, ·), in the order of time."""
    return x if order.places is None else take(xp, x, order.places)


def forward(
    backend: Backend,
    cell: Any,
    params: Params,
    x: Array,
    state0: States,
    setting: Setting,
    chunks: int,
    keep: bool,
) -> tuple[Array, States, Kept]:
    """Return h (T, B, P) in the order of time, the final state, and what `backward` needs."""
    xp = backend.xp
    x = read(xp, setting.order, x)
    if not chunks:
        states, saved, final = _run(backend, cell, params, x, state0, setting, state0, keep)
        return unread(xp, setting.order, states[0]), final, Kept(state0, states, saved, ())
    before, final = state0, state0
    checkpoints: list[States] = []
    parts: list[Array] = []
    for part in _parts(x.shape[0], chunks):
        checkpoints.append(before)
        piece = _piece(setting, part)
        states, _, final = _run(backend, cell, params, x[part, ...], before, piece, final, False)
        before = tuple([s[-1, ...] for s in states])
        parts.append(states[0])
    h = xp.concat(parts, axis=0)
    return unread(xp, setting.order, h), final, Kept(state0, (h,), (), tuple(checkpoints))


def backward(
    backend: Backend,
    cell: Any,
    params: Params,
    x: Array,
    kept: Kept,
    setting: Setting,
    dh: Array | None,
    dfinal: tuple[Array | None, ...],
) -> tuple[Array, States, Params]:
    """Return dx (T, B, I) in the order of time, dstate0 and the gradients of the parameters.

    `dh` (T, B, P) is the gradient by h in the order of time, `dfinal` that by the final state; any
    may be None.
    """
    xp, order = backend.xp, setting.order
    x, dh = _ordered(xp, order, x), None if dh is None else _ordered(xp, order, dh)
    ragged = order.lengths is not None
    dstate: States = tuple(
        [
            xp.zeros_like(s) if d is None or ragged else d
            for s, d in zip(kept.state0, dfinal, strict=True)
        ]
    )
    T, B = x.shape[:2]
    blocks = len(kept.checkpoints) or backend.blocks(T, B * params["weight_hh"].shape[0])
    total: Params = {}
    dxs: list[Array] = []
    for i, part in reversed(list(enumerate(_parts(T, blocks)))):
        piece = _piece(setting, part)
        x_k = _masked(xp, piece.order.valid, x[part, ...])
        dh_k = None if dh is None else _masked(xp, piece.order.valid, dh[part, ...])
        before, states, saved = _kept_of(backend, cell, params, x_k, kept, piece, part, i)
        outer = _outer(xp, piece, dh_k, dfinal, x_k.shape[0])
        dz, dstate, grads = layer.backward(
            backend, cell, params, x_k, before, states, saved, outer, dstate,
            noise=piece.noise, reset=piece.reset,
        )  # fmt: skip
        total = {k: total[k] + g for k, g in grads.items()} if total else grads
        dxs.append(layer.input_gradient(xp, dz, params["weight_ih"]))
    if ragged:  # a row without a step ends in the state it starts from
        empty = order.lengths == 0  # (B, 1)
        dstate = tuple(
            [s if d is None else xp.where(empty, d, s) for s, d in zip(dstate, dfinal, strict=True)]
        )
    dx = dxs[0] if len(dxs) == 1 else xp.concat(dxs[::-1], axis=0)
    return unread(xp, order, dx), dstate, total


def _kept_of(
    backend: Backend,
    cell: Any,
    params: Params,
    x: Array,
    kept: Kept,
    piece: Setting,
    part: slice,
    i: int,
) -> tuple[States, States, States]:
    """Return the state before the i-th part, its states and saved: kept, or computed again."""
    if kept.checkpoints:
        before = kept.checkpoints[i]
        states, saved, _ = _run(backend, cell, params, x, before, piece, before, True)
        return before, states, saved
    before = kept.state0
    if part.start:
        before = tuple([s[part.start - 1, ...] for s in kept.states])
    states, saved = (tuple([s[part, ...] for s in a]) for a in (kept.states, kept.saved))
    return before, states, saved


def _run(
    backend: Backend,
    cell: Any,
    params: Params,
    x: Array,
    state0: States,
    setting: Setting,
    final: States,
    keep: bool,
) -> tuple[States, States, States]:
    """Return the states, zero beyond each row's end, the saved, and the state at that end.

    `final` is what a row keeps that has no step here.
    """
    xp, (order, noise, reset) = backend.xp, setting
    states, saved = layer.forward(
        backend, cell, params, x, state0, noise=noise, reset=reset, keep=keep
    )
    if order.lengths is None:
        return states, saved, tuple([s[-1, ...] for s in states])
    states = tuple([_masked(xp, order.valid, s) for s in states])
    last = order.lengths - 1  # (B, 1), below zero for a row without a step here
    end = xp.full_like(last, x.shape[0] - 1)
    at = xp.maximum(xp.minimum(last, end), xp.zeros_like(last))[:, 0][None, :]  # (1, B)
    final = tuple(
        [
            xp.where(last < 0, old, take(xp, s, at)[0, ...])
            for s, old in zip(states, final, strict=True)
        ]
    )
    return states, saved, final


def _outer(
    xp: ModuleType,
    setting: Setting,
    dh: Array | None,
    dfinal: tuple[Array | None, ...],
    T: int,
) -> tuple[Array | None, ...]:
    """Return the gradients by all states: dh, and at each row's last step that by the final state.

    Without padding the latter enters the loop over time as the gradient by the last state.
    """
    none: tuple[Array | None, ...] = (None,) * (len(dfinal) - 1)
    if setting.order.lengths is None:
        return (dh, *none)
    lengths = setting.order.lengths  # (B, 1)
    t = xp.arange(T, dtype=lengths.dtype, device=device_of(lengths))[:, None, None]  # (T, 1, 1)
    ends = t == lengths - 1  # (T, B, 1)
    first, *others = [
        None if d is None else xp.where(ends, d[None, ...], xp.zeros_like(d[:1, :1])[None, ...])
        for d in dfinal
    ]
    if dh is not None:
        first = dh if first is None else dh + first
    return (first, *others)


def _parts(T: int, chunks: int) -> Iterator[slice]:
    """Yield `chunks` slices of T steps, all of one length but perhaps the last."""
    length = -(-T // chunks)
    return (slice(start, min(start + length, T)) for start in range(0, T, length))


def _piece(setting: Setting, part: slice) -> Setting:
    """Return the setting of a chunk, whose input is already in the order of reading."""
    order, noise, reset = setting
    reset = None if reset is None else reset[part, ...]
    if order.lengths is None:
        return Setting(DENSE, noise, reset)
    left = order.lengths - part.start  # beyond the chunk where the row goes on
    valid = None if order.valid is None else order.valid[part, ...]
    return Setting(Order(None, None, valid, left), noise, reset)


def _ordered(xp: ModuleType, order: Order, x: Array) -> Array:
    return x if order.steps is None else take(xp, x, order.steps)


def _masked(xp: ModuleType, valid: Array | None, x: Array) -> Array:
    if valid is None:
        return x
    return xp.where(valid, x, xp.zeros_like(x[:1, :1, :1]))  # one number, which broadcasts
