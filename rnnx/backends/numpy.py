"""NumPy: the reference backend, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from rnnx.backends.base import Array, Arrays, Backend, Step, numbers

BLOCK = 2**18  # numbers: longer blocks leave the cache, and from 32 MiB on cost page faults


class NumpyBackend(Backend):
    """NumPy arrays on the CPU."""

    __slots__ = ()

    def is_own(self, obj: object) -> bool:
        """Return whether `obj` is a plain array of real numbers; anything else is converted."""
        return type(obj) is np.ndarray and obj.dtype.kind in "fiub"

    def read_only(self, x: Array) -> Array:
        """Return a view that cannot be written to."""
        view = x.view()
        view.flags.writeable = False
        return view

    @property
    def dtype_name(self) -> str:
        """The dtype's name."""
        name: str = self.dtype.__name__
        return name

    def floating(self, name: str, obj: Any) -> Array:
        """Return `obj` itself where it is a plain array of the backend's dtype."""
        if type(obj) is np.ndarray and obj.dtype == self.dtype:
            return obj
        return super().floating(name, obj)

    def zeros(self, shape: Sequence[int]) -> Array:
        """Return zeros of a shape, in the backend's dtype."""
        return np.zeros(shape, self.dtype)

    def scope(self) -> AbstractContextManager[Any]:
        """Take exp's overflow to infinity as the number that it is."""
        return np.errstate(over="ignore")

    def exported(self, x: Array) -> Array:
        """Return `x` in the machine's order of bytes; refuse what does not hold numbers."""
        x = numbers(x, "fiubc")
        return x.astype(x.dtype.newbyteorder("="), copy=False)

    def copied(self, host: np.ndarray) -> Array:
        """Return a copy, in C order."""
        return np.array(host, order="C")

    def blocks(self, steps: int, width: int) -> int:
        """Return the number of blocks, each of about `BLOCK` numbers and at least 16 steps."""
        return max(1, min(steps * width // BLOCK, steps // 16))

    def choose(self, flag: Array, new: dict[str, Array], old: dict[str, Array]) -> dict[str, Array]:
        """Return `new` or `old` itself: reading the flag costs nothing here."""
        return new if flag else old

    def scan(
        self, step: Step, carry: Any, xs: Arrays, *, reverse: bool = False
    ) -> tuple[Any, Arrays]:
        """Scan into buffers made at the first step, so no list of T arrays is stacked."""
        length = xs[0].shape[0]
        order = range(length - 1, -1, -1) if reverse else range(length)
        rows = zip(*(x[::-1] for x in xs), strict=True) if reverse else zip(*xs, strict=True)
        buffers: tuple[np.ndarray, ...] | None = None
        for t, row in zip(order, rows, strict=True):
            carry, ys = step(carry, row)
            if buffers is None:
                buffers = tuple(np.empty((length, *y.shape), y.dtype) for y in ys)
            for buffer, y in zip(buffers, ys, strict=True):
                buffer[t] = y
        return carry, buffers or ()


def devices() -> list[str]:
    """Return the only device."""
    return ["cpu"]


def make(device: Any, dtype: str) -> Backend:
    """Return the backend; `device` is None or ``"cpu"``."""
    if device not in (None, "cpu"):
        raise ValueError(f"device of backend 'numpy' must be None or 'cpu', got {device!r}")
    return NumpyBackend("numpy", xp, "cpu", getattr(xp, dtype))
