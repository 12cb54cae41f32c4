"""One layer, one direction, one whole dense sequence; and what puts layers together from it.

`contract` says what a core is, `portable` defines it, and `CORES` lists all of them, the fastest
first. `direction` reads a batch with padding in one direction, by the `order` of its steps, and
`stack` puts layers and directions together. `pooling` makes one vector of a sequence. All of this
is pure: functions of arrays, without parameters of their own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rnnx.core import native, numpy_step, portable
from rnnx.core.contract import Core, Job
from rnnx.core.gpu import fused, persistent

# The first that serves a job runs it. What comes after the portable core, which serves everything,
# runs only by its name.
CORES: list[Core] = [native, numpy_step, fused, portable, persistent]
PRECISIONS = ("float32", "tf32", "bfloat16")

__all__ = [
    "CORES",
    "PRECISIONS",
    "Core",
    "Job",
    "check_name",
    "maker",
    "report",
    "select",
]


def select(job: Job, name: str = "auto") -> Core:
    """Return the core that runs a job.

    Parameters
    ----------
    job : Job
        The static facts: cell, backend, sizes, options in use.
    name : str, default "auto"
        ``"auto"`` for the first core of `CORES` that serves the job, or the name of the core to
        prefer. Where that one declines, the job falls back to the portable core.
    """
    return _select(job, name, tuple(CORES))


@lru_cache(maxsize=256)
def _select(job: Job, name: str, cores: tuple[Core, ...]) -> Core:
    if name != "auto":
        named = {core.NAME: core for core in cores}[name]
        return portable if named.declines(job) else named
    return next(core for core in cores if not core.declines(job))


def maker(saved: Any) -> Core:
    """Return the core that made this saved part of a trace."""
    return next(core for core in CORES if isinstance(saved, core.Saved))


def report(job: Job, name: str = "auto") -> dict[str, str]:
    """Return, for each core, ``"runs"``, ``"could run"``, or why it declines the job.

    The arguments are those of `select`; the name is by default ``"auto"``.
    """
    chosen = select(job, name)
    return {
        core.NAME: "runs" if core is chosen else core.declines(job) or "could run" for core in CORES
    }


def check_name(name: str) -> str:
    """Return the name of a core, or ``"auto"``.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    known = ["auto", *(core.NAME for core in CORES)]
    if name not in known:
        raise ValueError(f"core must be one of {', '.join(known)}, got {name!r}")
    return name
