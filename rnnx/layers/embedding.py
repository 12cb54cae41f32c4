"""The embedding: a row of a table for each integer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device as device_of

from rnnx import validate
from rnnx.backend import Array, Backend, get_backend
from rnnx.core.products import weight_gradient
from rnnx.layers.base import Layer, Params, Seed


class Cache(NamedTuple):
    """What `Embedding.backward` needs."""

    params: Params
    ids: Array


class Embedding(Layer):
    """``y = W[x]``, as torch.nn.Embedding.

    Backward: ``dW = Σ onehot(x)ᵀ dy``, one product, with the same bits in every run.

    Parameters
    ----------
    num_embeddings, size : int
        The number V of symbols and the size E of their vectors.
    backend, device, dtype
        As for `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Seed of `weight` (V, E), standard normal, drawn on the host.

    Raises
    ------
    ValueError, BackendUnavailable
        For sizes below one, and as `rnnx.get_backend` does.

    Examples
    --------
    >>> import rnnx
    >>> embedding = rnnx.Embedding(100, 8, seed=0)
    >>> y, _, cache = embedding.forward([[3, 1], [4, 1], [5, 9]])
    >>> y.shape
    (3, 2, 8)
    >>> _, _, grads = embedding.backward(y, cache)
    >>> grads["weight"].shape
    (100, 8)
    """

    def __init__(
        self,
        num_embeddings: int,
        size: int,
        *,
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
        seed: Seed = None,
    ) -> None:
        self.num_embeddings = validate.size("num_embeddings", num_embeddings)
        self.output_size = validate.size("size", size)
        shape = (self.num_embeddings, self.output_size)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        self._config = {"num_embeddings": self.num_embeddings, "size": self.output_size}
        self._draw({"weight": shape}, lambda rng: {"weight": rng.standard_normal(shape)}, seed)

    def forward(
        self, x: Any, state: None = None, *, params: Params | None = None
    ) -> tuple[Array, None, Cache]:
        """Return y (..., E), None for a state, and a cache, from integers x (...) in [0, V).

        Integers of a list or a NumPy array are checked; those on a device are not, as that would
        wait for it.
        """
        params, bk = self._chosen(params), self.backend
        with bk.scope():
            ids = self._read(x)
            rows = bk.xp.take(params["weight"], bk.xp.reshape(ids, (-1,)), axis=0)
            y = bk.xp.reshape(rows, (*ids.shape, params["weight"].shape[1]))
            return y, None, Cache(params, ids)

    def backward(self, dy: Any, cache: Cache, dstate: None = None) -> tuple[None, None, Params]:
        """Return None, None, and the gradient with respect to the table, from dy (..., E)."""
        bk = self.backend
        with bk.scope():
            dy = bk.floating("dy", dy)
            V, E = cache.params["weight"].shape
            expected = (*cache.ids.shape, E)
            if tuple(dy.shape) != expected:
                raise ValueError(f"dy must have shape {expected}, got {tuple(dy.shape)}")
            ids = bk.xp.reshape(cache.ids, (math.prod(cache.ids.shape), 1))
            symbols = bk.xp.arange(V, dtype=ids.dtype, device=device_of(ids))
            onehot = bk.xp.astype(ids == symbols, dy.dtype)
            return None, None, {"weight": weight_gradient(bk.xp, onehot, dy)}

    def output_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return (..., E) for (...)."""
        return (*shape, self.output_size)

    def _read(self, x: Any) -> Array:
        """Return the integers as an array on the device."""
        V = self.num_embeddings
        if self.backend.is_own(x) and not isinstance(x, np.ndarray):
            if not self.backend.xp.isdtype(x.dtype, "integral"):
                raise TypeError(f"x must be integers, got dtype {x.dtype}")
            return x
        host = np.asarray(x)
        if host.dtype.kind not in "iu":
            raise TypeError(f"x must be integers, got dtype {host.dtype}")
        if host.size and (host.min() < 0 or host.max() >= V):
            wrong = host[(host < 0) | (host >= V)][0]
            raise ValueError(f"x must be between 0 and {V - 1}, got {wrong}")
        return self.backend.asarray(host, dtype="int32")
