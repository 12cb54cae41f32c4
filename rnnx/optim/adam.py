"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnx.optim.shared import Optimizer, Params, State, zero_like, zeros_like


@dataclass(frozen=True, slots=True)
class Adam(Optimizer):
    """Adam, as in torch.optim.Adam.

    For every parameter w with gradient g, at step t = 1, 2, ...::

        m = β₁ m + (1 - β₁) g
        v = β₂ v + (1 - β₂) g²
        w = w - η · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε)

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    beta1, beta2 : float
        β₁ and β₂, in [0, 1).
    epsilon : float
        ε, above 0.

    Raises
    ------
    ValueError
        If a hyperparameter is out of range.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015,
    doi:10.48550/arXiv.1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> adam, params = Adam(0.1), {"w": np.asarray([1.0])}
    >>> params, state = adam.update(params, {"w": np.asarray([2.0])}, adam.init(params))
    >>> round(float(params["w"][0]), 6)
    0.9
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def init(self, params: Params) -> State:
        """Return the state before the first step: m = v = 0, and 1 - β₁⁰ = 1 - β₂⁰ = 0."""
        zero = zero_like(params)
        return {
            "mean": zeros_like(params),
            "square": zeros_like(params),
            "mean_weight": zero,
            "square_weight": zero,
        }

    def _entries(self) -> tuple[str, ...]:
        return "mean", "square", "mean_weight", "square_weight"

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        b1, b2 = self.beta1, self.beta2
        m = {k: b1 * state["mean"][k] + (1 - b1) * g for k, g in grads.items()}
        v = {k: b2 * state["square"][k] + (1 - b2) * (g * g) for k, g in grads.items()}
        # 1 - βᵗ as the same running mean of ones: the difference itself would lose digits
        m_weight = b1 * state["mean_weight"] + (1 - b1)
        v_weight = b2 * state["square_weight"] + (1 - b2)
        rate = rate / m_weight
        params = {
            k: w - rate * m[k] / (xp.sqrt(v[k] / v_weight) + self.epsilon)
            for k, w in params.items()
        }
        return params, {
            "mean": m, "square": v, "mean_weight": m_weight, "square_weight": v_weight,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as in torch.optim.AdamW.

    At every step, before Adam's update with the same gradient::

        w = (1 - η λ) w

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    beta1, beta2 : float
        β₁ and β₂ of `Adam`, in [0, 1).
    epsilon : float
        ε of `Adam`, above 0.
    weight_decay : float
        λ, at least 0.

    Raises
    ------
    ValueError
        If a hyperparameter is out of range.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019,
    doi:10.48550/arXiv.1711.05101.

    Examples
    --------
    >>> import numpy as np
    >>> adamw, params = AdamW(0.1, weight_decay=0.5), {"w": np.asarray([1.0])}
    >>> params, state = adamw.update(params, {"w": np.asarray([2.0])}, adamw.init(params))
    >>> round(float(params["w"][0]), 6)
    0.85
    """

    weight_decay: float = 0.01

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        kept = 1 - rate * self.weight_decay
        decayed = {k: kept * w for k, w in params.items()}
        return Adam._step(self, xp, decayed, grads, state, rate)
