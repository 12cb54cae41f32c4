"""The tables every test draws on: backends, kinds of recurrent layers, tolerances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import rnnx
from rnnx import Backend
from rnnx.cells import CELLS
from rnnx.cells.base import recurrent_gates


class Case(NamedTuple):
    """A backend, a device of it and a dtype."""

    backend: str
    device: str | None
    dtype: str

    def __str__(self) -> str:
        return "-".join(filter(None, self))


CASES = [
    Case("numpy", None, "float64"),
    Case("numpy", None, "float32"),
    # array-api-strict's devices: two that simulate a GPU, one without float64 (like Apple's), one
    # without any 64-bit type (like JAX by default)
    Case("array_api_strict", "CPU_DEVICE", "float64"),
    Case("array_api_strict", "device1", "float64"),
    Case("array_api_strict", "device2", "float32"),
    Case("array_api_strict", "no_float64", "float32"),
    Case("array_api_strict", "no_x64", "float32"),
    Case("torch", None, "float64"),
    Case("torch", None, "float32"),
    Case("jax", None, "float64"),
    Case("jax", None, "float32"),
    Case("cupy", None, "float64"),
    Case("cupy", None, "float32"),
]

NAMED = ["RNN", "RNN-relu", "GRU", "LSTM", "LSTM-proj"]  # those that torch.nn has too
KINDS = [*NAMED, *sorted(set(CELLS) - {"rnn", "gru", "lstm"}), "layer_norm_lstm-proj"]
NOISE = {"dropout": 0.4, "recurrent_dropout": 0.3, "weight_drop": 0.2}


def recurrent(kind: str, *sizes: int, **options: Any) -> Any:
    """Return the layer of a kind of `KINDS`: a class or a registered cell, and an option."""
    name, _, extra = kind.partition("-")
    options |= {"relu": {"nonlinearity": "relu"}, "proj": {"proj_size": 2}}.get(extra, {})
    if hasattr(rnnx, name):
        return getattr(rnnx, name)(*sizes, **options)
    return rnnx.Recurrent(name, *sizes, **options)


def noise(kind: str) -> dict[str, float]:
    """Return the three dropouts, or the one that a cell with a product of its own can have."""
    cell = recurrent(kind, 1, 3).cell
    return NOISE if recurrent_gates(cell) == cell.gates else {"dropout": 0.4}


# largest difference from the float64 NumPy reference, relative to the reference's largest entry
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def assert_close(backend: Backend, actual: object, expected: np.ndarray, name: str = "") -> None:
    """Assert that a backend's array is of its dtype and device and within tolerance."""
    assert actual.dtype == backend.dtype, f"{name}: {actual.dtype}"
    assert backend.asarray(actual) is actual, f"{name} is not an array of {backend}"
    assert_near(backend.to_numpy(actual), expected, TOLERANCE[backend.dtype_name], name)


def assert_near(actual: np.ndarray, expected: np.ndarray, tolerance: float, name: str = "") -> None:
    """Assert equal shapes and a difference within `tolerance` of the largest expected entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{name}: {actual.shape}, expected {expected.shape}"
    error = np.abs(actual - expected).max() / max(float(np.abs(expected).max()), 1e-300)
    assert error <= tolerance, f"{name}: relative error {error:.2e} above {tolerance:.0e}"
