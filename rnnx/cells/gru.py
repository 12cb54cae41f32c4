"""The gated recurrent unit, with the reset after the product, as in torch and cuDNN.

Forward, with the rows of W_ih, W_hh and both biases in the order r, z, n::

    z_t = x_t W_ihᵀ + b_ih              its three blocks: z_r, z_z, z_n
    q_t = h_{t-1} W_hhᵀ + b_hh          its three blocks: q_r, q_z, q_n
    r_t = σ(z_r + q_r)
    u_t = σ(z_z + q_z)                  the update gate, z in the papers
    n_t = tanh(z_n + r_t ⊙ q_n)
    h_t = (1 - u_t) ⊙ n_t + u_t ⊙ h_{t-1}

Backward, from dh_t, every derivative a multiple of it::

    da_n = dh_t ⊙ (1 - u_t) ⊙ (1 - n_t²)
    da_z = dh_t ⊙ (h_{t-1} - n_t) ⊙ u_t ⊙ (1 - u_t)
    da_r = da_n ⊙ q_n ⊙ r_t ⊙ (1 - r_t)
    dz_t = (da_r, da_z, da_n)           dq_t = (da_r, da_z, da_n ⊙ r_t)
    dh_{t-1} = dh_t ⊙ u_t               and, added by the core, dq_t W_hh

References
----------
K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP 2014, doi:10.3115/v1/D14-1179. The reset after the product: J. Appleyard et al.,
"Optimizing performance of recurrent neural networks on GPUs", 2016, doi:10.48550/arXiv.1604.01946.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

Array = Any


@dataclass(frozen=True, slots=True)
class GRUCell:
    """The gated recurrent unit."""

    gates: ClassVar[int] = 3
    state_size: ClassVar[int] = 1
    additive: ClassVar[bool] = False

    def step(
        self, xp: ModuleType, z: Array, q: Array, state: tuple[Array]
    ) -> tuple[tuple[Array], tuple[Array, Array, Array]]:
        """Return h_t, and for the backward the gates r and u in one array, n and q_n."""
        (h,) = state
        H = h.shape[-1]
        ru = 0.5 * xp.tanh(0.5 * (z[:, : 2 * H] + q[:, : 2 * H])) + 0.5  # (B, 2H), σ
        r, u, q_n = ru[:, :H], ru[:, H:], q[:, 2 * H :]
        n = xp.tanh(z[:, 2 * H :] + r * q_n)  # (B, H)
        return (n + u * (h - n),), (ru, n, q_n)

    def linearize(
        self, xp: ModuleType, before: tuple[Array], states: tuple[Array], saved: Any
    ) -> tuple[Array, Array]:
        """Return the factors of dh_t in da_r, da_z, da_n ⊙ r and da_n as (T, B, 4, H), and u."""
        ru, n, q_n = saved  # (T, B, 2H), (T, B, H), (T, B, H)
        H = n.shape[-1]
        r, u = ru[..., :H], ru[..., H:]
        da_n = (1 - u) * (1 - n * n)
        da_z = (before[0] - n) * u * (1 - u)
        through_r = da_n * r
        da_r = through_r * q_n * (1 - r)
        return xp.stack([da_r, da_z, through_r, da_n], axis=-2), u

    def step_backward(
        self, xp: ModuleType, dstate: tuple[Array], slopes: tuple[Array, Array]
    ) -> tuple[Array, Array, tuple[Array]]:
        """Return (da_r, da_z, da_n ⊙ r, da_n) side by side, of which the first three are dq_t."""
        (dh,), (factors, u) = dstate, slopes
        B, _, H = factors.shape
        da = xp.reshape(dh[:, None, :] * factors, (B, 4 * H))
        return da, da[:, : 3 * H], (dh * u,)

    def gradients(self, xp: ModuleType, da: Array) -> tuple[Array, Array]:
        """Return dz and dq, of shape (T, B, 3H), from what the steps' backward returned."""
        H = da.shape[-1] // 4
        return xp.concat([da[..., : 2 * H], da[..., 3 * H :]], axis=-1), da[..., : 3 * H]
