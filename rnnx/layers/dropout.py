"""Dropout as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from rnnx import validate
from rnnx.backend import Array, Backend, get_backend
from rnnx.layers.base import Layer, Params, Seed


class Cache(NamedTuple):
    """What `Dropout.backward` needs."""

    mask: Array | None


class Dropout(Layer):
    """``y = x ⊙ m`` in `forward`, m zero with probability p and 1/(1 - p) else; y = x in a call.

    Backward: ``dx = dy ⊙ m``.

    Parameters
    ----------
    p : float
        The probability, in [0, 1).
    backend, device, dtype
        As for `rnnx.get_backend`.

    Raises
    ------
    ValueError, BackendUnavailable
        For p outside its range, and as `rnnx.get_backend` does.

    References
    ----------
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR
    15 (2014), 1929-1958.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> dropout, x = rnnx.Dropout(0.5), np.ones((2, 1, 4))
    >>> y, _, cache = dropout.forward(x, masks=dropout.draw_masks(x.shape, seed=0))
    >>> y.tolist()
    [[[2.0, 0.0, 0.0, 0.0]], [[2.0, 2.0, 2.0, 2.0]]]
    """

    options: ClassVar[tuple[str, ...]] = ("masks",)

    def __init__(
        self,
        p: float,
        *,
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
    ) -> None:
        self.p = validate.fraction("p", p)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        self._params, self._config = {}, {"p": self.p}

    def __call__(
        self, x: Any, state: None = None, *, params: Params | None = None
    ) -> tuple[Array, None]:
        """Return x and None: no dropout in inference."""
        with self.backend.scope():
            return self.backend.floating("x", x), None

    def forward(
        self,
        x: Any,
        state: None = None,
        *,
        params: Params | None = None,
        masks: Params | None = None,
    ) -> tuple[Array, None, Cache]:
        """Return y, None for a state, and a cache.

        `masks` is what `draw_masks` returned; drawn anew by default, and ``{}`` is without dropout.
        """
        bk = self.backend
        with bk.scope():
            x = bk.floating("x", x)
            if masks is None:
                bk.refuse_traced(x)
                masks = self.draw_masks(x.shape)
            mask = masks.get("mask")
            if mask is None:
                return x, None, Cache(None)
            if tuple(mask.shape) != tuple(x.shape):
                raise ValueError(
                    f"masks['mask'] must have shape {tuple(x.shape)}, got {tuple(mask.shape)}"
                )
            return x * mask, None, Cache(mask)

    def backward(self, dy: Any, cache: Cache, dstate: None = None) -> tuple[Array, None, Params]:
        """Return dx, None, and no gradients."""
        with self.backend.scope():
            dy = self.backend.floating("dy", dy)
            return dy if cache.mask is None else dy * cache.mask, None, {}

    def draw_masks(self, shape: Sequence[int], seed: Seed = None) -> Params:
        """Return ``{"mask": m}`` for an input of this shape, drawn on the host."""
        kept = validate.generator(seed).random(tuple(shape)) >= self.p
        return {"mask": self.backend.asarray(kept / (1 - self.p))} if self.p else {}
