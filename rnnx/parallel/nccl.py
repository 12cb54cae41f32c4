"""Processes with a GPU each, whose arrays NCCL sums from one GPU to the others."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.parallel.team import Team

PATIENCE = 600.0  # seconds to wait for the other processes


class NCCLTeam(Team):
    """The processes of a communicator of ``cupyx.distributed``.

    A process that dies is found by the others: they wait `PATIENCE` for it, and no longer.
    """

    @classmethod
    def serves(cls, comm: Any) -> bool:
        """Return whether this is a communicator of ``cupyx.distributed``."""
        return hasattr(comm, "all_reduce") and hasattr(comm, "all_gather")

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank, self.size = int(comm.rank), int(comm._n_devices)
        self._waits = 0

    def check(self, backend: Backend) -> None:
        """Raise ValueError unless the arrays are on a GPU."""
        if backend.name != "cupy":
            raise ValueError(
                f"NCCL sums arrays of CuPy, got a model on {backend.name}: give it "
                "backend='cupy', or give comm a communicator of mpi4py"
            )

    def summed(self, backend: Backend, flat: Array) -> Array:
        """Return the sum of all processes' arrays (n,), on the GPU; the host does not wait."""
        total = backend.xp.empty_like(flat)
        self._comm.all_reduce(flat, total)
        return total

    def gathered(self, value: Any) -> list[Any]:
        """Return every process's object, by rank."""
        mine = np.frombuffer(pickle.dumps(value), "uint8")
        sizes = self._rows(np.asarray([mine.size], "int64"))[:, 0]
        rows = self._rows(np.pad(mine, (0, int(sizes.max()) - mine.size)))
        return [pickle.loads(row[:n].tobytes()) for row, n in zip(rows, sizes, strict=True)]

    def _rows(self, mine: np.ndarray) -> np.ndarray:
        """Return the arrays (n,) of all processes as (size, n), on the host."""
        import cupy as cp

        found = cp.empty((self.size, mine.size), mine.dtype)
        self._comm.all_gather(cp.asarray(mine), found, mine.size)
        self._wait(cp.cuda.get_current_stream())
        return np.asarray(found.get())

    def _wait(self, stream: Any) -> None:
        """Wait for the GPU, but not forever; an error names the processes that are missing."""
        self._waits += 1
        self._note()
        until, pause = time.monotonic() + PATIENCE, 1e-5
        while not stream.done:
            if time.monotonic() > until:
                raise TimeoutError(
                    f"rank {self.rank} of {self.size} waited {PATIENCE:.0f} s for "
                    f"{self._missing()}, which died or hangs: end all processes, and resume from "
                    "the checkpoint"
                )
            time.sleep(pause)
            pause = min(2 * pause, 0.01)

    def _note(self) -> None:
        """Say in the store of the processes that this one is waiting."""
        if not self._comm._use_mpi:  # mpirun ends all processes if one dies
            self._comm._store_proxy[f"rnnx {self.rank}"] = self._waits

    def _missing(self) -> str:
        """Return which processes have not come to this wait, in words."""
        late = [rank for rank in range(self.size) if self._count(rank) < self._waits]
        return "rank " + ", ".join(map(str, late)) if late else "another process"

    def _count(self, rank: int) -> int:
        """Return how often a process has come to wait."""
        if self._comm._use_mpi:
            return self._waits
        try:
            return int(self._comm._store_proxy[f"rnnx {rank}"])
        except RuntimeError:  # it never came
            return 0
