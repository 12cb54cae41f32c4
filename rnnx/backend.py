"""The backend selector: choose where arrays live, once, by name.

The Array API standard says how to compute with arrays; `Backend` adds where they live. A library is
imported only when its backend is asked for.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from rnnx.backends import exchange, registry
from rnnx.backends.base import DTYPES, Array, Backend, dtype_of, is_device_array, scope_of
from rnnx.backends.registry import BackendUnavailable, available_backends, devices, library_version

__all__ = [
    "Array",
    "Backend",
    "BackendUnavailable",
    "available_backends",
    "convert",
    "devices",
    "dtype_of",
    "get_backend",
    "is_device_array",
    "library_version",
    "scope_of",
    "target_backend",
]

NUMBERS = r"bool|(u?int|b?float|complex)\d\w*"  # names of dtypes


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


def convert(
    x: Any,
    backend: str | Backend,
    *,
    device: Any = None,
    dtype: str | None = None,
    copy: bool | None = None,
) -> Array:
    """Return an array of any library as an array of a backend.

    On one device the libraries share memory, by DLPack, in the order of the GPU's streams; the
    result then shows what is later written to `x`, and the other way round. Between devices the
    numbers are copied, from one library to another through the host. With `copy` None:

    ============  =======================  =============  =============  ==================
    from, to      NumPy                    PyTorch        JAX            CuPy
    ============  =======================  =============  =============  ==================
    NumPy         itself                   shared [1]_    shared [2]_    copied to the GPU
    PyTorch       shared                   itself         shared [2]_    shared on one GPU
    JAX           shared, read-only        copied [3]_    itself         copied [3]_
    CuPy          copied to the host       shared [4]_    shared [4]_    itself
    others [5]_   shared                   shared [1]_    shared [2]_    copied to the GPU
    ============  =======================  =============  =============  ==================

    .. [1] Copied if it is read-only or has negative strides.
    .. [2] Copied unless it is writeable, lies in one piece and begins at a multiple of 64 bytes.
       JAX takes its arrays to be constant: do not write to `x` afterwards.
    .. [3] On the device, because JAX's arrays must not be written to; ``copy=False`` shares them,
       and you must not write to the result.
    .. [4] On the same GPU; through the host to a CPU.
    .. [5] Whatever has ``__array__`` on the host, such as columns of pandas, Arrow or polars, or
       ``__dlpack__``. array-api-strict's memory is never shared, as its devices simulate GPUs.

    Parameters
    ----------
    x : array
        Of numbers, complex ones too, or of bool, with any strides and any order of bytes.
    backend : str or Backend
        Where the result is to be: a name, as for `get_backend`, or a `Backend`. Only its library
        and its device count: an array keeps its own dtype, whatever the backend computes in.
    device : optional
        As for `get_backend`; with a `Backend`, its own.
    dtype : str, optional
        The name of a dtype of both libraries or of one, such as ``"int32"`` or ``"bfloat16"``;
        default is x's own. For that of a backend, give ``backend.dtype_name``.
    copy : bool, optional
        True always copies; False raises where memory cannot be shared; None, the default, copies
        where it must.

    Returns
    -------
    array
        The numbers of `x`. The memory lives as long as it does.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, is masked, sparse, a tracer of JAX, or a tensor that requires
        grad; if the backend lacks the dtype, such as bfloat16 in NumPy; or if imaginary parts
        would be lost.
    ValueError
        With ``copy=False``, where a copy is needed; and as `get_backend` does.
    BackendUnavailable
        As `get_backend` does.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> x = np.zeros(3)
    >>> rnnx.convert(x, "numpy") is x, rnnx.convert(x, "numpy", copy=True) is x
    (True, False)
    >>> rnnx.convert(np.arange(3, dtype=">i2"), "numpy", dtype="float32")
    array([0., 1., 2.], dtype=float32)
    """
    if dtype is not None and not (isinstance(dtype, str) and re.fullmatch(NUMBERS, dtype)):
        raise TypeError(f"dtype must be the name of a dtype, such as 'float32', got {dtype!r}")
    return exchange.converted(x, get_backend(backend, device=device), dtype, copy)


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
