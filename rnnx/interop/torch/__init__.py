"""torch: our layers as modules of its networks, trained by our BPTT."""

import importlib
from typing import Any

__all__ = ["Module"]


def __getattr__(name: str) -> Any:
    if name == "Module":  # a class of torch's, which is imported with it
        return importlib.import_module("rnnx.interop.torch.module").Module
    raise AttributeError(f"module 'rnnx.interop.torch' has no attribute {name!r}")
