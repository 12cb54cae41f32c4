"""A recurrent layer in one direction over a dense sequence, as pure functions.

Forward::

    z_t = x_t W_ihᵀ + b_ih              all t in one product; b_hh too, where the cell adds z and q
    state_t = step(z_t, h_{t-1} W_hhᵀ + b_hh, state_{t-1})

Backward, with dz and dq from the loop over time, each sum over all t one product::

    dW_ih = Σ dz_tᵀ x_t    dW_hh = Σ dq_tᵀ h_{t-1}    dx_t = dz_t W_ih
    db_ih = Σ dz_t         db_hh = Σ dq_t             dW_hr = Σ dh_tᵀ h'_t, h' before the projection
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from rnnx.backend import Array, Backend
from rnnx.core import portable
from rnnx.core.portable import Extras, States
from rnnx.core.products import affine, bias_gradient, product, weight_gradient

Params = dict[str, Array]


class Noise(NamedTuple):
    """Dropout masks of a layer, None where it has none; already scaled by 1/(1 - p)."""

    recurrent: Array | None = None  # (B, P), on h in the recurrent product
    weight: Array | None = None  # (G·H, P), on weight_hh


QUIET = Noise()


def forward(
    backend: Backend,
    cell: Any,
    params: Params,
    x: Array,
    state0: States,
    *,
    noise: Noise = QUIET,
    reset: Array | None = None,
    keep: bool = True,
) -> tuple[States, States]:
    """Return the states after every step and what `backward` needs beside them.

    Parameters
    ----------
    backend : Backend
        Where the arrays live.
    cell : object
        A cell of `rnnx.cells`.
    params : dict
        ``weight_ih`` (G·H, I), ``weight_hh`` (G·H, P), and where the layer has them ``bias_ih`` and
        ``bias_hh`` (G·H,), ``weight_hr`` (P, H).
    x : array, shape (T, B, I)
        The input.
    state0 : tuple of arrays, shape (B, ·)
        The state before the first step.
    noise : Noise
        Masks of recurrent dropout and of dropped recurrent weights.
    reset : array, shape (T, B), optional
        Boolean: rows whose state is zero before a step.
    keep : bool
        Whether `backward` will follow; else `saved` is empty.

    Returns
    -------
    states, saved : tuple of arrays
        As `rnnx.core.portable.forward` returns them.
    """
    bias, extras = _biases(cell, params), _extras(cell, params, noise, reset)
    z = affine(backend.xp, x, params["weight_ih"], bias)  # (T, B, G·H)
    W = _recurrent_weight(params, noise)
    return portable.forward(backend, cell, z, W, state0, extras, keep)


def backward(
    backend: Backend,
    cell: Any,
    params: Params,
    x: Array,
    state0: States,
    states: States,
    saved: States,
    dstates: tuple[Array | None, ...],
    dstate_T: States,
    *,
    noise: Noise = QUIET,
    reset: Array | None = None,
) -> tuple[Array, States, Params]:
    """Return dz, dstate0 and the gradients of the parameters.

    Parameters
    ----------
    backend, cell, params, x, state0, noise, reset
        As given to `forward`.
    states, saved : tuple of arrays
        As returned by `forward`.
    dstates : tuple of arrays, shape (T, B, ·), or None
        The gradients of the loss by every state.
    dstate_T : tuple of arrays, shape (B, ·)
        The gradients by the final state.

    Returns
    -------
    dz : array, shape (T, B, G·H)
        The gradient by the input's part of the pre-activation; `input_gradient` makes dx of it.
    dstate0 : tuple of arrays, shape (B, ·)
        The gradients by the initial state.
    grads : dict
        The gradients by the parameters, by name.
    """
    xp = backend.xp
    extras = _extras(cell, params, noise, reset)
    before = portable.previous(xp, state0, states, reset)
    weight_hh = _recurrent_weight(params, noise)
    d = portable.backward(
        backend, cell, dstates, dstate_T, before, states, saved, weight_hh, extras
    )
    h = before[0] if noise.recurrent is None else before[0] * noise.recurrent
    dW_hh = weight_gradient(xp, d.dq, h)
    grads = {
        "weight_ih": weight_gradient(xp, d.dz, x),
        "weight_hh": dW_hh if noise.weight is None else dW_hh * noise.weight,
    }
    if "bias_ih" in params:
        grads = grads | {"bias_ih": bias_gradient(xp, d.dz)}
    if "bias_hh" in params:
        same = cell.additive and "bias_ih" in params
        grads = grads | {"bias_hh": grads["bias_ih"] if same else bias_gradient(xp, d.dq)}
    if "weight_hr" in params:
        unprojected = cell.output(xp, states, saved)  # (T, B, H)
        grads = grads | {"weight_hr": weight_gradient(xp, d.dh, unprojected)}
    return d.dz, d.dstate0, grads


def input_gradient(xp: ModuleType, dz: Array, weight_ih: Array) -> Array:
    """dx_t = dz_t W_ih, of shape (T, B, I)."""
    return product(xp, dz, weight_ih)


def _biases(cell: Any, params: Params) -> Array | None:
    """Return what is added to z: b_ih, and b_hh too where the cell reads z and q through z + q."""
    b_ih, b_hh = params.get("bias_ih"), params.get("bias_hh")
    if b_ih is None or b_hh is None or not cell.additive:
        return b_ih
    return b_ih + b_hh


def _extras(cell: Any, params: Params, noise: Noise, reset: Array | None) -> Extras:
    b_hh = None if cell.additive else params.get("bias_hh")
    return Extras(b_hh, params.get("weight_hr"), noise.recurrent, reset)


def _recurrent_weight(params: Params, noise: Noise) -> Array:
    W = params["weight_hh"]
    return W if noise.weight is None else W * noise.weight
