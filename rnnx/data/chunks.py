"""Predictions over chunks of sequences: an iterator of them, or a Dask array.

Dask is not imported before it made one of the arguments.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np


def given(x: Any) -> bool:
    """Return whether x comes in chunks."""
    return isinstance(x, Iterator) or type(x).__module__.partition(".")[0] == "dask"


def predicted(predict: Callable[[Any], Any], x: Any, *, axis: int = 0, out: int = 0) -> Any:
    """Return the predictions of each chunk, lazily: an iterator, or a Dask array.

    Nothing holds a chunk after it was predicted. Of a Dask array, sequences lie along `axis`, those
    of the predictions along `out`; its predictions are those of the model as it is now.
    """
    if isinstance(x, Iterator):
        return map(partial(_numbered, predict), count(), x)
    from dask.array import Array

    if not isinstance(x, Array):
        raise TypeError(
            f"expected a Dask array or an iterator of chunks, got a Dask {type(x).__name__}: give "
            "(part.compute() for part in X.partitions), or X.compute() if that has none"
        )
    return _of_dask(copy.deepcopy(predict), x, axis, out)


def _of_dask(predict: Callable[[Any], Any], x: Any, axis: int, out: int) -> Any:
    """Return the predictions of a Dask array, whose form is that of a sequence of zeros."""
    import dask
    import dask.array as da

    _check_chunks(x, axis)
    shape = tuple(1 if i == axis else size for i, size in enumerate(x.shape))
    one = predict(np.zeros(shape, x.dtype))
    empty = np.delete(one, 0, axis=out)
    new = {x.ndim + i: size for i, size in enumerate(one.shape) if i != out}
    return da.blockwise(
        partial(_block, axis=axis, empty=empty),
        tuple(axis if i == out else x.ndim + i for i in range(one.ndim)),
        *(x, range(x.ndim)),
        *(da.arange(x.numblocks[axis], chunks=1), (axis,)),
        *(dask.delayed(predict, pure=False, traverse=False), None),  # once for all tasks
        new_axes=new,
        concatenate=True,
        align_arrays=False,  # one number for each chunk, of any size
        meta=empty,
        token="predict",
    )


def _check_chunks(x: Any, axis: int) -> None:
    """Raise ValueError unless a Dask array is in chunks along this axis, and along no other."""
    if x.ndim < 2:
        raise ValueError(
            f"a Dask array must hold sequences along axis {axis} and their steps along another, "
            f"got shape {x.shape}"
        )
    others = [i for i in range(x.ndim) if i != axis]
    if any(x.numblocks[i] > 1 for i in others):
        raise ValueError(
            f"a Dask array must be in chunks along axis {axis}, that of the sequences, and in one "
            f"along others, got {x.numblocks} chunks: give "
            f"X.rechunk({ {axis: 'auto'} | dict.fromkeys(others, -1) })"
        )
    if any(np.isnan(x.shape[i]) for i in others):
        raise ValueError(
            f"a Dask array must have a known number of steps and features, got shape {x.shape}: "
            "call X.compute_chunk_sizes() first"
        )


def _block(
    x: Any, number: Any, predict: Callable[[Any], Any], *, axis: int, empty: np.ndarray
) -> Any:
    """Return the predictions of a chunk of a Dask array; a filter may have left it empty."""
    return _numbered(predict, int(number[0]), x) if x.shape[axis] else empty


def _numbered(predict: Callable[[Any], Any], number: int, chunk: Any) -> Any:
    """Return the predictions of a chunk; an error says which one it is."""
    if given(chunk):
        raise TypeError(
            f"chunk {number} must hold sequences in memory, got a {type(chunk).__name__}, which "
            "comes in chunks itself: compute it, or make a list of it"
        )
    try:
        return predict(chunk)
    except (TypeError, ValueError) as error:
        raise type(error)(f"chunk {number}: {error}") from None
