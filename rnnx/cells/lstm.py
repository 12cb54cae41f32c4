"""Long short-term memory, as in torch and cuDNN.

Forward, with the rows of W_ih, W_hh and both biases in the order i, f, g, o::

    a_t = z_t + q_t                     z_t = x_t W_ihᵀ + b,  q_t = h_{t-1} W_hhᵀ
    i_t = σ(a_i)    f_t = σ(a_f)    g_t = tanh(a_g)    o_t = σ(a_o)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

Backward, from dh_t and dc_t::

    dc_t = dc_t + dh_t ⊙ o_t ⊙ (1 - tanh(c_t)²)
    da_i = dc_t ⊙ g_t ⊙ i_t ⊙ (1 - i_t)
    da_f = dc_t ⊙ c_{t-1} ⊙ f_t ⊙ (1 - f_t)
    da_g = dc_t ⊙ i_t ⊙ (1 - g_t²)
    da_o = dh_t ⊙ tanh(c_t) ⊙ o_t ⊙ (1 - o_t)
    dz_t = dq_t = (da_i, da_f, da_g, da_o)
    dc_{t-1} = dc_t ⊙ f_t               h_{t-1} is read through q_t only

References
----------
S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), 1735-1780,
doi:10.1162/neco.1997.9.8.1735. The forget gate: F. A. Gers, J. Schmidhuber and F. Cummins,
"Learning to forget", Neural Computation 12 (2000), 2451-2471, doi:10.1162/089976600300015015.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

Array = Any


@dataclass(frozen=True, slots=True)
class LSTMCell:
    """Long short-term memory; its state is (h, c)."""

    gates: ClassVar[int] = 4
    state_size: ClassVar[int] = 2
    additive: ClassVar[bool] = True

    def step(
        self, xp: ModuleType, z: Array, q: Array, state: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        """Return h_t and c_t, and for the backward i and f in one array, g and o."""
        c = state[1]
        H = c.shape[-1]
        a = z + q  # (B, 4H)
        i_f = 0.5 * xp.tanh(0.5 * a[:, : 2 * H]) + 0.5  # (B, 2H), σ
        g = xp.tanh(a[:, 2 * H : 3 * H])
        o = 0.5 * xp.tanh(0.5 * a[:, 3 * H :]) + 0.5
        c = i_f[:, H:] * c + i_f[:, :H] * g
        return (o * xp.tanh(c), c), (i_f, g, o)

    def linearize(
        self, xp: ModuleType, before: tuple[Array, Array], states: tuple[Array, Array], saved: Any
    ) -> tuple[Array, Array, Array, Array]:
        """Return the factors of dc_t in da_i, da_f, da_g as (T, B, 3, H), and of dh_t, dc_t."""
        i_f, g, o = saved  # (T, B, 2H), (T, B, H), (T, B, H)
        H = g.shape[-1]
        i, f = i_f[..., :H], i_f[..., H:]
        tanh_c = xp.tanh(states[1])
        da_i = g * i * (1 - i)
        da_f = before[1] * f * (1 - f)
        da_g = i * (1 - g * g)
        da_o = tanh_c * o * (1 - o)
        return xp.stack([da_i, da_f, da_g], axis=-2), da_o, o * (1 - tanh_c * tanh_c), f

    def step_backward(
        self, xp: ModuleType, dstate: tuple[Array, Array], slopes: tuple[Array, ...]
    ) -> tuple[Array, Array, tuple[None, Array]]:
        """Return (da_i, da_f, da_g, da_o) side by side, and dc_{t-1}."""
        (dh, dc), (factors, da_o, through_c, f) = dstate, slopes
        B, _, H = factors.shape
        dc = dc + dh * through_c
        da_ifg = xp.reshape(dc[:, None, :] * factors, (B, 3 * H))
        da = xp.concat([da_ifg, dh * da_o], axis=-1)  # (B, 4H)
        return da, da, (None, dc * f)

    def gradients(self, xp: ModuleType, da: Array) -> tuple[Array, Array]:
        """Return dz and dq, one and the same."""
        return da, da

    def output(self, xp: ModuleType, states: tuple[Array, Array], saved: Any) -> Array:
        """Return o_t ⊙ tanh(c_t), which is h_t where no projection follows."""
        return saved[2] * xp.tanh(states[1])
