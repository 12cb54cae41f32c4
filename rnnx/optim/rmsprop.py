"""RMSprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnx.optim.shared import Optimizer, Params, State


@dataclass(frozen=True, slots=True)
class RMSprop(Optimizer):
    """RMSprop, as in torch.optim.RMSprop.

    For every parameter w with gradient g::

        v = α v + (1 - α) g²
        w = w - η g / (√v + ε)

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    alpha : float
        α, in [0, 1).
    epsilon : float
        ε, above 0.

    Raises
    ------
    ValueError
        If a hyperparameter is out of range.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: RMSProp", COURSERA: Neural Networks for Machine
    Learning, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> rmsprop, params = RMSprop(0.1, alpha=0.75), {"w": np.asarray([1.0])}
    >>> params, state = rmsprop.update(params, {"w": np.asarray([2.0])}, rmsprop.init(params))
    >>> round(float(params["w"][0]), 6)
    0.8
    """

    learning_rate: float = 0.01
    alpha: float = 0.99
    epsilon: float = 1e-8

    def _entries(self) -> tuple[str, ...]:
        return ("square",)

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        a, square = self.alpha, state["square"]
        v = {k: a * square[k] + (1 - a) * (g * g) for k, g in grads.items()}
        params = {
            k: w - rate * grads[k] / (xp.sqrt(v[k]) + self.epsilon) for k, w in params.items()
        }
        return params, {"square": v}
