"""Whether a launcher, such as ``mpirun``, started this process beside others: asked without MPI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

# What a launcher tells each process in its environment: how many there are, and its rank.
_LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # mpirun of Open MPI
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),  # of MVAPICH2
    ("PMI_SIZE", "PMI_RANK"),  # of MPICH and Intel MPI; srun --mpi=pmi2
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),  # srun; without PMI its tasks do not know each other
)
_PMI = ("PMIX_RANK", "PMI_RANK", "PMI_FD")
_LOCAL = (  # its rank among the processes of its machine
    "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMI_LOCAL_RANK",
    "SLURM_LOCALID",
)  # fmt: skip


class Launched(NamedTuple):
    """A process among those that were started together."""

    rank: int
    size: int
    local: int  # the rank among those of its machine

    def world(self) -> Any:
        """Return the communicator of all of them; this imports mpi4py.

        Raises
        ------
        ImportError
            If mpi4py, or the MPI that it was built for, is not installed.
        RuntimeError
            If its MPI is not that of the launcher.
        """
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # RuntimeError: it finds no library of MPI
            raise ImportError(
                f"{self.size} processes were started to train together, which needs mpi4py: "
                f"pip install 'rnnx[mpi]' ({error})"
            ) from None
        found = MPI.COMM_WORLD.Get_size()
        if found != self.size:
            raise RuntimeError(
                f"{self.size} processes were started to train together, but mpi4py sees {found}: "
                "it uses another MPI than the launcher; start them with the mpirun of its MPI, or "
                "build it for yours: pip install --no-binary mpi4py --force-reinstall mpi4py"
            )
        return MPI.COMM_WORLD


def here(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """Return this process among those of its launcher; None if it was started alone."""

    def number(*names: str) -> int | None:
        found = (environment.get(name, "") for name in names)
        return next((int(text) for text in found if text.isdecimal()), None)

    for count, name in _LAUNCHERS:
        size, rank = number(count), number(name)
        if size is None or rank is None:
            continue
        if count.startswith("SLURM") and not any(known in environment for known in _PMI):
            continue
        return Launched(rank, size, number(*_LOCAL) or 0) if size > 1 else None
    return None
