"""How many threads the compiled core uses: what the machine, the environment and the user allow."""

from __future__ import annotations

import math
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnx import validate

_QUOTAS = (  # Linux control groups, version 2 and 1
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
_chosen: int | None = None


def get_num_threads() -> int:
    """Return the number of threads that the compiled core uses at most.

    This is the number given to `set_num_threads`, by default ``RNNX_THREADS`` of the environment,
    else the number of processors that this process may use, by its affinity and the quota of its
    control group. Where threadpoolctl is imported, it is at most what that allows.
    """
    global _chosen
    if _chosen is None:
        given = os.environ.get("RNNX_THREADS")
        _chosen = available() if given is None else _read("RNNX_THREADS", given)
    threadpoolctl = sys.modules.get("threadpoolctl")
    return _chosen if threadpoolctl is None else _limited(_chosen, threadpoolctl)


def set_num_threads(threads: int) -> None:
    """Set the number of threads that the compiled core uses at most.

    Results do not depend on it. Other layers and cores compute with NumPy, on as many threads as
    its BLAS library is set to.

    In a program that has imported threadpoolctl, as scikit-learn does, the core never uses more
    threads than the BLAS libraries may use: ``threadpoolctl.threadpool_limits(1)`` limits both.

    Raises
    ------
    ValueError
        For a number below one.
    """
    global _chosen
    _chosen = validate.size("threads", threads)


def available() -> int:
    """Return the number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    for paths in _QUOTAS:
        try:
            quota, period = " ".join(Path(path).read_text() for path in paths).split()
            if float(quota) > 0:
                count = min(count, max(1, math.ceil(float(quota) / float(period))))
        except (OSError, ValueError):  # no such file, or "max" for no limit
            continue
    return count


def _limited(count: int, threadpoolctl: ModuleType) -> int:
    """Return at most the number of threads that every BLAS library may use now."""
    allowed = [library.num_threads for library in _libraries(threadpoolctl)]
    return min([count, *(n for n in allowed if n)])  # None where it is not known


@cache
def _libraries(threadpoolctl: ModuleType) -> list[Any]:
    """Return the controllers of the BLAS libraries that have threads; finding them takes long."""
    controller = getattr(threadpoolctl, "ThreadpoolController", None)  # none before version 3
    found = controller().select(user_api="blas").lib_controllers if controller else []
    return [one for one in found if getattr(one, "threading_layer", "") != "disabled"]


def _read(name: str, text: str) -> int:
    try:
        return validate.size(name, int(text))
    except ValueError:
        raise ValueError(f"{name} must be an integer of at least 1, got {text!r}") from None
