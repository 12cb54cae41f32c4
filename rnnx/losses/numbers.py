"""Losses of numbers: the weighted mean of a function of each output and its target."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

from rnnx.backend import Array, scope_of
from rnnx.losses.shared import averaged, checked, documented, takes
from rnnx.validate import positive

Pointwise = Callable[[ModuleType, Array, Array], tuple[Array, Array]]  # -> loss, its slope


@takes("numbers")
@documented
def mean_squared_error(
    outputs: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Return the mean squared error and its gradient.

    Forward, for each position that counts, with weight w::

        L = Σ w (y - target)² / Σ w

    Backward::

        dy = 2 w (y - target) / Σ w

    {parameters}

    {returns}

    Examples
    --------
    >>> import numpy as np
    >>> loss, dy = mean_squared_error(np.asarray([1.0, 3.0]), np.asarray([0.0, 0.0]))
    >>> float(loss), dy.tolist()
    (5.0, [1.0, 3.0])
    """
    return _pointwise(outputs, targets, mask, weights, _squared)


@takes("numbers")
@documented
def mean_absolute_error(
    outputs: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Return the mean absolute error and its gradient.

    Forward, for each position that counts, with weight w::

        L = Σ w |y - target| / Σ w

    Backward::

        dy = w sign(y - target) / Σ w                 0 where y = target

    {parameters}

    {returns}

    Examples
    --------
    >>> import numpy as np
    >>> loss, dy = mean_absolute_error(np.asarray([1.0, -3.0]), np.asarray([0.0, 0.0]))
    >>> float(loss), dy.tolist()
    (2.0, [0.5, -0.5])
    """
    return _pointwise(outputs, targets, mask, weights, _absolute)


@takes("numbers")
@documented
def huber(
    outputs: Array,
    targets: Array,
    mask: Array | None = None,
    weights: Array | None = None,
    *,
    delta: float = 1.0,
) -> tuple[Array, Array]:
    """Return Huber's loss and its gradient: quadratic for small errors, linear for large ones.

    Forward, for each position that counts, with weight w and e = y - target::

        L = Σ w l(e) / Σ w          l(e) = e²/2 where |e| <= δ, else δ (|e| - δ/2)

    Backward::

        dy = w min(max(e, -δ), δ) / Σ w

    {parameters}
    delta : float
        δ, above 0, in the unit of the outputs.

    {returns}

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964), 73-101,
    doi:10.1214/aoms/1177703732.

    Examples
    --------
    >>> import numpy as np
    >>> loss, dy = huber(np.asarray([1.0, 4.0]), np.asarray([0.0, 0.0]), delta=2.0)
    >>> float(loss), dy.tolist()
    (3.25, [0.5, 1.0])
    """
    delta = positive("delta", delta)
    return _pointwise(outputs, targets, mask, weights, partial(_huber, delta))


@takes("numbers")
@documented
def binary_cross_entropy(
    outputs: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Return the mean negative log-likelihood of 0/1 targets under a sigmoid, and its gradient.

    Forward, for each position that counts, with weight w, logits z and targets in [0, 1]::

        L = Σ w l(z) / Σ w          l(z) = max(z, 0) - z target + log(1 + exp(-|z|))

    Backward::

        dy = w (σ(z) (1 - target) - σ(-z) target) / Σ w             = w (σ(z) - target) / Σ w

    {parameters}

    {returns}

    Examples
    --------
    >>> import numpy as np
    >>> loss, dz = binary_cross_entropy(np.asarray([0.0, 0.0]), np.asarray([1.0, 0.0]))
    >>> round(float(loss), 4), dz.tolist()
    (0.6931, [-0.25, 0.25])
    """
    return _pointwise(outputs, targets, mask, weights, _binary)


def _squared(xp: ModuleType, y: Array, target: Array) -> tuple[Array, Array]:
    error = y - target
    return error * error, 2 * error


def _absolute(xp: ModuleType, y: Array, target: Array) -> tuple[Array, Array]:
    error = y - target
    return xp.abs(error), xp.sign(error)


def _huber(delta: float, xp: ModuleType, y: Array, target: Array) -> tuple[Array, Array]:
    error = y - target
    bound = xp.full_like(error, delta)
    slope = xp.minimum(xp.maximum(error, -bound), bound)
    return slope * (error - 0.5 * slope), slope  # e²/2, and δ (|e| - δ/2) beyond


def _binary(xp: ModuleType, z: Array, target: Array) -> tuple[Array, Array]:
    positive_part = xp.maximum(z, xp.zeros_like(z))
    loss = positive_part - z * target + xp.log1p(xp.exp(-xp.abs(z)))
    return loss, sigmoid(xp, z) * (1 - target) - sigmoid(xp, -z) * target  # no difference cancels


def sigmoid(xp: ModuleType, a: Array) -> Array:
    """Return 1 / (1 + exp(-a)) with full relative accuracy in both tails, without overflow."""
    e = xp.exp(-xp.abs(a))
    return xp.where(a >= 0, xp.ones_like(e), e) / (1 + e)


def _pointwise(
    outputs: Array, targets: Array, mask: Array | None, weights: Array | None, function: Pointwise
) -> tuple[Array, Array]:
    """Return the weighted mean of a function of each number, and its gradient."""
    xp = checked("outputs", outputs, targets, mask, weights, "real floating")
    with scope_of(outputs):
        loss, slope = function(xp, outputs, targets)
        return averaged(xp, loss, slope, mask, weights)
