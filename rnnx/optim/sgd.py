"""Gradient descent, with momentum and with Nesterov's."""

from __future__ import annotations

from dataclasses import dataclass

from rnnx.optim.shared import Params, Rate, State, check, rate_of, scope, set_fields, zeros_like
from rnnx.validate import fraction, positive


@dataclass(frozen=True, slots=True)
class SGD:
    """Gradient descent with momentum, as in torch.optim.SGD.

    For every parameter w with gradient g::

        v = μ v + g
        w = w - η v                         with Nesterov's momentum: w - η (g + μ v)

    Parameters
    ----------
    learning_rate : float
        η.
    momentum : float
        μ, in [0, 1); with 0, v is g and the state is empty.
    nesterov : bool
        Whether to step from where the momentum leads; needs a momentum above zero.

    Raises
    ------
    ValueError
        For values outside their ranges.

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
        set_fields(self, learning_rate=positive("learning_rate", self.learning_rate))
        set_fields(self, momentum=fraction("momentum", self.momentum))
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, got momentum=0.0")

    def init(self, params: Params) -> State:
        """Return the state before the first step: v = 0."""
        return {"velocity": zeros_like(params)} if self.momentum else {}

    def update(
        self, params: Params, grads: Params, state: State, learning_rate: Rate = None
    ) -> tuple[Params, State]:
        """Return the parameters and the state after one step.

        Parameters
        ----------
        params, grads : dict of arrays
            The parameters and, by the same names, their gradients.
        state : dict
            What `init` or the step before returned.
        learning_rate : float or array of shape (), optional
            η of this step, at least zero; by default the optimizer's own. An array, which is not
            read and so not checked, is of the parameters' library; it is taken in their dtype.

        Returns
        -------
        params : dict of arrays
            The parameters after the step, in their dtype.
        state : dict
            For the next step.

        Raises
        ------
        ValueError
            Where names, shapes or the state do not fit, or the rate is below zero or not finite.
        TypeError
            For a rate in an array of another library.
        """
        check(self, params, grads, state, {"velocity"} if self.momentum else set())
        step = v = grads
        with scope(params):
            rate = rate_of(self, params, learning_rate)
            if self.momentum:
                step = v = {k: self.momentum * state["velocity"][k] + g for k, g in grads.items()}
            if self.nesterov:
                step = {k: g + self.momentum * v[k] for k, g in grads.items()}
            params = {k: w - rate * step[k] for k, w in params.items()}
        return params, {"velocity": v} if self.momentum else {}
