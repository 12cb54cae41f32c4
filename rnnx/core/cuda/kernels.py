"""The kernels: CUDA C of this folder, compiled once for every set of constants and every device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import cupy

from rnnx.cells import GRUCell, LSTMCell
from rnnx.core.contract import Job
from rnnx.core.cuda.plan import Card

FUSED = ("primitives.cuh", "cells.cuh", "fused.cu")
PERSISTENT = ("primitives.cuh", "cells.cuh", "tile.cuh", "persistent.cu")
REALS = {"float32": "float", "float64": "double"}


@lru_cache(maxsize=16)
def card(index: int) -> Card:
    """Return the facts of a device."""
    facts = cupy.cuda.Device(index).attributes
    return Card(
        facts["MultiProcessorCount"], facts["MaxSharedMemoryPerBlockOptin"],
        10 * facts["ComputeCapabilityMajor"] + facts["ComputeCapabilityMinor"],
        bool(facts["CooperativeLaunch"]),
    )  # fmt: skip


def constants(job: Job) -> dict[str, Any]:
    """Return what the source of a cell is compiled for."""
    kind = 3 if isinstance(job.cell, LSTMCell) else 2 if isinstance(job.cell, GRUCell) else 0
    relu = getattr(job.cell, "nonlinearity", "tanh") == "relu"
    return {"CELL": kind + relu, "REAL": REALS[job.backend.dtype_name]}


def source(names: Sequence[str]) -> str:
    """Return the text of some files of this folder, one after the other."""
    return "\n".join((files(__package__) / name).read_text(encoding="utf-8") for name in names)


def options(values: dict[str, Any]) -> tuple[str, ...]:
    """Return the compiler's options."""
    return ("--std=c++17", *(f"-D{name}={value}" for name, value in values.items()))


def kernel(
    names: tuple[str, ...], name: str, values: dict[str, Any], together: bool = False
) -> Any:
    """Return a kernel; with `together`, one whose blocks are all resident."""
    return _kernel(names, name, options(values), together)


@lru_cache(maxsize=256)
def _kernel(names: tuple[str, ...], name: str, chosen: tuple[str, ...], together: bool) -> Any:
    module = cupy.RawModule(code=source(names), options=chosen, enable_cooperative_groups=together)
    return module.get_function(name)


def address(x: Any) -> int:
    """Return the address of an array, 0 for None."""
    return 0 if x is None else int(x.data.ptr)
