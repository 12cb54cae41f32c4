"""ONNX: models out for ONNX Runtime and other systems, models in from files of any exporter.

`writing` and `layers` make a graph, `reading` and the modules beside it take one apart; `weights`
has the layout of the weights, once for both. The package onnx is imported when it is first needed.
"""

from rnnx.interop.onnx.reading import from_onnx
from rnnx.interop.onnx.writing import to_onnx

__all__ = ["from_onnx", "to_onnx"]
