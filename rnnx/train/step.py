"""One step of training and one of evaluation, as pure functions that can be compiled.

Nothing is read back to the host, so no step waits for the device. A step whose loss or gradient is
not finite changes no parameter, and neither does any later step: the divergence is found later, and
the last good parameters are still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

from array_api_compat import device as device_of

from rnnx.backend import Array, Backend
from rnnx.data import Batch, Layout
from rnnx.optim.clip import clip_by_global_norm, global_norm

RESERVED = ("epoch", "step", "learning_rate", "loss", "grad_norm", "alive", "seconds")

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
    def of(cls, loss: Callable[..., Any], metrics: Mapping[str, Metric] | None) -> Self:
        """Return the objective; raise ValueError if a metric has a reserved name."""
        named = dict(metrics or {})
        taken = [name for name in named if name in RESERVED or name.startswith("validation_")]
        if taken:
            raise ValueError(
                f"metrics must have names of their own, got {taken[0]!r}: {', '.join(RESERVED)} "
                "and validation_* are reserved for the history"
            )
        return cls(loss, named)


def columns(metrics: Iterable[str], validated: bool) -> list[str]:
    """Return the names of a history's columns, in their order."""
    measured = ["loss", *metrics]
    held_out = [f"validation_{name}" for name in measured] if validated else []
    names = ["epoch", "step", "learning_rate", "loss", "grad_norm", *measured[1:]]
    return [*names, *held_out, "seconds"]


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
    return _zeros(model.backend, state)


def train_step(
    model: Any, objective: Objective, optimizer: Any, clip_norm: float | None
) -> Callable[..., tuple[Carry, Array]]:
    """Return ``step(carry, batch, masks, rate) -> carry, record``.

    A record holds the loss, the gradient norm before clipping, 1 if no step has diverged, and the
    metrics.
    """
    bk, layout, names = model.backend, Layout.of(model), list(model.params)
    xp = bk.xp

    def step(carry: Carry, inputs: Any, masks: Params, rate: float) -> tuple[Carry, Array]:
        x, target, lengths, weights = inputs
        params = carry.params
        options = _options(model, lengths, masks)
        y, state, cache = model.forward(x, carry.state, params=params, **options)
        (value, dy), measured = _scores(layout, objective, y, target, lengths, weights)
        _, _, grads = model.backward(dy, cache)
        # jax.jit sorts the dicts that it is given: the model's order is asked of the model
        largest = xp.stack([xp.max(xp.abs(grads[name])) for name in names])  # (P,)
        norm = global_norm(grads)
        alive = carry.alive & xp.isfinite(value) & xp.isfinite(norm)
        culprits = xp.where(carry.alive, ~xp.isfinite(largest), carry.culprits)
        if clip_norm is not None:
            grads, _ = clip_by_global_norm(grads, clip_norm, norm)
        new, opt_state = optimizer.update(params, grads, carry.opt_state, rate)
        params = bk.choose(alive, new, params)
        record = xp.stack([value, norm, xp.astype(alive, value.dtype), *measured])
        state = None if carry.state is None else state
        return Carry(params, opt_state, state, alive, culprits), record

    return bk.compile(step)


def evaluation_step(model: Any, objective: Objective) -> Callable[..., tuple[Any, Array]]:
    """Return ``step(params, state, batch) -> state, record``: the loss and the metrics."""
    bk, layout = model.backend, Layout.of(model)

    def step(params: Params, state: Any, inputs: Any) -> tuple[Any, Array]:
        x, target, lengths, weights = inputs
        y, final = model(x, state, params=params, **padding(model, lengths))
        (value, _), measured = _scores(layout, objective, y, target, lengths, weights)
        return None if state is None else final, bk.xp.stack([value, *measured])

    return bk.compile(step)


def inputs_of(batch: Batch) -> tuple[Any, ...]:
    """Return the arrays of a batch, as a step takes them."""
    return batch.x, batch.target, batch.lengths, batch.weights


def draw_masks(model: Any, batch: Batch, rng: Any) -> Params:
    """Return dropout masks for a batch: the same on every backend, however far it is padded."""
    bk, axis = model.backend, 1 - Layout.of(model).axis
    shape = list(batch.x.shape)
    shape[axis] = batch.steps
    masks: Params = model.draw_masks(shape, rng)
    more = batch.x.shape[axis] - batch.steps
    own = {name: 0 if ".dropout_l" in f".{name}" else axis for name in masks}  # time comes first
    return {name: _lengthened(bk, mask, own[name], more) for name, mask in masks.items()}


def _lengthened(backend: Backend, mask: Array, axis: int, more: int) -> Array:
    """Return a mask over time with `more` steps of zeros; any other mask unchanged."""
    if not more or mask.ndim < 3:
        return mask
    shape = list(mask.shape)
    shape[axis] = more
    return backend.xp.concat([mask, backend.zeros(shape)], axis=axis)


def padding(model: Any, lengths: Array | None) -> dict[str, Any]:
    """Return the option that says where a batch is padded, if the model takes it."""
    return {} if lengths is None or "lengths" not in model.options else {"lengths": lengths}


def _options(model: Any, lengths: Array | None, masks: Params) -> dict[str, Any]:
    options: dict[str, Any] = {"masks": masks} if "masks" in model.options else {}
    return options | padding(model, lengths)


def _scores(
    layout: Layout,
    objective: Objective,
    y: Array,
    target: Array,
    lengths: Array | None,
    weights: Array | None,
) -> tuple[tuple[Array, Array], list[Array]]:
    """Return the loss and its gradient, and the metrics."""
    counts: tuple[Any, ...] = ()
    if weights is not None or (lengths is not None and not layout.reduces_time):
        counts = _mask(layout, target, lengths), _spread(layout, target, weights)
    measured = [metric(y, target, *counts) for metric in objective.metrics.values()]
    return objective.loss(y, target, *counts), measured


def _mask(layout: Layout, target: Array, lengths: Array | None) -> Array | None:
    """Return which targets are not padding, in the shape of the target."""
    if lengths is None or layout.reduces_time:
        return None
    xp, axis = layout.backend.xp, 1 - layout.axis
    t = xp.arange(target.shape[axis], dtype=lengths.dtype, device=device_of(lengths))
    valid = t[None, :] < lengths[:, None] if layout.batch_first else t[:, None] < lengths[None, :]
    return xp.broadcast_to(_widened(xp, valid, target.ndim), target.shape)


def _spread(layout: Layout, target: Array, weights: Array | None) -> Array | None:
    """Return the weight of each target, in the shape of the target."""
    if weights is None:
        return None
    lead = weights if layout.reduces_time or layout.batch_first else weights[None, :]
    return layout.backend.xp.broadcast_to(
        _widened(layout.backend.xp, lead, target.ndim), target.shape
    )


def _widened(xp: Any, x: Array, ndim: int) -> Array:
    return xp.reshape(x, (*x.shape, *[1] * (ndim - x.ndim)))


def _zeros(backend: Backend, state: Any) -> Any:
    """Return zeros in the structure of a state: None, an array, or a tuple of these."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(_zeros(backend, part) for part in state)
    return backend.zeros(state.shape)
