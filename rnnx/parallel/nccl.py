"""Processes with a GPU each, whose arrays NCCL sums from one GPU to the others."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.parallel.team import Team
from rnnx.parallel.watch import Watch


class NCCLTeam(Team):
    """The processes of a communicator of ``cupyx.distributed``.

    A process that dies is found by the others; see `rnnx.parallel.watch`. What is computed from a
    sum is to be trusted when a later call of a method has returned.
    """

    @classmethod
    def serves(cls, comm: Any) -> bool:
        """Return whether this is a communicator of ``cupyx.distributed``."""
        return hasattr(comm, "all_reduce") and hasattr(comm, "all_gather")

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank, self.size = int(comm.rank), int(comm._n_devices)
        self._gpu = int(comm._comm.device_id())
        self._watch = Watch.of(comm, self)

    def check(self, backend: Backend) -> None:
        """Raise ValueError unless the arrays are on the communicator's GPU."""
        if backend.name != "cupy":
            raise ValueError(
                f"NCCL sums arrays of CuPy, got a model on {backend.name}: give it "
                "backend='cupy', or give comm a communicator of mpi4py"
            )
        if backend.device.id != self._gpu:
            raise ValueError(
                f"the communicator was made on GPU {self._gpu}, got a model on GPU "
                f"{backend.device.id}: call cupy.cuda.Device({backend.device.id}).use() before "
                f"init_process_group, or give the model device={self._gpu}"
            )

    def summed(self, backend: Backend, flat: Array) -> Array:
        """Return the sum of all processes' arrays (n,), on the GPU; the host does not wait."""
        with backend.scope():
            total = backend.xp.empty_like(flat)
            self._send(self._comm.all_reduce, flat, total)
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

        with cp.cuda.Device(self._gpu):
            found = cp.empty((self.size, mine.size), mine.dtype)
            event = self._send(self._comm.all_gather, cp.asarray(mine), found, mine.size)
            self._watch.wait(event)
            return np.asarray(found.get())

    def _send(self, call: Callable[..., None], *arguments: Any) -> Any:
        """Enqueue a call of NCCL on the current stream; return the event that follows it."""
        import cupy as cp

        self._watch.check()
        try:
            call(*arguments)
        except Exception:  # such as of a communicator that was aborted just now
            self._watch.check()
            raise
        event = cp.cuda.Event(disable_timing=True)
        event.record()
        self._watch.add(event)
        return event
