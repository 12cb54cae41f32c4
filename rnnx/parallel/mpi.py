"""Processes that speak MPI, by mpi4py."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.parallel.team import Team


class MPITeam(Team):
    """The processes of a communicator of mpi4py.

    A process that dies ends the others: that is what ``mpirun`` does.
    """

    @classmethod
    def serves(cls, comm: Any) -> bool:
        """Return whether this is a communicator of mpi4py."""
        return hasattr(comm, "Allreduce") and hasattr(comm, "allgather")

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()

    def check(self, backend: Backend) -> None:
        """Accept every backend: arrays on a GPU go by the host."""

    def summed(self, backend: Backend, flat: Array) -> Array:
        """Return the sum of all processes' arrays (n,)."""
        try:
            mine = np.ascontiguousarray(backend.to_numpy(flat))
        except BaseException as error:  # of a library that computes when it is read
            self.pending = error
            mine = np.full(tuple(flat.shape), np.nan, backend.dtype_name)
        total = np.empty_like(mine)
        try:
            self._comm.Allreduce(mine, total)
        except KeyboardInterrupt as error:  # it came meanwhile: the sum is done
            self.pending = error
        return backend.asarray(total, dtype=total.dtype.name)

    def gathered(self, value: Any) -> list[Any]:
        """Return every process's object, by rank."""
        found: list[Any] = self._comm.allgather(value)
        return found

    def from_root(self, value: Any) -> Any:
        """Return the object of rank 0."""
        return self._comm.bcast(value if self.leads else None)
