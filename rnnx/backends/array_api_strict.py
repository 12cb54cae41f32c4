"""array-api-strict: rejects whatever is not in the standard; its devices simulate accelerators."""

from __future__ import annotations

from typing import Any

import array_api_strict as xp
import numpy as np

from rnnx.backends.base import HOST, Array, Backend
from rnnx.backends.numpy import NumpyBackend
from rnnx.backends.registry import BackendUnavailable


class StrictBackend(Backend):
    """array-api-strict arrays on one simulated device."""

    __slots__ = ()
    blocks = NumpyBackend.blocks  # so that sums have the same order and the same bits
    scope = NumpyBackend.scope

    @property
    def device_name(self) -> str:
        """The device's name."""
        return str(self.device._device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return `x` copied to the host."""
        return np.asarray(x.to_device(xp.Device("CPU_DEVICE")))

    def has_dtype(self, dtype: str) -> bool:
        """Return whether the simulated device has a dtype."""
        return dtype in xp.__array_namespace_info__().dtypes(device=self.device)

    def dlpack_device(self, x: Array) -> tuple[int, int]:
        """Return a device of no other library, because these simulate accelerators."""
        return HOST, -1


def devices() -> list[str]:
    """Return the simulated devices of this version."""
    return [device._device for device in xp.__array_namespace_info__().devices()]


def make(device: Any, dtype: str) -> Backend:
    """Return the backend; `device` is None, a name such as ``"device1"`` or a `Device`."""
    name = getattr(device, "_device", device) or "CPU_DEVICE"
    if name not in devices():
        raise ValueError(
            f"device of backend 'array_api_strict' must be None or one of {', '.join(devices())}, "
            f"got {device!r}"
        )
    place = xp.Device(name)
    backend = StrictBackend("array_api_strict", xp, place, getattr(xp, dtype))
    if not backend.has_dtype(dtype):
        raise BackendUnavailable(f"device {name} has no {dtype}: use dtype='float32'")
    return backend
