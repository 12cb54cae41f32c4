"""The backend selector: where arrays live and how loops run. No mathematics.

The Array API standard says how to compute with arrays, not where they live; `Backend` holds what
the standard leaves out. Each library adds its own few lines in `rnnx/backends/`; that module is
imported only when its backend is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_cupy_array
from array_api_compat import device as device_of

Array = Any  # an array of any conforming library
Carry = TypeVar("Carry")
Function = TypeVar("Function", bound=Callable[..., Any])

# name -> (the package to import, what to install where it is missing)
_LIBRARIES = {
    "numpy": ("numpy", "pip install numpy"),
    "cupy": ("cupy", "pip install 'rnnx[cuda13]' (or 'rnnx[cuda12]')"),
    "torch": ("torch", "pip install 'rnnx[torch]'"),
    "jax": ("jax", "pip install 'rnnx[jax]'"),
    "array_api_strict": ("array_api_strict", "pip install array-api-strict"),
}
_DTYPES = ("float32", "float64")


class BackendUnavailable(RuntimeError):
    """The library is missing, or it has no usable device; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Backend:
    """An array library, a device of it and a real floating dtype. Made by `get_backend`.

    Attributes
    ----------
    name : str
        ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"`` or ``"array_api_strict"``.
    xp : module
        The Array API namespace.
    device : object
        The library's own device object.
    dtype : object
        The dtype of every parameter and activation: the library's float32 or float64.
    """

    name: str
    xp: ModuleType
    device: Any
    dtype: Any

    def __hash__(self) -> int:
        return hash((self.name, self.device_name, self.dtype_name))  # CuPy's Device has no hash

    def __repr__(self) -> str:
        return f"Backend({self.name!r}, device={self.device_name!r}, dtype={self.dtype_name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.name, self.device_name, self.dtype_name)

    @property
    def device_name(self) -> str:
        """The device's name, by which `get_backend` finds it again."""
        return str(self.device)

    @property
    def dtype_name(self) -> str:
        """The dtype's name, ``"float32"`` or ``"float64"``, the same on every library."""
        return next(name for name in _DTYPES if self.dtype == getattr(self.xp, name))

    def asarray(self, obj: object, dtype: str | None = None) -> Array:
        """Return `obj` as an array of this backend.

        Parameters
        ----------
        obj : array_like
            A NumPy array, a (nested) list of numbers, an array of this backend's library on this
            backend's device, or a list of such arrays of one shape. Memory is shared where the
            library can: do not write to `obj` while the result is in use.
        dtype : str, optional
            Name of a dtype of the standard, such as ``"int32"``; default is the backend's.

        Returns
        -------
        array
            `obj` in `dtype`, on the backend's device.

        Raises
        ------
        TypeError
            For an array of another device library, of another device, or not of real numbers.
        ValueError
            For a list that is not rectangular.
        """
        dtype = dtype or self.dtype_name
        with self.scope():
            if self.is_own(obj):
                return self._cast(obj, dtype)
            if isinstance(obj, list | tuple) and any(map(_is_device_array, obj)):
                items = [self.asarray(item, dtype) for item in obj]
                if len({tuple(item.shape) for item in items}) > 1:
                    raise ValueError(
                        "expected a rectangular array of numbers: a list of arrays of one shape, "
                        f"got shapes {[tuple(item.shape) for item in items]}"
                    )
                return self.xp.stack(items)
            return self._upload(self.host(obj).astype(dtype, copy=False))

    def floating(self, name: str, obj: Any) -> Array:
        """Return `obj`, called `name` in errors, which must not be of another kind than floating.

        Raises
        ------
        TypeError, ValueError
            For an array of integers, booleans or complex numbers, and as `asarray` does.
        """
        dtype = str(getattr(obj, "dtype", "")).rpartition(".")[2]  # torch writes torch.float32
        if dtype and not self.computes_with(dtype):
            raise TypeError(
                f"{name} must be a real floating array, got dtype {dtype}: "
                "convert it, as in astype('float32')"
            )
        return self.asarray(obj)

    def host(self, obj: object) -> np.ndarray:
        """Return `obj` as real numbers on the host, in their own dtype; errors as of `asarray`."""
        if self.is_own(obj):
            return self.to_numpy(obj)
        if _is_device_array(obj):
            raise TypeError(
                f"expected an array of {self._accepted}, got one of "
                f"{type(obj).__module__.partition('.')[0]}: convert it with the to_numpy "
                "method of its own backend first"
            )
        if isinstance(obj, np.ma.MaskedArray):
            raise TypeError(
                "expected an array, got a masked one, whose mask would be lost: use filled(), "
                "and give the mask apart"
            )
        if isinstance(obj, list | tuple) and any(map(_is_device_array, obj)):
            obj = [self.host(item) for item in obj]
        try:
            host = np.asarray(obj)
        except (ValueError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"expected a rectangular array of numbers: {reason}") from None
        if host.dtype.kind not in "fiub":
            raise TypeError(f"expected an array of real numbers, got dtype {host.dtype}")
        return host

    def zeros(self, shape: Sequence[int]) -> Array:
        """Return zeros of `shape` in the backend's dtype on its device."""
        with self.scope():
            return self.xp.zeros(tuple(shape), dtype=self.dtype, device=self.device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return `x` as a NumPy array: the only copy from a device to the host in this package.

        On the CPU the result may share memory with `x`.
        """
        return np.asarray(x)

    def scan(
        self,
        step: Callable[[Carry, tuple[Array, ...]], tuple[Carry, tuple[Array, ...]]],
        carry: Carry,
        xs: tuple[Array, ...],
        *,
        reverse: bool = False,
    ) -> tuple[Carry, tuple[Array, ...]]:
        """Run ``carry, ys[t] = step(carry, xs[t])`` over the leading axis, as `jax.lax.scan` does.

        Parameters
        ----------
        step : callable
            Takes the carry and a tuple with one slice of each of `xs`; returns the new carry and a
            tuple of arrays.
        carry : pytree of arrays
            The state before the first step; the same structure, shapes and dtypes at every step.
        xs : tuple of arrays
            All of one length T >= 1 along the first axis.
        reverse : bool
            Run from the last slice to the first; the outputs keep the order of `xs`.

        Returns
        -------
        carry
            The state after the last step run.
        ys : tuple of arrays
            The steps' outputs stacked along a new first axis of length T.
        """
        rows = list(zip(*(self.xp.unstack(x, axis=0) for x in xs), strict=True))
        outputs = []
        for row in reversed(rows) if reverse else rows:
            carry, y = step(carry, row)
            outputs.append(y)
        if reverse:
            outputs.reverse()
        return carry, tuple(self.xp.stack(ys, axis=0) for ys in zip(*outputs, strict=True))

    def blocks(self, steps: int, width: int) -> int:
        """Return in how many blocks of time to go back over `steps` steps of `width` numbers each.

        One, where the library runs or compiles a whole sequence at once.
        """
        return 1

    def choose(self, flag: Array, new: dict[str, Array], old: dict[str, Array]) -> dict[str, Array]:
        """Return `new` where `flag`, an array () of bool, is true, else `old`; without reading it.

        Of two dicts with the same keys, shapes and dtypes.
        """
        return {name: self.xp.where(flag, x, old[name]) for name, x in new.items()}

    def padded(self, steps: int) -> int:
        """Return to how many steps a ragged batch of `steps` steps is best padded: so many.

        To a few lengths more, where the library compiles a program for each.
        """
        return steps

    def compile(self, function: Function) -> Function:
        """Return `function` compiled where the library has a compiler, else `function` itself."""
        return function

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it; for timing."""

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which this backend's arrays are made and computed."""
        return nullcontext()

    @property
    def _accepted(self) -> str:
        return "NumPy" if self.name == "numpy" else f"{self.name} or NumPy"

    def is_own(self, obj: object) -> bool:
        """Return whether `obj` is an array of this library; raise where it is on another device."""
        if not (is_array_api_obj(obj) and array_namespace(obj) is self.xp):
            return False
        device = device_of(obj)
        if device is not None and device != self.device:  # None: traced by jax.jit
            raise TypeError(
                f"expected an array on device {self.device}, got one on {device}: "
                "move it there, or choose the backend's device to match"
            )
        return True

    def computes_with(self, dtype: str) -> bool:
        """Return whether arrays of the dtype of this name are input for computing."""
        return dtype.startswith(("float", "bfloat"))

    def refuse_traced(self, x: Array) -> None:
        """Raise where `x` stands for an array in a function that is being compiled.

        What is drawn while it is compiled would be drawn once for ever.
        """

    def _cast(self, x: Array, dtype: str) -> Array:
        """Return the own array `x` in the named dtype."""
        if self.xp.isdtype(x.dtype, "complex floating"):
            raise TypeError(f"expected an array of real numbers, got dtype {x.dtype}")
        target = getattr(self.xp, dtype)
        return x if x.dtype == target else self.xp.astype(x, target)

    def _upload(self, host: np.ndarray) -> Array:
        """Return the NumPy array `host`, already of the right dtype, on the device."""
        return self.xp.asarray(host, device=self.device)


def get_backend(
    name: str | Backend = "numpy", *, device: Any = None, dtype: str | None = None
) -> Backend:
    """Return the backend called `name`.

    Parameters
    ----------
    name : str or Backend
        ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, ``"array_api_strict"``, or ``"auto"``: CuPy
        where it has a usable device, else NumPy. A `Backend` passes through unchanged.
    device : optional
        An index or name of a device, or the library's own device object. Default is CuPy's current
        GPU, JAX's first device, the CPU elsewhere.
    dtype : {"float32", "float64"}, optional
        The dtype of every parameter and activation: float32 by default, or that of the `Backend`.

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        For an unknown name, device or dtype, or a `Backend` beside options that contradict it.
    BackendUnavailable
        Where the library is missing, or has no usable device, or not this dtype; the message says
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
                f"expected a Backend or the options of one, got {name!r} and device={device!r}, "
                f"dtype={dtype!r} that contradict it: give one of them"
            )
        return name
    if name == "auto":
        name = "numpy" if _why_not("cupy") else "cupy"
    if not isinstance(name, str) or name not in _LIBRARIES:
        known = ", ".join(["auto", *_LIBRARIES])
        raise ValueError(f"backend must be one of {known}, got {name!r}")
    reason = _why_not(name)
    if reason:
        raise BackendUnavailable(reason)
    backend: Backend = _module(name).make(device, dtype or "float32")
    return backend


def target_backend(
    name: str | Backend, *, device: Any, dtype: str | None, own_dtype: str
) -> Backend:
    """Return the backend for a copy of what has `own_dtype`, which is the default by name.

    A `Backend` keeps its own dtype, as in `get_backend`.
    """
    if dtype is None and not isinstance(name, Backend):
        dtype = own_dtype
    return get_backend(name, device=device, dtype=dtype)


def _rebuild(name: str, device: str, dtype: str) -> Backend:
    return get_backend(name, device=device, dtype=dtype)


def _dtype_name(dtype: Any) -> str:
    """Return the name of a dtype, given by name or as NumPy's."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in _DTYPES:
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return name


def available_backends() -> dict[str, str]:
    """Return, for each backend's name, ``""`` where it is usable, else one line: why not.

    Every installed library is imported and its devices are probed, so this can take seconds.
    """
    return {name: _why_not(name) for name in _LIBRARIES}


def library_version(name: str) -> str:
    """Return the version of the library behind the backend called `name`."""
    return str(importlib.import_module(_LIBRARIES[name][0]).__version__)


def devices(name: str) -> list[str]:
    """Return the names of the devices of a usable backend."""
    found: list[str] = _module(name).devices()
    return found


def scope_of(x: Array) -> AbstractContextManager[Any]:
    """Return the context in which what is computed from `x` stays on its device.

    CuPy's creation functions put their result on the current device, not on that of `x`.
    """
    return type(x.device)(x.device.id) if is_cupy_array(x) else nullcontext()


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"rnnx.backends.{name}")


def _why_not(name: str) -> str:
    """Return ``""`` where the backend is usable, else the reason and what to do, in one line."""
    package, install = _LIBRARIES[name]
    if importlib.util.find_spec(package) is None:
        return f"backend {name!r} needs the package {package}, which is not installed: {install}"
    try:
        reason: str = _module(name).probe()
    except Exception as error:  # a broken installation of somebody else's library can raise any
        reason = f"backend {name!r} cannot be imported ({error}): reinstall it, {install}"
    return reason.replace("\n", " ")


def _is_device_array(obj: object) -> bool:
    return is_array_api_obj(obj) and not isinstance(obj, np.ndarray | np.generic)
