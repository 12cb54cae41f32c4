"""Gradient descent, RMSprop, Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnx._doc import shared
from rnnx.optim.shared import Entries, Optimizer, Params, State, zero_like, zeros_like


@shared()
@dataclass(frozen=True, slots=True)
class SGD(Optimizer):
    """Gradient descent with momentum, as in torch.optim.SGD.

    For every parameter w with gradient g::

        v = μ v + g
        w = w - η v                         with Nesterov momentum: w - η (g + μ v)

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    momentum : float
        μ, in [0, 1). With 0, the state is empty.
    nesterov : bool
        Whether to use Nesterov momentum; needs a momentum above 0.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Comput.
    Math. Math. Phys. 4 (1964), 1-17, doi:10.1016/0041-5553(64)90137-5. Nesterov's form: I.
    Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum
    in deep learning", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> sgd, params = SGD(0.1), {"w": np.asarray([1.0])}
    >>> params, state = sgd.update(params, {"w": np.asarray([2.0])}, sgd.init(params))
    >>> params["w"].tolist()
    [0.8]
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        Optimizer.__post_init__(self)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, got momentum=0.0")

    def _entries(self) -> Entries:
        return {"velocity": zeros_like} if self.momentum else {}

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        if not self.momentum:
            return {k: w - rate * grads[k] for k, w in params.items()}, {}
        v = {k: self.momentum * state["velocity"][k] + g for k, g in grads.items()}
        step = {k: g + self.momentum * v[k] for k, g in grads.items()} if self.nesterov else v
        return {k: w - rate * step[k] for k, w in params.items()}, {"velocity": v}


@shared()
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

    def _entries(self) -> Entries:
        return {"square": zeros_like}

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        a, square = self.alpha, state["square"]
        v = {k: a * square[k] + (1 - a) * (g * g) for k, g in grads.items()}
        params = {
            k: w - rate * grads[k] / (xp.sqrt(v[k]) + self.epsilon) for k, w in params.items()
        }
        return params, {"square": v}


@shared()
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

    def _entries(self) -> Entries:
        return {
            "mean": zeros_like, "square": zeros_like,
            "mean_weight": zero_like, "square_weight": zero_like,
        }  # fmt: skip

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


@shared()
@dataclass(frozen=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as in torch.optim.AdamW.

    At every step, before Adam's update with the same gradient::

        w = (1 - η λ) w

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
        Those of `Adam`.
    weight_decay : float
        λ, at least 0.

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
