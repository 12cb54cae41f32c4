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
from rnnx.backend import Array, Backend
from rnnx.io import Description, Spec
from rnnx.io.header import natural
from rnnx.train import generators
from rnnx.train.history import INTEGERS, PER_STEP, History
from rnnx.train.run import Run
from rnnx.train.step import RESERVED, mapped

NAME = "checkpoint.safetensors"
KIND = "training run"
_COUNTS = ("epoch", "step", "position")
_KEYS = {*_COUNTS, "setup", "seconds", "best", "rng", "epoch_rng", "blas_threads"}


class Checkpoints:
    """The checkpoint of one run in a folder of its own, which is made if it is missing.

    A resumed run must have the same configuration of the model, and the same setup.
    """

    def __init__(
        self, folder: str | PathLike[str], config: Mapping[str, Any], setup: Mapping[str, Any]
    ) -> None:
        self.path = Path(folder) / NAME
        self.config, self.setup = json.loads(json.dumps([config, setup]))
        try:
            self.path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise type(error)(
                f"checkpoint_dir must be a folder or the name of a new one in a folder that "
                f"exists, got {str(folder)!r}: {error.strerror}"
            ) from None

    def begin(self, run: Run, resume: bool) -> None:
        """Bring a new run to where the checkpoint stands, or write its first one."""
        if resume and self.path.exists():
            self.restore(run)
        elif self.path.exists() and io.describe(self.path).extra.get("step") != 0:
            raise ValueError(
                f"there is a checkpoint already, {self.path}: give resume=True to resume it, or "
                "another checkpoint_dir"
            )
        else:
            self.save(run)  # finds a folder that cannot be written before the work starts

    def save(self, run: Run) -> None:
        """Write the run as it stands, once its records have been read."""
        bk = run.model.backend
        arrays = _packed(bk, _kept(run, run.best_params is not None))
        tables, counts = run.history.tables(), {name: getattr(run, name) for name in _COUNTS}
        tables["rows"] = np.asarray(run.rows, "float64")
        for name, spec in self._tables(**counts).items():
            arrays[name] = np.reshape(tables[name], spec.shape)  # also of what is still empty
        extra = counts | {
            "setup": self.setup,
            "seconds": run.clock(),
            "best": run.best_params is not None,
            "rng": generators.encoded(run.rng.bit_generator.state),
            "epoch_rng": generators.encoded(run.epoch_rng),
            "blas_threads": blas_threads(bk),
        }
        try:
            io.write(self.path, Description(KIND, self.config, bk.dtype_name, extra), arrays)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"the checkpoint of step {run.step} could not be written ({error.strerror}): make "
                "room, then resume; the model has the parameters of this step, and the previous "
                "checkpoint is complete",
                str(self.path),
            ) from None

    def restore(self, run: Run) -> None:
        """Bring a new run to where the checkpoint stands; on an error, change nothing."""
        description, arrays = io.read(self.path, KIND, partial(self._expected, run))
        extra = description.extra
        try:
            self._check(arrays)
            states = [generators.decoded(extra[name]) for name in ("rng", "epoch_rng")]
        except ValueError as error:
            raise io.damaged(self.path, error) from None
        found = _unpacked(run.model.backend, _kept(run, extra["best"]), arrays)
        run.best_params = found["best"]
        run.carry = run.carry._replace(
            params=found["model"], opt_state=found["optimizer"], state=found["state"]
        )
        run.history = History.of(self._columns(), arrays["epochs"], arrays["steps"])
        run.rows = arrays["rows"].tolist()
        run.epoch, run.step, run.position = (extra[name] for name in _COUNTS)
        run.seconds, run.epoch_rng = extra["seconds"], states[1]
        run.rng = generators.restored(run.rng, states[0])
        _warn_of_threads(extra["blas_threads"], blas_threads(run.model.backend))

    def _compare(self, description: Description) -> None:
        """Raise if the checkpoint is of another run, or lacks something."""
        extra = description.extra
        if extra.keys() != _KEYS or not isinstance(extra["setup"], dict):
            raise ValueError("it lacks a part of a training run")
        other = [
            *_differences("model", self.config, description.config),
            *_differences("", self.setup, extra["setup"]),
        ]
        if other:
            more = f"; and {len(other) - 3} more" if len(other) > 3 else ""
            raise ValueError(
                f"it is of another run ({'; '.join(other[:3])}{more}): resume with the same model, "
                "data and options, or give another checkpoint_dir"
            )
        counts = [extra[name] for name in _COUNTS]
        if not all(map(natural, counts)) or max(counts) > extra["step"]:
            raise ValueError(f"{', '.join(_COUNTS)} must be counts, got {counts!r:.80}")
        if type(extra["seconds"]) is not float:
            raise ValueError(f"seconds must be a number, got {extra['seconds']!r:.80}")
        if type(extra["best"]) is not bool or type(extra["blas_threads"]) not in (int, type(None)):
            raise ValueError("best or blas_threads has the wrong type")

    def _check(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise if the arrays hold numbers that no run has."""
        io.finite({k: w for k, w in arrays.items() if k.startswith(("model.", "best."))})
        for name, array in arrays.items():  # a second moment may be infinite
            if name.startswith(("optimizer.", "state.")) and np.any(np.isnan(array)):
                raise ValueError(f"expected numbers in {name!r}, got NaN")
        epochs, (epoch, step) = arrays["epochs"], (self._columns().index(k) for k in INTEGERS)
        if not np.array_equal(epochs[:, epoch], np.arange(1, len(epochs) + 1)):
            raise ValueError("its epochs are not counted from 1")
        ends = np.concatenate([[0], epochs[:, step], [len(arrays["steps"])]])
        if not np.all(np.diff(ends) >= 0) or np.any(ends % 1):
            raise ValueError("the steps of its epochs are not counts that grow")

    def _expected(self, run: Run, description: Description) -> dict[str, Spec]:
        """Return what the arrays of a checkpoint of this run must be."""
        self._compare(description)
        extra = description.extra
        like = _packed(run.model.backend, _kept(run, extra["best"]))
        found = {name: Spec(array.dtype.name, array.shape) for name, array in like.items()}
        return found | self._tables(**{name: extra[name] for name in _COUNTS})

    def _columns(self) -> list[str]:
        """Return the names of the history's columns, in their order."""
        names = ["loss", *self.setup["metrics"]]
        held_out = [f"validation_{name}" for name in names if self.setup["validation"] is not None]
        return [*RESERVED[:-1], *names[1:], *held_out, "seconds"]

    def _tables(self, epoch: int, step: int, position: int) -> dict[str, Spec]:
        """Return what the arrays of the history, and of the epoch that has begun, must be."""
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


def _differences(path: str, now: Any, then: Any) -> list[str]:
    """Return where two setups differ, in words."""
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        now, then = (dict(enumerate(part)) for part in (now, then))
    if isinstance(now, dict) and isinstance(then, dict):
        parts = [
            _differences(f"{path}.{k}".lstrip("."), now.get(k), then.get(k))
            for k in {**now, **then}
        ]
        return [line for part in parts for line in part]
    return [] if now == then else [f"{path}: {now!s:.80} now, {then!s:.80} in the checkpoint"]


def _kept(run: Run, best: bool) -> dict[str, Any]:
    """Return the nested arrays of a run; for the best parameters of a new run, any like them."""
    carry = run.carry
    return {
        "model": carry.params,
        "best": (run.best_params or carry.params) if best else None,
        "optimizer": carry.opt_state,
        "state": carry.state,
    }


def _packed(backend: Backend, tree: Any) -> dict[str, np.ndarray]:
    """Return the arrays and numbers of a nested state by their dotted paths."""
    found = {}

    def pack(path: str, x: Any) -> None:
        found[path] = np.asarray(x if isinstance(x, int | float) else backend.to_numpy(x))

    mapped(pack, tree)
    return found


def _unpacked(backend: Backend, like: Any, arrays: Mapping[str, Array]) -> Any:
    """Return a nested state of the structure of `like` from what `_packed` returned."""

    def unpack(path: str, x: Any) -> Any:
        if isinstance(x, int | float):
            return type(x)(arrays[path].item())
        return backend.asarray(arrays[path], dtype=arrays[path].dtype.name)

    return mapped(unpack, like)
