"""What tests take: `bk`, every backend, device and dtype; `instructions`, every instruction set."""

from __future__ import annotations

import os

# Read when NumPy is imported: several test processes with several BLAS threads each would starve.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from cases import CASES, Case

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported; float64 is tested too
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "float32")  # not TF32 on a GPU
os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is imported
os.environ.setdefault("MPLBACKEND", "Agg")

from rnnx import Backend, BackendUnavailable, get_backend
from rnnx import core as cores
from rnnx.core import native

if preferred := os.environ.get("RNNX_CORE"):  # the name of the core that serves what it can
    _names = [core.NAME for core in cores.CORES]
    cores.CORES.insert(0, cores.CORES.pop(_names.index(preferred)))


def required() -> set[str]:
    """Return the backends whose tests RNNX_REQUIRE does not allow to skip."""
    return set(filter(None, os.environ.get("RNNX_REQUIRE", "").split(",")))


def make(case: Case) -> Backend:
    """Return the case's backend; skip with the reason if it is unavailable and not required."""
    try:
        return get_backend(case.backend, device=case.device, dtype=case.dtype)
    except BackendUnavailable as error:
        if case.backend in required():
            pytest.fail(f"RNNX_REQUIRE names {case.backend}, but: {error}")
        pytest.skip(str(error))


@pytest.fixture(params=CASES, ids=str)
def bk(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Yield every backend in the table of cases."""
    backend = make(request.param)
    with backend.scope():
        yield backend


@pytest.fixture(params=["base", "avx2", "avx512"])
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run on each instruction set that the compiled core has here."""
    _native = native._native
    before = _native.instructions()
    try:
        yield _native.instructions(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    finally:
        _native.instructions(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


# how a reason to skip names a library -> the package
LIBRARIES = {
    "torch": "torch", "jax": "jax", "cupy": "cupy", "array_api_strict": "array_api_strict",
    "scikit-learn": "sklearn", "pandas": "pandas", "pyarrow": "pyarrow", "polars": "polars",
    "tqdm": "tqdm", "tensorboardx": "tensorboardX", "onnxruntime": "onnxruntime", "onnx": "onnx",
    "keras": "keras", "h5py": "h5py", "flax": "flax", "dask": "dask",
    "device library": "torch", "second library": "array_api_strict",
}  # fmt: skip


def skip_summary(reasons: Iterable[str]) -> str:
    """Return one line: how many tests were skipped for each missing library, and why others were.

    A library that is installed is in the line if it has no usable device.
    """
    counts: dict[str, Counter[str]] = {"missing": Counter(), "unusable": Counter(), "": Counter()}
    for reason in reasons:
        text = reason.removeprefix("Skipped: ")
        named = [package for name, package in LIBRARIES.items() if name in text.lower()]
        if not named:
            counts[""][text] += 1
        else:
            installed = importlib.util.find_spec(named[0]) is not None
            counts["unusable" if installed else "missing"][named[0]] += 1
    parts = [
        title + ", ".join(f"{name} ({n})" for name, n in sorted(counts[kind].items()))
        for kind, title in (("missing", "not installed: "), ("unusable", "no device: "), ("", ""))
        if counts[kind]
    ]
    return "tests skipped, " + "; ".join(parts) if parts else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was skipped, in place of a line for every reason."""
    reports = terminalreporter.stats.get("skipped", [])
    line = skip_summary(report.longrepr[2] for report in reports)
    if line:
        terminalreporter.write_line(line)
