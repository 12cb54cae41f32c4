"""Models as plain code: one header of C99, or one file of Python that needs NumPy alone."""

from rnnx.interop.code.c import to_c
from rnnx.interop.code.python import to_python
from rnnx.interop.code.quantized import Loss

__all__ = ["Loss", "to_c", "to_python"]
