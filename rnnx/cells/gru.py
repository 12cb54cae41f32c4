"""The gated recurrent unit, with the reset after the product, as in torch and cuDNN.

Forward, with the rows of W_ih, W_hh and both biases in the order r, z, n::

    p_t = x_t W_ihᵀ + b_ih              its three blocks: p_r, p_z, p_n
    q_t = h_{t-1} W_hhᵀ + b_hh          its three blocks: q_r, q_z, q_n
    r_t = σ(p_r + q_r)                  the reset gate
    z_t = σ(p_z + q_z)                  the update gate
    n_t = tanh(p_n + r_t ⊙ q_n)
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

Backward, from dh_t, every derivative a multiple of it::

    da_n = dh_t ⊙ (1 - z_t) ⊙ (1 - n_t²)
    da_z = dh_t ⊙ (h_{t-1} - n_t) ⊙ z_t ⊙ (1 - z_t)
    da_r = da_n ⊙ q_n ⊙ r_t ⊙ (1 - r_t)
    dp_t = (da_r, da_z, da_n)           dq_t = (da_r, da_z, da_n ⊙ r_t)
    dh_{t-1} = dh_t ⊙ z_t               and, added by the core, dq_t W_hh

References
----------
K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP 2014, doi:10.3115/v1/D14-1179. The reset after the product: J. Appleyard et al.,
"Optimizing performance of recurrent neural networks on GPUs", 2016, doi:10.48550/arXiv.1604.01946.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

from rnnx.cells.base import Array, Cell, Own, State, Steps, sigmoid


@dataclass(frozen=True)
class GRUCell(Cell):
    """The gated recurrent unit."""

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")

    def step(
        self, xp: ModuleType, p: Array, q: Array, state: State, own: Own
    ) -> tuple[State, State]:
        """Return h_t, and for the backward the gates r and z in one array, n and q_n."""
        (h,) = state
        H = h.shape[-1]
        rz = sigmoid(xp, p[:, : 2 * H] + q[:, : 2 * H])  # (B, 2H)
        r, z, q_n = rz[:, :H], rz[:, H:], q[:, 2 * H :]
        n = xp.tanh(p[:, 2 * H :] + r * q_n)  # (B, H)
        return (n + z * (h - n),), (rz, n, q_n)

    def linearize(self, xp: ModuleType, steps: Steps, own: Own) -> State:
        """Return the factors of dh_t in da_r, da_z, da_n ⊙ r and da_n as (T, B, 4, H), and z."""
        rz, n, q_n = steps.saved  # (T, B, 2H), (T, B, H), (T, B, H)
        H = n.shape[-1]
        r, z = rz[..., :H], rz[..., H:]
        da_n = (1 - z) * (1 - n * n)
        da_z = (steps.before[0] - n) * z * (1 - z)
        through_r = da_n * r
        da_r = through_r * q_n * (1 - r)
        return xp.stack([da_r, da_z, through_r, da_n], axis=-2), z

    def step_backward(
        self, xp: ModuleType, dstate: State, slopes: State, own: Own
    ) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """Return (da_r, da_z, da_n ⊙ r, da_n) side by side, of which the first three are dq_t."""
        (dh,), (factors, z) = dstate, slopes
        B, _, H = factors.shape
        da = xp.reshape(dh[:, None, :] * factors, (B, 4 * H))
        return da, da[:, : 3 * H], (dh * z,)

    def gradients(
        self, xp: ModuleType, da: Array, steps: Steps, own: Own
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return dp and dq, of shape (T, B, 3H), from what the steps' backward returned."""
        H = da.shape[-1] // 4
        dp = xp.concat([da[..., : 2 * H], da[..., 3 * H :]], axis=-1)
        return dp, da[..., : 3 * H], {}
