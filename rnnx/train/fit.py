"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from rnnx import validate
from rnnx.train import callbacks as calls
from rnnx.train.checkpoint import Checkpoints
from rnnx.train.evaluate import bind, means, measure
from rnnx.train.history import History
from rnnx.train.progress import Bar
from rnnx.train.run import Run
from rnnx.train.step import (
    Metric,
    Objective,
    draw_masks,
    evaluation_step,
    inputs_of,
    start,
    train_step,
    zero_state,
)

READ_EVERY = 50  # steps between two looks at the figures: each look waits for the device


def fit(
    model: Any,
    data: Any,
    *,
    loss: Callable[..., Any],
    optimizer: Any,
    epochs: int,
    validation: Any = None,
    batch_size: int = 32,
    shuffle: bool = True,
    metrics: Mapping[str, Metric] | None = None,
    clip_norm: float | None = None,
    schedule: Callable[[int], float] | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    keep_best: bool = True,
    callbacks: Iterable[Any] = (),
    progress: bool = True,
    checkpoint_dir: str | PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    seed: int | np.random.Generator | None = None,
) -> History:
    """Train a model in place and return the figures of the training.

    Parameters
    ----------
    model : Layer
        What is trained, such as ``Sequential(GRU(12, 32), Pool("last"), Linear(32, 9))``.
    data : (x, y), Sequences or Stream
        What is learned; see `rnnx.data.Sequences`. On a `rnnx.data.Stream` the state is carried
        from chunk to chunk and BPTT is truncated; elsewhere mini-batches are drawn, ragged ones of
        sequences of similar length.
    loss : callable
        ``loss(outputs, targets, mask, weights) -> loss, gradient``, such as those of `rnnx.losses`;
        called with two arguments where nothing is padded or weighted.
    optimizer : SGD, RMSprop, Adam or AdamW
        Of `rnnx.optim`, or what has its `init`, `update` and `learning_rate`.
    epochs : int
        How many times the data is read, those before a checkpoint included.
    validation : (x, y), Sequences or Stream, optional
        What the model is measured on after every epoch.
    batch_size : int
        Sequences in a mini-batch; without effect on a stream.
    shuffle : bool
        Whether each epoch has an order of its own; without effect on a stream.
    metrics : dict of callables, optional
        ``metric(outputs, targets, mask, weights) -> number``, by name, such as those of
        `rnnx.metrics`.
    clip_norm : float, optional
        The largest joint norm of the gradients; larger ones are scaled down to it.
    schedule : callable, optional
        ``schedule(step) -> factor`` of the optimizer's learning rate, with steps counted from 0,
        such as ``optim.WarmUp(100, optim.Cosine(1000))``.
    patience : int, optional
        Stop after so many epochs without a lower validation loss.
    min_delta : float
        By how much lower it must be to count for `patience`.
    keep_best : bool
        Whether the model ends with the parameters of the lowest validation loss, where there is
        `validation`, and not with the last.
    callbacks : iterable
        `Callback`s, or functions that are called with the `Run` after each epoch.
    progress : bool
        Whether to show a bar with the loss, the metrics and the sequences per second, where tqdm is
        installed.
    checkpoint_dir : path, optional
        A folder for this run's checkpoint, written after each epoch.
    checkpoint_every : int, optional
        Write it after every so many steps, too.
    resume : bool
        Whether to go on from the checkpoint in `checkpoint_dir`, where there is one. On NumPy, the
        resumed run equals an uninterrupted one bit for bit.
    seed : None, int or numpy.random.Generator
        Of the order of the data and of dropout; a resumed run has that of its checkpoint.

    Returns
    -------
    History

    Raises
    ------
    Diverged
        At the first step whose loss or gradient is not finite; the model has the last good
        parameters.
    ValueError, TypeError
        For data that does not fit the model or itself, options outside their ranges, a checkpoint
        of another run, or one that would be lost.
    OSError
        Where a checkpoint cannot be written; the model has the parameters reached.

    References
    ----------
    Truncated BPTT: R. J. Williams and J. Peng, Neural Computation 2 (1990), 490-501,
    doi:10.1162/neco.1990.2.4.490. Early stopping: L. Prechelt, "Early stopping - but when?", 1998,
    doi:10.1007/3-540-49430-8_3.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> rng = np.random.default_rng(0)
    >>> x = [rng.standard_normal((T, 2)) for T in rng.integers(3, 9, size=64)]
    >>> y = np.asarray([int(np.sum(row) > 0) for row in x])
    >>> gru, linear = rnnx.GRU(2, 16, seed=0), rnnx.Linear(16, 2, seed=1)
    >>> model = rnnx.Sequential(gru, rnnx.Pool("last"), linear)
    >>> history = rnnx.train.fit(
    ...     model, (x, y), loss=rnnx.losses.softmax_cross_entropy, optimizer=rnnx.optim.Adam(0.01),
    ...     epochs=10, metrics={"accuracy": rnnx.metrics.accuracy}, progress=False, seed=0,
    ... )
    >>> history["accuracy"].shape, bool(history["loss"][-1] < history["loss"][0])
    ((10,), True)
    """
    settings = _Settings(
        Objective(loss, dict(metrics or {})),
        optimizer,
        validate.size("epochs", epochs),
        validate.size("batch_size", batch_size),
        bool(shuffle),
        None if clip_norm is None else validate.positive("clip_norm", clip_norm),
        schedule or _constant,
        None if patience is None else validate.size("patience", patience),
        validate.nonnegative("min_delta", min_delta),
        bool(keep_best),
        None if checkpoint_every is None else validate.size("checkpoint_every", checkpoint_every),
    )
    if patience is not None and validation is None:
        raise ValueError("patience needs validation data, got none: give validation=(x, y)")
    if checkpoint_dir is None and (resume or checkpoint_every is not None):
        raise ValueError("resume and checkpoint_every need a checkpoint_dir, got none")
    source = bind(model, data, targets=True)
    held_out = None if validation is None else bind(model, validation, targets=True)
    store = None
    if checkpoint_dir is not None:
        store = Checkpoints(checkpoint_dir, _setup(model, source, held_out, settings))
    trainer = _Trainer(model, source, held_out, settings, store, calls.read(callbacks))
    return trainer.run(validate.generator(seed), progress, resume)


