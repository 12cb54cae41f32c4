"""An Elman network with a linear output, as pure functions: to be compiled, or composed.

Forward, written for columns; arrays hold them as rows::

    h_t = φ(Wxh x_t + Whh h_{t-1} + bh)            φ = tanh or relu
    y_t = Why h_t + by

Backward, from dy_t, t = T ... 1::

    dh_t = Whyᵀ dy_t + Whhᵀ da_{t+1}
    da_t = dh_t ⊙ φ'                               tanh: 1 - h_t², relu: [h_t > 0]
    dWhy = Σ dy_t h_tᵀ    dWxh = Σ da_t x_tᵀ    dWhh = Σ da_t h_{t-1}ᵀ
    dby = Σ dy_t          dbh = Σ da_t
"""

from __future__ import annotations

from typing import NamedTuple

from rnnx.backend import Array, Backend
from rnnx.cells.rnn import RNNCell
from rnnx.core import layer
from rnnx.core.products import affine, bias_gradient, product, weight_gradient

Params = dict[str, Array]


class Cache(NamedTuple):
    """What `backward` needs of a forward pass: input, initial state, all states."""

    x: Array  # (T, B, I)
    h0: Array  # (B, H)
    h: Array  # (T, B, H)


def forward(
    backend: Backend, cell: RNNCell, params: Params, x: Array, h0: Array
) -> tuple[Array, Cache]:
    """Return the outputs and a cache: a pure function, to be compiled into a training step.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    cell : RNNCell
        The nonlinearity.
    params : dict
        `Wxh` (H, I), `Whh` (H, H), `Why` (O, H), `bh` (H, 1), `by` (O, 1).
    x : array, shape (T, B, I)
        The input.
    h0 : array, shape (B, H)
        The initial state.

    Returns
    -------
    y : array, shape (T, B, O)
        The output of every step.
    cache : Cache
        For `backward`; ``cache.h[-1]`` is the final state.
    """
    with backend.scope():
        (h,), _ = layer.forward(backend, cell, _layer_params(params), x, (h0,))
        return affine(backend.xp, h, params["Why"], params["by"][:, 0]), Cache(x, h0, h)


def backward(
    backend: Backend, cell: RNNCell, params: Params, cache: Cache, dy: Array
) -> tuple[Params, Array]:
    """Return the gradients of the parameters and of every state: a pure function.

    Parameters
    ----------
    backend, cell, params
        As given to `forward`.
    cache : Cache
        As returned by `forward`.
    dy : array, shape (T, B, O)
        The gradient of the loss by every output.

    Returns
    -------
    grads : dict
        The gradients by the parameters, by name, in the parameters' shapes.
    da : array, shape (T, B, H)
        The gradient by every pre-activation.
    """
    with backend.scope():
        xp = backend.xp
        x, h0, h = cache
        dh = product(xp, dy, params["Why"])  # (T, B, H), what y_t sends to h_t
        da, _, grads = layer.backward(
            backend, cell, _layer_params(params), x, (h0,), (h,), (), (dh,), (xp.zeros_like(h0),)
        )
        return {
            "Wxh": grads["weight_ih"],
            "Whh": grads["weight_hh"],
            "Why": weight_gradient(xp, dy, h),
            "bh": grads["bias_ih"][:, None],
            "by": bias_gradient(xp, dy)[:, None],
        }, da


def _layer_params(params: Params) -> Params:
    """Return the hidden layer's parameters under the names of `rnnx.core.layer`."""
    return {"weight_ih": params["Wxh"], "weight_hh": params["Whh"], "bias_ih": params["bh"][:, 0]}
