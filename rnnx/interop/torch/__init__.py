"""torch: weights from its modules and files, modules from our layers, our BPTT as a module."""

import importlib
from typing import Any

from rnnx.interop.torch.weights import from_torch, to_torch

__all__ = ["Module", "from_torch", "to_torch"]


def __getattr__(name: str) -> Any:
    if name == "Module":  # a class of torch's, which is imported with it
        return importlib.import_module("rnnx.interop.torch.module").Module
    raise AttributeError(f"module 'rnnx.interop.torch' has no attribute {name!r}")
