"""Training runs that one process does, or several do together; started by MPI, this runs them.

``python parallel_cases.py FOLDER BACKEND CASE...`` writes to the folder what each process found.
"""

from __future__ import annotations

import errno
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import rnnx
from rnnx import io, losses, metrics, optim, train
from rnnx.data import Sequences, Stream
from rnnx.parallel import mpi
from rnnx.train import checkpoint

Found = dict[str, Any]  # numbers by name
LENGTHS = [3, 9, 4, 9, 1, 7, 5, 2, 6, 8, 3, 7, 7]
NOISE = {"num_layers": 2, "dropout": 0.3, "recurrent_dropout": 0.2, "weight_drop": 0.1}
LABELS = np.arange(13) % 2
ACCURACY = {"accuracy": metrics.accuracy}
TEXT = np.random.default_rng(6).integers(0, 5, size=(24, 3))
CASES: dict[str, Callable[[Any, str], Found]] = {}
PORTABLE = ("ragged", "per step", "stream", "sharded")  # these run on every backend


def case(run: Callable[[Any, str], Found]) -> Callable[[Any, str], Found]:
    """Add a case: ``run(comm, backend)``; its name is the function's, in words."""
    CASES[run.__name__.replace("_", " ").strip()] = run
    return run


def numbers(*shape: int, seed: int = 3) -> np.ndarray:
    """Return numbers that are the same in every process."""
    return np.random.default_rng(seed).standard_normal(shape)


def ragged(width: int = 3) -> list[np.ndarray]:
    """Return sequences of all `LENGTHS`."""
    return [numbers(T, width, seed=i) for i, T in enumerate(LENGTHS)]


def chain(first: Any, width: int, outputs: int = 2, pool: str | None = "last") -> Any:
    """Return a model: a layer, a pool, and a linear layer."""
    where = {"backend": first.backend}
    layers = [first] if pool is None else [first, rnnx.Pool(pool, **where)]
    return rnnx.Sequential(*layers, rnnx.Linear(width, outputs, seed=1, **where))


def place(backend: str) -> dict[str, Any]:
    """Return where a model is made, and its seed."""
    return {"backend": rnnx.get_backend(backend, dtype="float64"), "seed": 0}


def fit(model: Any, data: Any, comm: Any = None, **options: Any) -> Found:
    """Return the parameters and the history of a run."""
    defaults: dict[str, Any] = {
        "loss": "cross_entropy", "optimizer": optim.Adam(0.02), "epochs": 3, "batch_size": 6,
        "clip_norm": 0.5, "progress": False, "seed": 0, "comm": comm,
    }  # fmt: skip
    return found(model, train.fit(model, data, **defaults | options))


def found(model: Any, history: train.History) -> Found:
    """Return a run's parameters and history."""
    numbers = {name: model.backend.to_numpy(w) for name, w in model.params.items()}
    numbers |= {f"history {k}": v for k, v in history.items() if k != "seconds"}
    numbers |= {f"steps {k}": v for k, v in history.steps.items()}
    return numbers | {"stopped": history.stopped}


def assert_equal(found: Found, expected: Found) -> None:
    """Assert equal bits."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def assert_close(found: Found, expected: Found, tolerance: float = 1e-12) -> None:
    """Assert that numbers differ by rounding, and words not."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        if isinstance(value, str):
            assert value == expected[name]
        else:
            np.testing.assert_allclose(
                value, expected[name], rtol=tolerance, atol=tolerance, err_msg=name
            )


@case
def _ragged(comm: Any, backend: str) -> Found:
    """All dropouts, weights, clipping, metrics, validation, the last batch of one sequence."""
    model = chain(rnnx.GRU(3, 5, **NOISE, **place(backend)), 5)
    data = Sequences(ragged(), LABELS, weights=np.arange(13) / 6)
    return fit(model, data, comm, validation=(ragged(), 1 - LABELS), metrics=ACCURACY)


@case
def _per_step(comm: Any, backend: str) -> Found:
    """Targets at every step, padding in an array, both directions, a Dropout layer."""
    x, y = numbers(9, 13, 3), numbers(9, 13, 2, seed=4)
    gru = rnnx.LSTM(3, 4, bidirectional=True, **place(backend))
    model = rnnx.Sequential(
        gru,
        rnnx.Dropout(0.3, backend=gru.backend),
        rnnx.Linear(8, 2, seed=1, backend=gru.backend),
    )
    data = Sequences(x, y, lengths=np.asarray(LENGTHS))
    return fit(model, data, comm, loss="huber", optimizer="rmsprop", validation=data)


