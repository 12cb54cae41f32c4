"""One layer in one direction over a batch with padding: a core between two permutations.

What a core need not know is put around it here: the order in which rows are read, the final state
at each row's last valid step, and recomputation; and zeros beyond the ends of rows, for a core that
does not end them by itself.

`backward` goes through time in as many blocks as the core asks for.

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
from rnnx.cells.base import State
from rnnx.core import Core, maker, select
from rnnx.core.contract import Arriving, Extras, Gradients, Job, Params, Trace
from rnnx.core.order import DENSE, Order, take
from rnnx.core.sizes import Sizes


class Plan(NamedTuple):
    """The static part of a pass through a stack: what a compiled program is made for."""

    backend: Backend
    sizes: Sizes
    core: str = "auto"  # the name of the core to prefer
    precision: str = "float32"  # of float32 products, as in `Job`
    chunks: int = 0  # of checkpointing, 0 for none
    keep: bool = True  # whether `backward` will follow
    want_h: bool = False  # whether `backward` returns the gradients with respect to every h_t


class Setting(NamedTuple):
    """What a pass of one direction runs with, beside its input."""

    order: Order
    extras: Extras  # its reset is in the order of reading


class Kept(NamedTuple):
    """What `backward` needs of one direction, in the order of reading."""

    trace: Trace  # states zero beyond each row's end; h alone, and nothing saved, with checkpoints
    checkpoints: tuple[State, ...]  # the states before every chunk; empty without checkpoints


class Felt(NamedTuple):
    """The gradients that reach a direction, each None where the loss does not read it."""

    h: Array | None  # (T, B, P), in the order of time
    final: tuple[Array | None, ...]  # (B, ·)


def forward(
    plan: Plan, params: Params, x: Array, state0: State, setting: Setting
) -> tuple[Array, State, Kept]:
    """Return h (T, B, P) in the order of time, the final state, and what `backward` needs."""
    xp = plan.backend.xp
    x = _ordered(xp, setting.order, x)
    if not plan.chunks:
        trace, final = _run(plan, params, x, state0, setting, state0)
        return unread(xp, setting.order, trace.states[0]), final, Kept(trace, ())
    light, before, final = plan._replace(keep=False), state0, state0
    checkpoints: list[State] = []
    parts: list[Array] = []
    for part in _parts(x.shape[0], plan.chunks):
        checkpoints.append(before)
        trace, final = _run(light, params, x[part, ...], before, _piece(setting, part), final)
        before = tuple([s[-1, ...] for s in trace.states])
        parts.append(trace.states[0])
    h = xp.concat(parts, axis=0)
    kept = Kept(Trace(state0, (h,), ()), tuple(checkpoints))
    return unread(xp, setting.order, h), final, kept


def backward(
    plan: Plan, params: Params, x: Array, kept: Kept, setting: Setting, felt: Felt
) -> Gradients:
    """Return the gradients, with x and h (T, B, ·) in the order of time."""
    xp, order, state0 = plan.backend.xp, setting.order, kept.trace.state0
    x, dh = _ordered(xp, order, x), None if felt.h is None else _ordered(xp, order, felt.h)
    job = _job(plan, x, setting)
    core = select(job, plan.core) if kept.checkpoints else maker(kept.trace.saved)
    padded = order.lengths is not None and not core.PADDING  # the core runs beyond the ends of rows
    dstate: State = tuple(
        [
            xp.zeros_like(s) if d is None or padded else d
            for s, d in zip(state0, felt.final, strict=True)
        ]
    )
    total: Params = {}
    found: list[Gradients] = []
    parts = _parts(x.shape[0], len(kept.checkpoints) or core.blocks(job))
    for i, part in reversed(list(enumerate(parts))):
        piece = _piece(setting, part)
        x_k, dh_k = x[part, ...], None if dh is None else dh[part, ...]
        trace = _trace_of(plan, params, x_k, kept, piece, (i, part))
        outer: tuple[Array | None, ...] = (dh_k, *[None] * (len(state0) - 1))
        if padded:
            x_k, dh_k = (_masked(xp, piece.order.valid, a) for a in (x_k, dh_k))
            outer = _outer(xp, piece.order.lengths, Felt(dh_k, felt.final), x_k.shape[0])
        d = core.backward(
            _job(plan, x_k, piece), params, x_k, trace, Arriving(outer, dstate),
            _ended(core, piece), plan.want_h,
        )  # fmt: skip
        dstate = d.state0
        total = {k: total[k] + g for k, g in d.params.items()} if total else d.params
        found.insert(0, d)
    if padded:  # a row without a step ends in the state it starts from
        empty = order.lengths == 0  # (B, 1)
        dstate = tuple(
            [
                s if d is None else xp.where(empty, d, s)
                for s, d in zip(dstate, felt.final, strict=True)
            ]
        )
    dx = unread(xp, order, _joined(xp, [d.x for d in found]))
    whole = unread(xp, order, _joined(xp, [d.h for d in found])) if plan.want_h else None
    return Gradients(dx, dstate, total, whole)


def unread(xp: ModuleType, order: Order, x: Array) -> Array:
    """Return what is in the order of reading, x (T, B, ·), in the order of time."""
    return x if order.places is None else take(xp, x, order.places)


def _job(plan: Plan, x: Array, setting: Setting) -> Job:
    """Return the job of running x (T, B, ·)."""
    sizes, (T, B, features) = plan.sizes, x.shape
    return Job(
        plan.backend, sizes.cell, T, B, features, sizes.hidden_size, sizes.output_size,
        sizes.bias, setting.extras.options, plan.precision,
    )  # fmt: skip


def _run(
    plan: Plan, params: Params, x: Array, state0: State, setting: Setting, final: State
) -> tuple[Trace, State]:
    """Return the trace, its states zero beyond each row's end, and the state at that end.

    `final` is what a row keeps that has no step here.
    """
    xp, order = plan.backend.xp, setting.order
    job = _job(plan, x, setting)
    core = select(job, plan.core)
    padded = order.lengths is not None and not core.PADDING
    x = _masked(xp, order.valid, x) if padded else x
    trace = core.forward(job, params, x, state0, _ended(core, setting), plan.keep)
    if order.lengths is None:
        return trace, tuple([s[-1, ...] for s in trace.states])
    states = tuple([_masked(xp, order.valid, s) if padded else s for s in trace.states])
    last = order.lengths - 1  # (B, 1), below zero for a row without a step here
    end = xp.full_like(last, x.shape[0] - 1)
    at = xp.maximum(xp.minimum(last, end), xp.zeros_like(last))[:, 0][None, :]  # (1, B)
    final = tuple(
        [
            xp.where(last < 0, old, take(xp, s, at)[0, ...])
            for s, old in zip(states, final, strict=True)
        ]
    )
    return trace._replace(states=states), final


def _trace_of(
    plan: Plan, params: Params, x: Array, kept: Kept, piece: Setting, place: tuple[int, slice]
) -> Trace:
    """Return the trace of the i-th part of the steps: kept, or computed again."""
    i, part = place
    if kept.checkpoints:
        before = kept.checkpoints[i]
        return _run(plan._replace(keep=True), params, x, before, piece, before)[0]
    state0, states, saved = kept.trace
    if part.start == 0 and part.stop == states[0].shape[0]:
        return kept.trace
    before = tuple([s[part.start - 1, ...] for s in states]) if part.start else state0
    return Trace(before, tuple([s[part, ...] for s in states]), maker(saved).part(saved, part))


def _ended(core: Core, setting: Setting) -> Extras:
    """Return the extras, with lengths for a core that ends each row by itself."""
    lengths = setting.order.lengths
    if lengths is None or not core.PADDING:
        return setting.extras
    return setting.extras._replace(lengths=lengths[:, 0])


def _outer(xp: ModuleType, lengths: Any, felt: Felt, T: int) -> tuple[Array | None, ...]:
    """Return the gradients with respect to all states; the final one's at the ends (B, 1)."""
    dh, dfinal = felt
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
    """Return the setting of a part of the steps, whose input is already in the order of reading."""
    order, extras = setting
    if extras.reset is not None:
        extras = extras._replace(reset=extras.reset[part, ...])
    if order.lengths is None:
        return Setting(DENSE, extras)
    left = order.lengths - part.start  # beyond the chunk where the row goes on
    valid = None if order.valid is None else order.valid[part, ...]
    return Setting(Order(None, None, valid, left), extras)


def _ordered(xp: ModuleType, order: Order, x: Array) -> Array:
    return x if order.steps is None else take(xp, x, order.steps)


def _masked(xp: ModuleType, valid: Array | None, x: Any) -> Any:
    if valid is None or x is None:
        return x
    return xp.where(valid, x, xp.zeros_like(x[:1, :1, :1]))  # one number, which broadcasts


def _joined(xp: ModuleType, parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)
