"""NumPy with complex numbers, only for complex-step differentiation.

A step of 1e-30 i is never lost in a sum, because the imaginary part is kept separately.
"""

from __future__ import annotations

import array_api_compat.numpy as xp
import numpy as np

from rnnx.backends.base import Array, Backend
from rnnx.backends.numpy import NumpyBackend


class ComplexBackend(NumpyBackend):
    """NumPy arrays of complex128."""

    __slots__ = ()

    @property
    def dtype_name(self) -> str:
        """The dtype's name, ``"complex128"``."""
        return "complex128"

    def computes_with(self, dtype: str) -> bool:
        """Return whether arrays of this dtype are floating or complex input."""
        return dtype.startswith(("float", "complex"))

    def asarray(self, obj: object, dtype: str | None = None) -> Array:
        """Return `obj` as a complex array, without checks."""
        return np.asarray(obj, dtype or self.dtype_name)


def make() -> Backend:
    """Return the backend."""
    return ComplexBackend("numpy", xp, "cpu", np.complex128)
