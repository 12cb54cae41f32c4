"""The loop over epochs and steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx import io, validate
from rnnx.data import Batch
from rnnx.train.callbacks import Callback
from rnnx.train.checkpoint import Checkpoints
from rnnx.train.evaluate import evaluator, means
from rnnx.train.history import History
from rnnx.train.progress import Bar
from rnnx.train.run import Run
from rnnx.train.step import Objective, Params, draw_masks, start, train_step, zero_state

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


@dataclass(eq=False)
class Trainer:
    """The loop over epochs and steps."""

    model: Any
    source: Any
    held_out: Any
    settings: Settings
    store: Checkpoints | None
    callbacks: list[Callback]

    def __post_init__(self) -> None:
        objective, settings = self.settings.objective, self.settings
        self.step = train_step(self.model, objective, settings.optimizer, settings.clip_norm)
        self.measure = evaluator(self.model, objective, settings.batch_size)

    def run(self, rng: np.random.Generator, progress: bool, resume: bool) -> History:
        """Train until the last epoch, or until a callback or patience ends the run."""
        model, settings = self.model, self.settings
        with ExitStack() as stack:
            stack.enter_context(model.backend.scope())
            stack.enter_context(np.errstate(over="ignore", invalid="ignore"))  # Diverged says more
            if self.store is not None:
                stack.enter_context(io.locked(self.store.path.parent))
            run = self._begin(rng, resume)
            stack.callback(self._leave, run)
            bar = stack.enter_context(closing(Bar(progress, *self._extent(run))))
            for callback in self.callbacks:
                stack.callback(callback.end, run)
                callback.begin(run)
            while run.epoch < settings.epochs and not run.history.stopped:
                self._epoch(run, bar)
            run.history.stopped = run.history.stopped or "epochs"
        return run.history

    def _begin(self, rng: np.random.Generator, resume: bool) -> Run:
        """Return a new run, or the run that the checkpoint holds."""
        source, settings = self.source, self.settings
        rows = source.order(settings.batch_size, None)[0]
        carry = start(self.model, settings.optimizer, source.batch(rows), source.stateful)
        run = Run(self.model, carry, rng)
        if self.store is not None:
            self.store.begin(run, resume)
            self._judge(run)
        return run

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
        axis = 1 - self.source.layout.axis
        for batch, rate in self._batches(run):
            masks = draw_masks(self.model, axis, batch, run.rng)
            carry, record = self.step(run.carry, batch.inputs, masks, rate)
            run.finished(carry, record, batch.counted, rate)
            bar.advance(batch.size)
            every = self.settings.checkpoint_every
            due = self.store is not None and every is not None and run.step % every == 0
            if due or len(run.unread) >= READ_EVERY:
                run.read()
                bar.show({"loss": run.rows[-1][0]})
            if self.store is not None and due:
                self.store.save(run)
        run.read()
        self._measure(run, bar)
        if self.store is not None:
            self.store.save(run)

    def _batches(self, run: Run) -> Iterator[tuple[Batch, float]]:
        """Yield the remaining batches of the current epoch, each with its learning rate."""
        settings, source, rng = self.settings, self.source, run.rng
        now = rng.bit_generator.state
        if run.position == 0:
            run.epoch_rng = now
        rng.bit_generator.state = run.epoch_rng
        order = source.order(settings.batch_size, rng if settings.shuffle else None)
        if run.position:
            rng.bit_generator.state = now
        for rows in order[run.position :]:
            batch = source.batch(rows)
            if source.stateful and run.position == 0:
                run.carry = run.carry._replace(state=zero_state(self.model, batch))
            factor = validate.nonnegative(f"schedule({run.step})", settings.schedule(run.step))
            yield batch, float(settings.optimizer.learning_rate * factor)

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
        for callback in self.callbacks:
            callback.epoch(run)
        self._judge(run)

    def _judge(self, run: Run) -> None:
        """End the run if the validation loss has not improved for `patience` epochs."""
        settings, lowest, stale = self.settings, np.inf, 0
        for loss in run.history.get("validation_loss", ()):
            better = loss < lowest - settings.min_delta
            lowest, stale = (loss, 0) if better else (lowest, stale + 1)
        if settings.patience is not None and stale >= settings.patience:
            run.history.stopped = "patience"
