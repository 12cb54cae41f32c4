"""Arrays of any library as arrays of a backend: by DLPack on one device, else through the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_writeable_array
from array_api_compat import device as device_of

from rnnx.backends import registry
from rnnx.backends.base import HOST, Array, Backend, dtype_of, numbers, scope_of

UNSHARED = (BufferError, RuntimeError, TypeError, ValueError, NotImplementedError)
COPY = "give copy=None, or True, for a copy"


def converted(x: Any, target: Backend, dtype: str | None, copy: bool | None) -> Array:
    """Return an array as `rnnx.convert` describes it."""
    source = _source(x)
    if source is None:
        x, source = _adopted(x), registry.make("numpy", None, "float32")
    given, x = x, source.exported(x)
    own = dtype_of(x)
    wanted = dtype or own
    _check_dtypes(source, target, own, wanted)
    if copy is False and (x is not given or own != wanted):
        what = f"{wanted} from {own}" if own != wanted else "an order of bytes or signs to resolve"
        raise ValueError(f"expected an array that can be shared as it is, got {what}: {COPY}")
    if own != wanted and source.has_dtype(wanted):
        x = _cast(x, source, wanted)
    with target.scope():
        y = _placed(x, source, target, copy if x is given else None)
        return y if dtype_of(y) == wanted else _cast(y, target, wanted)


def _source(x: Any) -> Backend | None:
    """Return a backend of the library of `x`, on any device; None for what has none."""
    if not is_array_api_obj(x) or isinstance(x, np.generic | np.ma.MaskedArray):
        return None
    name = array_namespace(x).__name__.removeprefix("array_api_compat.").partition(".")[0]
    found: Backend | None = None
    if name in registry.LIBRARIES:
        found = registry.make(name, None, "float32")
    return found


def _adopted(x: Any) -> np.ndarray:
    """Return what is no array of a known library as a NumPy array, of the same memory if it may."""
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        if x.__dlpack_device__()[0] != HOST:
            raise TypeError(
                f"expected an array on the host or one of {', '.join(registry.LIBRARIES)}, got a "
                f"{type(x).__name__}: give it to the from_dlpack of one of these first"
            )
        x = np.from_dlpack(x)
    return numbers(x, "fiubc")


def _check_dtypes(source: Backend, target: Backend, own: str, wanted: str) -> None:
    """Raise TypeError if the target cannot have the dtype, or numbers would lose a part."""
    if not target.has_dtype(wanted) or not (target.has_dtype(own) or source.has_dtype(wanted)):
        lacking = own if target.has_dtype(wanted) else wanted
        raise TypeError(
            f"{target} has no {lacking}: give the dtype to convert to, as in dtype='float32'"
        )
    if own.startswith("complex") and not wanted.startswith("complex"):
        raise TypeError(f"expected real numbers for {wanted}, got {own}: take their real part")


def _placed(x: Array, source: Backend, target: Backend, copy: bool | None) -> Array:
    """Return `x` in the target's library and on its device."""
    own, reason = source.xp is target.xp, "it is on another device"
    if own and device_of(x) == target.device:
        return target.xp.asarray(x, copy=True) if copy else x
    try:
        if not own and source.dlpack_device(x) == target.dlpack_device(target.zeros((0,))):
            return _shared(x, target, copy)
    except UNSHARED as error:
        reason = str(error).partition("\n")[0]
    if copy is False:
        raise ValueError(
            f"expected an array of {source.name} whose memory {target} can share, got one that it "
            f"cannot ({reason}): {COPY}"
        )
    return target.moved(x) if own else _through_host(x, source, target)


def _shared(x: Array, target: Backend, copy: bool | None) -> Array:
    """Return the memory of `x`, or a copy of it on the device; raise where neither is possible."""
    try:
        y = target.imported(x, copy)
    except UNSHARED:
        if copy is False or isinstance(x, np.ndarray):
            raise
        return target.imported(array_namespace(x).asarray(x, copy=True), None)  # other strides
    exposed = is_writeable_array(y) and not is_writeable_array(x)
    if exposed and copy is False and isinstance(x, np.ndarray):
        raise BufferError("it is read-only")
    return target.xp.asarray(y, copy=True) if copy or (exposed and copy is None) else y


def _through_host(x: Array, source: Backend, target: Backend) -> Array:
    """Return a copy of `x`, through NumPy."""
    if not hasattr(np, dtype_of(x)):
        raise TypeError(
            f"{dtype_of(x)} must pass through NumPy, which has none, to {target}: give a dtype, as "
            "in dtype='float32'"
        )
    host = source.to_numpy(x)
    new = source.dlpack_device(x)[0] != HOST and host.flags.writeable
    return target._upload(host) if new else target.copied(host)


def _cast(x: Array, backend: Backend, dtype: str) -> Array:
    with scope_of(x):
        return backend.xp.astype(x, getattr(backend.xp, dtype))
