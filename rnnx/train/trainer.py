"""The loop over epochs and steps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnnx import io, validate
from rnnx.parallel import Team, together
from rnnx.train.callbacks import Callback
from rnnx.train.checkpoint import Checkpoints
from rnnx.train.evaluate import evaluator, means
from rnnx.train.history import History
from rnnx.train.progress import Bar
from rnnx.train.run import Run
from rnnx.train.snapshot import Snapshot
from rnnx.train.step import Objective, Params, draw_masks, start, zero_state
from rnnx.train.sums import OwnStep, Prepared, SharedStep

READ_EVERY = 50  # steps between two reads of the records: each read waits for the device


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a training run, checked."""

    objective: Objective
    optimizer: Any
    epochs: int
    batch_size: int
    shuffle: bool
    clip_norm: float | None
    schedule: Callable[[int], float]
    patience: int | None
    min_delta: float
    keep_best: bool
    checkpoint_every: int | None
    checkpoints: bool  # whether the process of rank 0 writes any


@dataclass(eq=False)
class Trainer:
    """The loop over epochs and steps.

    Where a `team` trains, every process runs this loop, on its share of the data, and all do the
    same: they take every decision from numbers that are summed over the processes. An error of one
    ends all. The process of rank 0 has the checkpoints.
    """

    model: Any
    source: Any
    held_out: Any
    settings: Settings
    store: Checkpoints | None
    callbacks: list[Callback]
    team: Team | None

    def __post_init__(self) -> None:
        settings = self.settings
        how = self.model, settings.objective, settings.optimizer, settings.clip_norm
        self.step = OwnStep(*how) if self.team is None else SharedStep(*how, self.team)
        self.measure = evaluator(self.model, settings.objective, settings.batch_size, self.team)

    def run(self, rng: np.random.Generator, progress: bool, resume: bool) -> History:
        """Train until the last epoch, or until a callback or patience ends the run."""
        model, settings = self.model, self.settings
        with ExitStack() as stack:
            stack.enter_context(model.backend.scope())
            stack.enter_context(np.errstate(over="ignore", invalid="ignore"))  # Diverged says more
            with together(self.team):
                if self.store is not None:
                    stack.enter_context(io.locked(self.store.path.parent))
                run = self._new(rng)
            self._begin(run, resume)
            stack.callback(self._leave, run)
            bar = stack.enter_context(closing(Bar(progress, *self._extent(run))))
            ends = stack.enter_context(ExitStack())
            with together(self.team):
                for callback in self.callbacks:
                    ends.callback(callback.end, run)
                    callback.begin(run)
            while not self._stopped(run) and run.epoch < settings.epochs:
                self._epoch(run, bar)
            run.history.stopped = run.history.stopped or "epochs"
            with together(self.team):
                ends.close()
        return run.history

    def _new(self, rng: np.random.Generator) -> Run:
        """Return a run before its first step."""
        source, settings = self.source, self.settings
        rows = source.order(settings.batch_size, None)[0]
        carry = start(self.model, settings.optimizer, source.batch(rows), source.stateful)
        return Run(self.model, carry, rng, 0 if self.team is None else self.team.rank)

    def _begin(self, run: Run, resume: bool) -> None:
        """Bring a new run to where the checkpoint stands, and all processes to that of rank 0."""
        team = self.team
        if self.store is None and team is None:
            return
        fresh = found = Snapshot.of(run, team)
        with together(team):
            if self.store is not None:
                found = self.store.begin(fresh, resume)
        if team is not None:
            found = team.from_root(found)
        if team is not None or found is not fresh:
            with together(team):
                found.give(run, self.source.columns if self.source.stateful else slice(None))
        self._judge(run)

    def _extent(self, run: Run) -> tuple[int, int]:
        """Return the total number of sequences to process, and about how many are done."""
        source, settings = self.source, self.settings
        batches = len(source.order(settings.batch_size, None))
        epoch = source.size * (batches if source.stateful else 1)
        return settings.epochs * epoch, round(epoch * (run.epoch + run.position / batches))

    def _leave(self, run: Run) -> None:
        """Give the model the best parameters, or the latest."""
        ended = run.history.stopped != ""
        best = run.best_params if ended and self.settings.keep_best else None
        self._hand_over(best or run.carry.params)

    def _hand_over(self, params: Params) -> None:
        """Set the model's parameters, in its own order."""
        self.model._take({name: params[name] for name in self.model.params})

    def _epoch(self, run: Run, bar: Bar) -> None:
        """Train on the remaining batches of an epoch, then measure."""
        every = self.settings.checkpoint_every
        with together(self.team):
            order = self._order(run)
        for rows in order:
            self.step.take(run, partial(self._prepare, run, rows, bar))
            due = every is not None and run.step % every == 0
            if due or len(run.unread) >= READ_EVERY:
                self._read(run)
                bar.show({"loss": run.rows[-1][0]})
            if due:
                self._save(run)
        self._read(run)
        self._measure(run, bar)
        self._save(run)

    def _order(self, run: Run) -> list[Any]:
        """Return the remaining batches of the current epoch."""
        settings, rng = self.settings, run.rng
        now = rng.bit_generator.state
        if run.position == 0:
            run.epoch_rng = now
        rng.bit_generator.state = run.epoch_rng
        order = self.source.order(settings.batch_size, rng if settings.shuffle else None)
        if run.position:
            rng.bit_generator.state = now
        found: list[Any] = order[run.position :]
        return found

    def _prepare(self, run: Run, rows: Any, bar: Bar) -> Prepared:
        """Return a batch, its dropout masks and its learning rate."""
        settings, source = self.settings, self.source
        batch = source.batch(rows)
        if source.stateful and run.position == 0:
            run.carry = run.carry._replace(state=zero_state(self.model, batch))
        factor = validate.nonnegative(f"schedule({run.step})", settings.schedule(run.step))
        masks = draw_masks(self.model, 1 - source.layout.axis, batch, run.rng)
        bar.advance(batch.whole.size)
        return batch, masks, float(settings.optimizer.learning_rate * factor)

    def _read(self, run: Run) -> None:
        """Read the records of the latest steps; raise if one diverged, or a process failed."""
        self.step.check(run)
        with together(self.team):
            run.read()

    def _save(self, run: Run) -> None:
        """Write a checkpoint, if there are any."""
        if not self.settings.checkpoints:
            return
        snapshot = Snapshot.of(run, self.team)
        with together(self.team):
            if self.store is not None:
                self.store.write(snapshot)

    def _measure(self, run: Run, bar: Bar) -> None:
        """End an epoch: extend the history, keep the best parameters, call the callbacks."""
        settings = self.settings
        self._hand_over(run.carry.params)
        table = np.asarray(run.rows)
        found: dict[str, float] = {"epoch": run.epoch + 1, "step": run.step}
        found["learning_rate"] = float(run.history.steps["learning_rate"][-1])
        names = ["loss", "grad_norm", *settings.objective.metrics]
        found |= means(names, table[:, :-1], table[:, -1])
        if self.held_out is not None:
            measured = self.measure(run.carry.params, self.held_out)
            found |= {f"validation_{name}": value for name, value in measured.items()}
        run.history.append(found | {"seconds": run.clock()})
        run.epoch, run.position, run.rows, run.seconds = run.epoch + 1, 0, [], 0.0
        if run.history.best_epoch == run.epoch:
            run.best_params = run.carry.params
        bar.show(found)
        with together(self.team):
            for callback in self.callbacks:
                callback.epoch(run)
        self._judge(run)

    def _stopped(self, run: Run) -> bool:
        """Return whether the run is to end: the first process that wants to stop ends all."""
        if self.team is None:
            return run.history.stopped != ""
        why = next(filter(None, self.team.gathered(run.history.stopped)), "")
        run.history.stopped = why or run.history.stopped  # a signal may have set it just now
        return why != ""

    def _judge(self, run: Run) -> None:
        """End the run if the validation loss has not improved for `patience` epochs."""
        settings, lowest, stale = self.settings, np.inf, 0
        for loss in run.history.get("validation_loss", ()):
            better = loss < lowest - settings.min_delta
            lowest, stale = (loss, 0) if better else (lowest, stale + 1)
        if settings.patience is not None and stale >= settings.patience:
            run.history.stopped = "patience"
