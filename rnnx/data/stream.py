"""Streams: long sequences, read in chunks for truncated BPTT."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from rnnx import validate
from rnnx.data import arrays
from rnnx.data.batch import Batch, Layout
from rnnx.data.fingerprint import fingerprint


class Stream:
    """A long sequence, or several side by side, for truncated BPTT in `rnnx.train`.

    An epoch reads the stream once, chunk by chunk: the state is carried over, the gradient is cut.
    Only slices of x and y are read, so a `numpy.memmap` is never loaded whole.

    Parameters
    ----------
    x : array, shape (T, B, ...)
        B streams of T steps; integers (T, B) for an embedding. With `streams`: one sequence,
        (T, ...).
    y : array, shape (T, B, ...), optional
        One target per step. Integers are classes, other numbers are values.
    length : int
        Number of steps per chunk: how far back gradients go. The last chunk may be shorter.
    streams : int, optional
        Cut one sequence into this many streams of equal length and read them side by side, as a
        mini-batch. Up to ``streams - 1`` steps at the end are left out.

    Raises
    ------
    ValueError
        If `length` or `streams` is below 1, the targets do not fit x, or there are too few steps.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx.data import Stream
    >>> wave = np.sin(np.arange(1001))[:, None]
    >>> chunks = Stream(wave[:-1], wave[1:], length=25, streams=4)
    >>> chunks.x.shape
    (250, 4, 1)
    """

    def __init__(self, x: Any, y: Any = None, *, length: int, streams: int | None = None) -> None:
        self.length = validate.size("length", length)
        x, y = _array(x), None if y is None else _array(y)
        axes = 2 if streams is None else 1  # time and streams
        if getattr(x, "ndim", 0) < axes:
            raise ValueError(
                "x must be an array (T, B, ...), or (T, ...) with streams=, got "
                f"{getattr(x, 'shape', type(x).__name__)}"
            )
        if y is not None and tuple(y.shape[:axes]) != tuple(x.shape[:axes]):
            raise ValueError(
                f"y must have a target for each step of x, {tuple(x.shape[:axes])}, got shape "
                f"{tuple(y.shape)}"
            )
        if streams is not None:
            streams = validate.size("streams", streams)
            x, y = _side_by_side(x, streams), None if y is None else _side_by_side(y, streams)
        if 0 in x.shape:
            raise ValueError(f"x must hold at least one step of each stream, got shape {x.shape}")
        self.x, self.y = x, y

    def bind(self, layout: Layout) -> StreamSource:
        """Return a source of chunks for models of this layout."""
        return StreamSource(self, layout)


class StreamSource:
    """A stream in the form that models of one layout take."""

    stateful = True

    def __init__(self, data: Stream, layout: Layout) -> None:
        unfit = {
            "batch_first": layout.batch_first,
            "a Pool": layout.reduces_time,
            "a bidirectional layer, which reads the end first": layout.both_ways,
        }
        if any(unfit.values()):
            raise ValueError(
                "a stream needs a time-major model with an output at every step that reads forward "
                f"in time, got one with {next(name for name, found in unfit.items() if found)}"
            )
        self.layout, self.x, self.y, self.length = layout, data.x, data.y, data.length
        self.size = int(data.x.shape[1])
        self.columns = slice(0, self.size)  # the streams that are read

    def narrowed(self, columns: slice) -> StreamSource:
        """Return the source of some of the streams, side by side in the data."""
        found = copy(self)
        found.columns, found.size = columns, columns.stop - columns.start
        return found

    def describe(self) -> dict[str, Any]:
        """Return sizes and fingerprints, by which a checkpoint knows this stream again."""
        bk = self.layout.backend
        return {
            "streams": self.size,
            "steps": int(self.x.shape[0]),
            "length": self.length,
            "x": fingerprint(bk, self.x),
            "y": fingerprint(bk, self.y),
        }

    def order(self, batch_size: int, rng: np.random.Generator | None) -> list[slice]:
        """Return the chunks, always in time order."""
        T = int(self.x.shape[0])
        return [slice(start, min(start + self.length, T)) for start in range(0, T, self.length)]

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the chunks, to measure a model on them."""
        return map(self.batch, self.order(batch_size, None))

    def batch(self, part: slice) -> Batch:
        """Return a chunk."""
        x = self._piece("x", self.x, part)
        target = None if self.y is None else self._piece("y", self.y, part)
        T = int(x.shape[0])
        return Batch(x, target, None, None, T, self.size, float(T * self.size))

    def check_labels(self, classes: int) -> None:
        """Raise ValueError if a target is not the label of one of so many classes."""
        bk = self.layout.backend
        for part in self.order(1, None):  # a file is read in chunks
            labels = arrays.read(bk, "y", self.y[part, ...])
            arrays.check_labels(bk, labels, None, 1, classes, start=part.start)

    def _piece(self, name: str, values: Any, part: slice) -> Any:
        bk = self.layout.backend
        piece = arrays.read(bk, name, values[part, self.columns, ...])
        symbols = self.layout.symbols if name == "x" else None
        first = self.columns.start
        piece = arrays.checked(name, piece, None, 1, symbols, start=part.start, first=first)
        return arrays.upload(bk, piece)


def _array(x: Any) -> Any:
    """Return lists and tables as arrays, and anything else unchanged: it may be a file."""
    return np.asarray(x) if isinstance(x, list | tuple) or hasattr(x, "iloc") else x


def _side_by_side(x: Any, streams: int) -> Any:
    """Return (T, ...) as (T // streams, streams, ...): consecutive pieces side by side."""
    x = x if is_array_api_obj(x) else np.asarray(x)
    xp, T = array_namespace(x), x.shape[0] // streams
    parts = xp.reshape(x[: T * streams, ...], (streams, T, *x.shape[1:]))
    return xp.permute_dims(parts, (1, 0, *range(2, parts.ndim)))
