"""Processes that sum by NCCL, each on its own GPU of a simulated CuPy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from rnnx.parallel import team_of

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the store is a forked process")


class Ended(NamedTuple):
    """How a process ended."""

    status: int
    printed: str
    errors: str


def run(case: str, folder: Path, size: int = 2) -> list[Ended]:
    """Run a case of the worker on processes; return how each ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(HERE / "simulated"), os.environ.get("PYTHONPATH")]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUPYX_DISTRIBUTED_PORT": str(port),
        "TMPDIR": str(folder),
    }
    worker = str(HERE / "parallel_nccl_worker.py")
    processes, ended = [], []
    with ExitStack() as stack:
        for rank in range(size):
            out, err = (
                stack.enter_context((folder / f"{rank}.{name}").open("w"))
                for name in ("out", "err")
            )
            command = [sys.executable, worker, case, str(rank), str(size)]
            processes.append(
                subprocess.Popen(command, stdout=out, stderr=err, env=env, start_new_session=True)
            )
        try:
            statuses = [process.wait(120) for process in processes]
        finally:
            for process in processes:  # rank 0's store too, if it was left
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    for rank, status in enumerate(statuses):
        texts = [(folder / f"{rank}.{name}").read_text() for name in ("out", "err")]
        ended.append(Ended(status, *texts))
    return ended


def assert_done(ended: Ended) -> None:
    """Assert that a process found what its case demands."""
    assert (ended.status, ended.printed) == (0, "done\n"), ended.errors


@pytest.mark.parametrize("case", ["talk", "refuse", "errors", "ahead"])
def test_processes_with_a_gpu_each(case: str, tmp_path: Path) -> None:
    """What a `Team` promises: sums, objects, errors that name the rank, and no wait for a sum."""
    for ended in run(case, tmp_path):
        assert_done(ended)


@pytest.mark.parametrize(
    ("case", "dead"),
    [
        ("killed", [1]),
        ("killed_both", [1, 2]),
        ("killed_in_a_step", [1]),
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
    assert hung.errors.startswith("rank 1 of 3 gave no answer for 1 s: it died or hangs")


def test_a_communicator_is_known_by_what_it_can() -> None:
    """Anything else is refused."""
    assert team_of(None) is None
    with pytest.raises(TypeError, match="init_process_group returned, got a list"):
        team_of([])
