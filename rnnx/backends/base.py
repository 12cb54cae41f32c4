"""`Backend`: where arrays live and how loops run. No mathematics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_cupy_array, to_device
from array_api_compat import device as device_of

from rnnx.backends import registry

Array = Any  # an array of any conforming library
Arrays = tuple[Array, ...]
Step = Callable[[Any, Arrays], tuple[Any, Arrays]]  # (carry, xs[t]) -> carry, ys[t]
Function = TypeVar("Function", bound=Callable[..., Any])

DTYPES = ("float32", "float64")
HOST = 1  # DLPack's number of the kind of device that a CPU is


@dataclass(frozen=True, slots=True)
class Backend:
    """An array library, one of its devices and a real floating dtype. Made by `get_backend`.

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
        return registry.make, (self.name, self.device_name, self.dtype_name)

    @property
    def device_name(self) -> str:
        """The device's name; `get_backend` accepts it."""
        return str(self.device)

    @property
    def dtype_name(self) -> str:
        """The dtype's name, ``"float32"`` or ``"float64"``, on every library."""
        return next(name for name in DTYPES if self.dtype == getattr(self.xp, name))

    def asarray(self, obj: object, dtype: str | None = None) -> Array:
        """Return `obj` as an array of this backend.

        Parameters
        ----------
        obj : array_like
            A NumPy array, a (nested) list of numbers, an array of this library on this device, or a
            list of such arrays of equal shape. The result may share memory with `obj`: do not
            write to `obj` while the result is in use.
        dtype : str, optional
            The name of an Array API dtype, such as ``"int32"``; default is the backend's dtype.

        Returns
        -------
        array
            `obj` in `dtype`, on the backend's device.

        Raises
        ------
        TypeError
            If `obj` is an array of another device library or another device, or is not real.
        ValueError
            If a list is not rectangular.
        """
        dtype = dtype or self.dtype_name
        with self.scope():
            if self.is_own(obj):
                return self._cast(obj, dtype)
            if isinstance(obj, list | tuple) and any(map(is_device_array, obj)):
                items = [self.asarray(item, dtype) for item in obj]
                if len({tuple(item.shape) for item in items}) > 1:
                    raise ValueError(
                        "expected a rectangular array of numbers: a list of arrays of equal shape, "
                        f"got shapes {[tuple(item.shape) for item in items]}"
                    )
                return self.xp.stack(items)
            return self._upload(self.host(obj).astype(dtype, copy=False))

    def floating(self, name: str, obj: Any) -> Array:
        """Return `obj`, called `name` in errors, as `asarray` does; refuse arrays of integers."""
        dtype = dtype_of(obj)
        if dtype and not self.computes_with(dtype):
            raise TypeError(
                f"{name} must be a real floating array, got dtype {dtype}: "
                "convert it, as in astype('float32')"
            )
        return self.asarray(obj)

    def host(self, obj: object) -> np.ndarray:
        """Return `obj` as a real NumPy array in its own dtype; raise as `asarray` does."""
        if self.is_own(obj):
            return self.to_numpy(obj)
        if is_device_array(obj):
            own = "" if self.name == "numpy" else f"{self.name} or "
            raise TypeError(
                f"expected an array of {own}NumPy, got one of "
                f"{type(obj).__module__.partition('.')[0]}: convert it first, with "
                "rnnx.convert"
            )
        if isinstance(obj, list | tuple) and any(map(is_device_array, obj)):
            obj = [self.host(item) for item in obj]
        return numbers(obj, "fiub")

    def zeros(self, shape: Sequence[int]) -> Array:
        """Return zeros of a shape, in the backend's dtype and on its device."""
        with self.scope():
            return self.xp.zeros(tuple(shape), dtype=self.dtype, device=self.device)

    def read_only(self, x: Array) -> Array:
        """Return `x` in a form that raises when written to, if the library has one, else `x`."""
        return x

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return `x` as a NumPy array, which may share memory with it on the CPU."""
        return np.asarray(x)

    def scan(
        self, step: Step, carry: Any, xs: Arrays, *, reverse: bool = False
    ) -> tuple[Any, Arrays]:
        """Run ``carry, ys[t] = step(carry, xs[t])`` over the leading axis, as `jax.lax.scan` does.

        The carry is a pytree of arrays whose shapes and dtypes stay the same. `xs` and `ys` are
        tuples of arrays, (T, ...) with T >= 1. With `reverse`, the last slice comes first; `ys`
        keep the order of `xs`.
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
        """Return the number of blocks of time for BPTT over `steps` steps of `width` numbers."""
        return 1

    def choose(self, flag: Array, new: dict[str, Array], old: dict[str, Array]) -> dict[str, Array]:
        """Return `new` if `flag`, an array of shape (), is true, else `old`, without reading it."""
        return {name: self.xp.where(flag, x, old[name]) for name, x in new.items()}

    def padded(self, steps: int) -> int:
        """Return the length, at least `steps`, to which a ragged batch is best padded."""
        return steps

    def compile(self, function: Function) -> Function:
        """Return `function` compiled if the library has a compiler, else `function` itself."""
        return function

    def synchronize(self) -> None:
        """Wait until the device has finished all its work; for timing."""

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which to make and compute arrays of this backend."""
        return nullcontext()

    def is_own(self, obj: object) -> bool:
        """Return whether `obj` is an array of this library; raise if it is on another device."""
        if not (is_array_api_obj(obj) and array_namespace(obj) is self.xp):
            return False
        device = device_of(obj)
        if device is not None and device != self.device:  # None: traced by jax.jit
            raise TypeError(
                f"expected an array on device {self.device}, got one on {device}: "
                "move it there, or make the backend with that device"
            )
        return True

    def has_dtype(self, dtype: str) -> bool:
        """Return whether the device can hold arrays of a dtype, given by its name."""
        return hasattr(self.xp, dtype)

    def dlpack_device(self, x: Array) -> tuple[int, int]:
        """Return the kind of device of an array of this library, and its number, as in DLPack."""
        kind, number = x.__dlpack_device__()
        return int(kind), int(number)

    def exported(self, x: Array) -> Array:
        """Return an array of this library in a form that other libraries can read by DLPack.

        It shares the memory of `x` unless that is impossible.

        Raises
        ------
        TypeError
            If `x` has no values in memory, or would lose more than its form.
        """
        return x

    def imported(self, x: Any, copy: bool | None) -> Array:
        """Return the memory of an array on this device, by DLPack; raise if it cannot be shared.

        A library that never shares some memory may return a copy, unless `copy` is False.
        """
        return self.xp.from_dlpack(x)

    def copied(self, host: np.ndarray) -> Array:
        """Return a NumPy array of any strides on the device, in memory of its own."""
        return self.xp.asarray(host, device=self.device, copy=True)

    def moved(self, x: Array) -> Array:
        """Return an array of this library, from another device, on this one."""
        return to_device(x, self.device)

    def computes_with(self, dtype: str) -> bool:
        """Return whether arrays of this dtype are floating input, to be cast to the backend's."""
        return dtype.startswith(("float", "bfloat"))

    def refuse_traced(self, x: Array) -> None:
        """Raise if `x` is a placeholder in a function that is being compiled."""

    def _cast(self, x: Array, dtype: str) -> Array:
        """Return an array of this library in the named dtype."""
        if self.xp.isdtype(x.dtype, "complex floating"):
            raise TypeError(f"expected an array of real numbers, got dtype {x.dtype}")
        target = getattr(self.xp, dtype)
        return x if x.dtype == target else self.xp.astype(x, target)

    def _upload(self, host: np.ndarray) -> Array:
        """Return a NumPy array, already of the right dtype, on the device."""
        return self.xp.asarray(host, device=self.device)


