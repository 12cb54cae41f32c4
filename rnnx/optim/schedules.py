"""Learning-rate schedules: from the step number to a factor of the optimizer's learning rate.

A schedule takes the number of steps done so far, 0 at the first step, and returns a Python float.
Your own function of the step number is a schedule, too. Evaluating the ``repr`` of a schedule of
this module makes an equal one. An argument or step number out of range raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

from rnnx._doc import shared
from rnnx.optim.shared import Checked
from rnnx.validate import count

Schedule = Callable[[int], float]


class Counted(Checked):
    """A schedule that checks the step number."""

    __slots__ = ()

    def __call__(self, step: int) -> float:
        """Return the factor for a step, counted from 0."""
        return self._factor(count("step", step))

    def _factor(self, t: int) -> float:
        raise NotImplementedError


@shared()
@dataclass(frozen=True, slots=True)
class Constant(Counted):
    """The optimizer's own learning rate at every step.

    Examples
    --------
    >>> Constant()(1000)
    1.0
    """

    def _factor(self, t: int) -> float:
        return 1.0


@shared()
@dataclass(frozen=True, slots=True)
class Cosine(Counted):
    """Half a cosine from 1 down to the final factor, and constant after that.

    At step t, with T steps and the final factor f::

        c = (1 + cos(π min(t, T) / T)) / 2
        c + (1 - c) f

    Parameters
    ----------
    steps : int
        T, at least 1. Step T is the first with the final factor.
    final : float
        f, at least 0.

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

    def _factor(self, t: int) -> float:
        c = (1 + cos(pi * min(t, self.steps) / self.steps)) / 2
        return c + (1 - c) * self.final


@shared()
@dataclass(frozen=True, slots=True)
class Step(Counted):
    """Step decay: multiply by the factor once every few steps.

    At step t, with the factor γ applied every n steps::

        γ ** ⌊t / n⌋

    Parameters
    ----------
    every : int
        n, at least 1.
    factor : float
        γ, above 0.

    Examples
    --------
    >>> schedule = Step(2, factor=0.5)
    >>> [schedule(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    every: int
    factor: float = 0.1

    def _factor(self, t: int) -> float:
        return self.factor ** (t // self.every)


@shared()
@dataclass(frozen=True, slots=True)
class WarmUp(Counted):
    """Linear warm-up to 1, followed by another schedule.

    At step t, with n steps of warm-up::

        (t + 1) / n     for t < n
        then(t - n)     after that

    Parameters
    ----------
    steps : int
        n, at least 1. Step n - 1 is the first with factor 1.
    then : callable
        The schedule after the warm-up; default is the constant 1.

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
        Counted.__post_init__(self)
        if isinstance(self.then, type) or not callable(self.then):
            raise TypeError(
                "then must be a schedule, a function of the step number such as Cosine(1000), "
                f"got {self.then!r}"
            )

    def _factor(self, t: int) -> float:
        return (t + 1) / self.steps if t < self.steps else self.then(t - self.steps)
