"""The compiled parts of a training step on NumPy: the loss, and one update of all parameters.

They give the numbers of `rnnx.losses` and `rnnx.optim`, which stay the definition: an optimizer's
to the last bit, a loss's and a gradient norm's to rounding. What they do not serve goes that way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnx.core import native
from rnnx.losses import softmax_cross_entropy
from rnnx.optim import SGD, Adam, AdamW, RMSprop

_native = native._native  # None without a compiler
Arrays = dict[str, Any]
Found = tuple[float, Arrays, Arrays]  # the norm of the gradient, the new parameters and state
INTEGER, BOOLEAN = np.dtype("int32"), np.dtype("bool")
FLOATING = (np.dtype("float32"), np.dtype("float64"))
SGD_RULE, MOMENTUM, NESTEROV, RMSPROP, ADAM = range(5)  # as in core/_update.h


class Flat(dict[str, np.ndarray]):
    """Arrays by name that lie in one buffer, one after the other."""

    __slots__ = ("buffer",)

    def __init__(self, named: Iterable[tuple[str, np.ndarray]], buffer: np.ndarray) -> None:
        super().__init__(named)
        self.buffer = buffer


class Parts(NamedTuple):
    """The shapes of a model's parameters, in order, and their dtype."""

    dtype: np.dtype
    shapes: dict[str, tuple[int, ...]]
    places: list[tuple[str, tuple[int, ...], int]]  # name, shape, offset in bytes
    size: int

    @classmethod
    def of(cls, params: Mapping[str, np.ndarray], dtype: np.dtype) -> Parts:
        """Return the parts that these parameters are."""
        places, size = [], 0
        for name, w in params.items():
            places.append((name, w.shape, size * dtype.itemsize))
            size += w.size
        return cls(dtype, {name: w.shape for name, w in params.items()}, places, size)

    def views(self, buffer: np.ndarray) -> Flat:
        """Return the parts of a buffer by name."""
        dtype = self.dtype
        named = [(name, np.ndarray(shape, dtype, buffer, at)) for name, shape, at in self.places]
        return Flat(named, buffer)

    def rows(self, arrays: Mapping[str, Any]) -> tuple[np.ndarray, ...] | None:
        """Return the arrays in order, each laid out in rows; None where they are others."""
        found, dtype = [], self.dtype
        for name, shape in self.shapes.items():
            x = arrays.get(name)
            if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype:
                return None
            found.append(native.in_rows(x))
        return tuple(found) if len(arrays) == len(found) else None

    def flat(self, arrays: Mapping[str, Any]) -> Flat | None:
        """Return a copy of the arrays in one buffer, or themselves where they are in one."""
        if type(arrays) is Flat:
            return arrays
        rows = self.rows(arrays)
        return None if rows is None else self.views(np.concatenate([x.ravel() for x in rows]))


class Rule(NamedTuple):
    """What an optimizer's step is in `_native.update`."""

    number: int
    entries: tuple[str, ...]  # of the state: arrays by name
    constants: Callable[[Arrays, float], tuple[tuple[Any, ...], Arrays]]  # and the state's numbers


def rule_of(optimizer: Any) -> Rule | None:
    """Return the rule of one of `rnnx.optim`'s optimizers, None for any other."""
    o = optimizer
    if type(o) is SGD:
        number = NESTEROV if o.nesterov else MOMENTUM if o.momentum else SGD_RULE
        entries = ("velocity",) if o.momentum else ()
        return Rule(number, entries, lambda state, rate: ((rate, o.momentum), {}))
    if type(o) is RMSprop:
        a, epsilon = o.alpha, o.epsilon
        return Rule(
            RMSPROP, ("square",), lambda state, rate: ((rate, a, 1 - a, 0.0, 0.0, epsilon), {})
        )
    if type(o) in (Adam, AdamW):
        return Rule(ADAM, ("mean", "square"), lambda state, rate: _adam(o, state, rate))
    return None


def _adam(o: Any, state: Arrays, rate: float) -> tuple[tuple[Any, ...], Arrays]:
    """Return the constants of a step of Adam or AdamW; see `rnnx.optim.Adam`."""
    b1, b2 = o.beta1, o.beta2
    m_weight = b1 * state["mean_weight"] + (1 - b1)
    v_weight = b2 * state["square_weight"] + (1 - b2)
    kept = 1 - rate * getattr(o, "weight_decay", 0.0)
    constants = (rate / m_weight, b1, 1 - b1, b2, 1 - b2, o.epsilon, v_weight, kept)
    return constants, {"mean_weight": m_weight, "square_weight": v_weight}


def serves(model: Any, optimizer: Any) -> bool:
    """Return whether the compiled parts serve a model: on NumPy, if no layer wants to be portable.

    ``core="portable"`` asks for the numbers that every library gives.
    """
    return (
        _native is not None
        and model.backend.name == "numpy"
        and rule_of(optimizer) is not None
        and all(getattr(leaf, "core", "") != "portable" for _, leaf in model.walk())
    )


def updater(model: Any, optimizer: Any, clip_norm: float | None) -> Callable[..., Found | None]:
    """Return ``update(params, grads, state, rate) -> norm, params, state``, or None.

    The gradients are clipped at `clip_norm`. The new parameters are new arrays; the arrays of the
    state are changed in place, once they are a copy of the run's own. Where the result is None,
    nothing has changed: the norm is not finite, or its square is out of range, or the arrays are
    not those of the model.
    """
    parts = Parts.of(model.params, np.dtype(model.backend.dtype))
    rule, limit = rule_of(optimizer), np.inf if clip_norm is None else clip_norm
    assert rule is not None
    run = _native.update

    def update(params: Arrays, grads: Arrays, state: Arrays, rate: float) -> Found | None:
        rows, old = parts.rows(grads), parts.flat(params)
        moments = [parts.flat(state[entry]) for entry in rule.entries]
        if rows is None or old is None or None in moments:
            return None
        constants, numbers = rule.constants(state, rate)
        new = np.empty(parts.size, parts.dtype)
        buffers = [m.buffer for m in moments if m is not None]
        norm = run(rule.number, limit, constants, rows, old.buffer, new, *buffers)
        if norm is None:
            return None
        named = dict(zip(rule.entries, moments, strict=True))
        return norm, parts.views(new), named | numbers

    return update


def cross_entropy(
    logits: Any, targets: Any, mask: Any = None, weights: Any = None
) -> tuple[Any, Any]:
    """Return what `rnnx.losses.softmax_cross_entropy` does; it takes what this does not."""
    shape = logits.shape[:-1]
    fits = (
        targets.dtype == INTEGER
        and targets.shape == shape
        and logits.dtype in FLOATING
        and logits.size > 0
        and logits.ndim > 0
        and (mask is None or (mask.shape == shape and mask.dtype == BOOLEAN))
        and (weights is None or (weights.shape == shape and weights.dtype == logits.dtype))
    )
    if not fits:
        return softmax_cross_entropy(logits, targets, mask, weights)
    gradient = np.empty(logits.shape, logits.dtype)
    given = (x if x is None else native.in_rows(x) for x in (mask, weights))
    z, k = native.in_rows(logits), native.in_rows(targets)
    loss = _native.cross_entropy(z, k, gradient, *given)
    return logits.dtype.type(loss), gradient
