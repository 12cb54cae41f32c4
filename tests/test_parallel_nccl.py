"""Processes that sum by NCCL, each on its own GPU of a simulated CuPy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from mpi import launch

from rnnx.parallel import team_of

HERE = Path(__file__).parent
WORKER = str(HERE / "parallel_nccl_worker.py")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the store is a forked process")


class Ended(NamedTuple):
    """How a process ended."""

    status: int
    printed: str
    errors: str


def environment(folder: Path) -> dict[str, str]:
    """Return the variables for processes on simulated GPUs that meet at a port of their own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(HERE / "simulated"), os.environ.get("PYTHONPATH")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUPYX_DISTRIBUTED_PORT": str(port),
        "TMPDIR": str(folder),
    }


def run(case: str, folder: Path, size: int = 2) -> list[Ended]:
    """Run a case of the worker on processes; return how each ended."""
    env, files = os.environ | environment(folder), {}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(size):
            files[rank] = [folder / f"{rank}.{name}" for name in ("out", "err")]
            with files[rank][0].open("w") as out, files[rank][1].open("w") as err:
                command = [sys.executable, WORKER, case, str(rank), str(size)]
                processes.append(
                    subprocess.Popen(
                        command, stdout=out, stderr=err, env=env, start_new_session=True
                    )
                )
        statuses = [process.wait(120) for process in processes]
    finally:
        for process in processes:  # and the store, if rank 0 left it
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return [
        Ended(status, *(path.read_text() for path in files[rank]))
        for rank, status in enumerate(statuses)
    ]


def assert_done(ended: Ended) -> None:
    """Assert that a process found what its case demands."""
    assert (ended.status, ended.printed) == (0, "done\n"), ended.errors


def test_processes_with_a_gpu_each(tmp_path: Path) -> None:
    """What a `Team` promises: sums, objects, errors that name the rank, and no wait for a sum."""
    for ended in run("talk+refuse+errors+ahead", tmp_path):
        assert_done(ended)


def test_two_gpus_train_as_one_process(tmp_path: Path) -> None:
    """GRU with dropout, clipped, with validation, on ragged sequences and on a `Stream`."""
    for ended in run("fits", tmp_path):
        assert_done(ended)


@pytest.mark.parametrize(
    ("case", "dead"),
    [
        ("killed_ahead", [1, 2]),
        ("killed_in_a_step", [1]),
        ("killed_in_a_fit", [1]),
        ("killed_root", [0]),
        ("killed_root_and_store", [0]),
    ],
)
def test_a_killed_process_ends_the_others(case: str, dead: list[int], tmp_path: Path) -> None:
    """Of three processes the others raise one error, which names it, in bounded time."""
    for rank, ended in enumerate(run(case, tmp_path, 3)):
        if rank in dead:
            assert ended.status == -signal.SIGKILL
        else:
            assert_done(ended)


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    """The others name it; it prints the same words, and ends."""
    root, hung, other = run("hangs", tmp_path, 3)
    assert_done(root)
    assert_done(other)
    assert (hung.status, hung.printed) == (1, "")
    assert hung.errors.startswith("rank 1 of 3 gave no answer for 2 s: it died or hangs")


def test_processes_that_mpirun_started(tmp_path: Path) -> None:
    """`use_mpi=True` needs no store, and mpirun ends the others if one is killed."""
    done, killed = (
        launch(2, [sys.executable, WORKER, case, "-1", "2"], env=environment(tmp_path))
        for case in ("talk", "killed_ahead")
    )
    assert (done.returncode, done.stdout) == (0, "done\n" * 2), done.stderr
    assert killed.returncode != 0
    assert killed.stdout == ""
    assert "rank 1" in killed.stderr


def test_a_communicator_is_known_by_what_it_can() -> None:
    """Anything else is refused."""
    assert team_of(None) is None
    with pytest.raises(TypeError, match="init_process_group returned, got a list"):
        team_of([])
