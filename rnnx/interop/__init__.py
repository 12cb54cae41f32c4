"""Models from other systems and for other systems: weights in, models out."""

from rnnx.interop.code import to_c, to_python

__all__ = ["to_c", "to_python"]
