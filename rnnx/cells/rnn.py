"""The Elman cell, with tanh or relu.

Forward::

    a_t = p_t + q_t                     p_t = x_t W_ihᵀ + b,  q_t = h_{t-1} W_hhᵀ
    h_t = φ(a_t)                        φ = tanh or max(0, ·)

Backward, from dh_t::

    da_t = dh_t ⊙ φ'(a_t)               tanh: φ' = 1 - h_t²,  relu: φ' = [h_t > 0]
    dp_t = dq_t = da_t                  h_{t-1} is read through q_t only

References
----------
J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), 179-211,
doi:10.1207/s15516709cog1402_1. P. J. Werbos, "Backpropagation through time: what it does and how to
do it", Proc. IEEE 78 (1990), 1550-1560, doi:10.1109/5.58337.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

from rnnx.cells.base import Array, Cell, Own, State, Steps


@dataclass(frozen=True)
class RNNCell(Cell):
    """The Elman cell; `nonlinearity` is ``"tanh"``, the default, or ``"relu"``."""

    nonlinearity: str = "tanh"

    gates: ClassVar[tuple[str, ...]] = ("h",)
    additive: ClassVar[bool] = True
    reads_h: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {self.nonlinearity!r}")

    def step(
        self, xp: ModuleType, p: Array, q: Array, state: State, own: Own
    ) -> tuple[State, State]:
        """h_t = φ(p_t + q_t); h_t itself is all that the backward needs."""
        a = p + q  # (B, H)
        h = xp.tanh(a) if self.nonlinearity == "tanh" else xp.maximum(a, xp.zeros_like(a))
        return (h,), ()

    def linearize(self, xp: ModuleType, steps: Steps, own: Own) -> State:
        """φ'(a_t), a function of h_t alone."""
        (h,) = steps.states  # (T, B, H)
        return (1 - h * h,) if self.nonlinearity == "tanh" else (xp.astype(h > 0, h.dtype),)

    def step_backward(
        self, xp: ModuleType, dstate: State, slopes: State, own: Own
    ) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """da_t = dh_t ⊙ φ'(a_t)."""
        (dh,), (slope,) = dstate, slopes
        da = dh * slope  # (B, H)
        return da, da, (None,)
