"""`fit`: its options, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any

import numpy as np

from rnnx import validate
from rnnx._doc import shared
from rnnx.optim import Constant
from rnnx.parallel import team_of, together
from rnnx.train import callbacks as calls
from rnnx.train import objects, setup, shares
from rnnx.train.checkpoint import Checkpoints
from rnnx.train.evaluate import bind
from rnnx.train.history import History
from rnnx.train.step import Metric, Objective
from rnnx.train.trainer import Settings, Trainer


@shared()
def fit(
    model: Any,
    data: Any,
    *,
    loss: str | Callable[..., Any],
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
    comm: Any = None,
    sharded: bool = False,
) -> History:
    """Train a model in place and return the training history.

    Parameters
    ----------
    model : Layer
        The model, such as ``Sequential(GRU(12, 32), Pool("last"), Linear(32, 9))``.
    data : (x, y), Sequences or Stream
        The training data; see `rnnx.data.Sequences`. On a `rnnx.data.Stream` the state is carried
        from chunk to chunk and BPTT is truncated. Otherwise training uses mini-batches, which group
        ragged sequences by length.
    loss : str or callable
        A loss of `rnnx.losses` by name: ``"cross_entropy"``, ``"binary_cross_entropy"``,
        ``"squared_error"``, ``"absolute_error"`` or ``"huber"``. Or a function ``loss(outputs,
        targets, mask, weights) -> loss, gradient``, called with two arguments if nothing is padded
        or weighted. Cross-entropy takes labels, integers from 0 on; the others take numbers.
    optimizer : {"sgd", "rmsprop", "adam", "adamw"} or Optimizer
        One of `rnnx.optim` by name, with its defaults, or as an object, such as ``Adam(0.01)``; or
        any object with `init`, `update` and `learning_rate`.
    epochs : int
        Number of passes over the data, including those before a checkpoint.
    validation : (x, y), Sequences or Stream, optional
        Data to measure the model on after every epoch.
    batch_size : int
        Number of sequences per mini-batch; ignored for a stream.
    shuffle : bool
        Whether to reshuffle every epoch; ignored for a stream.
    metrics : dict of callables, optional
        ``metric(outputs, targets, mask, weights) -> number``, by name, such as those of
        `rnnx.metrics`.
    clip_norm : float, optional
        The largest global norm of the gradient; a larger gradient is scaled down to it.
    schedule : callable, optional
        ``schedule(step)`` returns the factor of the learning rate at a step, counted from 0, such
        as ``optim.WarmUp(100, optim.Cosine(1000))``.
    patience : int, optional
        Stop after this many epochs in which the validation loss does not improve.
    min_delta : float
        The smallest decrease of the validation loss that counts as an improvement for `patience`.
    keep_best : bool
        Whether the model ends with the parameters of the lowest validation loss, if there is
        validation data, rather than the last ones.
    callbacks : iterable
        `Callback` objects, or functions that are called with the `Run` after each epoch.
    progress : bool
        Whether to show a progress bar, if tqdm is installed.
    checkpoint_dir : path, optional
        A folder for this run's checkpoint, which is written after each epoch.
    checkpoint_every : int, optional
        Also write the checkpoint after every this many steps.
    resume : bool
        Whether to continue from the checkpoint in `checkpoint_dir`, if there is one. A finished run
        can be resumed too, with more epochs or more patience. The model, the data and the other
        options must be those of the checkpoint. On NumPy, with the same number of BLAS threads, the
        resumed run equals an uninterrupted one bit for bit.
    seed : None, int or numpy.random.Generator
        Seed for shuffling and dropout; a resumed run continues the generator of its checkpoint.
    comm : communicator, optional
        Train with all processes of a communicator of mpi4py, such as ``MPI.COMM_WORLD``, or of
        ``cupyx.distributed``, for NCCL. Each computes a part of every mini-batch, one sum over the
        processes in every step gives the gradient of the whole, and all end with the same model
        and history. They must be given the same options; the initial parameters and the seed are
        those of rank 0, which alone writes checkpoints and shows progress. To rounding, the result
        is that of one process; the same number of processes gives the same bits. A loss or metric
        of your own must be a mean over what counts, as those of rnnx are.
    sharded : bool
        With `comm`: whether `data` and `validation` are this process's own part of the data, and
        not the whole, which all processes share. Then each mini-batch has of every process's part
        about the same fraction.

    Returns
    -------
    History

    Raises
    ------
    Diverged
        If training diverges; the error names the step and the layer, and the model keeps the last
        good parameters.
    ValueError, TypeError
        If the data does not fit the model or the loss, an option is out of range, the checkpoint is
        of another run or would be overwritten, or another run uses the folder.
    OSError
        If a checkpoint cannot be written; the model has the latest parameters.
    With `comm`, an error in one process ends all of them; its message names the rank.

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
    team = team_of(comm)
    with together(team):
        every = checkpoint_every
        settings = Settings(
            Objective.of(loss, metrics),
            objects.optimizer_of(optimizer),
            validate.size("epochs", epochs),
            validate.size("batch_size", batch_size),
            bool(shuffle),
            None if clip_norm is None else validate.positive("clip_norm", clip_norm),
            schedule or Constant(),
            None if patience is None else validate.size("patience", patience),
            validate.nonnegative("min_delta", min_delta),
            bool(keep_best),
            None if every is None else validate.size("checkpoint_every", every),
            checkpoint_dir is not None,
        )
        if patience is not None and validation is None:
            raise ValueError("patience needs validation data, got none: give validation=(x, y)")
        if checkpoint_dir is None and (resume or every is not None):
            raise ValueError("resume and checkpoint_every need a checkpoint_dir, got none")
        if comm is None and sharded:
            raise ValueError("sharded=True needs a comm, got none: the data is that of a process")
        rng, handlers = validate.generator(seed), calls.read(callbacks)
        source = bind(model, data, settings.objective.loss)
        held_out = None
        if validation is not None:
            held_out = bind(model, validation, settings.objective.loss, "the validation data")
        described: list[Any] = []
        if team is not None or checkpoint_dir is not None:
            described = [None if part is None else part.describe() for part in (source, held_out)]
        if team is not None:
            team.check(model.backend)
    if team is not None:
        shares.compare(team, model, described, settings, resume=resume, sharded=sharded)
        source, held_out = (
            None if part is None else shares.shared(part, team, sharded, words, name)
            for part, words, name in zip(
                (source, held_out), described, ("x", "x of the validation data"), strict=True
            )
        )
        described = [None if part is None else part.described for part in (source, held_out)]
    leads = team is None or team.leads
    with together(team):
        store = None
        if checkpoint_dir is not None and leads:
            store = Checkpoints(checkpoint_dir, model, setup.of(model, described, settings))
        trainer = Trainer(model, source, held_out, settings, store, handlers, team)
    return trainer.run(rng, progress and leads, resume)
