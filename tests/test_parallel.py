"""Several processes train one model as one process does, and end together if one of them fails."""

from __future__ import annotations

import pickle
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import parallel_cases as cases
import pytest
from cases import Case
from conftest import make
from mpi import launch

WORKER = Path(cases.__file__)


def run(n: int, *arguments: str) -> list[dict[str, Any]]:
    """Return what each of n processes found in cases."""
    with TemporaryDirectory() as folder:
        done = launch(n, [sys.executable, str(WORKER), folder, *arguments])
        assert done.returncode == 0, done.stderr
        assert done.stdout == done.stderr == ""
        return [pickle.loads(Path(folder, f"{r}.pickle").read_bytes()) for r in range(n)]


@cache
def together(n: int, backend: str) -> list[dict[str, Any]]:
    """Return what n processes found in all cases of a backend, run once for all tests."""
    return run(n, backend, *(cases.CASES if backend == "numpy" else cases.PORTABLE))


def assert_equal(found: cases.Found, expected: cases.Found) -> None:
    """Assert equal bits."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def assert_close(found: cases.Found, expected: cases.Found, tolerance: float = 1e-12) -> None:
    """Assert that numbers differ by rounding, and words not."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        if isinstance(value, str):
            assert value == expected[name]
        else:
            np.testing.assert_allclose(
                value, expected[name], rtol=tolerance, atol=tolerance, err_msg=name
            )


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", cases.CASES)
def test_processes_equal_one(name: str, n: int) -> None:
    """Parameters and history, to 1e-12; all processes have the same bits, and again."""
    found = together(n, "numpy")
    assert_close(found[0][name], cases.CASES[name](None, "numpy"))
    for other in found:
        assert_equal(other[name], found[0][name])
        assert_equal(other[f"{name} again"], found[0][name])


@pytest.mark.parametrize("backend", ["array_api_strict", "torch", "jax", "cupy"])
@pytest.mark.parametrize("name", cases.PORTABLE)
def test_every_backend_shares(name: str, backend: str) -> None:
    """Two processes on each library equal one on NumPy."""
    make(Case(backend, None, "float64"))
    found = together(2, backend)
    assert_close(found[0][name], cases.CASES[name](None, "numpy"))
    assert_equal(found[1][name], found[0][name])
