"""The linear layer: y = x Wᵀ + b, at every step alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnx import validate
from rnnx._doc import shared
from rnnx.backend import Array, Backend, get_backend
from rnnx.core.products import affine, bias_gradient, product, weight_gradient
from rnnx.layers.base import Layer, Params, Seed


class Cache(NamedTuple):
    """What `Linear.backward` needs."""

    params: Params
    x: Array


@shared()
class Linear(Layer):
    """``y = x Wᵀ + b``, as torch.nn.Linear.

    Backward: ``dx = dy W``, ``dW = Σ dyᵀ x``, ``db = Σ dy``, with sums over all rows.

    Parameters
    ----------
    input_size, output_size : int
        I and O.
    bias : bool
        Whether the layer has b.
    backend, device, dtype
        As for `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Seed of `weight` (O, I) and `bias` (O,), both U(±1/√I), drawn on the host.

    Raises
    ------
    ValueError, BackendUnavailable
        For sizes below one, and as `rnnx.get_backend` does.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> linear = rnnx.Linear(3, 2, seed=0)
    >>> y, _, cache = linear.forward(np.ones((7, 4, 3)))
    >>> dx, _, grads = linear.backward(y, cache)
    >>> y.shape, dx.shape, grads["weight"].shape
    ((7, 4, 2), (7, 4, 3), (2, 3))
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        bias: bool = True,
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
        seed: Seed = None,
    ) -> None:
        self.input_size = validate.size("input_size", input_size)
        self.output_size = validate.size("output_size", output_size)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        self._config = {
            "input_size": self.input_size, "output_size": self.output_size, "bias": bool(bias),
        }  # fmt: skip
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.output_size, self.input_size)}
        shapes |= {"bias": (self.output_size,)} if bias else {}
        bound = self.input_size**-0.5
        self._draw(
            shapes, lambda rng: {k: rng.uniform(-bound, bound, s) for k, s in shapes.items()}, seed
        )

    def forward(
        self, x: Any, state: None = None, *, params: Params | None = None
    ) -> tuple[Array, None, Cache]:
        """Return y (..., O), None for a state, and a cache, from x (..., I).

        The cache may share the memory of x: leave x as it is until `backward`.
        """
        params = self._chosen(params)
        with self.backend.scope():
            x = self.backend.floating("x", x)
            if x.ndim == 0 or x.shape[-1] != self.input_size:
                raise ValueError(
                    f"x must have shape (..., {self.input_size}), got {tuple(x.shape)}"
                )
            y = affine(self.backend.xp, x, params["weight"], params.get("bias"))
            return y, None, Cache(params, x)

    def backward(self, dy: Any, cache: Cache, dstate: None = None) -> tuple[Array, None, Params]:
        """Return dx (..., I), None, and the gradients of weight and bias, from dy (..., O)."""
        with self.backend.scope():
            dy = self.backend.floating("dy", dy)
            expected = (*cache.x.shape[:-1], self.output_size)
            if tuple(dy.shape) != expected:
                raise ValueError(f"dy must have shape {expected}, got {tuple(dy.shape)}")
            xp = self.backend.xp
            grads = {"weight": weight_gradient(xp, dy, cache.x)}
            if "bias" in cache.params:
                grads = grads | {"bias": bias_gradient(xp, dy)}
            return product(xp, dy, cache.params["weight"]), None, grads

    def output_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return (..., O) for (..., I)."""
        return (*shape[:-1], self.output_size)
