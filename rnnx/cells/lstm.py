"""Long short-term memory, as in torch and cuDNN.

Forward, with the rows of W_ih, W_hh and both biases in the order i, f, g, o::

    a_t = p_t + q_t                     p_t = x_t W_ihᵀ + b,  q_t = h_{t-1} W_hhᵀ
    i_t = σ(a_i)    f_t = σ(a_f)    g_t = tanh(a_g)    o_t = σ(a_o)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

Backward, from dh_t and dc_t::

    dc_t = dc_t + dh_t ⊙ o_t ⊙ (1 - tanh(c_t)²)
    da_i = dc_t ⊙ g_t ⊙ i_t ⊙ (1 - i_t)
    da_f = dc_t ⊙ c_{t-1} ⊙ f_t ⊙ (1 - f_t)
    da_g = dc_t ⊙ i_t ⊙ (1 - g_t²)
    da_o = dh_t ⊙ tanh(c_t) ⊙ o_t ⊙ (1 - o_t)
    dp_t = dq_t = (da_i, da_f, da_g, da_o)
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
from typing import ClassVar

from rnnx.cells.base import Array, Cell, Own, State, Steps, sigmoid


@dataclass(frozen=True)
class LSTMCell(Cell):
    """Long short-term memory; its state is (h, c)."""

    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    additive: ClassVar[bool] = True
    reads_h: ClassVar[bool] = False

    def state_sizes(self, hidden_size: int) -> dict[str, int]:
        """h and c, both (B, H)."""
        return {"h": hidden_size, "c": hidden_size}

    def step(
        self, xp: ModuleType, p: Array, q: Array, state: State, own: Own
    ) -> tuple[State, State]:
        """Return h_t and c_t, and for the backward i and f in one array, g and o."""
        c = state[1]
        H = c.shape[-1]
        a = p + q  # (B, 4H)
        i_f = sigmoid(xp, a[:, : 2 * H])  # (B, 2H)
        g = xp.tanh(a[:, 2 * H : 3 * H])
        o = sigmoid(xp, a[:, 3 * H :])
        c = i_f[:, H:] * c + i_f[:, :H] * g
        return (o * xp.tanh(c), c), (i_f, g, o)

    def linearize(self, xp: ModuleType, steps: Steps, own: Own) -> State:
        """Return the factors of dc_t in da_i, da_f, da_g as (T, B, 3, H), and of dh_t, dc_t."""
        i_f, g, o = steps.saved  # (T, B, 2H), (T, B, H), (T, B, H)
        H = g.shape[-1]
        i, f = i_f[..., :H], i_f[..., H:]
        tanh_c = xp.tanh(steps.states[1])
        da_i = g * i * (1 - i)
        da_f = steps.before[1] * f * (1 - f)
        da_g = i * (1 - g * g)
        da_o = tanh_c * o * (1 - o)
        return xp.stack([da_i, da_f, da_g], axis=-2), da_o, o * (1 - tanh_c * tanh_c), f

    def step_backward(
        self, xp: ModuleType, dstate: State, slopes: State, own: Own
    ) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """Return (da_i, da_f, da_g, da_o) side by side, and dc_{t-1}."""
        (dh, dc), (factors, da_o, through_c, f) = dstate, slopes
        B, _, H = factors.shape
        dc = dc + dh * through_c
        da_ifg = xp.reshape(dc[:, None, :] * factors, (B, 3 * H))
        da = xp.concat([da_ifg, dh * da_o], axis=-1)  # (B, 4H)
        return da, da, (None, dc * f)
