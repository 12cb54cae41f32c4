"""Models from other systems and for other systems: weights in, models out."""

from rnnx.interop.onnx import from_onnx, to_onnx

__all__ = ["from_onnx", "to_onnx"]
