"""Commands in several processes, by mpirun."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rnnx.parallel.mpirun import mpirun

TESTS = str(Path(__file__).parent)
_OF_A_LAUNCHER = ("OMPI_COMM", "PMIX_", "PMI_")


def started(
    n: int, command: Sequence[str], *, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command in n processes, more than there are cores if need be; skip without MPI."""
    try:
        start, around = mpirun(n)
    except FileNotFoundError as error:
        pytest.skip(f"needs MPI: {error}")
    around = {k: v for k, v in around.items() if not k.startswith(_OF_A_LAUNCHER)}
    around["PYTHONPATH"] = os.pathsep.join([*filter(None, [around.get("PYTHONPATH")]), TESTS])
    return subprocess.Popen(
        [*start[:3], "--bind-to", "none", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around | dict(env or {}),
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
