"""A simulation of CuPy on NumPy, with two GPUs: as much as rnnx and array-api-compat use.

Without a GPU, it proves that every result is made on the chosen device and not on the current one,
that no operand comes from another device, and that nothing is read back to the host. `EVENTS` lists
what a GPU program should not do: "peer" for an operand from a device that is not the current one,
"read" for a copy to the host, "sync" for reading a value. `LAUNCHES` lists what it would launch,
each with its device and its stream; kernels in CUDA C are built for the CPU, and run. GPU 0 is like
an H200, GPU 1 a small card. Floating memory is born as NaN.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from cupy import blas, kernels, streams
from cupy.kernels import RawModule as RawModule
from cupy.streams import Event, Stream, _here, get_current_stream

__version__ = "14.0.0+simulated"
EVENTS: list[str] = []
LAUNCHES: list[tuple[str, int, int]] = []  # name, device, stream
_CARDS = [
    {
        "MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 232_448,
        "MaxSharedMemoryPerMultiprocessor": 233_472, "ComputeCapabilityMajor": 9,
        "ComputeCapabilityMinor": 0, "CooperativeLaunch": 1,
    },
    {
        "MultiProcessorCount": 30, "MaxSharedMemoryPerBlockOptin": 47_104,
        "MaxSharedMemoryPerMultiprocessor": 65_536, "ComputeCapabilityMajor": 7,
        "ComputeCapabilityMinor": 5, "CooperativeLaunch": 1,
    },
]  # fmt: skip
_VIEWS = {"reshape", "moveaxis", "transpose", "swapaxes", "expand_dims", "squeeze"}
_ABSENT = {"unstack", "isdtype", "vecdot", "matrix_transpose", "concat", "permute_dims", "astype"}
_TYPES = {"finfo", "iinfo", "issubdtype", "result_type", "can_cast", "promote_types"}


class Device:
    """A GPU; entered, it is the current one."""

    __hash__ = None  # type: ignore[assignment]  # as CuPy's

    def __init__(self, device: Any = None) -> None:
        self.id = _here.devices[-1] if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        _here.devices.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        _here.devices.pop()

    def use(self) -> None:
        """Make it the current one, in this thread."""
        _here.devices[-1] = self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    @property
    def attributes(self) -> dict[str, int]:
        """What the driver says of the device."""
        return _CARDS[self.id]

    def synchronize(self) -> None:
        """Wait for the calls between processes; all else is done."""
        get_current_stream().run()


class ndarray(NDArrayOperatorsMixin):  # noqa: N801
    """An array on a device."""

    def __init__(self, host: Any, device: int | None = None) -> None:
        self._host = np.asarray(host)
        self.device = Device(device)

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    flags = property(lambda self: self._host.flags)
    data = property(lambda self: types.SimpleNamespace(ptr=self._host.ctypes.data))

    def __array_ufunc__(self, ufunc: Any, method: str, *arguments: Any, **options: Any) -> Any:
        return NotImplemented if method != "__call__" else _call(ufunc, *arguments, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id  # kDLCUDA

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getitem__(self, index: Any) -> ndarray:
        found = self._host[index]
        if not np.may_share_memory(found, self._host):  # a copy
            get_current_stream().run()
            found = self._host[index]
        return ndarray(found, self.device.id)

    def __setitem__(self, index: Any, value: Any) -> None:
        get_current_stream().run()
        self._host[_inside(index)] = _inside(value)

    def __len__(self) -> int:
        return len(self._host)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Return a copy in another dtype, on the current device."""
        return _call(np.ndarray.astype, self, dtype, copy=copy)

    def copy(self) -> Any:
        """Return a copy on the current device."""
        return _call(np.copy, self)

    def get(self) -> np.ndarray:
        """Return a copy on the host."""
        EVENTS.append("read")
        get_current_stream().run()
        return self._host.copy()

    def _value(self, kind: Callable[[Any], Any]) -> Any:
        EVENTS.append("sync")
        get_current_stream().run()
        return kind(self._host)

    def __float__(self) -> float:
        return self._value(float)

    def __int__(self) -> int:
        return self._value(int)

    def __bool__(self) -> bool:
        return self._value(bool)


