"""A recurrent layer in one direction over a dense sequence, as pure functions.

Forward::

    z_t = x_t W_ihᵀ + b                 all t in one product
    state_t = step(z_t, h_{t-1} W_hhᵀ, state_{t-1})

Backward, with dz and dr from the loop over time, each sum over all t one product::

    dW_ih = Σ dz_tᵀ x_t    dW_hh = Σ dr_tᵀ h_{t-1}    db = Σ dz_t    dx_t = dz_t W_ih
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rnnx.backend import Backend
from rnnx.core import portable
from rnnx.core.portable import States
from rnnx.core.products import affine, bias_gradient, product, weight_gradient

Array = Any


def forward(
    backend: Backend, cell: Any, params: dict[str, Array], x: Array, state0: States
) -> tuple[States, States]:
    """Return the states after every step and what `backward` needs beside them.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    cell : object
        A cell of `rnnx.cells`.
    params : dict
        ``weight_ih`` (G·H, I), ``weight_hh`` (G·H, H), ``bias`` (G·H,).
    x : array, shape (T, B, I)
        The input.
    state0 : tuple of arrays, shape (B, H)
        The state before the first step.

    Returns
    -------
    states, saved : tuple of arrays
        As `rnnx.core.portable.forward` returns them.
    """
    z = affine(backend.xp, x, params["weight_ih"], params["bias"])  # (T, B, G·H)
    return portable.forward(backend, cell, z, params["weight_hh"], state0)


def backward(
    backend: Backend,
    cell: Any,
    params: dict[str, Array],
    x: Array,
    state0: States,
    states: States,
    saved: States,
    dstates: tuple[Array | None, ...],
    dstate_T: States,
) -> tuple[Array, States, dict[str, Array]]:
    """Return dz, dstate0 and the gradients of the parameters.

    Parameters
    ----------
    backend, cell, params, x, state0
        As given to `forward`.
    states, saved : tuple of arrays
        As returned by `forward`.
    dstates : tuple of arrays, shape (T, B, H), or None
        The gradients of the loss by every state.
    dstate_T : tuple of arrays, shape (B, H)
        The gradients by the final state.

    Returns
    -------
    dz : array, shape (T, B, G·H)
        The gradient by the input's part of the pre-activation; `input_gradient` makes dx of it.
    dstate0 : tuple of arrays, shape (B, H)
        The gradients by the initial state.
    grads : dict
        The gradients by the parameters, by name.
    """
    xp = backend.xp
    dz, dr, dstate0 = portable.backward(
        backend, cell, dstates, dstate_T, states, saved, params["weight_hh"]
    )
    grads = {
        "weight_ih": weight_gradient(xp, dz, x),
        "weight_hh": _recurrent_gradient(xp, dr, states[0], state0[0]),
        "bias": bias_gradient(xp, dz),
    }
    return dz, dstate0, grads


def input_gradient(xp: ModuleType, dz: Array, weight_ih: Array) -> Array:
    """dx_t = dz_t W_ih, of shape (T, B, I)."""
    return product(xp, dz, weight_ih)


def _recurrent_gradient(xp: ModuleType, dr: Array, h: Array, h0: Array) -> Array:
    """dW_hh = Σ dr_tᵀ h_{t-1}; the first step apart, so that h is not copied to shift it."""
    return weight_gradient(xp, dr[:1, ...], h0) + weight_gradient(xp, dr[1:, ...], h[:-1, ...])
