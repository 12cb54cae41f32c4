"""ONNX: models out for ONNX Runtime and other systems.

`writing` and `layers` make a graph; `weights`
has the layout of the weights. The package onnx is imported when it is first needed.
"""

from rnnx.interop.onnx.writing import to_onnx

__all__ = ["to_onnx"]