class generic:  # noqa: N801
    """CuPy has no scalars of its own; array-api-compat asks for the name."""


def _inside(x: Any) -> Any:
    """Return the host's array of an operand, and note one of another device."""
    if isinstance(x, ndarray):
        if x.device.id != _here.devices[-1]:
            EVENTS.append("peer")
        return x._host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return type(x)(map(_inside, x)) if isinstance(x, list | tuple) else x


def _outside(x: Any) -> Any:
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(x)
    return tuple(map(_outside, x)) if isinstance(x, list | tuple) else x


def _call(function: Any, *arguments: Any, **options: Any) -> Any:
    """Compute on the current device."""
    get_current_stream().run()
    LAUNCHES.append((function.__name__, _here.devices[-1], get_current_stream().ptr))
    inside = {name: _inside(value) for name, value in options.items()}
    return _outside(function(*map(_inside, arguments), **inside))


def _of_numpy(name: str, function: Any) -> Any:
    def simulated(*arguments: Any, **options: Any) -> Any:
        if name in _VIEWS:
            x, *rest = arguments
            if not x.flags.c_contiguous:  # it may be a copy
                get_current_stream().run()
            return ndarray(function(x._host, *rest, **options), x.device.id)
        return _call(function, *arguments, **options)

    simulated.__name__ = name
    return simulated


def asarray(obj: Any, dtype: Any = None, **options: Any) -> Any:
    """Return an array on the current device, or `obj` itself where it is one of this dtype."""
    if isinstance(obj, ndarray):
        return obj if dtype is None or obj.dtype == dtype else obj.astype(dtype)
    return ndarray(np.array(obj, dtype=dtype))


def array(obj: Any, dtype: Any = None, copy: bool = True, **options: Any) -> Any:
    """Return a copy on the current device."""
    x = asarray(obj, dtype)
    return _call(np.array, x, **options) if copy and x is obj else x


def empty(shape: Any, dtype: Any = float, **options: Any) -> Any:
    """Return an array without values."""
    born = np.nan if np.issubdtype(dtype, np.floating) else 99
    return ndarray(np.full(shape, born, dtype))


def empty_like(x: Any, dtype: Any = None, **options: Any) -> Any:
    """Return an array without values, like another."""
    return empty(x.shape, dtype or x.dtype)


def asnumpy(x: Any) -> np.ndarray:
    """Return a copy on the host."""
    return x.get()


def is_available() -> bool:
    """Return True: there are two."""
    return True


def _fill(module: Any, source: Any) -> None:
    """Give a module a simulation of everything in a module of NumPy."""
    for name in dir(source):
        value = getattr(source, name)
        if name.startswith("_") or name in _ABSENT or hasattr(module, name):
            continue
        if name in _TYPES or (isinstance(value, type) and issubclass(value, np.generic | np.dtype)):
            setattr(module, name, value)
        elif callable(value) and not isinstance(value, type):
            setattr(module, name, _of_numpy(name, value))
        elif isinstance(value, float) or value is None:
            setattr(module, name, value)


def _module(name: str, **contents: Any) -> Any:
    module = types.ModuleType(f"cupy.{name}")
    module.__dict__.update(contents, __path__=[], __all__=list(contents))
    sys.modules[module.__name__] = module
    return module


_fill(sys.modules[__name__], np)
runtime = _module(
    "cuda.runtime",
    CUDA_R_32F=0,
    CUDA_R_64F=1,
    getDeviceCount=lambda: len(_CARDS),
    getDeviceProperties=lambda i: {"name": b"simulated"},
)
device = _module("cuda.device", Device=Device, get_cublas_handle=lambda: 1)
driver = _module("cuda.driver", occupancyMaxActiveBlocksPerMultiprocessor=kernels.occupancy)
cuda = _module(
    "cuda", Device=Device, Stream=Stream, Event=Event, get_current_stream=get_current_stream,
    cublas=blas, device=device, driver=driver, runtime=runtime, stream=streams,
)  # fmt: skip
linalg, fft = _module("linalg"), _module("fft")
for _part, _source in ((linalg, np.linalg), (fft, np.fft)):
    _fill(_part, _source)
    _part.__all__ = [name for name in dir(_part) if not name.startswith("_")]
