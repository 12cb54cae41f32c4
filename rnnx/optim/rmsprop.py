"""RMSprop."""

from __future__ import annotations

from dataclasses import dataclass

from rnnx.optim.shared import (
    Params,
    Rate,
    State,
    check,
    namespace,
    rate_of,
    scope,
    set_fields,
    zeros_like,
)
from rnnx.validate import fraction, positive


@dataclass(frozen=True, slots=True)
class RMSprop:
    """RMSprop, as in torch.optim.RMSprop.

    For every parameter w with gradient g::

        v = α v + (1 - α) g²
        w = w - η g / (√v + ε)

    Parameters
    ----------
    learning_rate : float
        η.
    alpha : float
        α, in [0, 1).
    epsilon : float
        ε.

    Raises
    ------
    ValueError
        For values outside their ranges.

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

    def __post_init__(self) -> None:
        set_fields(self, learning_rate=positive("learning_rate", self.learning_rate))
        set_fields(self, alpha=fraction("alpha", self.alpha))
        set_fields(self, epsilon=positive("epsilon", self.epsilon))

    def init(self, params: Params) -> State:
        """Return the state before the first step: v = 0."""
        return {"square": zeros_like(params)}

    def update(
        self, params: Params, grads: Params, state: State, learning_rate: Rate = None
    ) -> tuple[Params, State]:
        """Return the parameters and the state after one step, as `SGD.update` says."""
        check(self, params, grads, state, {"square"})
        xp, a = namespace(params), self.alpha
        with scope(params):
            rate = rate_of(self, params, learning_rate)
            v = {k: a * state["square"][k] + (1 - a) * (g * g) for k, g in grads.items()}
            params = {
                k: w - rate * grads[k] / (xp.sqrt(v[k]) + self.epsilon) for k, w in params.items()
            }
        return params, {"square": v}
