"""A stack of recurrent layers in one or two directions, as pure functions.

Layer l reads, at every step, the h of layer l - 1, both directions side by side, times its dropout
mask. `backward` goes back through all of it, and makes each layer's input again from the states
below it, so that nothing is kept twice.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from rnnx.backend import Array
from rnnx.cells.base import State
from rnnx.core import direction, maker, order
from rnnx.core.contract import Extras, Gradients, Params
from rnnx.core.direction import Felt, Kept, Plan, Setting
from rnnx.core.sizes import Sizes, layer_params, suffixes


class Cache(NamedTuple):
    """All that the backward of a stack needs: arrays, in nested tuples and dicts."""

    params: Params  # those it ran with
    x: Array  # (T, B, I)
    masks: Params  # dropout, by name
    settings: tuple[Setting, ...]  # one per direction
    kept: tuple[tuple[Kept, ...], ...]  # per layer and direction
    form: Any  # a marker of rnnx.layers.forms

    def __repr__(self) -> str:
        T, B, _ = self.x.shape
        kept = [keep for keeps in self.kept for keep in keeps]
        ran = "recomputed" if any(keep.checkpoints for keep in kept) else ""
        names = {maker(keep.trace.saved).NAME for keep in kept if not keep.checkpoints}
        return f"Cache(T={T}, B={B}, core={', '.join(sorted(names)) or ran})"


def settings(
    xp: ModuleType,
    x: Array,
    directions: int,
    lengths: Array | None,
    mask: Array | None,
    reset: Array | None,
) -> tuple[Setting, ...]:
    """Return, for each direction, how it reads a batch x (T, B, I)."""
    T = x.shape[0]
    found = []
    for reverse in (False, True)[:directions]:
        if mask is not None:
            how = order.from_mask(xp, mask, reverse)
        elif lengths is not None:
            how = order.from_lengths(xp, lengths, T, reverse)
        else:
            how = order.dense(xp, x, T, reverse)
        restart = None if reset is None else order.restarts(xp, reset, how, reverse)
        found.append(Setting(how, Extras(reset=restart)))
    return tuple(found)


def forward(
    plan: Plan,
    params: Params,
    x: Array,
    state0: State,
    ways: tuple[Setting, ...],
    masks: Params,
) -> tuple[Array, State, tuple[tuple[Kept, ...], ...]]:
    """Return y (T, B, D·P), the final states (L·D, B, ·), and what is kept of every layer."""
    xp = plan.backend.xp
    finals: list[State] = []
    kept: list[tuple[Kept, ...]] = []
    for layer, names in enumerate(_layers(plan.sizes)):
        x = _dropped(x, masks.get(f"dropout_l{layer - 1}"))
        hs, keeps = [], []
        for way, name in zip(ways, names, strict=True):
            start = tuple([s[len(finals), ...] for s in state0])
            one = layer_params(params, name)
            h, final, rest = direction.forward(plan, one, x, start, _noisy(way, masks, name))
            hs.append(h)
            keeps.append(rest)
            finals.append(final)
        x = hs[0] if len(hs) == 1 else xp.concat(hs, axis=-1)
        if plan.keep:
            kept.append(tuple(keeps))
    return x, of_all(xp, finals), tuple(kept)


def backward(
    plan: Plan, cache: Cache, dy: Array | None, dstate: tuple[Array | None, ...]
) -> tuple[Gradients, Params]:
    """Return the gradients, of the initial states (L·D, B, ·), and the dh (T, B, P) by name."""
    xp, P = plan.backend.xp, plan.sizes.output_size
    grads: Params = {}
    dhs: Params = {}
    starts: list[State] = []
    for layer, names in reversed(list(enumerate(_layers(plan.sizes)))):
        x = _input(xp, cache, layer)
        dxs, below = [], []
        for d, (way, name) in enumerate(zip(cache.settings, names, strict=True)):
            row = layer * len(names) + d
            felt = Felt(
                None if dy is None else dy[..., d * P : (d + 1) * P],
                tuple([None if s is None else s[row, ...] for s in dstate]),
            )
            found = direction.backward(
                plan, layer_params(cache.params, name), x, cache.kept[layer][d],
                _noisy(way, cache.masks, name), felt,
            )  # fmt: skip
            dxs.append(found.x)
            below.append(found.state0)
            grads = grads | {f"{key}_{name}": g for key, g in found.params.items()}
            dhs = dhs | {f"h_{name}": found.h}
        starts = below + starts
        dy = _dropped(
            dxs[0] if len(dxs) == 1 else dxs[0] + dxs[1], cache.masks.get(f"dropout_l{layer - 1}")
        )
    dstate0 = of_all(xp, starts)
    return Gradients(dy, dstate0, {name: grads[name] for name in cache.params}, None), dhs


@lru_cache(maxsize=64)
def _layers(sizes: Sizes) -> list[list[str]]:
    """Return the suffixes of the directions of every layer."""
    names, D = suffixes(sizes), sizes.directions
    return [names[i : i + D] for i in range(0, len(names), D)]


def _input(xp: ModuleType, cache: Cache, layer: int) -> Array:
    """Return the input of a layer: x, or the states below, in the order of time, with dropout."""
    if layer == 0:
        return cache.x
    hs = [
        direction.unread(xp, way.order, keep.trace.states[0])
        for way, keep in zip(cache.settings, cache.kept[layer - 1], strict=True)
    ]
    x = hs[0] if len(hs) == 1 else xp.concat(hs, axis=-1)
    return _dropped(x, cache.masks.get(f"dropout_l{layer - 1}"))


def of_all(xp: ModuleType, found: list[State]) -> State:
    """Return the states of all layers and directions (L·D, B, ·), from those of each."""
    each = zip(*found, strict=True)
    return tuple([xp.concat([s[None, ...] for s in arrays], axis=0) for arrays in each])


def _dropped(x: Array, mask: Array | None) -> Array:
    return x if mask is None else x * mask


def _noisy(way: Setting, masks: Params, name: str) -> Setting:
    """Return a direction's setting with the masks of one layer."""
    if not masks:
        return way
    recurrent, weight = (masks.get(f"{kind}_{name}") for kind in ("recurrent", "weight"))
    return way._replace(extras=way.extras._replace(recurrent=recurrent, weight=weight))
