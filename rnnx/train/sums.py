"""Steps as the trainer takes them: of one process, and of several that train one model.

The gradient of a whole mini-batch is Σ_r s_r g_r: process r has the gradient g_r of the mean loss
of its part, and s_r is the weight of that part in the whole. The loss and the metrics are summed
alike, all in one array.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from rnnx.backend import Array
from rnnx.data import Batch
from rnnx.parallel import Team
from rnnx.train.run import Run
from rnnx.train.step import Carry, Objective, Params, halves, train_step

Prepared = tuple[Batch, Params, float]  # a mini-batch, its dropout masks, the learning rate


class OwnStep:
    """A step of a process that trains alone."""

    def __init__(
        self, model: Any, objective: Objective, optimizer: Any, clip_norm: float | None
    ) -> None:
        self._step = train_step(model, objective, optimizer, clip_norm)

    def take(self, run: Run, prepare: Callable[[], Prepared]) -> None:
        """Take a step on what `prepare` returns."""
        batch, masks, rate = prepare()
        carry, record = self._step(run.carry, batch.inputs, masks, rate)
        run.finished(carry, record, batch.counted, rate)

    def check(self, run: Run) -> None:
        """Do nothing: an error is raised where it happens."""


class SharedStep:
    """A step of several processes: one sum over all of them, in one array.

    A process with an error must not leave the others waiting. It adds NaN, so that this step and
    all later ones change nothing, and `check` raises the error for all of them.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        optimizer: Any,
        clip_norm: float | None,
        team: Team,
    ) -> None:
        self._backend, self._team = model.backend, team
        self._failed: BaseException | None = None
        passes, finish = halves(model, objective, optimizer, clip_norm)
        names, self._figures = list(model.params), 1 + len(objective.metrics)
        shapes = {name: tuple(w.shape) for name, w in model.params.items()}
        self._size = sum(map(prod, shapes.values())) + self._figures
        xp, dtype = model.backend.xp, model.backend.dtype

        def part(carry: Carry, inputs: Any, masks: Params, share: float) -> tuple[Any, Any]:
            passed = passes(carry, inputs, masks)
            if not passed:  # a step diverged
                return None, carry.state
            value, measured, state, grads = passed
            figures = [xp.astype(xp.stack([value, *measured]), dtype)]
            flat = xp.concat([xp.reshape(grads[name], (-1,)) for name in names] + figures)
            return flat * share, state

        def update(carry: Carry, flat: Array, state: Any, rate: float) -> tuple[Carry, Array]:
            grads, at = {}, 0
            for name, shape in shapes.items():
                grads[name] = xp.reshape(flat[at : at + prod(shape)], shape)
                at += prod(shape)
            value, *measured = (flat[i] for i in range(at, flat.shape[0]))
            return finish(carry, (value, measured, state, grads), rate)

        self._part, self._update = map(model.backend.compile, (part, update))

    def take(self, run: Run, prepare: Callable[[], Prepared]) -> None:
        """Take a step, together with the other processes, on what `prepare` returns."""
        flat, state, counted, rate = None, run.carry.state, 0.0, 0.0
        try:
            if self._failed is None:
                batch, masks, rate = prepare()
                counted = batch.whole.counted
                flat, state = self._part(run.carry, batch.inputs, masks, batch.share)
                if not batch.share:  # what counts for nothing may be NaN
                    flat = self._backend.zeros((self._size,))
        except BaseException as error:
            self._failed = error
        if flat is None:
            flat = self._backend.asarray(np.full(self._size, np.nan))
        total = self._team.summed(self._backend, flat)
        self._failed = self._failed or self._team.pending
        try:
            carry, record = self._update(run.carry, total, state, rate)
        except BaseException as error:
            self._failed = self._failed or error
            carry, record = run.carry, self._backend.zeros((self._figures + 2,))
        run.finished(carry, record, counted, rate)

    def check(self, run: Run) -> None:
        """Raise on all processes if one has an error, which the message names."""
        self._team.agree(self._failed)
        rates = self._team.gathered([rate for _, _, rate in run.unread])
        for first, others in zip(rates[0], zip(*rates, strict=True), strict=True):
            if any(rate != first for rate in others):
                raise ValueError(
                    "all processes must have the same learning rate in every step, got "
                    f"{', '.join(map(str, others))}, by rank: give each the same "
                    "optimizer and schedule"
                )
