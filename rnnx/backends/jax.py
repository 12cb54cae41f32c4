"""JAX: `jax.lax.scan` for the loop over time and `jax.jit` for whole training steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnx.backends.base import Array, Arrays, Backend, Function, Step
from rnnx.backends.registry import BackendUnavailable


class JaxBackend(Backend):
    """JAX arrays on one device."""

    __slots__ = ()

    @property
    def device_name(self) -> str:
        """The device's platform and index."""
        return f"{self.device.platform}:{self.device.id}"

    def scan(
        self, step: Step, carry: Any, xs: Arrays, *, reverse: bool = False
    ) -> tuple[Any, Arrays]:
        """Scan with `jax.lax.scan`, which is fast only inside `compile`."""
        return jax.lax.scan(step, carry, xs, reverse=reverse)

    def padded(self, steps: int) -> int:
        """Return one of two lengths per power of two: compiling for each takes seconds."""
        unit = 1 << max(0, steps.bit_length() - 2)
        return -(-steps // unit) * unit

    def compile(self, function: Function) -> Function:
        """Return `function` under `jax.jit`."""
        return jax.jit(function)

    def has_dtype(self, dtype: str) -> bool:
        """Return whether JAX has a dtype, of 64 bits only in its x64 mode."""
        return hasattr(jnp, dtype) and jax.dtypes.canonicalize_dtype(dtype).name == dtype

    def exported(self, x: Array) -> Array:
        """Return `x`; refuse a tracer."""
        if isinstance(x, jax.core.Tracer):
            raise TypeError(
                "expected an array with values, got a tracer of JAX: convert outside the function "
                "that is being compiled or differentiated"
            )
        return x

    def imported(self, x: Any, copy: bool | None) -> Array:
        """Return the memory of `x`; JAX shares only what begins at a multiple of 64 bytes."""
        return jnp.from_dlpack(x, copy=False if copy is False else None)

    def refuse_traced(self, x: Array) -> None:
        """Raise if `x` is a tracer of `jax.jit`."""
        if isinstance(x, jax.core.Tracer):
            raise ValueError(
                "a compiled function would use the same dropout mask in every call: draw masks "
                "outside, with draw_masks, and pass them as masks="
            )

    def synchronize(self) -> None:
        """Wait for all live arrays."""
        for array in jax.live_arrays():
            array.block_until_ready()


def devices() -> list[str]:
    """Return the devices of JAX's default platform, and the CPU."""
    default = [str(device) for device in jax.devices()]
    return default + [str(device) for device in jax.devices("cpu") if str(device) not in default]


def make(device: Any, dtype: str) -> Backend:
    """Return the backend; `device` is None, ``"cpu"``, ``"gpu:1"``, an index or a `jax.Device`."""
    if dtype == "float64" and not jax.config.jax_enable_x64:
        raise BackendUnavailable(
            "JAX has float64 only in x64 mode, which is off: set JAX_ENABLE_X64=1 or call "
            "jax.config.update('jax_enable_x64', True) first, or use dtype='float32'"
        )
    return JaxBackend("jax", jnp, _device(device), getattr(jnp, dtype))


def _device(device: Any) -> jax.Device:
    """Return the `jax.Device` that `device` names."""
    if isinstance(device, jax.Device):
        return device
    platform, _, index = (
        ("", "", str(device)) if isinstance(device, int) else str(device or "").partition(":")
    )
    try:
        known = jax.devices(platform or None)
        return dict(enumerate(known))[int(index or 0)]
    except (RuntimeError, KeyError, ValueError):
        raise ValueError(
            f"device of backend 'jax' must be None or one of {', '.join(devices())}, "
            f"as in 'cpu' or 'cpu:0', got {device!r}"
        ) from None