@case
def _stream(comm: Any, backend: str) -> Found:
    """Three streams with a state each, dropout, a short last chunk, a stream to validate on."""
    lstm = rnnx.LSTM(3, 4, **NOISE, **place(backend))
    data = Stream(numbers(23, 3, 3), numbers(23, 3, seed=5) > 0, length=9)
    data.y = data.y.astype("int64")
    return fit(chain(lstm, 4, pool=None), data, comm, validation=data, metrics=ACCURACY)


@case
def _sharded(comm: Any, backend: str) -> Found:
    """Every process has its own ragged sequences: together they are those of one."""
    model = chain(rnnx.GRU(3, 5, **place(backend)), 5)
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    own = [slice(0, 13)] if size == 1 else [slice(0, 3), slice(3, 4), slice(4, 13)]
    if size == 2:
        own = [slice(0, 4), slice(4, 13)]
    data = Sequences(ragged()[own[rank]], LABELS[own[rank]], weights=(np.arange(13) / 6)[own[rank]])
    # sums are over one batch of all, so that they don't depend on how it is shuffled
    return fit(
        model, data, comm, sharded=size > 1, batch_size=13, validation=data, metrics=ACCURACY
    )


@case
def sharded_in_order(comm: Any, backend: str) -> Found:
    """Own parts of a fixed order: batches of 6, of which every process has as many."""
    x, y = numbers(4, 12, 3), numbers(4, 12, 2, seed=4)
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    each = 6 // size
    own = [6 * batch + each * rank + i for batch in range(2) for i in range(each)]
    gru = rnnx.GRU(3, 4, **place(backend))
    dropout = rnnx.Dropout(0.3, backend=gru.backend)
    model = rnnx.Sequential(gru, dropout, rnnx.Linear(4, 2, seed=1, backend=gru.backend))
    data = (x[:, own], y[:, own])
    options: dict[str, Any] = {"shuffle": False, "sharded": size > 1, "loss": "squared_error"}
    return fit(model, data, comm, validation=data, **options)


@case
def sharded_stream(comm: Any, backend: str) -> Found:
    """Own streams, with dropout."""
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    own = slice(0, 3) if size == 1 else [slice(0, 1), slice(1, 4 - size + 1), slice(2, 3)][rank]
    x, y = numbers(23, 3, 3)[:, own], numbers(23, 3, 2, seed=5)[:, own]
    model = chain(rnnx.GRU(3, 4, **NOISE, **place(backend)), 4, pool=None)
    data = Stream(x, y, length=9)
    return fit(model, data, comm, sharded=size > 1, loss="absolute_error", validation=data)


@case
def batch_first(comm: Any, backend: str) -> Found:
    """(B, T, F) with all dropouts, targets at every step, in order, plain SGD with momentum."""
    gru = rnnx.GRU(3, 4, batch_first=True, **NOISE, **place(backend))
    x, y = numbers(13, 5, 3), numbers(13, 5, 2, seed=4)
    sgd = optim.SGD(0.05, momentum=0.9, nesterov=True)
    model = chain(gru, 4, pool=None)
    return fit(model, (x, y), comm, loss="squared_error", optimizer=sgd, shuffle=False)


@case
def dropped_features(comm: Any, backend: str) -> Found:
    """An embedding of ragged symbols, and dropout of what a mean over time leaves."""
    embedding = rnnx.Embedding(7, 3, **place(backend))
    where = {"backend": embedding.backend}
    model = rnnx.Sequential(
        embedding,
        rnnx.Dropout(0.2, **where),
        rnnx.RNN(3, 4, seed=1, **where),
        rnnx.Pool("mean", **where),
        rnnx.Dropout(0.4, **where),
        rnnx.Linear(4, 2, seed=2, **where),
    )
    x = [np.random.default_rng(i).integers(0, 7, size=T) for i, T in enumerate(LENGTHS)]
    return fit(model, (x, LABELS), comm)


@case
def early_stopping(comm: Any, backend: str) -> Found:
    """Patience ends the run; the best parameters are kept; a schedule; AdamW."""
    model = chain(rnnx.GRU(3, 5, **place(backend)), 5)
    return fit(
        model, (ragged(), LABELS), comm, validation=(ragged(), 1 - LABELS), patience=2, epochs=20,
        min_delta=0.001, optimizer=optim.AdamW(0.05, weight_decay=0.1),
        schedule=optim.WarmUp(3, optim.Cosine(60)),
    )  # fmt: skip


@case
def portable_core(comm: Any, backend: str) -> Found:
    """The core and the optimizer that every library has."""
    model = chain(rnnx.LSTM(3, 5, core="portable", **place(backend)), 5)
    return fit(model, (ragged(), LABELS), comm)


class Plain:
    """An optimizer of one's own."""

    def __init__(self, rate: float) -> None:
        self.learning_rate = rate

    def init(self, params: Any) -> Any:
        """Return no state."""
        return {}

    def update(self, params: Any, grads: Any, state: Any, rate: float) -> Any:
        """Take a step."""
        return {k: w - rate * grads[k] for k, w in params.items()}, state


