"""Arrays and lists of arrays that hold data: reading, checking, gathering."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.backend import Array, Backend

Values = Any  # a NumPy array, an array of the backend on its device, or a list of NumPy arrays


def read(backend: Backend, name: str, obj: Any) -> Array:
    """Return an array in the dtype that models compute with, or int32 for integers.

    One of the backend stays where it is; all else becomes a NumPy array.
    """
    if backend.is_own(obj) and not isinstance(obj, np.ndarray):
        whole = backend.xp.isdtype(obj.dtype, "integral")
        return backend.asarray(obj, dtype="int32" if whole else None)
    try:
        host = np.asarray(obj)
    except (ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} must be an array or a list of arrays: {reason}") from None
    if host.dtype.kind in "iu":
        return _whole(name, host)
    if host.dtype.kind not in "fb":
        raise TypeError(f"{name} must hold real numbers, got dtype {host.dtype}")
    return host.astype(backend.dtype_name, copy=False)


def read_rows(backend: Backend, name: str, rows: Any) -> Values:
    """Return an array, or a list of arrays for a list of them; each as `read` does."""
    if not isinstance(rows, list | tuple):
        return read(backend, name, rows)
    found = [read(backend, f"{name}[{i}]", backend_rows) for i, backend_rows in enumerate(rows)]
    for i, row in enumerate(found):
        if row.ndim == 0 or row.shape[0] == 0:
            raise ValueError(f"{name}[{i}] must hold at least one step, got shape {row.shape}")
        if row.ndim != found[0].ndim or row.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"{name}[{i}] must have shape (T, *{tuple(found[0].shape[1:])}) like {name}[0], "
                f"got {tuple(row.shape)}"
            )
    return [row if isinstance(row, np.ndarray) else backend.to_numpy(row) for row in found]


def check_finite(name: str, values: Values, lengths: np.ndarray | None, axis: int) -> None:
    """Raise where a number on the host, of what is not padding, is NaN or infinite."""
    if isinstance(values, list):
        for i, row in enumerate(values):
            if not np.all(np.isfinite(row)):
                raise _not_finite(name, row, f"sequence {i}")
    elif isinstance(values, np.ndarray) and not np.all(np.isfinite(values)):
        bad = ~np.isfinite(values)
        if lengths is not None:
            bad = np.moveaxis(bad, axis, 0)  # (N, T, ...)
            steps = np.arange(bad.shape[1]) < lengths[:, None]
            bad = np.any(bad & steps.reshape(*steps.shape, *[1] * (bad.ndim - 2)), axis=1)
        rows = np.flatnonzero(np.any(bad.reshape(len(bad), -1), axis=1))
        if len(rows):
            raise _not_finite(name, values, f"sequence {rows[0]}")


def gather(backend: Backend, values: Values, rows: np.ndarray, steps: int, axis: int) -> Array:
    """Return the sequences numbered `rows`, `steps` steps of each, lists padded with zeros."""
    if isinstance(values, list):
        chosen = [values[i] for i in rows]
        padded = np.zeros((len(rows), steps, *chosen[0].shape[1:]), chosen[0].dtype)
        for b, row in enumerate(chosen):
            padded[b, : len(row)] = row
        return upload(backend, padded if axis == 0 else np.swapaxes(padded, 0, 1))
    cut = values[:, :steps, ...] if axis == 0 else values[:steps, ...]
    return take(backend, cut, rows, axis)


def take(backend: Backend, values: Array, rows: np.ndarray, axis: int) -> Array:
    """Return the entries numbered `rows` along an axis, on the device."""
    if isinstance(values, np.ndarray):
        return upload(backend, np.take(values, rows, axis=axis))
    with backend.scope():
        return backend.xp.take(values, backend.asarray(rows, dtype="int32"), axis=axis)


def upload(backend: Backend, values: Array) -> Array:
    """Return an array that `read` returned, on the device."""
    integral = isinstance(values, np.ndarray) and values.dtype.kind in "iu"
    if not isinstance(values, np.ndarray):
        return values
    return backend.asarray(np.ascontiguousarray(values), dtype="int32" if integral else None)


def _whole(name: str, host: np.ndarray) -> np.ndarray:
    """Return integers as int32; raise where one does not fit."""
    info = np.iinfo("int32")
    if host.size and (host.min() < info.min or host.max() > info.max):
        raise ValueError(f"{name} must hold integers of 32 bits, got {host.min()} to {host.max()}")
    return host.astype("int32", copy=False)


def _not_finite(name: str, values: np.ndarray, where: str) -> ValueError:
    kind = "NaN" if np.any(np.isnan(values)) else "an infinite number"
    return ValueError(
        f"{name} must hold finite numbers, got {kind} in {where}: remove or fill it, or leave it "
        "beyond lengths"
    )
