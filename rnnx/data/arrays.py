"""Arrays and lists of arrays: reading, checking, gathering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.data import places

Values = Any  # a NumPy array, an array of the backend on its device, or a list of NumPy arrays
Rows = np.ndarray | slice  # the numbers of some sequences, or those from one to another


def read(backend: Backend, name: str, obj: Any) -> Array:
    """Return an array in the dtype that models compute with, or int32 for integers.

    An array of the backend stays where it is; anything else becomes a NumPy array.
    """
    if backend.is_own(obj) and not isinstance(obj, np.ndarray):
        whole = backend.xp.isdtype(obj.dtype, "integral")
        return backend.asarray(obj, dtype="int32" if whole else None)
    values = host(backend, name, obj)
    if values.dtype.kind not in "iu":
        return values.astype(backend.dtype_name, copy=False)
    info = np.iinfo("int32")
    if values.size and (values.min() < info.min or values.max() > info.max):
        raise ValueError(
            f"{name} must hold integers of 32 bits, got {values.min()} to {values.max()}"
        )
    return values.astype("int32", copy=False)


def host(backend: Backend, name: str, obj: Any) -> np.ndarray:
    """Return real numbers as a NumPy array; an error names the argument."""
    try:
        return backend.host(obj)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def read_rows(backend: Backend, name: str, rows: Any) -> Values:
    """Return an array, or for a list a list of arrays, each as `read` returns it."""
    if not isinstance(rows, list | tuple):
        return read(backend, name, rows)
    found = [backend.host(read(backend, f"{name}[{i}]", row)) for i, row in enumerate(rows)]
    for i, row in enumerate(found):
        if row.ndim == 0 or row.shape[0] == 0:
            raise ValueError(f"{name}[{i}] must hold at least one step, got shape {row.shape}")
        if row.ndim != found[0].ndim or row.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"{name}[{i}] must have shape (T, *{found[0].shape[1:]}) like {name}[0], "
                f"got {row.shape}"
            )
    kinds = {row.dtype.kind for row in found}  # [1, 2] beside [0.5]: both are floating
    return found if len(kinds) == 1 else [row.astype(backend.dtype_name) for row in found]


def checked(
    name: str,
    values: Values,
    lengths: np.ndarray | None,
    axis: int,
    symbols: int | None = None,
    *,
    start: int | None = 0,
    first: int = 0,
) -> Values:
    """Return values that are finite, and below `symbols` if that is given; padding becomes 0.

    They begin at the step `start`, None for values without an axis of time, and with the sequence
    `first`. What is on a device is not looked at.
    """
    found = _first_wrong(values, lambda x: ~np.isfinite(x), lengths, axis)
    if found is not None:
        kind = "NaN" if np.isnan(found.value) else "an infinite number"
        raise ValueError(
            f"{name} must hold finite numbers, got {kind} in {found.place(name, start, first)}: "
            "remove it, fill it, or mark it as padding with lengths"
        )
    if symbols is None:
        return values
    found = _first_wrong(values, lambda x: _outside(x, symbols), lengths, axis)
    if found is not None:
        raise ValueError(
            f"{name} must be between 0 and {symbols - 1}, the symbols of the embedding, got "
            f"{found.value} in {found.place(name, start, first)}"
        )
    return (
        np.where(_outside(values, symbols), 0, values) if isinstance(values, np.ndarray) else values
    )


def check_labels(
    backend: Backend,
    labels: Values,
    lengths: np.ndarray | None,
    axis: int,
    classes: int,
    *,
    start: int | None = 0,
) -> None:
    """Raise ValueError if a label is not below the number of classes; padding does not count."""
    if not isinstance(labels, list):
        labels = backend.host(labels)
    found = _first_wrong(labels, lambda k: _outside(k, classes), lengths, axis)
    if found is not None:
        raise ValueError(
            f"labels must be 0 to {classes - 1} for a model of {classes} outputs, got "
            f"{found.value} in y, {found.place('y', start)}: number the classes from 0, as "
            "np.unique(y, return_inverse=True)[1] does, with an output for each"
            + ", and mark padding with lengths"
            * bool(found.value < 0)
        )


def gather(backend: Backend, values: Values, rows: Rows, steps: int, axis: int) -> Array:
    """Return the first `steps` steps of the sequences `rows`; lists are zero-padded."""
    if isinstance(values, list):
        chosen = values[rows] if isinstance(rows, slice) else [values[i] for i in rows]
        shape = (len(chosen), steps) if axis == 0 else (steps, len(chosen))
        padded = np.zeros((*shape, *chosen[0].shape[1:]), chosen[0].dtype)
        by_row = padded if axis == 0 else padded.swapaxes(0, 1)
        for b, row in enumerate(chosen):
            by_row[b, : len(row)] = row
        return upload(backend, padded)
    if steps < values.shape[1 - axis]:
        values = values[:, :steps, ...] if axis == 0 else values[:steps, ...]
    return take(backend, values, rows, axis)


def take(backend: Backend, values: Array, rows: Rows, axis: int) -> Array:
    """Return some entries along an axis, on the device.

    On the host, what a slice takes is copied only where it does not lie in one piece.
    """
    if not isinstance(values, np.ndarray):
        rows = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        return backend.xp.take(values, backend.asarray(rows, dtype="int32"), axis=axis)
    if isinstance(rows, slice):
        return upload(backend, values[rows] if axis == 0 else values[:, rows])
    return upload(backend, values.take(rows, axis=axis))


def upload(backend: Backend, values: Array) -> Array:
    """Return an array from `read` on the device."""
    if not isinstance(values, np.ndarray):
        return values
    values = np.ascontiguousarray(values)
    if backend.is_own(values):  # in the dtype that it was read in
        return values
    return backend.asarray(values, dtype="int32" if values.dtype.kind in "iu" else None)


class _Wrong(NamedTuple):
    """The first wrong entry."""

    sequence: int
    entry: tuple[int, ...]  # its index in the sequence
    shape: tuple[int, ...]  # of the sequence
    value: Any

    def place(self, name: str, start: int | None, first: int = 0) -> str:
        """Return where it is, in words; the sequence begins at the step `start`."""
        index, word = self.entry, "feature" if name == "x" else "value"
        if start is None:
            axes = [word]
        else:
            axes, index = ["step", word], (index[0] + start, *index[1:])
        return f"sequence {self.sequence + first}{places.words(index, self.shape, axes)}"


def _outside(x: np.ndarray, count: int) -> np.ndarray:
    return (x < 0) | (x >= count)


def _first_wrong(
    values: Values,
    wrong: Callable[[np.ndarray], np.ndarray],
    lengths: np.ndarray | None,
    axis: int,
) -> _Wrong | None:
    """Return the first wrong entry on the host that is not padding."""
    if isinstance(values, np.ndarray) and np.any(wrong(values)):
        rows = np.moveaxis(values, axis, 0)  # (N, T, ...)
        values = rows if lengths is None else [x[:n] for x, n in zip(rows, lengths, strict=True)]
    elif not isinstance(values, list):
        return None
    for i, row in enumerate(values):
        flags = wrong(row)
        if np.any(flags):
            index = places.first(flags)
            return _Wrong(i, index, row.shape, row[index])
    return None
