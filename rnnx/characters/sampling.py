"""The loss of the character model, and how it writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rnnx.backend import Array
from rnnx.layers.sequential import Sequential
from rnnx.losses import softmax_cross_entropy
from rnnx.networks.fitted import softmax


def bits(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the softmax cross-entropy in bits per character, and its gradient."""
    loss, dlogits = softmax_cross_entropy(logits, targets)
    return loss / math.log(2), dlogits / math.log(2)


def draw(
    model: Sequential, ids: np.ndarray, count: int, temperature: float, rng: np.random.Generator
) -> list[int]:
    """Draw `count` characters after the given ones (N,), each given those before it."""

    def run(params: Any, x: Array, state: Any) -> tuple[Array, Any]:
        y, state = model(x, state, params=params)
        return y[-1, 0, :], state

    bk, state, drawn = model.backend, None, []
    step = bk.compile(run)
    with bk.scope():
        for _ in range(count):
            logits, state = step(model.params, bk.asarray(ids[:, None], "int32"), state)
            p = softmax(bk.to_numpy(logits).astype("float64") / temperature)
            ids = rng.choice(len(p), size=1, p=p)
            drawn.append(int(ids[0]))
    return drawn
