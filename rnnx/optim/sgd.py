"""Gradient descent, plain, with momentum and with Nesterov momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnx.optim.shared import Optimizer, Params, State


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

    Raises
    ------
    ValueError
        If a hyperparameter is out of range.

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

    def _entries(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _step(
        self, xp: Any, params: Params, grads: Params, state: State, rate: Any
    ) -> tuple[Params, State]:
        if not self.momentum:
            return {k: w - rate * grads[k] for k, w in params.items()}, {}
        v = {k: self.momentum * state["velocity"][k] + g for k, g in grads.items()}
        step = {k: g + self.momentum * v[k] for k, g in grads.items()} if self.nesterov else v
        return {k: w - rate * step[k] for k, w in params.items()}, {"velocity": v}
