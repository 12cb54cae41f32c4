"""CuPy: NVIDIA GPUs.

`import cupy` succeeds without a GPU or a driver; `cupy.is_available` is the one probe that never
raises. CuPy's creation functions ignore `device=` (data-apis/array-api-compat#337, cupy/cupy#9848),
so every public call enters the device once, through `scope`.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy as np

from rnnx.backends.base import Array, Backend


class CupyBackend(Backend):
    """CuPy arrays on one GPU."""

    __slots__ = ()

    @property
    def device_name(self) -> str:
        """The device's index."""
        return str(self.device.id)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return `x` copied to the host."""
        return cupy.asnumpy(x)

    def moved(self, x: Array) -> Array:
        """Return an array from another GPU on this one, through the host."""
        return cupy.asarray(cupy.asnumpy(x))

    def synchronize(self) -> None:
        """Wait for all streams of the device."""
        self.device.synchronize()

    def scope(self) -> AbstractContextManager[Any]:
        """Make the device current; a new object each time, because CuPy's contexts keep state."""
        return cupy.cuda.Device(self.device.id)


def probe() -> str:
    """Return ``""``, or why CuPy has no usable device."""
    if cupy.is_available():
        return ""
    return (
        f"CuPy {cupy.__version__} finds no usable CUDA device: check the driver with nvidia-smi, "
        "or use backend='numpy'"
    )


def devices() -> list[str]:
    """Return the index and name of each GPU."""
    count = cupy.cuda.runtime.getDeviceCount()
    names = (cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count))
    return [f"{i}: {name}" for i, name in enumerate(names)]


def make(device: Any, dtype: str) -> Backend:
    """Return the backend; `device` is None, 1, ``"1"``, ``"cuda:1"`` or a `cupy.cuda.Device`."""
    count = cupy.cuda.runtime.getDeviceCount()
    index = _index(device)
    if index is None or not 0 <= index < count:
        raise ValueError(
            f"device of backend 'cupy' must be None, an index below {count} or 'cuda:INDEX', "
            f"got {device!r}"
        )
    return CupyBackend("cupy", xp, cupy.cuda.Device(index), getattr(xp, dtype))


def _index(device: Any) -> int | None:
    """Return the device's index, or None if `device` does not name one."""
    if device is None:
        return cupy.cuda.Device().id
    if isinstance(device, cupy.cuda.Device):
        return device.id
    found = re.fullmatch(r"(?:(?:cuda|gpu):)?(\d+)|cuda|gpu", str(device))
    return None if found is None else int(found[1] or 0)
