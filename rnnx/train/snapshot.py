"""All that a training run goes on from, as NumPy arrays and JSON.

A checkpoint keeps it, and rank 0 sends it to the other processes. A carried state is then whole:
that of the streams of all processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.parallel import Team, together
from rnnx.train import generators
from rnnx.train.history import History
from rnnx.train.run import Run
from rnnx.train.step import mapped

COUNTS = ("epoch", "step", "position")
MODEL, BEST, STATE = "model.", "best.", "state."  # begin the names of arrays
STREAMS = 1  # the axis of the streams in an array of a carried state, (L·D, B, ·)


class Snapshot(NamedTuple):
    """A run as it stands."""

    extra: dict[str, Any]  # counts, times and random generators
    arrays: dict[str, np.ndarray]  # parameters, the optimizer's and the model's states
    tables: dict[str, np.ndarray]  # of the history, and of the epoch that has begun
    columns: list[str]  # of the history

    @classmethod
    def of(cls, run: Run, team: Team | None = None) -> Snapshot:
        """Return the run as it stands, once its records have been read.

        All processes of a team must call it together.
        """
        with together(team):
            arrays = packed(run.model.backend, kept(run, run.best_params is not None))
        if team is not None and run.carry.state is not None:
            arrays |= _joined(team, {k: x for k, x in arrays.items() if k.startswith(STATE)})
        extra = {name: getattr(run, name) for name in COUNTS} | {
            "seconds": run.clock(),
            "best": run.best_params is not None,
            "rng": generators.encoded(run.rng.bit_generator.state),
            "epoch_rng": generators.encoded(run.epoch_rng),
        }
        tables = run.history.tables() | {"rows": np.asarray(run.rows, "float64")}
        return cls(extra, arrays, tables, [*run.history])

    def give(self, run: Run, columns: slice = slice(None)) -> None:
        """Bring a new run to here; `columns` are its own streams."""
        extra, tables = self.extra, self.tables
        states = [generators.decoded(extra[name]) for name in ("rng", "epoch_rng")]
        arrays = {k: x[:, columns] if k.startswith(STATE) else x for k, x in self.arrays.items()}
        found = _unpacked(run.model.backend, kept(run, extra["best"]), arrays)
        run.best_params = found["best"]
        run.carry = run.carry._replace(
            params=found["model"], opt_state=found["optimizer"], state=found["state"]
        )
        run.history = History.of(self.columns, tables["epochs"], tables["steps"])
        run.rows = tables["rows"].tolist()
        run.epoch, run.step, run.position = (extra[name] for name in COUNTS)
        run.seconds, run.epoch_rng = extra["seconds"], states[1]
        run.rng = generators.restored(run.rng, states[0])


def kept(run: Run, best: bool) -> dict[str, Any]:
    """Return the nested arrays of a run; for the best parameters of a new run, any like them."""
    carry = run.carry
    return {
        "model": carry.params,
        "best": (run.best_params or carry.params) if best else None,
        "optimizer": carry.opt_state,
        "state": carry.state,
    }


def packed(backend: Backend, tree: Any) -> dict[str, np.ndarray]:
    """Return the arrays and numbers of a nested state by their dotted paths."""
    found = {}

    def pack(path: str, x: Any) -> None:
        found[path] = np.asarray(x if isinstance(x, int | float) else backend.to_numpy(x))

    mapped(pack, tree)
    return found


def _unpacked(backend: Backend, like: Any, arrays: Mapping[str, Array]) -> Any:
    """Return a nested state of the structure of `like` from what `packed` returned."""

    def unpack(path: str, x: Any) -> Any:
        if isinstance(x, int | float):
            return type(x)(arrays[path].item())
        return backend.asarray(arrays[path], dtype=arrays[path].dtype.name)

    return mapped(unpack, like)


def _joined(team: Team, states: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state of the streams of all processes, by rank."""
    found = team.gathered(states)
    return {name: np.concatenate([part[name] for part in found], STREAMS) for name in states}
