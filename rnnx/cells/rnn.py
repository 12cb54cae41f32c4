"""The Elman cell, with tanh or relu.

Forward::

    a_t = z_t + q_t                     z_t = x_t W_ihᵀ + b,  q_t = h_{t-1} W_hhᵀ
    h_t = φ(a_t)                        φ = tanh or max(0, ·)

Backward, from dh_t::

    da_t = dh_t ⊙ φ'(a_t)               tanh: φ' = 1 - h_t²,  relu: φ' = [h_t > 0]
    dz_t = dq_t = da_t                  h_{t-1} is read through q_t only

References
----------
J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), 179-211,
doi:10.1207/s15516709cog1402_1. P. J. Werbos, "Backpropagation through time: what it does and how to
do it", Proc. IEEE 78 (1990), 1550-1560, doi:10.1109/5.58337.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

Array = Any


@dataclass(frozen=True, slots=True)
class RNNCell:
    """The Elman cell; `nonlinearity` is ``"tanh"`` or ``"relu"``."""

    nonlinearity: str = "tanh"

    gates: ClassVar[int] = 1
    state_size: ClassVar[int] = 1
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {self.nonlinearity!r}")

    def step(
        self, xp: ModuleType, z: Array, q: Array, state: tuple[Array]
    ) -> tuple[tuple[Array], tuple[()]]:
        """h_t = φ(z_t + q_t); h_t itself is all that the backward needs."""
        a = z + q  # (B, H)
        h = xp.tanh(a) if self.nonlinearity == "tanh" else xp.maximum(a, xp.zeros_like(a))
        return (h,), ()

    def linearize(
        self, xp: ModuleType, before: tuple[Array], states: tuple[Array], saved: tuple[()]
    ) -> tuple[Array]:
        """φ'(a_t), a function of h_t alone."""
        (h,) = states  # (T, B, H)
        return (1 - h * h,) if self.nonlinearity == "tanh" else (xp.astype(h > 0, h.dtype),)

    def step_backward(
        self, xp: ModuleType, dstate: tuple[Array], slopes: tuple[Array]
    ) -> tuple[Array, Array, tuple[None]]:
        """da_t = dh_t ⊙ φ'(a_t)."""
        (dh,), (slope,) = dstate, slopes
        da = dh * slope  # (B, H)
        return da, da, (None,)

    def gradients(self, xp: ModuleType, da: Array) -> tuple[Array, Array]:
        """Return dz and dq, one and the same."""
        return da, da
