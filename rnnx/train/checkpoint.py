"""Checkpoints: everything that a training run goes on from, in one file that is always whole.

The file is replaced at once when the next one is complete, so that the end of the process at any
moment leaves the last whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from rnnx import io
from rnnx.backend import Array, Backend
from rnnx.train.history import History
from rnnx.train.run import Run

NAME = "checkpoint.npz"
_KIND = "training run"


class Checkpoints:
    """The checkpoint of a run in a folder, which belongs to this run alone.

    Parameters
    ----------
    folder : path
        Made where it is missing; its parent must exist.
    setup : mapping
        What must be the same for a run to be resumed; what JSON can hold.

    Raises
    ------
    OSError
        Where the folder cannot be made or written.
    """

    def __init__(self, folder: str | PathLike[str], setup: Mapping[str, Any]) -> None:
        self.path = Path(folder) / NAME
        self.setup: dict[str, Any] = json.loads(json.dumps(setup))
        try:
            self.path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise type(error)(
                f"checkpoint_dir must be a folder or the name of a new one in a folder that "
                f"exists, got {str(folder)!r}: {error.strerror}"
            ) from None

    def exists(self) -> bool:
        """Return whether there is a checkpoint."""
        return self.path.exists()

    def begun(self) -> bool:
        """Return whether there is a checkpoint with a step to lose."""
        return self.exists() and bool(io.load(self.path, _KIND)[0]["step"] > 0)

    def save(self, run: Run) -> None:
        """Write the run as it stands, whose figures have been read."""
        bk, carry = run.model.backend, run.carry
        arrays = {f"params/{name}": bk.to_numpy(w) for name, w in carry.params.items()}
        arrays |= _packed(bk, "optimizer", carry.opt_state) | _packed(bk, "state", carry.state)
        arrays |= {f"best/{k}": bk.to_numpy(w) for k, w in (run.best_params or {}).items()}
        arrays |= {f"history/{k}": values for k, values in run.history.to_arrays().items()}
        arrays["rows"] = np.asarray(run.rows, dtype="float64")
        header = {
            "setup": self.setup,
            "epoch": run.epoch,
            "step": run.step,
            "position": run.position,
            "seconds": run.clock(),
            "rng": _encoded(run.rng.bit_generator.state),
            "epoch_rng": _encoded(run.epoch_rng),
        }
        try:
            io.save(self.path, _KIND, header, arrays)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"the checkpoint of step {run.step} could not be written ({error.strerror}): make "
                "room, then resume; the model has the parameters of this step, and the checkpoint "
                "before is whole",
                str(self.path),
            ) from None
        for part in self.path.parent.glob(f"{NAME}.*{io.PART}"):
            part.unlink(missing_ok=True)  # of a process that was ended while it wrote

    def restore(self, run: Run) -> None:
        """Bring a new run to where the checkpoint stands.

        Raises
        ------
        ValueError
            Where it is damaged, or of another model, optimizer or data.
        """
        header, arrays = io.load(self.path, _KIND)
        self._compare(header["setup"])
        bk, carry = run.model.backend, run.carry
        parts = {kind: _part(arrays, kind) for kind in ("params", "best", "history")}
        run.carry = carry._replace(
            params={name: bk.asarray(parts["params"][name]) for name in carry.params},
            opt_state=_unpacked(bk, "optimizer", carry.opt_state, arrays),
            state=_unpacked(bk, "state", carry.state, arrays),
        )
        if parts["best"]:
            run.best_params = {name: bk.asarray(parts["best"][name]) for name in carry.params}
        run.history = History.from_arrays(parts["history"])
        run.rows = arrays["rows"].tolist()
        run.epoch, run.step = header["epoch"], header["step"]
        run.position, run.seconds = header["position"], header["seconds"]
        run.epoch_rng = _decoded(header["epoch_rng"])
        run.rng = _in_state(run.rng, _decoded(header["rng"]))

    def _compare(self, found: Mapping[str, Any]) -> None:
        """Raise where the checkpoint was made with another setup."""
        other = [
            f"{name}: {self.setup.get(name)} now, {found.get(name)} in the checkpoint"
            for name in {**self.setup, **found}
            if self.setup.get(name) != found.get(name)
        ]
        if other:
            raise ValueError(
                f"expected the training run of {self.path}, got another ({'; '.join(other)}): "
                "resume it as it was begun, or give another checkpoint_dir"
            )


def _packed(backend: Backend, path: str, tree: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a nested state by their paths."""
    if tree is None:
        return {}
    if isinstance(tree, tuple | list):
        tree = {str(i): part for i, part in enumerate(tree)}
    if isinstance(tree, dict):
        parts = [_packed(backend, f"{path}/{name}", part) for name, part in tree.items()]
        return {name: array for part in parts for name, array in part.items()}
    return {path: np.asarray(tree if isinstance(tree, int | float) else backend.to_numpy(tree))}


def _unpacked(backend: Backend, path: str, like: Any, arrays: Mapping[str, Array]) -> Any:
    """Return a nested state of the structure of `like` from arrays by their paths."""
    if like is None:
        return None
    if isinstance(like, tuple | list):
        parts = [_unpacked(backend, f"{path}/{i}", part, arrays) for i, part in enumerate(like)]
        return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)
    if isinstance(like, dict):
        return {k: _unpacked(backend, f"{path}/{k}", part, arrays) for k, part in like.items()}
    if isinstance(like, int | float):
        return type(like)(arrays[path].item())
    return backend.asarray(arrays[path], dtype=arrays[path].dtype.name)


def _in_state(rng: np.random.Generator, state: Any) -> np.random.Generator:
    """Return the generator in this state; another, where the state is of another kind."""
    kind = state["bit_generator"]
    if rng.bit_generator.state["bit_generator"] != kind:
        rng = np.random.Generator(getattr(np.random, kind)())
    rng.bit_generator.state = state
    return rng


def _part(arrays: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    start = f"{kind}/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _encoded(state: Any) -> Any:
    """Return the state of a bit generator as JSON can hold it."""
    if isinstance(state, dict):
        return {name: _encoded(part) for name, part in state.items()}
    if isinstance(state, np.ndarray):
        return {"dtype": state.dtype.name, "values": state.tolist()}
    return state if isinstance(state, str) else int(state)


def _decoded(state: Any) -> Any:
    """Return what `_encoded` was given."""
    if not isinstance(state, dict):
        return state
    if state.keys() == {"dtype", "values"}:
        return np.asarray(state["values"], dtype=state["dtype"])
    return {name: _decoded(part) for name, part in state.items()}
