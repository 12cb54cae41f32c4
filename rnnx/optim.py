"""Optimizers as pure functions: parameters, gradients and state are dicts of arrays.

``state = optimizer.init(params)``, then at every step
``params, state = optimizer.update(params, grads, state)``. Nothing is changed in place and nothing
is read back to the host, so a whole training step can be compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from rnnx.backend import Array, scope_of
from rnnx.validate import fraction, nonnegative, positive

Params = dict[str, Array]
State = dict[str, Any]


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
        _set(self, learning_rate=positive("learning_rate", self.learning_rate))
        _set(self, momentum=fraction("momentum", self.momentum))
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, got momentum=0.0")

    def init(self, params: Params) -> State:
        """Return the state before the first step: v = 0."""
        return {"velocity": _zeros_like(params)} if self.momentum else {}

    def update(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """Return the parameters and the state after one step."""
        _check(self, params, grads, state, {"velocity"} if self.momentum else set())
        step = v = grads
        with _scope(params):
            if self.momentum:
                step = v = {k: self.momentum * state["velocity"][k] + g for k, g in grads.items()}
            if self.nesterov:
                step = {k: g + self.momentum * v[k] for k, g in grads.items()}
            params = {k: w - self.learning_rate * step[k] for k, w in params.items()}
        return params, {"velocity": v} if self.momentum else {}


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
        _set(self, learning_rate=positive("learning_rate", self.learning_rate))
        _set(self, alpha=fraction("alpha", self.alpha), epsilon=positive("epsilon", self.epsilon))

    def init(self, params: Params) -> State:
        """Return the state before the first step: v = 0."""
        return {"square": _zeros_like(params)}

    def update(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """Return the parameters and the state after one step."""
        _check(self, params, grads, state, {"square"})
        xp, a = _namespace(params), self.alpha
        with _scope(params):
            v = {k: a * state["square"][k] + (1 - a) * (g * g) for k, g in grads.items()}
            params = {
                k: w - self.learning_rate * grads[k] / (xp.sqrt(v[k]) + self.epsilon)
                for k, w in params.items()
            }
        return params, {"square": v}


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam, as in torch.optim.Adam.

    For every parameter w with gradient g, at step t = 1, 2, ...::

        m = β₁ m + (1 - β₁) g
        v = β₂ v + (1 - β₂) g²
        w = w - η · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε)

    Parameters
    ----------
    learning_rate : float
        η.
    beta1, beta2 : float
        β₁ and β₂, in [0, 1).
    epsilon : float
        ε.

    Raises
    ------
    ValueError
        For values outside their ranges.

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

    def __post_init__(self) -> None:
        _set(self, learning_rate=positive("learning_rate", self.learning_rate))
        _set(self, beta1=fraction("beta1", self.beta1), beta2=fraction("beta2", self.beta2))
        _set(self, epsilon=positive("epsilon", self.epsilon))

    def init(self, params: Params) -> State:
        """Return the state before the first step: m = v = 0, and 1 - β₁⁰ = 1 - β₂⁰ = 0."""
        zero = _zero_like(params)
        return {
            "mean": _zeros_like(params),
            "square": _zeros_like(params),
            "mean_weight": zero,
            "square_weight": zero,
        }

    def update(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """Return the parameters and the state after one step."""
        _check(self, params, grads, state, {"mean", "square", "mean_weight", "square_weight"})
        xp, b1, b2 = _namespace(params), self.beta1, self.beta2
        with _scope(params):
            m = {k: b1 * state["mean"][k] + (1 - b1) * g for k, g in grads.items()}
            v = {k: b2 * state["square"][k] + (1 - b2) * (g * g) for k, g in grads.items()}
            # 1 - βᵗ as the same running mean of ones: the difference itself would lose digits
            m_weight = b1 * state["mean_weight"] + (1 - b1)
            v_weight = b2 * state["square_weight"] + (1 - b2)
            rate = self.learning_rate / m_weight
            params = {
                k: w - rate * m[k] / (xp.sqrt(v[k] / v_weight) + self.epsilon)
                for k, w in params.items()
            }
        return params, {
            "mean": m, "square": v, "mean_weight": m_weight, "square_weight": v_weight,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay, as in torch.optim.AdamW.

    At every step, before that of `Adam` with the same gradient::

        w = (1 - η λ) w

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
        As of `Adam`; η is the first of them.
    weight_decay : float
        λ, at least zero.

    Raises
    ------
    ValueError
        For values outside their ranges.

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

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        self._adam()  # checks what they share
        _set(self, weight_decay=nonnegative("weight_decay", self.weight_decay))
        _set(self, learning_rate=positive("learning_rate", self.learning_rate))

    def init(self, params: Params) -> State:
        """Return the state before the first step, that of `Adam`."""
        return self._adam().init(params)

    def update(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        """Return the parameters and the state after one step."""
        kept = 1 - self.learning_rate * self.weight_decay
        with _scope(params):
            decayed = {k: kept * w for k, w in params.items()}
        return self._adam().update(decayed, grads, state)

    def _adam(self) -> Adam:
        return Adam(self.learning_rate, self.beta1, self.beta2, self.epsilon)


def clip_by_global_norm(grads: Params, max_norm: float) -> tuple[Params, Array]:
    """Scale all gradients by one factor, so that their joint norm is at most `max_norm`.

    With ``n = √(Σ g²)`` over all entries of all gradients, each becomes
    ``g · max_norm / max(n, max_norm)``: no branch on a value, so no copy to the host.

    Parameters
    ----------
    grads : dict of arrays
        The gradients by name.
    max_norm : float
        The bound, above zero.

    Returns
    -------
    grads : dict of arrays
        The scaled gradients.
    norm : array, shape ()
        n, before the scaling.

    Raises
    ------
    ValueError
        For a bound that is not above zero.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, doi:10.48550/arXiv.1211.5063.

    Examples
    --------
    >>> import numpy as np
    >>> clipped, norm = clip_by_global_norm({"w": np.asarray([3.0, 4.0])}, max_norm=1.0)
    >>> float(norm), clipped["w"].round(3).tolist()
    (5.0, [0.6, 0.8])
    """
    limit = positive("max_norm", max_norm)
    xp = _namespace(grads)
    with _scope(grads):
        largest = xp.max(xp.stack([xp.max(xp.abs(g)) for g in grads.values()]))
        unit = xp.where(largest > 0, largest, xp.ones_like(largest))  # no square overflows
        norm = unit * xp.sqrt(sum(xp.sum((g / unit) ** 2) for g in grads.values()))
        bound = xp.full_like(norm, limit)
        scale = bound / xp.maximum(norm, bound)  # 1 exactly where the norm is within the bound
        return {k: g * scale for k, g in grads.items()}, norm


def _namespace(params: Params) -> Any:
    if not params:
        raise ValueError("expected parameters or gradients by name, got an empty dict")
    return array_namespace(*params.values())


def _scope(params: Params) -> Any:
    return scope_of(next(iter(params.values()), None))


def _zeros_like(params: Params) -> Params:
    xp = _namespace(params)
    with _scope(params):
        return {k: xp.zeros_like(w) for k, w in params.items()}


def _zero_like(params: Params) -> Array:
    """Return 0 with no axes, in the dtype and on the device of the parameters."""
    xp = _namespace(params)
    with _scope(params):
        return xp.zeros_like(xp.sum(next(iter(params.values()))))


def _check(optimizer: Any, params: Params, grads: Params, state: State, entries: set[str]) -> None:
    """Raise where the gradients do not fit the parameters, or the state another optimizer."""
    if params.keys() != grads.keys():
        raise ValueError(f"grads must have the parameters' names {list(params)}, got {list(grads)}")
    for name, w in params.items():
        if w.shape != grads[name].shape:
            raise ValueError(
                f"grads[{name!r}] must have shape {tuple(w.shape)}, got {tuple(grads[name].shape)}"
            )
    if state.keys() != entries:
        raise ValueError(
            f"state must be of {type(optimizer).__name__}, with {sorted(entries)}, got "
            f"{sorted(state)}: make it with init(params)"
        )


def _set(frozen: Any, **values: float) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)
