"""The matrix products outside the loop over time: one each over all T·B rows.

Forward, for every row::

    y = x Wᵀ + b                        x (..., K), W (N, K), b (N,), y (..., N)

Backward, from dy, with sums over all rows::

    dx = dy W        dW = Σ dyᵀ x       db = Σ dy
"""

from __future__ import annotations

from types import ModuleType

from rnnx.backend import Array


def affine(xp: ModuleType, x: Array, W: Array, b: Array | None = None) -> Array:
    """y = x Wᵀ + b, of shape (..., N)."""
    y = product(xp, x, xp.matrix_transpose(W))
    return y if b is None else y + b


def product(xp: ModuleType, x: Array, W: Array) -> Array:
    """X W, of shape (..., N), for W (K, N), as one two-dimensional product."""
    y = xp.reshape(x, (-1, x.shape[-1])) @ W
    return xp.reshape(y, (*x.shape[:-1], W.shape[-1]))


def weight_gradient(xp: ModuleType, dy: Array, x: Array) -> Array:
    """dW = Σ dyᵀ x over all rows, of shape (N, K)."""
    rows = xp.reshape(dy, (-1, dy.shape[-1]))
    return xp.matrix_transpose(rows) @ xp.reshape(x, (-1, x.shape[-1]))


def bias_gradient(xp: ModuleType, dy: Array) -> Array:
    """db = Σ dy over all rows, of shape (N,).

    One axis after the other: the partial sums keep float32's rounding at √T + √B, not √(T·B).
    """
    while dy.ndim > 1:
        dy = xp.sum(dy, axis=0)
    return dy
