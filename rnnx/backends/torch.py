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

    def has_dtype(self, dtype: str) -> bool:
        """Return whether the device has a dtype."""
        return _why_not(self.device, dtype) == ""

    def exported(self, x: Array) -> Array:
        """Return `x` with the signs that torch postpones; refuse what has no plain memory."""
        if x.requires_grad:
            raise TypeError(
                "expected a tensor that autograd does not record, got one with requires_grad, "
                "whose gradient would be lost: call detach() first"
            )
        kinds = ("sparse", "quantized", "nested", "mkldnn", "meta")
        kind = next((kind for kind in kinds if getattr(x, f"is_{kind}")), "")
        if kind or x.layout != torch.strided:
            raise TypeError(
                f"expected a dense tensor with values, got a {kind or x.layout} one: make it dense "
                "first, as with to_dense()"
            )
        return x.resolve_conj().resolve_neg()

    def imported(self, x: Any, copy: bool | None) -> Array:
        """Return the memory of `x`; torch aborts the process for negative strides."""
        if any(stride < 0 for stride in getattr(x, "strides", ())):  # pytorch/pytorch#188023
            raise BufferError("torch has no negative strides")
        return torch.from_dlpack(x)

    def copied(self, host: np.ndarray) -> Array:
        """Return a copy, in C order."""
        return torch.from_numpy(host.copy(order="C")).to(self.device)

    def _upload(self, host: np.ndarray) -> Array:
        # torch warns about read-only memory and rejects negative strides: give it a plain copy.
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
    if reason := _why_not(asked, dtype):
        raise BackendUnavailable(
            f"torch {torch.__version__} has no {dtype} on device {device!r} ({reason}): use one of "
            f"{', '.join(devices())}"
        )
    place = torch.empty(0, device=asked).device
    return TorchBackend("torch", xp, place, getattr(xp, dtype))


def _why_not(device: torch.device, dtype: str) -> str:
    """Return ``""`` if a device can hold a dtype, else why it cannot."""
    try:
        torch.empty(0, device=device, dtype=getattr(torch, dtype))
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        return str(error).partition("\n")[0]
    return ""
