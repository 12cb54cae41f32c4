"""Models from other systems and for other systems: weights in, models out."""

from rnnx.interop.code import to_c, to_python
from rnnx.interop.flax import from_flax
from rnnx.interop.keras import from_keras, to_keras
from rnnx.interop.onnx import from_onnx, to_onnx
from rnnx.interop.torch import from_torch, to_torch

__all__ = [
    "from_flax",
    "from_keras",
    "from_onnx",
    "from_torch",
    "to_c",
    "to_keras",
    "to_onnx",
    "to_python",
    "to_torch",
]
