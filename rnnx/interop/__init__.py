"""Models from other systems and for other systems: weights in, models out."""

from rnnx.interop.onnx import to_onnx

__all__ = ["to_onnx"]
