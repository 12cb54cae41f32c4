"""One step of training and one of evaluation, as pure functions that can be compiled.

Nothing is read back to the host, so no step waits for the device. A step whose loss or gradient is
not finite changes no parameter, and neither does any later step: the divergence is found later, and
the last good parameters are still there.

On NumPy, the loss and the update are compiled where `rnnx.train.compiled` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from array_api_compat import device as device_of

from rnnx.backend import Array
from rnnx.data import Batch, Layout
from rnnx.losses import softmax_cross_entropy
from rnnx.optim.clip import clip_by_global_norm, global_norm
from rnnx.train import compiled
from rnnx.train.objects import loss_of

RESERVED = ("epoch", "step", "learning_rate", "loss", "grad_norm", "seconds")

Params = dict[str, Array]
Metric = Callable[..., Array]


class Carry(NamedTuple):
    """What is carried from step to step."""

    params: Params
    opt_state: Any
    state: Any  # the model's state, if it trains on a stream
    alive: Array  # () bool: whether no step has diverged
    culprits: Array  # (P,) bool: the parameters whose gradient was not finite then


class Objective(NamedTuple):
    """The loss, and the metrics that are measured beside it."""

    loss: Callable[..., tuple[Array, Array]]
    metrics: Mapping[str, Metric]

    @classmethod
    def of(cls, loss: str | Callable[..., Any], metrics: Mapping[str, Metric] | None) -> Self:
        """Return the objective; raise ValueError if a metric has a reserved name."""
        named = dict(metrics or {})
        taken = [name for name in named if name in RESERVED or name.startswith("validation_")]
        if taken:
            raise ValueError(
                f"metrics must have names of their own, got {taken[0]!r}: {', '.join(RESERVED)} "
                "and validation_* are reserved for the history"
            )
        return cls(loss_of(loss), named)


def start(model: Any, optimizer: Any, batch: Batch, stateful: bool) -> Carry:
    """Return the carry before the first step."""
    bk, params = model.backend, model.params
    return Carry(
        params,
        optimizer.init(params),
        zero_state(model, batch) if stateful else None,
        bk.asarray(True, dtype="bool"),
        bk.asarray([False] * len(params), dtype="bool"),
    )


def zero_state(model: Any, batch: Batch) -> Any:
    """Return the zero state of a model for a batch of this size."""
    _, state = model(batch.x[:1, ...])
    return mapped(lambda path, x: model.backend.zeros(x.shape), state)


def train_step(
    model: Any, objective: Objective, optimizer: Any, clip_norm: float | None
) -> Callable[..., tuple[Carry, Array]]:
    """Return ``step(carry, batch, masks, rate) -> carry, record``.

    A record holds the loss, the gradient norm before clipping, the metrics, and 1 if no step has
    diverged.
    """
    passes, finish = halves(model, objective, optimizer, clip_norm)

    def step(carry: Carry, inputs: Any, masks: Params, rate: float) -> tuple[Carry, Array]:
        return finish(carry, passes(carry, inputs, masks), rate)

    served = compiled.serves(model, optimizer)
    return step if served else model.backend.compile(step)


def halves(
    model: Any, objective: Objective, optimizer: Any, clip_norm: float | None
) -> tuple[Callable[..., tuple[Any, ...]], Callable[..., tuple[Carry, Array]]]:
    """Return the two halves of a step: BPTT, and the update of the parameters.

    They are ``passes(carry, batch, masks) -> loss, metrics, state, gradients``, and ``finish(carry,
    what passes returned, rate) -> carry, record``.
    """
    bk, served = model.backend, compiled.serves(model, optimizer)
    if served and objective.loss is softmax_cross_entropy:
        objective = objective._replace(loss=compiled.cross_entropy)
    passes, finish = _passes(model, objective), _finish(model, optimizer, clip_norm)
    if not served:
        return passes, finish
    update, stopped = compiled.updater(model, optimizer, clip_norm), len(objective.metrics) + 3

    def compiled_passes(carry: Carry, inputs: Any, masks: Params) -> tuple[Any, ...]:
        return passes(carry, inputs, masks) if carry.alive else ()

    def compiled_finish(carry: Carry, passed: Any, rate: float) -> tuple[Carry, Array]:
        if not carry.alive:
            return carry, np.zeros(stopped, bk.dtype)
        value, measured, state, grads = passed
        found = None
        if np.isfinite(value):
            found = update(carry.params, grads, carry.opt_state, rate)
        if found is None:
            return finish(carry, passed, rate)
        norm, params, opt_state = found
        record = np.array([value, norm, *measured, 1.0], value.dtype)
        return Carry(params, opt_state, state, carry.alive, carry.culprits), record

    return compiled_passes, compiled_finish


def _passes(model: Any, objective: Objective) -> Callable[..., tuple[Any, ...]]:
    """Return ``passes(carry, batch, masks) -> loss, metrics, state, gradients``."""
    layout, masked = Layout.of(model), "masks" in model.options

    def passes(carry: Carry, inputs: Any, masks: Params) -> tuple[Any, ...]:
        x, _, lengths, _ = inputs
        options = padding(model, lengths) | ({"masks": masks} if masked else {})
        y, state, cache = model.forward(x, carry.state, params=carry.params, **options)
        (value, dy), measured = _scores(layout, objective, y, inputs)
        _, _, grads = model.backward(dy, cache)
        return value, measured, None if carry.state is None else state, grads

    return passes


def _finish(
    model: Any, optimizer: Any, clip_norm: float | None
) -> Callable[..., tuple[Carry, Array]]:
    """Return ``finish(carry, passed, rate) -> carry, record``: clipping, and the optimizer."""
    # jax.jit sorts the dicts that it is given: the model's order is asked of the model
    bk, xp, names = model.backend, model.backend.xp, list(model.params)

    def finish(carry: Carry, passed: Any, rate: float) -> tuple[Carry, Array]:
        (value, measured, state, grads), params = passed, carry.params
        bad = xp.stack([~xp.all(xp.isfinite(grads[name])) for name in names])  # (P,)
        norm = global_norm(grads)
        alive = carry.alive & xp.isfinite(value) & xp.isfinite(norm)
        culprits = xp.where(carry.alive, bad, carry.culprits)
        if clip_norm is not None:
            grads, _ = clip_by_global_norm(grads, clip_norm, norm)
        new, opt_state = optimizer.update(params, grads, carry.opt_state, rate)
        params = bk.choose(alive, new, params)
        record = xp.stack([value, norm, *measured, xp.astype(alive, value.dtype)])
        return Carry(params, opt_state, state, alive, culprits), record

    return finish


def evaluation_step(model: Any, objective: Objective) -> Callable[..., tuple[Any, Array]]:
    """Return ``step(params, state, batch) -> state, record``: the loss and the metrics."""
    bk, layout = model.backend, Layout.of(model)

    def step(params: Params, state: Any, inputs: Any) -> tuple[Any, Array]:
        x, _, lengths, _ = inputs
        y, final = model(x, state, params=params, **padding(model, lengths))
        (value, _), measured = _scores(layout, objective, y, inputs)
        return None if state is None else final, bk.xp.stack([value, *measured])

    return bk.compile(step)


def draw_masks(model: Any, axis: int, batch: Batch, rng: Any) -> Params:
    """Return dropout masks for a batch: the same on every backend, however far it is padded.

    They are drawn for the whole mini-batch, whatever part of it this is. `axis` is that of time in
    x.
    """
    bk, whole = model.backend, batch.whole
    shape, T = list(batch.x.shape), batch.x.shape[axis]
    shape[axis], shape[1 - axis] = whole.steps, whole.size
    masks: Params = model.draw_masks(shape, rng)
    more = T - whole.steps
    for name, mask in masks.items():
        timed = mask.ndim >= 3  # it has an axis of time
        own = 0 if ".dropout_l" in f".{name}" else axis  # between layers, time comes first
        of_weights = name.rpartition(".")[2].startswith("weight_")  # no axis of sequences
        if batch.of is not None and not of_weights:
            cut = {1 - own if timed else 0: whole.columns} | ({own: slice(0, T)} if timed else {})
            mask = mask[tuple(cut.get(i, slice(None)) for i in range(mask.ndim))]
        if more > 0 and timed:
            rest = bk.zeros([more if i == own else n for i, n in enumerate(mask.shape)])
            mask = bk.xp.concat([mask, rest], axis=own)
        masks[name] = mask
    return masks


def padding(model: Any, lengths: Array | None) -> dict[str, Any]:
    """Return the option that says where a batch is padded, if the model takes it."""
    return {} if lengths is None or "lengths" not in model.options else {"lengths": lengths}


def _scores(
    layout: Layout, objective: Objective, y: Array, inputs: Any
) -> tuple[tuple[Array, Array], list[Array]]:
    """Return the loss and its gradient, and the metrics."""
    _, target, lengths, weights = inputs
    counts = _counts(layout, target, lengths, weights)
    measured = [metric(y, target, *counts) for metric in objective.metrics.values()]
    return objective.loss(y, target, *counts), measured


def _counts(
    layout: Layout, target: Array, lengths: Array | None, weights: Array | None
) -> tuple[Any, ...]:
    """Return which targets are not padding, and their weights; nothing if all count alike."""
    xp, axis, mask = layout.backend.xp, layout.axis, None
    if lengths is not None and not layout.reduces_time:
        t = xp.arange(target.shape[1 - axis], dtype=lengths.dtype, device=device_of(lengths))
        mask = xp.expand_dims(t, axis=axis) < xp.expand_dims(lengths, axis=1 - axis)
    if weights is not None and not layout.reduces_time:
        weights = xp.expand_dims(weights, axis=1 - axis)
    if mask is None and weights is None:
        return ()

    def spread(x: Array) -> Array:
        wide = xp.reshape(x, (*x.shape, *[1] * (target.ndim - x.ndim)))
        return xp.broadcast_to(wide, target.shape)

    return tuple(None if x is None else spread(x) for x in (mask, weights))


def mapped(function: Callable[[str, Any], Any], tree: Any, path: str = "") -> Any:
    """Return a nested state with ``function(dotted path, leaf)`` in place of each leaf."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {k: mapped(function, part, f"{path}.{k}") for k, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [mapped(function, part, f"{path}.{i}") for i, part in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return function(path[1:], tree)
