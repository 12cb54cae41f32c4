"""The processes that train one model together, by MPI or NCCL."""

from __future__ import annotations

from typing import Any

from rnnx.parallel.mpi import MPITeam
from rnnx.parallel.nccl import NCCLTeam
from rnnx.parallel.team import Team, together

__all__ = ["Team", "team_of", "together"]


def team_of(comm: Any) -> Team | None:
    """Return the processes of a communicator; None for no communicator, or one of one process.

    Raises
    ------
    TypeError
        If it is neither one of mpi4py nor what ``cupyx.distributed.init_process_group`` returned.
    """
    if comm is None:
        return None
    for kind in (MPITeam, NCCLTeam):
        if kind.serves(comm):
            team = kind(comm)
            return team if team.size > 1 else None
    raise TypeError(
        "comm must be a communicator of mpi4py, such as MPI.COMM_WORLD, or one that "
        f"cupyx.distributed.init_process_group returned, got a {type(comm).__name__}"
    )
