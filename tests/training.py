"""One whole training step as a pure function: forward, loss, BPTT, clipping, Adam."""

from __future__ import annotations

from typing import Any

from rnnx import Backend
from rnnx.losses import softmax_cross_entropy
from rnnx.optim import Adam, clip_by_global_norm
from rnnx.simple.network import Network

ADAM = Adam(0.01)


def training_step(bk: Backend, params: Any, state: Any, h0: Any, x: Any, targets: Any) -> Any:
    """Return the parameters and the optimizer's state after the step, the final h, the loss."""
    network = Network(bk)
    y, cache = network.forward(params, x, h0)
    loss, dy = softmax_cross_entropy(y, targets)
    grads, _ = network.backward(params, cache, dy)
    grads, _ = clip_by_global_norm(grads, 1.0)
    params, state = ADAM.update(params, grads, state)
    return params, state, cache.h[-1, ...], loss
