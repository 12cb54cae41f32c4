"""An elementwise function, or the softmax, as a layer."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from rnnx import validate
from rnnx.backend import Array, Backend, get_backend
from rnnx.cells.base import sigmoid
from rnnx.layers.base import Layer, Params

FUNCTIONS = ("tanh", "relu", "sigmoid", "softmax")


class Cache(NamedTuple):
    """What `Activation.backward` needs."""

    y: Array


class Activation(Layer):
    """``y = φ(x)``, with tanh, relu, σ, or the softmax over the last axis.

    Backward, from y alone::

        tanh      dx = dy ⊙ (1 - y²)
        relu      dx = dy ⊙ [y > 0]
        sigmoid   dx = dy ⊙ y ⊙ (1 - y)
        softmax   dx = y ⊙ (dy - Σ dy ⊙ y)

    To train a classifier, leave the softmax out: `rnnx.losses.softmax_cross_entropy` has its own.

    Parameters
    ----------
    function : {"tanh", "relu", "sigmoid", "softmax"}
        φ.
    backend, device, dtype
        As for `rnnx.get_backend`.

    Raises
    ------
    ValueError, BackendUnavailable
        For an unknown function, and as `rnnx.get_backend` does.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> softmax = rnnx.Activation("softmax", dtype="float64")
    >>> y, _, cache = softmax.forward(np.log([[1.0, 3.0]]))
    >>> dx, _, _ = softmax.backward([[1.0, 0.0]], cache)
    >>> y.round(4).tolist(), dx.round(4).tolist()
    ([[0.25, 0.75]], [[0.1875, -0.1875]])
    """

    def __init__(
        self,
        function: str,
        *,
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
    ) -> None:
        self.function = validate.one_of("function", function, FUNCTIONS)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        self._params, self._config = {}, {"function": self.function}

    def forward(
        self, x: Any, state: None = None, *, params: Params | None = None
    ) -> tuple[Array, None, Cache]:
        """Return y, None for a state, and a cache, from x of any shape."""
        self._chosen(params)
        with self.backend.scope():
            x = self.backend.floating("x", x)
            if self.function == "softmax" and (x.ndim == 0 or 0 in x.shape):
                raise ValueError(f"x must have shape (..., K) with entries, got {tuple(x.shape)}")
            y = _apply(self.backend.xp, self.function, x)
            return y, None, Cache(y)

    def backward(self, dy: Any, cache: Cache, dstate: None = None) -> tuple[Array, None, Params]:
        """Return dx, None, and no gradients, from dy in the shape of y."""
        with self.backend.scope():
            dy, y = self.backend.floating("dy", dy), cache.y
            if tuple(dy.shape) != tuple(y.shape):
                raise ValueError(f"dy must have shape {tuple(y.shape)}, got {tuple(dy.shape)}")
            return _apply_backward(self.backend.xp, self.function, dy, y), None, {}


def _apply(xp: ModuleType, function: str, x: Array) -> Array:
    """Return φ(x)."""
    if function == "tanh":
        return xp.tanh(x)
    if function == "relu":
        return xp.maximum(x, xp.zeros_like(x))
    if function == "sigmoid":
        return sigmoid(xp, x)
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))  # no exponent above zero
    return e / xp.sum(e, axis=-1, keepdims=True)


def _apply_backward(xp: ModuleType, function: str, dy: Array, y: Array) -> Array:
    """Return dx from dy and y."""
    if function == "tanh":
        return dy * (1 - y * y)
    if function == "relu":
        return dy * xp.astype(y > 0, y.dtype)
    if function == "sigmoid":
        return dy * y * (1 - y)
    return y * (dy - xp.sum(dy * y, axis=-1, keepdims=True))