@dataclass(frozen=True, slots=True)
class _Settings:
    """The checked options of a training."""

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


class _Trainer:
    """The loop over epochs and steps."""

    def __init__(
        self,
        model: Any,
        source: Any,
        held_out: Any,
        settings: _Settings,
        store: Checkpoints | None,
        callbacks: list[calls.Callback],
    ) -> None:
        self.model, self.source, self.held_out = model, source, held_out
        self.settings, self.store, self.callbacks = settings, store, callbacks
        self.step = train_step(model, settings.objective, settings.optimizer, settings.clip_norm)
        self.evaluation = evaluation_step(model, settings.objective)

    def run(self, rng: np.random.Generator, progress: bool, resume: bool) -> History:
        """Train until the last epoch, or until something stops it."""
        model, settings = self.model, self.settings
        with ExitStack() as stack:
            stack.enter_context(model.backend.scope())
            stack.enter_context(np.errstate(over="ignore", invalid="ignore"))  # Diverged says more
            run = self._begin(rng, resume)
            stack.callback(self._leave, run)
            total, done = settings.epochs * self.source.size, run.epoch * self.source.size
            bar = stack.enter_context(Bar(progress, total, done))
            for callback in self.callbacks:
                stack.callback(callback.end, run)
                callback.begin(run)
            while run.epoch < settings.epochs and not run.history.stopped:
                self._epoch(run, bar)
            run.history.stopped = run.history.stopped or "epochs"
        return run.history

    def _begin(self, rng: np.random.Generator, resume: bool) -> Run:
        """Return the run at its start, or where its checkpoint stands."""
        source, settings = self.source, self.settings
        rows = source.order(settings.batch_size, None)[0]
        carry = start(self.model, settings.optimizer, source.batch(rows), source.stateful)
        run = Run(self.model, carry, rng)
        if self.store is None:
            return run
        if not self.store.exists():
            self.store.save(run)  # a folder that cannot be written is found before the work
        elif resume:
            self.store.restore(run)
        else:
            raise ValueError(
                f"there is a checkpoint already, {self.store.path}: give resume=True to go on from "
                "it, or another checkpoint_dir"
            )
        return run

    def _leave(self, run: Run) -> None:
        """Give the model its parameters: the best, or those reached."""
        ended = run.history.stopped != ""
        best = run.best_params if ended and self.settings.keep_best else None
        self.model.params = best or run.carry.params

    def _epoch(self, run: Run, bar: Bar) -> None:
        """Train on all batches of an epoch, those before a checkpoint left out; then measure."""
        for batch, rate in self._batches(run):
            masks = draw_masks(self.model, batch, run.rng)
            carry, figures = self.step(run.carry, inputs_of(batch), masks, rate)
            run.finished(carry, figures, batch.counted, rate)
            bar.advance(batch.size)
            every = self.settings.checkpoint_every
            due = self.store is not None and every is not None and run.step % every == 0
            if due or len(run.unread) >= READ_EVERY:
                run.read()
            if due and self.store is not None:
                self.store.save(run)
        run.read()
        self._measure(run, bar)
        if self.store is not None:
            self.store.save(run)

    def _batches(self, run: Run) -> Any:
        """Yield the batches left of the epoch that is under way, each with its learning rate."""
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
            yield batch, settings.optimizer.learning_rate * _factor(settings.schedule, run.step)

    def _measure(self, run: Run, bar: Bar) -> None:
        """Close an epoch: its figures, the best parameters, the callbacks, the end."""
        settings, model = self.settings, self.model
        model.params = run.carry.params
        table = np.asarray(run.rows)
        names = ["loss", "grad_norm", "alive", *settings.objective.metrics]
        trained = means(names, table[:, :-1], table[:, -1])
        del trained["alive"]
        figures: dict[str, float] = {"epoch": run.epoch + 1, "step": run.step}
        figures["learning_rate"] = float(run.history.steps["learning_rate"][-1])
        figures |= trained
        if self.held_out is not None:
            measured = measure(
                self.evaluation, model, run.carry.params, self.held_out, settings.objective,
                settings.batch_size,
            )  # fmt: skip
            figures |= {f"validation_{name}": value for name, value in measured.items()}
        run.history.append(figures | {"seconds": run.clock()})
        run.epoch, run.position, run.rows, run.seconds = run.epoch + 1, 0, [], 0.0
        if run.history.best_epoch == run.epoch:
            run.best_params = run.carry.params
        bar.show(figures)
        for callback in self.callbacks:
            callback.epoch(run)
        if settings.patience is not None and self._stale(run) >= settings.patience:
            run.history.stopped = "patience"

    def _stale(self, run: Run) -> int:
        """Return the epochs since the validation loss was last lower than before."""
        lowest, stale = np.inf, 0
        for loss in run.history["validation_loss"]:
            better = loss < lowest - self.settings.min_delta
            lowest, stale = (loss, 0) if better else (lowest, stale + 1)
        return stale


def _setup(model: Any, source: Any, held_out: Any, settings: _Settings) -> dict[str, Any]:
    """Return what a resumed run must have in common with its checkpoint."""
    return {
        "model": _layers(model),
        "parameters": {name: list(w.shape) for name, w in model.params.items()},
        "dtype": model.backend.dtype_name,
        "data": source.describe(),
        "validation": None if held_out is None else held_out.describe(),
        "loss": _name(settings.objective.loss),
        "metrics": list(settings.objective.metrics),
        "optimizer": repr(settings.optimizer),
        "schedule": _name(settings.schedule),
        "batch_size": settings.batch_size,
        "shuffle": settings.shuffle,
        "clip_norm": settings.clip_norm,
    }


def _layers(model: Any) -> Any:
    """Return the names of a model's layers."""
    inner = [_layers(layer) for layer in getattr(model, "layers", ())]
    return {type(model).__name__: inner} if inner else type(model).__name__


def _name(function: Any) -> str:
    """Return what tells a function from others, the same in every process."""
    return str(getattr(function, "__qualname__", None) or repr(function))


def _factor(schedule: Callable[[int], float], step: int) -> float:
    return validate.nonnegative(f"schedule({step})", schedule(step))


def _constant(step: int) -> float:
    return 1.0
