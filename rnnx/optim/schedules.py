"""Schedules of the learning rate: from the number of a step, a factor of the optimizer's rate.

Each is called with the steps taken so far, so 0 at the first, and returns a Python float::

    params, state = adam.update(params, grads, state, adam.learning_rate * schedule(t))

A function of your own that is called so is a schedule, too. What ``repr`` gives for one of these is
the expression that makes it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

from rnnx.optim.shared import set_fields
from rnnx.validate import count, nonnegative, positive, size

Schedule = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Constant:
    """The optimizer's own rate at every step.

    Examples
    --------
    >>> Constant()(1000)
    1.0
    """

    def __call__(self, step: int) -> float:
        """Return 1, the factor of step 0, 1, ..."""
        count("step", step)
        return 1.0


@dataclass(frozen=True, slots=True)
class Cosine:
    """Half a cosine from 1 down to the final factor, which then stays.

    At step t of T, with the final factor f::

        c = (1 + cos(π min(t, T) / T)) / 2
        c + (1 - c) f

    Parameters
    ----------
    steps : int
        T, at least one: step T is the first at the final factor.
    final : float
        f, at least zero.

    Raises
    ------
    ValueError
        For values outside their ranges, here and in a call.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    doi:10.48550/arXiv.1608.03983; here without the restarts.

    Examples
    --------
    >>> cosine = Cosine(4)
    >>> [round(cosine(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        set_fields(self, steps=size("steps", self.steps))
        set_fields(self, final=nonnegative("final", self.final))

    def __call__(self, step: int) -> float:
        """Return the factor of step 0, 1, ..."""
        t = min(count("step", step), self.steps)
        c = (1 + cos(pi * t / self.steps)) / 2
        return c + (1 - c) * self.final


@dataclass(frozen=True, slots=True)
class Step:
    """Stairs: one more multiplication by the factor after every so many steps.

    At step t, with the factor γ and stairs n steps long::

        γ ** ⌊t / n⌋

    Parameters
    ----------
    every : int
        n, at least one.
    factor : float
        γ, above zero.

    Raises
    ------
    ValueError
        For values outside their ranges, here and in a call.

    Examples
    --------
    >>> stairs = Step(2, factor=0.5)
    >>> [stairs(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        set_fields(self, every=size("every", self.every))
        set_fields(self, factor=positive("factor", self.factor))

    def __call__(self, step: int) -> float:
        """Return the factor of step 0, 1, ..."""
        return self.factor ** (count("step", step) // self.every)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A straight line up to 1, and then another schedule from its own beginning.

    At step t, with n steps of the line::

        (t + 1) / n     for t < n
        then(t - n)     from there on

    Parameters
    ----------
    steps : int
        n, at least one: step n - 1 is the first at 1.
    then : callable
        The schedule after the line; the constant 1 by default.

    Raises
    ------
    ValueError
        For steps below one, and for a step below zero in a call.
    TypeError
        For what cannot be called, and for a class in place of a schedule.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017,
    doi:10.48550/arXiv.1706.02677.

    Examples
    --------
    >>> schedule = WarmUp(4, then=Cosine(2))
    >>> [schedule(t) for t in range(7)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]
    """

    steps: int
    then: Schedule = Constant()

    def __post_init__(self) -> None:
        set_fields(self, steps=size("steps", self.steps))
        if isinstance(self.then, type) or not callable(self.then):
            raise TypeError(
                "then must be a schedule, called with the number of a step, such as Cosine(1000), "
                f"got {self.then!r}"
            )

    def __call__(self, step: int) -> float:
        """Return the factor of step 0, 1, ..."""
        t = count("step", step)
        return (t + 1) / self.steps if t < self.steps else self.then(t - self.steps)
