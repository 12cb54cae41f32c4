"""PyTorch: eager tensors, outside autograd, on any of its devices."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from rnnx.backends.base import Array, Backend
from rnnx.backends.registry import BackendUnavailable


class TorchBackend(Backend):
    """PyTorch tensors on one device. Autograd records nothing, because BPTT is our own."""

    __slots__ = ()

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return `x` copied to the host."""
        return x.detach().cpu().numpy()

    def synchronize(self) -> None:
        """Wait for the device's queue, if it has one."""
        if self.device.type in ("cuda", "mps", "xpu"):
            module = getattr(torch, self.device.type)
            module.synchronize(*[self.device] * (self.device.type != "mps"))

    def scope(self) -> AbstractContextManager[Any]:
        """Switch autograd off."""
        return torch.no_grad()

    def _upload(self, host: np.ndarray) -> Array:
        # torch warns about read-only memory and rejects negative strides (pytorch/pytorch#188023):
        # give it a plain copy of either.
        plain = host.flags.writeable and all(stride >= 0 for stride in host.strides)
        return torch.asarray(host if plain else host.copy(order="C"), device=self.device)


def devices() -> list[str]:
    """Return the CPU and each GPU."""
    gpus = (f"cuda:{i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))
    return ["cpu", *gpus]


def make(device: Any, dtype: str) -> Backend:
    """Return the backend; `device` is anything that `torch.device` accepts."""
    try:
        asked = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device of backend 'torch' must be one of {', '.join(devices())}, got {device!r}: "
            f"{reason}"
        ) from None
    try:
        place = torch.empty(0, device=asked, dtype=getattr(torch, dtype)).device
    except (RuntimeError, TypeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise BackendUnavailable(
            f"torch {torch.__version__} has no {dtype} on device {device!r} ({reason}): use one of "
            f"{', '.join(devices())}"
        ) from None
    return TorchBackend("torch", xp, place, getattr(xp, dtype))
