"""NumPy on complex numbers: for complex-step differentiation alone.

A nudge of 1e-30 i is never lost in a sum, as it has a component of its own.
"""

from __future__ import annotations

import array_api_compat.numpy as xp
import numpy as np

from rnnx.backend import Array, Backend
from rnnx.backends.numpy import NumpyBackend


class ComplexBackend(NumpyBackend):
    """NumPy arrays of complex128."""

    __slots__ = ()

    @property
    def dtype_name(self) -> str:
        """The dtype's name."""
        return "complex128"

    def computes_with(self, dtype: str) -> bool:
        """Return whether arrays of the dtype of this name are input for computing."""
        return dtype.startswith(("float", "complex"))

    def asarray(self, obj: object, dtype: str | None = None) -> Array:
        """Return `obj` as a complex array, unchecked."""
        return np.asarray(obj, dtype or self.dtype_name)


def make() -> Backend:
    """Return the backend."""
    return ComplexBackend("numpy", xp, "cpu", np.complex128)
