"""The forms in which batches come to the layers and go back, read to (T, B, features).

A form is a marker, an empty tuple type or one of lengths, which travels in a cache as structure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx import validate
from rnnx.backend import Array, Backend, dtype_of


class TimeMajor(NamedTuple):
    """(T, B, F)."""


class BatchFirst(NamedTuple):
    """(B, T, F)."""


class Unbatched(NamedTuple):
    """(T, F)."""


class Listed(NamedTuple):
    """A list of B arrays (T_b, F)."""

    lengths: tuple[int, ...]


class Reading(NamedTuple):
    """How a batch is to be read, as users say it."""

    lengths: Any = None
    mask: Any = None
    reset: Any = None
    checkpoint: int | str | None = None

    def read(
        self, backend: Backend, shape: tuple[int, ...], form: Any
    ) -> tuple[Array | None, Array | None, Array | None, int]:
        """Return lengths, mask and resets as arrays, and the number of chunks, 0 for none."""
        lengths, mask = read_padding(backend, self.lengths, self.mask, shape, form)
        reset = read_flags(backend, "reset", self.reset, shape, form)
        return lengths, mask, reset, _chunks(self.checkpoint, shape[0])


def read(backend: Backend, x: Any, size: int | None, batch_first: bool) -> tuple[Array, Any]:
    """Return x as (T, B, size) and its form; where `size` is None, of whatever size."""
    if isinstance(x, list | tuple):
        return _read_list(backend, "x", x, size)
    x = backend.floating("x", x)
    if x.ndim not in (2, 3) or 0 in x.shape or size not in (None, x.shape[-1]):
        axes, F = "B, T" if batch_first else "T, B", size or "F"
        why = " to match the layer's input" if size else ""
        raise ValueError(
            f"x must have shape ({axes}, {F}) or (T, {F}){why}, with T and B at least 1, "
            f"got {tuple(x.shape)}"
        )
    if x.ndim == 2:
        return x[:, None, :], Unbatched()
    return (_swap(backend, x), BatchFirst()) if batch_first else (x, TimeMajor())


def read_like(backend: Backend, name: str, x: Any, shape: tuple[int, ...], form: Any) -> Array:
    """Return a gradient of `shape` (T, B, F) that comes in `form`."""
    size = shape[-1]
    if isinstance(form, Listed):
        padded = pad_like(backend, name, x, form)
        if tuple(padded.shape) != shape:
            raise ValueError(f"{name} must hold arrays (T_b, {size}), got {padded.shape[-1]} wide")
        return padded
    x = backend.floating(name, x)
    expected = write_shape(shape, form)
    if tuple(x.shape) != expected:
        raise ValueError(f"{name} must have shape {expected}, got {tuple(x.shape)}")
    if isinstance(form, Unbatched):
        return x[:, None, :]
    return _swap(backend, x) if isinstance(form, BatchFirst) else x


def write(backend: Backend, y: Array, form: Any) -> Any:
    """Return y (T, B, F) in `form`."""
    if isinstance(form, Listed):
        return [y[:length, b, :] for b, length in enumerate(form.lengths)]
    if isinstance(form, Unbatched):
        return y[:, 0, :]
    return _swap(backend, y) if isinstance(form, BatchFirst) else y


def write_shape(shape: tuple[int, ...], form: Any) -> tuple[int, ...]:
    """Return the shape that (T, B, F) has in `form`."""
    T, B, size = shape
    if isinstance(form, Unbatched):
        return T, size
    return (B, T, size) if isinstance(form, BatchFirst) else (T, B, size)


def read_padding(
    backend: Backend, lengths: Any, mask: Any, shape: tuple[int, ...], form: Any
) -> tuple[Array | None, Array | None]:
    """Return the lengths (B,) or the mask (T, B) of a batch; a list has its own lengths."""
    if lengths is not None and mask is not None:
        raise ValueError("expected lengths or mask, got both: a mask says all")
    if isinstance(form, Listed):
        if lengths is not None or mask is not None:
            raise ValueError("a list of sequences has its lengths: give neither")
        lengths = np.asarray(form.lengths)
    lengths = read_lengths(backend, lengths, shape)
    return lengths, read_flags(backend, "mask", mask, shape, form)


def read_flags(
    backend: Backend, name: str, flags: Any, shape: tuple[int, ...], form: Any
) -> Array | None:
    """Return a boolean array (T, B) from one in the layout of the input, (B, T) batch first."""
    if flags is None:
        return None
    known = flags if hasattr(flags, "dtype") else np.asarray(flags)
    kind = dtype_of(known)
    if kind != "bool":
        raise TypeError(f"{name} must be a boolean array, got dtype {kind}")
    array = backend.asarray(flags, dtype="bool")
    expected = write_shape((*shape[:2], 1), form)[:-1]
    if tuple(array.shape) != expected:
        raise ValueError(f"{name} must have shape {expected}, got {tuple(array.shape)}")
    if isinstance(form, Unbatched):
        return array[:, None]
    return backend.xp.matrix_transpose(array) if isinstance(form, BatchFirst) else array


def read_lengths(backend: Backend, lengths: Any, shape: tuple[int, ...]) -> Array | None:
    """Return the lengths (B,) as integers on the device.

    Those of a list or a NumPy array are checked against T; those that are on a device already are
    not read back, and taken as they are.
    """
    if lengths is None:
        return None
    T, B = shape[:2]
    on_device = backend.is_own(lengths) and not isinstance(lengths, np.ndarray)
    host = lengths if on_device else np.asarray(lengths)
    if tuple(host.shape) != (B,):
        raise ValueError(f"lengths must have shape {(B,)}, got {tuple(host.shape)}")
    if on_device:
        if not backend.xp.isdtype(host.dtype, "integral"):
            raise TypeError(f"lengths must be integers, got dtype {host.dtype}")
    elif host.dtype.kind not in "iu":
        raise TypeError(f"lengths must be integers, got dtype {host.dtype}")
    elif host.min() < 0 or host.max() > T:
        wrong = host[(host < 0) | (host > T)][0]
        raise ValueError(f"lengths must be between 0 and T = {T}, got {wrong}")
    return backend.asarray(host, dtype="int32")


def _read_list(
    backend: Backend, name: str, rows: Sequence[Any], size: int | None
) -> tuple[Array, Listed]:
    """Return B arrays (T_b, size) as one (T, B, size), padded with zeros, and their lengths."""
    if len(rows) == 0:
        raise ValueError(f"{name} must hold at least one sequence, got an empty list")
    arrays = []
    for b, row in enumerate(rows):
        if isinstance(row, list | tuple):
            raise TypeError(
                f"{name} must be an array or a list of arrays, got nested lists, which could be "
                "(T, B, F) or B sequences: use numpy.asarray for each array"
            )
        array = backend.floating(f"{name}[{b}]", row)
        if array.ndim != 2 or size not in (None, array.shape[-1]):
            raise ValueError(
                f"{name}[{b}] must have shape (T, {size or 'F'}), got {tuple(array.shape)}: an "
                "array of all sequences is not a list"
            )
        size = array.shape[-1]
        arrays.append(array)
    lengths = tuple(array.shape[0] for array in arrays)
    xp, T, size = backend.xp, max(lengths), arrays[0].shape[-1]
    if T == 0:
        raise ValueError(f"{name} must hold at least one step, got only empty sequences")
    padded = [
        xp.concat([array, backend.zeros((T - array.shape[0], size))], axis=0) for array in arrays
    ]
    return xp.stack(padded, axis=1), Listed(lengths)


def _swap(backend: Backend, x: Array) -> Array:
    return backend.xp.permute_dims(x, (1, 0, 2))


def pad_like(backend: Backend, name: str, rows: Any, form: Listed) -> Array:
    """Return a list of gradients as one array (T, B, F), padded; their lengths must be `form`'s."""
    if not isinstance(rows, list | tuple) or len(rows) != len(form.lengths):
        raise ValueError(f"{name} must be a list of {len(form.lengths)} arrays, like the outputs")
    padded, found = _read_list(backend, name, rows, None)
    if found != form:
        raise ValueError(
            f"{name} must have the outputs' lengths {list(form.lengths)}, got {list(found.lengths)}"
        )
    return padded


def _chunks(checkpoint: int | str | None, T: int) -> int:
    """Return the number of chunks, 0 for none."""
    if checkpoint is None:
        return 0
    length = math.isqrt(T - 1) + 1 if checkpoint == "sqrt" else checkpoint
    if isinstance(length, str):
        raise ValueError(f"checkpoint must be a number of steps or 'sqrt', got {checkpoint!r}")
    return -(-T // validate.size("checkpoint", length))