@case
def own_functions(comm: Any, backend: str) -> Found:
    """A loss, an optimizer and a callback of one's own; the run is stopped by a callback."""

    def loss(outputs: Any, targets: Any, mask: Any = None, weights: Any = None) -> Any:
        return losses.mean_squared_error(outputs, targets, mask, weights)

    def stop(run: Any) -> None:
        if run.epoch == 2 and run.rank == run.size_for_test - 1:
            run.stop("enough")

    def count(run: Any) -> None:
        run.size_for_test = 1 if comm is None else comm.size

    model = chain(rnnx.RNN(3, 5, **place(backend)), 5)
    return fit(
        model, (ragged(), numbers(13, 2)), comm, loss=loss, optimizer=Plain(0.1), epochs=9,
        callbacks=[count, stop],
    )  # fmt: skip


@case
def stopped_at_once(comm: Any, backend: str) -> Found:
    """The last process does not want to begin: none does."""

    class Late(train.Callback):
        def begin(self, run: Any) -> None:
            if comm is None or run.rank == comm.size - 1:
                run.stop("late")

    model = chain(rnnx.RNN(3, 5, **place(backend)), 5)
    return fit(model, (ragged(), LABELS), comm, callbacks=[Late()])


@case
def one_step(comm: Any, backend: str) -> Found:
    """T = 1."""
    return fit(chain(rnnx.GRU(3, 5, **place(backend)), 5), (numbers(1, 13, 3), LABELS), comm)


@case
def one_sequence(comm: Any, backend: str) -> Found:
    """N = 1: but one process has nothing to do; and dropout."""
    gru = rnnx.GRU(3, 5, **NOISE, **place(backend))
    return fit(chain(gru, 5), (numbers(4, 1, 3), LABELS[:1]), comm)


@case
def nothing_counts(comm: Any, backend: str) -> Found:
    """Weights of zero: in some batches no sequence counts, in others only those of one process."""
    data = Sequences(numbers(4, 13, 3), LABELS, weights=np.arange(13) == 7)
    model = chain(rnnx.GRU(3, 5, **place(backend)), 5)
    return fit(model, data, comm, metrics=ACCURACY, validation=data)


@case
def divergence(comm: Any, backend: str) -> Found:
    """The step, the parameter and the words are the same; the last good parameters stay."""
    model = chain(rnnx.RNN(3, 5, nonlinearity="relu", **place(backend)), 5, pool=None)
    x, y = numbers(9, 13, 3), numbers(9, 13, 2, seed=4)
    x[:, 7] *= 1e200
    try:
        fit(model, (x, y), comm, loss="squared_error", clip_norm=None)
    except train.Diverged as error:
        return found(model, error.history) | {"words": str(error)}
    raise AssertionError("it did not diverge")


def interrupted(kind: str, backend: str, comm: Any, folder: str | None, epochs: int) -> Found:
    """Return a run that goes on from the checkpoint in a folder, if there is one.

    Negative epochs: it fails at step 7, in the middle of an epoch.
    """
    options: dict[str, Any] = {"optimizer": "adamw", "epochs": abs(epochs)}
    options["schedule"] = interrupt_at(-1 if epochs > 0 else 7, comm)
    if folder is not None:
        options |= {"checkpoint_dir": folder, "checkpoint_every": 1, "resume": True}
    if kind == "stream":
        model = chain(rnnx.LSTM(3, 4, **NOISE, **place(backend)), 4, pool=None)
        x, y = numbers(40, 3, 3), numbers(40, 3, 2, seed=5)
        return fit(model, Stream(x, y, length=9), comm, loss="huber", **options)
    model = chain(rnnx.GRU(3, 5, **NOISE, **place(backend)), 5)
    data = (ragged(), LABELS)
    return fit(model, data, comm, validation=(ragged(), 1 - LABELS), **options)


def interrupt_at(step: int, comm: Any) -> Any:
    """Return a schedule that fails in the last process at a step."""

    def schedule(t: int) -> float:
        if t == step and comm is not None and comm.rank == comm.size - 1:
            raise LookupError("no rate for this step")
        return 1.0

    schedule.__qualname__ = "constant"
    return schedule


