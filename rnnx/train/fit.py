"""`fit`: what a training is asked for, checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any

import numpy as np

from rnnx import validate
from rnnx.optim import Constant
from rnnx.train import callbacks as calls
from rnnx.train.checkpoint import Checkpoints
from rnnx.train.evaluate import bind
from rnnx.train.history import History
from rnnx.train.loop import Settings, Trainer
from rnnx.train.step import Metric, Objective


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
        Whether to go on from the checkpoint in `checkpoint_dir`, where there is one: also of a run
        that ended, for more epochs, with more patience, or where a callback stopped it. On NumPy,
        the resumed run equals an uninterrupted one bit for bit.
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
    settings = Settings(
        Objective.of(loss, metrics),
        optimizer,
        validate.size("epochs", epochs),
        validate.size("batch_size", batch_size),
        bool(shuffle),
        None if clip_norm is None else validate.positive("clip_norm", clip_norm),
        schedule or Constant(),
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
    trainer = Trainer(model, source, held_out, settings, store, calls.read(callbacks))
    return trainer.run(validate.generator(seed), progress, resume)


def _setup(model: Any, source: Any, held_out: Any, settings: Settings) -> dict[str, Any]:
    """Return what a resumed run must have in common with its checkpoint."""
    return {
        "model": _layers(model),
        "parameters": {name: list(w.shape) for name, w in model.params.items()},
        "dtype": model.backend.dtype_name,
        "data": source.describe(),
        "validation": None if held_out is None else held_out.describe(),
        "loss": _name(settings.objective.loss),
        "metrics": list(settings.objective.metrics),
        "optimizer": _name(settings.optimizer),
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
    text = str(getattr(function, "__qualname__", None) or repr(function))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)  # as of what functools.partial holds
