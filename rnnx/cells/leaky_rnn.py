"""The leaky integrator: a tanh cell whose units forget at a rate that each of them learns.

Forward, with λ one number per unit, so that the leak α lies between 0 and 1::

    α   = σ(λ)
    a_t = p_t + q_t                     p_t = x_t W_ihᵀ + b,  q_t = h_{t-1} W_hhᵀ
    n_t = tanh(a_t)
    h_t = (1 - α) ⊙ h_{t-1} + α ⊙ n_t

Backward, from dh_t::

    da_t = dh_t ⊙ α ⊙ (1 - n_t²)
    dp_t = dq_t = da_t
    dh_{t-1} = dh_t ⊙ (1 - α)           and, added by the core, dq_t W_hh
    dλ = α ⊙ (1 - α) ⊙ Σ dh_t ⊙ (n_t - h_{t-1})

References
----------
H. Jaeger, M. Lukoševičius, D. Popovici and U. Siewert, "Optimization and applications of echo state
networks with leaky-integrator neurons", Neural Networks 20 (2007), 335-352,
doi:10.1016/j.neunet.2007.04.016, with a leak for each unit, learned by gradient descent.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

from rnnx.cells.base import Array, Cell, Own, Parameter, State, Steps, sigmoid


@dataclass(frozen=True)
class LeakyRNNCell(Cell):
    """The leaky tanh cell; its own parameter is ``leak`` (H,), λ, initially 0: α = 1/2."""

    gates: ClassVar[tuple[str, ...]] = ("h",)
    additive: ClassVar[bool] = True

    def parameters(self, hidden_size: int) -> dict[str, Parameter]:
        """λ, one number per unit."""
        return {"leak": Parameter((hidden_size,))}

    def step(
        self, xp: ModuleType, p: Array, q: Array, state: State, own: Own
    ) -> tuple[State, State]:
        """Return h_t, and n_t for the backward."""
        (h,), alpha = state, sigmoid(xp, own["leak"])
        n = xp.tanh(p + q)  # (B, H)
        return (h + alpha * (n - h),), (n,)

    def linearize(self, xp: ModuleType, steps: Steps, own: Own) -> State:
        """Return the factor of dh_t in da_t."""
        (n,) = steps.saved  # (T, B, H)
        return (sigmoid(xp, own["leak"]) * (1 - n * n),)

    def step_backward(
        self, xp: ModuleType, dstate: State, slopes: State, own: Own
    ) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """Return da_t and dh_t side by side, as dλ needs dh_t."""
        (dh,), (slope,) = dstate, slopes
        da = dh * slope
        return xp.concat([da, dh], axis=-1), da, (dh * (1 - sigmoid(xp, own["leak"])),)

    def gradients(
        self, xp: ModuleType, da: Array, steps: Steps, own: Own
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return dp = dq, (T, B, H), and dλ."""
        (h,), (n,), alpha = steps.before, steps.saved, sigmoid(xp, own["leak"])
        H = n.shape[-1]
        da, dh = da[..., :H], da[..., H:]
        dalpha = xp.sum(xp.sum(dh * (n - h), axis=0), axis=0)
        return da, da, {"leak": alpha * (1 - alpha) * dalpha}
