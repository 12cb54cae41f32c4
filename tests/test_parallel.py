"""Several processes train one model as one process does, and end together if one of them fails."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import parallel_cases as cases
import pytest
from cases import Case
from conftest import make
from mpi import launch

from rnnx import io
from rnnx.train import checkpoint

WORKER = Path(cases.__file__)


def run(n: int, *arguments: str) -> list[dict[str, Any]]:
    """Return what each of n processes found in cases."""
    with TemporaryDirectory() as folder:
        done = launch(n, [sys.executable, str(WORKER), folder, *arguments])
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        return [pickle.loads(Path(folder, f"{r}.pickle").read_bytes()) for r in range(n)]


@cache
def attempt(n: int, *arguments: str) -> list[dict[str, Any]] | Exception:
    """Return what `run` does, or how it failed: a test that hangs is waited for once."""
    try:
        return run(n, *arguments)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return error


def once(n: int, *arguments: str) -> list[dict[str, Any]]:
    """Return what each of n processes found in cases, run once for all tests."""
    found = attempt(n, *arguments)
    if isinstance(found, Exception):
        raise found
    return found


def together(n: int) -> list[dict[str, Any]]:
    """Return what n processes found in all cases, each of which they did twice."""
    return once(n, "numpy", *cases.CASES, *(f"{name} again" for name in cases.CASES))


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", cases.CASES)
def test_processes_equal_one(name: str, n: int) -> None:
    """Parameters and history, to 1e-12; all processes have the same bits, and again."""
    found = together(n)
    cases.assert_close(found[0][name], cases.CASES[name](None, "numpy"))
    for other in found:
        cases.assert_equal(other[name], found[0][name])
        cases.assert_equal(other[f"{name} again"], found[0][name])


@pytest.mark.parametrize("backend", ["array_api_strict", "torch", "jax", "cupy"])
def test_every_backend_shares(backend: str) -> None:
    """Two processes on each library equal one on NumPy: all at once, as JAX takes long to start."""
    make(Case(backend, None, "float64"))
    found = run(2, backend, *cases.PORTABLE)
    for name in cases.PORTABLE:
        cases.assert_close(found[0][name], cases.CASES[name](None, "numpy"))
        cases.assert_equal(found[1][name], found[0][name])


@pytest.mark.parametrize("kind", ["sequences", "stream"])
def test_a_run_resumes_on_another_number_of_processes(kind: str, tmp_path: Path) -> None:
    """From 3 to 2 to 1, each stopped inside an epoch: the uninterrupted run, to rounding."""
    for n, epochs, step in ((3, -4, 7), (2, 3, None)):
        run(n, "numpy", f"interrupted:{kind}:{epochs}:{tmp_path}")
        at = io.describe(tmp_path / checkpoint.NAME).extra
        assert (at["step"] == step and at["position"] > 0) or at["epoch"] == epochs
    found = cases.interrupted(kind, "numpy", None, str(tmp_path), 5)
    cases.assert_close(found, cases.interrupted(kind, "numpy", None, None, 5))


def test_a_resumed_run_has_the_same_bits(tmp_path: Path) -> None:
    """With the same number of processes."""
    whole, part = (f"interrupted:stream:4:{tmp_path / name}" for name in ("whole", "part"))
    broken = part.replace(":4:", ":-4:")
    found = run(2, "numpy", whole, broken)
    assert found[0][broken] == {"words": "rank 1 of 2: no rate for this step"}
    cases.assert_equal(run(2, "numpy", part)[1][part], found[0][whole])


FAILURES = {
    "empty": ("ValueError", "rank 2 of 3: x must hold at least one sequence"),
    "wide": ("ValueError", r"rank 2 of 3: x must have shape \(T, B, 3\).*got \(1, 1, 4\)"),
    "nan": (
        "ValueError",
        "rank 2 of 3: x must hold finite numbers, got NaN in sequence 2 at step 1",
    ),
    "options": ("ValueError", "rank 2 of 3: all processes must.*epochs: 4 here, 3 on rank 0"),
    "model": ("ValueError", "rank 2 of 3: .*hidden_size: 6 here, 5 on rank 0"),
    "comm": ("TypeError", "comm must be a communicator of mpi4py"),
    "small": ("ValueError", "batch_size must be at least 3, the number of processes, got 2"),
    "alike": ("ValueError", "clip_norm must be"),
    "schedule": ("LookupError", "rank 2 of 3: no rate for this step"),
    "callback": ("ArithmeticError", "rank 2 of 3: division by zero"),
    "interrupt": ("KeyboardInterrupt", "rank 2 of 3: KeyboardInterrupt"),
    "interrupted sum": ("KeyboardInterrupt", "rank 2 of 3: KeyboardInterrupt"),
    "read": ("MemoryError", "rank 2 of 3: no room"),
    "end": ("OSError", "rank 2 of 3: No space left on device: 'log'"),
    "rates": ("ValueError", "the same learning rate in every step, got 0.1, 0.1, 0.2, by rank"),
    "order": ("ValueError", "rank 2 of 3: .*order of metrics.0: two here, one on rank 0"),
    "update": ("MemoryError", "rank 2 of 3: MemoryError"),
    "metric": ("ArithmeticError", "rank 2 of 3: no metric"),
    "disk": ("OSError", "rank 0 of 3: the checkpoint of step 5 could not be written"),
    "folder": ("FileNotFoundError", "rank 0 of 3: checkpoint_dir must be a folder"),
    "few streams": ("ValueError", "x must have a stream for each of the 3 processes, got 2"),
    "streams": (
        "ValueError",
        "must have as many steps.*20 and 5, 20 and 5, 23 and 5, by rank",
    ),
}


def failures() -> list[dict[str, Any]]:
    """Return how three processes end, for all kinds of failures."""
    return once(3, "numpy", *(f"failing {kind}" for kind in FAILURES))


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_of_one_ends_all(kind: str) -> None:
    """With the same error, which names the rank, and the same parameters.

    Unless they were given other models or rates, or one could not do the others' last step.
    """
    name, words = FAILURES[kind]
    for found in (process[f"failing {kind}"] for process in failures()):
        assert found["kind"] == name, found
        assert re.search(words, found["words"]), found
        first = failures()[0][f"failing {kind}"]
        assert found["words"] == first["words"]
        if kind not in ("model", "rates", "update"):
            cases.assert_equal(found["params"], first["params"])
