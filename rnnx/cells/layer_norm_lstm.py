"""Long short-term memory with layer normalisation, by the formulas of Ba et al.

Forward, with N the normalisation of a row, over the 4H gate entries of p and q and the H of c::

    N(v) = (v - mean v) / √(var v + ε)  ε = 1e-5
    a_t = γ_x ⊙ N(p_t) + γ_h ⊙ N(q_t) + b               p_t = x_t W_ihᵀ,  q_t = h_{t-1} W_hhᵀ
    i_t = σ(a_i)    f_t = σ(a_f)    g_t = tanh(a_g)    o_t = σ(a_o)
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    m_t = γ_c ⊙ N(c_t) + β_c
    h_t = o_t ⊙ tanh(m_t)

Backward, with v̂ = N(v) and s = 1/√(var v + ε)::

    N'(dv̂) = s (dv̂ - mean dv̂ - v̂ mean(dv̂ ⊙ v̂))
    dm_t = dh_t ⊙ o_t ⊙ (1 - tanh(m_t)²)
    dc_t = dc_t + N'(γ_c ⊙ dm_t)
    da_i, da_f, da_g from dc_t as in the LSTM           da_o = dh_t ⊙ tanh(m_t) ⊙ o_t ⊙ (1 - o_t)
    dp_t = N'(γ_x ⊙ da_t)                               dq_t = N'(γ_h ⊙ da_t)
    dγ_x = Σ da_t ⊙ p̂_t    dγ_h = Σ da_t ⊙ q̂_t    db = Σ da_t
    dγ_c = Σ dm_t ⊙ ĉ_t    dβ_c = Σ dm_t

Ba et al. add a shift to N(p_t) and to N(q_t) as well; their sum is the bias b, so one is kept. This
is also the formula of haste's LayerNormLSTM.

References
----------
J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016, doi:10.48550/arXiv.1607.06450,
equations 20-22. S. Nanavati, "Haste: a fast, simple, and open RNN library", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

from rnnx.cells.base import Array, Cell, Own, Parameter, State, Steps, sigmoid

EPSILON = 1e-5


@dataclass(frozen=True)
class LayerNormLSTMCell(Cell):
    """The layer-normalised LSTM; its state is (h, c).

    Its own parameters are ``gain_ih``, ``gain_hh``, ``bias`` (4H,), ``gain_c``, ``bias_c`` (H,):
    γ_x, γ_h, b, γ_c, β_c. Gains start at 1, biases at 0.
    """

    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    biased: ClassVar[bool] = False
    reads_h: ClassVar[bool] = False

    def state_sizes(self, hidden_size: int) -> dict[str, int]:
        """h and c, both (B, H)."""
        return {"h": hidden_size, "c": hidden_size}

    def parameters(self, hidden_size: int) -> dict[str, Parameter]:
        """Gains and biases of the three normalisations."""
        wide, narrow = (4 * hidden_size,), (hidden_size,)
        return {
            "gain_ih": Parameter(wide, 1.0),
            "gain_hh": Parameter(wide, 1.0),
            "bias": Parameter(wide),
            "gain_c": Parameter(narrow, 1.0),
            "bias_c": Parameter(narrow),
        }

    def step(
        self, xp: ModuleType, p: Array, q: Array, state: State, own: Own
    ) -> tuple[State, State]:
        """Return h_t and c_t, and for the backward the gates and what was normalised."""
        c = state[1]
        H = c.shape[-1]
        (p, s_p), (q, s_q) = _normalised(xp, p), _normalised(xp, q)  # (B, 4H), (B, 1)
        a = own["gain_ih"] * p + own["gain_hh"] * q + own["bias"]
        i_f = sigmoid(xp, a[:, : 2 * H])
        g = xp.tanh(a[:, 2 * H : 3 * H])
        o = sigmoid(xp, a[:, 3 * H :])
        c = i_f[:, H:] * c + i_f[:, :H] * g
        c_hat, s_c = _normalised(xp, c)
        h = o * xp.tanh(own["gain_c"] * c_hat + own["bias_c"])
        return (h, c), (i_f, g, o, p, s_p, q, s_q, c_hat, s_c)

    def linearize(self, xp: ModuleType, steps: Steps, own: Own) -> State:
        """Return the factors of dc_t as (T, B, 3, H), of dh_t, f, and what was normalised."""
        i_f, g, o, _, _, q, s_q, c_hat, s_c = steps.saved
        H = g.shape[-1]
        i, f = i_f[..., :H], i_f[..., H:]
        tanh_m = xp.tanh(own["gain_c"] * c_hat + own["bias_c"])
        da_i, da_f, da_g = g * i * (1 - i), steps.before[1] * f * (1 - f), i * (1 - g * g)
        factors = xp.stack([da_i, da_f, da_g], axis=-2)
        da_o, through_m = tanh_m * o * (1 - o), o * (1 - tanh_m * tanh_m)
        return factors, da_o, through_m, f, q, s_q, c_hat, s_c

    def step_backward(
        self, xp: ModuleType, dstate: State, slopes: State, own: Own
    ) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """Return (da_i, da_f, da_g, da_o, dm) side by side, dq_t, and dc_{t-1}."""
        (dh, dc), (factors, da_o, through_m, f, q, s_q, c_hat, s_c) = dstate, slopes
        B, _, H = factors.shape
        dm = dh * through_m
        dc = dc + _through_norm(xp, own["gain_c"] * dm, c_hat, s_c)
        da_ifg = xp.reshape(dc[:, None, :] * factors, (B, 3 * H))
        da = xp.concat([da_ifg, dh * da_o], axis=-1)  # (B, 4H)
        dq = _through_norm(xp, own["gain_hh"] * da, q, s_q)
        return xp.concat([da, dm], axis=-1), dq, (None, dc * f)

    def gradients(
        self, xp: ModuleType, da: Array, steps: Steps, own: Own
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return dp and dq, (T, B, 4H), and the gradients of gains and biases."""
        p, s_p, q, s_q, c_hat = steps.saved[3:8]
        H = c_hat.shape[-1]
        da, dm = da[..., : 4 * H], da[..., 4 * H :]
        dp = _through_norm(xp, own["gain_ih"] * da, p, s_p)
        dq = _through_norm(xp, own["gain_hh"] * da, q, s_q)
        products = {
            "gain_ih": da * p, "gain_hh": da * q, "bias": da, "gain_c": dm * c_hat, "bias_c": dm,
        }  # fmt: skip
        return dp, dq, {k: xp.sum(xp.sum(d, axis=0), axis=0) for k, d in products.items()}


def _normalised(xp: ModuleType, v: Array) -> tuple[Array, Array]:
    """Return N(v) and s."""
    v = v - xp.mean(v, axis=-1, keepdims=True)
    s = 1 / xp.sqrt(xp.mean(v * v, axis=-1, keepdims=True) + EPSILON)
    return v * s, s


def _through_norm(xp: ModuleType, dv: Array, v_hat: Array, s: Array) -> Array:
    """Return N'(dv̂), the gradient with respect to v."""
    along = xp.mean(dv * v_hat, axis=-1, keepdims=True)
    return s * (dv - xp.mean(dv, axis=-1, keepdims=True) - v_hat * along)