def numbers(obj: object, kinds: str) -> np.ndarray:
    """Return anything array-like on the host as a NumPy array of one of these kinds of dtypes."""
    if isinstance(obj, np.ma.MaskedArray):
        raise TypeError(
            "expected an array, got a masked one, whose mask would be lost: use filled(), and "
            "pass the mask separately"
        )
    try:
        host = np.asarray(obj)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"expected a rectangular array of numbers: {reason}") from None
    if host.dtype.kind not in kinds:
        what = "numbers" if "c" in kinds else "real numbers"
        raise TypeError(f"expected an array of {what}, got dtype {host.dtype}")
    return host


def dtype_of(x: Any) -> str:
    """Return the name of an array's dtype, ``""`` for what has none."""
    dtype = getattr(x, "dtype", "")  # torch writes torch.float32, NumPy >f4
    name: str = getattr(dtype, "name", str(dtype)).rpartition(".")[2]
    return name


def is_device_array(obj: object) -> bool:
    """Return whether `obj` is an array of a library, but not one of NumPy's."""
    return is_array_api_obj(obj) and not isinstance(obj, np.ndarray | np.generic)


def scope_of(x: Array) -> AbstractContextManager[Any]:
    """Return the context that keeps what is computed from `x` on its device.

    CuPy's creation functions use the current device, not that of `x`.
    """
    return type(x.device)(x.device.id) if is_cupy_array(x) else nullcontext()