class Full:
    """In place of `rnnx.io` for checkpoints: the disk is full from a step on."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(io, name)

    def write(self, path: Any, description: Any, arrays: Any) -> None:
        """Write, or fail as a full disk does."""
        if description.extra["step"] >= self.step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        io.write(path, description, arrays)


class Interrupted:
    """A communicator on which Ctrl-C comes within a sum."""

    def __init__(self, comm: Any) -> None:
        self.comm = comm

    def __getattr__(self, name: str) -> Any:
        return getattr(self.comm, name)

    def Allreduce(self, mine: Any, total: Any) -> None:  # noqa: N802
        """Sum, then do what Python does with a signal that came meanwhile."""
        self.comm.Allreduce(mine, total)
        raise KeyboardInterrupt


class Ending(train.Callback):
    """A callback that cannot end in the last process."""

    def __init__(self, last: bool) -> None:
        self.last = last

    def end(self, run: Any) -> None:
        """Fail, as a log on a full disk does."""
        if self.last:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "log")


def failing(kind: str, comm: Any, folder: str) -> Found:
    """Return how a run ends in which the last process differs, or rank 0 where it has to."""
    last = comm.rank == comm.size - 1
    x, y, options = ragged(), LABELS, {}
    model = chain(rnnx.GRU(3, 5, **place("numpy")), 5)
    if kind == "empty" and last:
        x, y, options = [], LABELS[:0], {"sharded": True}
    elif kind == "wide" and last:
        x = ragged(4)
    elif kind == "nan" and last:
        x[2][1, 0] = np.nan
    elif kind == "options" and last:
        options = {"epochs": 4, "clip_norm": None}
    elif kind == "model" and last:
        model = chain(rnnx.GRU(3, 6, **place("numpy")), 6)
    elif kind == "comm":
        options = {"comm": "world"}
    elif kind == "small":
        options = {"batch_size": 2}
    elif kind == "alike":
        options = {"clip_norm": -1.0}
    elif kind == "schedule":
        options = {"schedule": interrupt_at(4, comm)}
    elif kind == "callback":
        options = {"callbacks": [lambda run: 1 / (run.rank - comm.size + 1)]}
    elif kind == "interrupt":

        def stop(run: Any) -> None:
            if last:
                raise KeyboardInterrupt

        options = {"callbacks": [stop]}
    elif kind == "interrupted sum":
        options = {"comm": Interrupted(comm) if last else comm}
    elif kind == "read":

        def unread(x: Any) -> Any:
            raise MemoryError("no room")

        if last:
            mpi.np = SimpleNamespace(**vars(np) | {"ascontiguousarray": unread})
    elif kind == "end":
        options = {"callbacks": [Ending(last)]}
    elif kind == "rates":
        options = {"optimizer": Plain(0.1 + 0.1 * last)}
    elif kind == "order":
        names = ["one", "two"]
        options = {"metrics": dict.fromkeys(names[::-1] if last else names, metrics.accuracy)}
    elif kind == "update":
        adam = optim.Adam(0.02)

        class Scarce:
            learning_rate, init = adam.learning_rate, adam.init

            def update(self, params: Any, grads: Any, state: Any, rate: float) -> Any:
                if last and state["mean_weight"] > 0.3:
                    raise MemoryError
                return adam.update(params, grads, state, rate)

        options = {"optimizer": Scarce()}
    elif kind == "metric":

        def metric(*counts: Any) -> Any:
            if last:
                raise FloatingPointError("no metric")
            return metrics.accuracy(*counts)

        options = {"metrics": {"accuracy": metric}}
    elif kind == "disk":
        checkpoint.io = Full(5)
        options = {"checkpoint_dir": folder, "checkpoint_every": 1}
    elif kind == "folder":
        options = {"checkpoint_dir": Path(folder, "none", "here")}
    data: Any = (x, y)
    if kind in ("few streams", "streams"):
        T = 20 + 3 * (last and kind == "streams")
        data = Stream(numbers(T, 2, 3), numbers(T, 2, 2), length=5)
        model = chain(rnnx.GRU(3, 5, **place("numpy")), 5, pool=None)
        options = {"loss": "huber", "sharded": kind == "streams"}
    if kind == "empty":
        options = {"sharded": True}
    try:
        fit(model, data, **{"epochs": 3, "comm": comm} | options)
    except BaseException as error:
        return {"kind": type(error).__name__, "words": str(error), "params": model.params}
    finally:
        mpi.np = np
    raise AssertionError("it did not fail")


def main(folder: str, backend: str, *names: str) -> None:
    """Run cases in all processes that MPI has started."""
    from mpi4py import MPI

    warnings.simplefilter("error")
    comm, results = MPI.COMM_WORLD, {}
    for name in names:
        if name.startswith("interrupted"):
            _, kind, epochs, place = name.split(":")
            try:
                results[name] = interrupted(kind, backend, comm, place, int(epochs))
            except LookupError as error:
                results[name] = {"words": str(error)}
        elif name.startswith("failing"):
            results[name] = failing(name.partition(" ")[2], comm, folder)
        else:
            results[name] = CASES[name.removesuffix(" again")](comm, backend)
    Path(folder, f"{comm.rank}.pickle").write_bytes(pickle.dumps(results))


if __name__ == "__main__":
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    main(*sys.argv[1:])
