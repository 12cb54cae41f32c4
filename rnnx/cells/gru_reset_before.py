"""The gated recurrent unit with the reset before the product, as Cho et al. wrote it.

Forward, with the rows of W_ih in the order r, z, n, those of W_hh in the order r, z::

    p_t = x_t W_ihᵀ + b_ih              its three blocks: p_r, p_z, p_n
    q_t = h_{t-1} W_hhᵀ + b_hh          its two blocks: q_r, q_z
    r_t = σ(p_r + q_r)
    z_t = σ(p_z + q_z)
    n_t = tanh(p_n + (r_t ⊙ h_{t-1}) W_hnᵀ)
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

Backward, from dh_t, with u_t the gradient with respect to r_t ⊙ h_{t-1}::

    da_n = dh_t ⊙ (1 - z_t) ⊙ (1 - n_t²)
    da_z = dh_t ⊙ (h_{t-1} - n_t) ⊙ z_t ⊙ (1 - z_t)
    u_t  = da_n W_hn
    da_r = u_t ⊙ h_{t-1} ⊙ r_t ⊙ (1 - r_t)
    dp_t = (da_r, da_z, da_n)           dq_t = (da_r, da_z)
    dh_{t-1} = dh_t ⊙ z_t + u_t ⊙ r_t   and, added by the core, dq_t W_hh
    dW_hn = Σ da_nᵀ (r_t ⊙ h_{t-1})

References
----------
K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP 2014, doi:10.3115/v1/D14-1179. Keras's GRU with ``reset_after=False``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

from rnnx.cells.base import Array, Cell, Own, Parameter, State, Steps, sigmoid


@dataclass(frozen=True)
class ResetBeforeGRUCell(Cell):
    """The GRU with the reset before the product; its own parameter is ``weight_hn`` (H, H)."""

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")
    recurrent_gates: ClassVar[tuple[str, ...] | None] = ("r", "z")

    def parameters(self, hidden_size: int) -> dict[str, Parameter]:
        """W_hn, the recurrent weights of n."""
        return {"weight_hn": Parameter((hidden_size, hidden_size), "recurrent")}

    def step(
        self, xp: ModuleType, p: Array, q: Array, state: State, own: Own
    ) -> tuple[State, State]:
        """Return h_t, and for the backward the gates r and z in one array, and n."""
        (h,) = state
        H = h.shape[-1]
        rz = sigmoid(xp, p[:, : 2 * H] + q)  # (B, 2H)
        r, z = rz[:, :H], rz[:, H:]
        n = xp.tanh(p[:, 2 * H :] + (r * h) @ xp.matrix_transpose(own["weight_hn"]))
        return (n + z * (h - n),), (rz, n)

    def linearize(self, xp: ModuleType, steps: Steps, own: Own) -> State:
        """Return the factors of dh_t in da_z and da_n, of u_t in da_r, and z and r."""
        (h,), (rz, n) = steps.before, steps.saved
        H = n.shape[-1]
        r, z = rz[..., :H], rz[..., H:]
        return (h - n) * z * (1 - z), (1 - z) * (1 - n * n), h * r * (1 - r), z, r

    def step_backward(
        self, xp: ModuleType, dstate: State, slopes: State, own: Own
    ) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """Return (da_r, da_z, da_n) side by side, of which the first two are dq_t."""
        (dh,), (through_z, through_n, through_r, z, r) = dstate, slopes
        da_n = dh * through_n
        u = da_n @ own["weight_hn"]
        da = xp.concat([u * through_r, dh * through_z, da_n], axis=-1)  # (B, 3H)
        return da, da[:, : 2 * dh.shape[-1]], (dh * z + u * r,)

    def gradients(
        self, xp: ModuleType, da: Array, steps: Steps, own: Own
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return dp, (T, B, 3H), dq, (T, B, 2H), and dW_hn."""
        (h,), (rz, _) = steps.before, steps.saved
        H = h.shape[-1]
        da_n = xp.reshape(da[..., 2 * H :], (-1, H))
        reset_h = xp.reshape(rz[..., :H] * h, (-1, H))
        dW_hn = xp.matrix_transpose(da_n) @ reset_h
        return da, da[..., : 2 * H], {"weight_hn": dW_hn}
