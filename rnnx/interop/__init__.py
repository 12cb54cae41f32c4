"""Models from other systems and for other systems: weights in, models out."""

from rnnx.interop.torch import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
