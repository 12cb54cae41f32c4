"""The fixture `bk`: every test that takes it runs on every backend, device and dtype."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from cases import CASES, Case

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported; float64 is tested too
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "float32")  # not TF32 on a GPU
os.environ.setdefault("MPLBACKEND", "Agg")

from rnnx import Backend, BackendUnavailable, get_backend


def required() -> set[str]:
    """Return the backends that RNNX_REQUIRE forbids to skip."""
    return set(filter(None, os.environ.get("RNNX_REQUIRE", "").split(",")))


def make(case: Case) -> Backend:
    """Return the case's backend; skip with the reason where it is unavailable and not required."""
    try:
        return get_backend(case.backend, device=case.device, dtype=case.dtype)
    except BackendUnavailable as error:
        if case.backend in required():
            pytest.fail(f"RNNX_REQUIRE names {case.backend}, but: {error}")
        pytest.skip(str(error))


@pytest.fixture(params=CASES, ids=str)
def bk(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Yield each backend of the table of cases."""
    backend = make(request.param)
    with backend.scope():
        yield backend


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)
