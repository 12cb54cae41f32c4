"""One whole training step as a pure function: forward, loss, BPTT, clipping, Adam."""

from __future__ import annotations

from typing import Any

import rnnx
from rnnx import Backend
from rnnx.losses import softmax_cross_entropy
from rnnx.optim import Adam, clip_by_global_norm

ADAM = Adam(0.01)


def model(bk: Backend) -> rnnx.Sequential:
    """Return an Elman network of three inputs, four units and two outputs."""
    return rnnx.Sequential(
        rnnx.RNN(3, 4, backend=bk, seed=0), rnnx.Linear(4, 2, backend=bk, seed=1)
    )


def training_step(bk: Backend, params: Any, state: Any, h0: Any, x: Any, targets: Any) -> Any:
    """Return the parameters and the optimizer's state after the step, the final h, the loss."""
    network = model(bk)
    y, (h, _), cache = network.forward(x, (h0, None), params=params)
    loss, dy = softmax_cross_entropy(y, targets)
    _, _, grads = network.backward(dy, cache)
    grads, _ = clip_by_global_norm(grads, 1.0)
    params, state = ADAM.update(params, grads, state)
    return params, state, h, loss
