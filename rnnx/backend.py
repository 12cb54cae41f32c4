"""The backend selector: choose where arrays live, once, by name.

The Array API standard says how to compute with arrays; `Backend` adds where they live. A library is
imported only when its backend is asked for.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array

from rnnx.backends import registry
from rnnx.backends.base import DTYPES, Array, Backend, is_device_array
from rnnx.backends.registry import BackendUnavailable, available_backends, devices, library_version

__all__ = [
    "Array",
    "Backend",
    "BackendUnavailable",
    "available_backends",
    "devices",
    "get_backend",
    "is_device_array",
    "library_version",
    "scope_of",
    "target_backend",
]


def get_backend(
    name: str | Backend = "numpy", *, device: Any = None, dtype: str | None = None
) -> Backend:
    """Return a backend by name.

    Parameters
    ----------
    name : str or Backend
        ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, ``"array_api_strict"``, or ``"auto"``: CuPy
        if it has a usable device, else NumPy. A `Backend` is returned unchanged.
    device : optional
        The index or name of a device, or the library's own device object. Default is the current
        GPU for CuPy, the first device for JAX, and the CPU for the others.
    dtype : {"float32", "float64"}, optional
        The dtype of every parameter and activation; default is float32.

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        If the name, device or dtype is unknown, or `device` or `dtype` contradicts a `Backend`.
    BackendUnavailable
        If the library is missing, or has no usable device, or lacks the dtype. The message says
        what to do.

    Examples
    --------
    >>> import rnnx
    >>> rnnx.get_backend("numpy", dtype="float64")
    Backend('numpy', device='cpu', dtype='float64')
    """
    dtype = None if dtype is None else _dtype_name(dtype)
    if isinstance(name, Backend):
        if dtype not in (None, name.dtype_name) or device not in (None, name.device):
            raise ValueError(
                f"expected {name!r} without contradicting options, got device={device!r} and "
                f"dtype={dtype!r}: pass the Backend or the options"
            )
        return name
    if name == "auto":
        name = "numpy" if registry.why_not("cupy") else "cupy"
    if not isinstance(name, str) or name not in registry.LIBRARIES:
        known = ", ".join(["auto", *registry.LIBRARIES])
        raise ValueError(f"backend must be one of {known}, got {name!r}")
    backend: Backend = registry.make(name, device, dtype or "float32")
    return backend


def target_backend(
    name: str | Backend, *, device: Any, dtype: str | None, own_dtype: str
) -> Backend:
    """Return the backend to copy a model to; by name, the model's own dtype is the default."""
    default = None if isinstance(name, Backend) else own_dtype
    return get_backend(name, device=device, dtype=dtype or default)


def _dtype_name(dtype: Any) -> str:
    """Return the name of a dtype, which is given by name or as a NumPy dtype."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in DTYPES:
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return name


def scope_of(x: Array) -> AbstractContextManager[Any]:
    """Return the context that keeps what is computed from `x` on its device.

    CuPy's creation functions use the current device, not that of `x`.
    """
    return type(x.device)(x.device.id) if is_cupy_array(x) else nullcontext()
