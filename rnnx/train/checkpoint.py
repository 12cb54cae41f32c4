"""Checkpoints: all that a training run resumes from, in one file that is always complete.

The file is replaced once the next one is complete, so that a process killed at any moment leaves
the last complete one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np

from rnnx import io
from rnnx.backend import Backend
from rnnx.io import Description, Spec
from rnnx.io.header import natural
from rnnx.train import generators
from rnnx.train.history import INTEGERS, PER_STEP
from rnnx.train.setup import differences, in_short
from rnnx.train.snapshot import BEST, COUNTS, MODEL, STATE, Snapshot
from rnnx.train.step import RESERVED

NAME = "checkpoint.safetensors"
KIND = "training run"
_KEYS = {*COUNTS, "setup", "seconds", "best", "rng", "epoch_rng", "blas_threads"}


class Checkpoints:
    """The checkpoint of one run in a folder of its own, which is made if it is missing.

    A resumed run must have the same configuration of the model, and the same setup.
    """

    def __init__(self, folder: str | PathLike[str], model: Any, setup: Mapping[str, Any]) -> None:
        self.path = Path(folder) / NAME
        self.backend = model.backend
        self.config, self.setup = json.loads(json.dumps([model.config(), setup]))
        try:
            self.path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise type(error)(
                f"checkpoint_dir must be a folder or the name of a new one in a folder that "
                f"exists, got {str(folder)!r}: {error.strerror}"
            ) from None

    def begin(self, fresh: Snapshot, resume: bool) -> Snapshot:
        """Return what the checkpoint holds for a new run, or write its first one and return it."""
        if resume and self.path.exists():
            return self.read(fresh)
        if self.path.exists() and io.describe(self.path).extra.get("step") != 0:
            raise ValueError(
                f"there is a checkpoint already, {self.path}: give resume=True to resume it, or "
                "another checkpoint_dir"
            )
        self.write(fresh)  # finds a folder that cannot be written before the work starts
        return fresh

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot of the run."""
        arrays, extra = dict(snapshot.arrays), snapshot.extra
        for name, spec in self._tables(extra).items():
            arrays[name] = np.reshape(snapshot.tables[name], spec.shape)  # also of what is empty
        more = {"setup": self.setup, "blas_threads": blas_threads(self.backend)}
        header = Description(KIND, self.config, self.backend.dtype_name, extra | more)
        try:
            io.write(self.path, header, arrays)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"the checkpoint of step {extra['step']} could not be written ({error.strerror}): "
                "make room, then resume; the model has the parameters of this step, and the "
                "previous checkpoint is complete",
                str(self.path),
            ) from None

    def read(self, fresh: Snapshot) -> Snapshot:
        """Return what the checkpoint holds for a new run, of which this is a snapshot."""
        description, arrays = io.read(self.path, KIND, partial(self._expected, fresh))
        extra = description.extra
        tables = {name: arrays.pop(name) for name in self._tables(extra)}
        try:
            self._check(extra, arrays, tables)
        except ValueError as error:
            raise io.damaged(self.path, error) from None
        _warn_of_threads(extra["blas_threads"], blas_threads(self.backend))
        return Snapshot(extra, arrays, tables, self._columns())

    def _compare(self, description: Description) -> None:
        """Raise if the checkpoint is of another run, or lacks something."""
        extra = description.extra
        if extra.keys() != _KEYS or not isinstance(extra["setup"], dict):
            raise ValueError("it lacks a part of a training run")
        places = "now", "in the checkpoint"
        other = [
            *differences("model", self.config, description.config, *places),
            *differences("", self.setup, extra["setup"], *places),
        ]
        if other:
            raise ValueError(
                f"it is of another run ({in_short(other)}): resume with the same model, data and "
                "options, or give another checkpoint_dir"
            )
        counts = [extra[name] for name in COUNTS]
        if not all(map(natural, counts)) or max(counts) > extra["step"]:
            raise ValueError(f"{', '.join(COUNTS)} must be counts, got {counts!r:.80}")
        if type(extra["seconds"]) is not float:
            raise ValueError(f"seconds must be a number, got {extra['seconds']!r:.80}")
        if type(extra["best"]) is not bool or type(extra["blas_threads"]) not in (int, type(None)):
            raise ValueError("best or blas_threads has the wrong type")

    def _check(
        self, extra: dict[str, Any], arrays: dict[str, np.ndarray], tables: dict[str, np.ndarray]
    ) -> None:
        """Raise if there are numbers that no run has."""
        for name in ("rng", "epoch_rng"):
            generators.decoded(extra[name])
        io.finite({k: w for k, w in arrays.items() if k.startswith((MODEL, BEST))})
        for name, array in arrays.items():  # a second moment may be infinite
            if name.startswith(("optimizer.", STATE)) and np.any(np.isnan(array)):
                raise ValueError(f"expected numbers in {name!r}, got NaN")
        epochs, (epoch, step) = tables["epochs"], (self._columns().index(k) for k in INTEGERS)
        if not np.array_equal(epochs[:, epoch], np.arange(1, len(epochs) + 1)):
            raise ValueError("its epochs are not counted from 1")
        ends = np.concatenate([[0], epochs[:, step], [len(tables["steps"])]])
        if not np.all(np.diff(ends) >= 0) or np.any(ends % 1):
            raise ValueError("the steps of its epochs are not counts that grow")

    def _expected(self, fresh: Snapshot, description: Description) -> dict[str, Spec]:
        """Return what the arrays of a checkpoint of this run must be."""
        self._compare(description)
        found = {name: Spec(x.dtype.name, x.shape) for name, x in fresh.arrays.items()}
        if description.extra["best"]:
            weights = {k: spec for k, spec in found.items() if k.startswith(MODEL)}
            found |= {BEST + k.removeprefix(MODEL): spec for k, spec in weights.items()}
        return found | self._tables(description.extra)

    def _columns(self) -> list[str]:
        """Return the names of the history's columns, in their order."""
        names = ["loss", *self.setup["metrics"]]
        held_out = [f"validation_{name}" for name in names if self.setup["validation"] is not None]
        return [*RESERVED[:-1], *names[1:], *held_out, "seconds"]

    def _tables(self, extra: Mapping[str, Any]) -> dict[str, Spec]:
        """Return what the arrays of the history, and of the epoch that has begun, must be."""
        epoch, step, position = (extra[name] for name in COUNTS)
        width = 3 + len(self.setup["metrics"])  # loss, norm, metrics, count
        return {
            "epochs": Spec("float64", (epoch, len(self._columns()))),
            "steps": Spec("float64", (step, len(PER_STEP))),
            "rows": Spec("float64", (position, width)),
        }


def blas_threads(backend: Backend) -> int | None:
    """Return the number of threads of NumPy's matrix products, None where it is not known."""
    if backend.name != "numpy":
        return None
    try:
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]
    except ImportError:
        return None
    counts = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max(counts, default=None)


def _warn_of_threads(then: int | None, now: int | None) -> None:
    if None not in (then, now) and then != now:
        warn(
            f"the checkpoint was written with {then} BLAS threads, this process has {now}: the "
            "resumed run may differ in the last digits; set OPENBLAS_NUM_THREADS, or the variable "
            "of your BLAS, for a run that is equal bit for bit",
            stacklevel=2,
        )
