"""CuPy: NVIDIA GPUs.

`import cupy` succeeds where there is no GPU and no driver, and the failure would come with the
first allocation; `cupy.is_available` is the one probe that never raises. CuPy's creation functions
take `device=` and ignore it (data-apis/array-api-compat#337, cupy/cupy#9848), so the device is
entered once around each public call, by `scope`.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy as np

from rnnx.backend import Array, Backend


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

    def synchronize(self) -> None:
        """Wait for every stream of the device."""
        self.device.synchronize()

    def scope(self) -> AbstractContextManager[Any]:
        """Make the device current; a new context object each time, as CuPy's keep their past."""
        return cupy.cuda.Device(self.device.id)


def probe() -> str:
    """Return why CuPy has no usable device, or ``""``."""
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
    """Return the device's index, None where `device` does not name one."""
    if device is None:
        return cupy.cuda.Device().id
    if isinstance(device, cupy.cuda.Device):
        return device.id
    found = re.fullmatch(r"(?:(?:cuda|gpu):)?(\d+)|cuda|gpu", str(device))
    return None if found is None else int(found[1] or 0)
