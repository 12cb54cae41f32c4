"""One whole training step as a pure function: forward, loss, BPTT, clipping, Adam."""

from __future__ import annotations

from typing import Any

from rnnx import Backend, elman
from rnnx.cells.rnn import RNNCell
from rnnx.losses import softmax_cross_entropy
from rnnx.optim import Adam, clip_by_global_norm

ADAM = Adam(0.01)


def training_step(bk: Backend, params: Any, state: Any, h0: Any, x: Any, targets: Any) -> Any:
    """Return the parameters and the optimizer's state after the step, the final h, the loss."""
    y, cache = elman.forward(bk, RNNCell(), params, x, h0)
    loss, dy = softmax_cross_entropy(y, targets)
    grads, _ = elman.backward(bk, RNNCell(), params, cache, dy)
    grads, _ = clip_by_global_norm(grads, 1.0)
    params, state = ADAM.update(params, grads, state)
    return params, state, cache.h[-1, ...], loss
