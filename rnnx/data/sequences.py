"""Sequences in mini-batches, with ragged ones bucketed by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rnnx.backend import Array
from rnnx.data import arrays
from rnnx.data.batch import Batch, Layout
from rnnx.data.fingerprint import fingerprint

POOL = 16  # sequences of this many mini-batches are sorted by length together


class Sequences:
    """Sequences and their targets for `rnnx.train`; ``(x, y)`` is short for ``Sequences(x, y)``.

    Parameters
    ----------
    x : array or list of arrays
        N sequences: an array (T, N, F), or (N, T, F) for a `batch_first` model; or a list of N
        arrays (T_i, F), each with at least one step. For an embedding: integers, without F.
    y : array or list of arrays, optional
        The targets. A model with one output per sequence (with a `rnnx.Pool`) needs one target per
        sequence, N along the first axis. Any other needs one per step: an array with the first two
        axes of x, or a list of N arrays (T_i, ...). Integers are classes, other numbers are values.
    lengths : array of integers, shape (N,), optional
        If x is an array: the number of valid steps of each sequence; the rest is padding.
    weights : array, shape (N,), optional
        The weight of each sequence in the loss, at least 0; 1 by default.

    Raises
    ------
    ValueError
        If lengths are given with a list. Empty data, numbers of sequences or steps that differ and
        numbers that are not finite are found when a model is trained.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx.data import Sequences
    >>> ragged = Sequences([np.ones((7, 3)), np.ones((2, 3))], [0, 1])
    """

    def __init__(self, x: Any, y: Any = None, *, lengths: Any = None, weights: Any = None) -> None:
        if isinstance(x, list | tuple) and lengths is not None:
            raise ValueError("a list of sequences has its own lengths: do not give lengths")
        self.x, self.y, self.lengths, self.weights = x, y, lengths, weights

    def bind(self, layout: Layout) -> SequenceSource:
        """Return a source of mini-batches for models of this layout, with the data checked."""
        return SequenceSource(self, layout)


class SequenceSource:
    """Sequences in the form that models of one layout take."""

    stateful = False

    def __init__(self, data: Sequences, layout: Layout) -> None:
        self.layout = layout
        self.x = arrays.read_rows(layout.backend, "x", data.x)
        self.size = self._size()
        self.lengths = self._read_lengths(data.lengths)
        self.ragged = data.lengths is not None or bool(np.any(self.lengths != self.lengths[0]))
        self.x = arrays.checked("x", self.x, self.lengths, layout.axis, layout.symbols)
        self.weights = None if data.weights is None else self._read_weights(data.weights)
        self.counts = self._count()
        self.y = None if data.y is None else self._read_targets(data.y)

    def describe(self) -> dict[str, Any]:
        """Return sizes and fingerprints, by which a checkpoint knows these sequences again."""
        bk = self.layout.backend
        parts = {"x": self.x, "y": self.y, "lengths": self.lengths, "weights": self.weights}
        found = {name: fingerprint(bk, part) for name, part in parts.items()}
        return {"sequences": self.size, "steps": int(self.lengths.sum())} | found

    def order(self, batch_size: int, rng: np.random.Generator | None) -> list[arrays.Rows]:
        """Return the sequences of each mini-batch, shuffled if `rng` is given.

        They are indices, or a slice where they follow each other. Ragged sequences are sorted by
        length within groups of `POOL` batches, so that there is little padding.
        """
        if rng is None and not self.ragged:
            starts = range(0, self.size, batch_size)
            return [slice(start, min(start + batch_size, self.size)) for start in starts]
        rows = arranged(self.lengths, self.ragged, batch_size, rng)
        batches: list[arrays.Rows] = [*_cut(rows, batch_size)]
        if self.ragged and rng is not None:
            return [batches[i] for i in rng.permutation(len(batches))]
        return batches

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all sequences in mini-batches, to measure a model on them."""
        return map(self.batch, self.order(batch_size, None))

    def batch(self, rows: arrays.Rows) -> Batch:
        """Return these sequences, as `order` gives them, as a mini-batch."""
        bk, axis = self.layout.backend, self.layout.axis
        lengths = self.lengths[rows]
        T = longest = int(lengths.max() if self.ragged else lengths[0])
        if self.ragged:
            T = bk.padded(longest)
            T = T if isinstance(self.x, list) else min(T, self.steps())
        target = None
        if self.y is not None and self.layout.reduces_time:
            target = arrays.take(bk, self.y, rows, 0)
        elif self.y is not None:
            target = arrays.gather(bk, self.y, rows, T, axis)
        return Batch(
            arrays.gather(bk, self.x, rows, T, axis),
            target,
            arrays.upload(bk, lengths.astype("int32")) if self.ragged else None,
            None if self.weights is None else bk.asarray(self.weights[rows]),
            longest,
            len(lengths),
            float(self.counts[rows].sum()),
        )

    def _size(self) -> int:
        """Return the number of sequences."""
        shape = (len(self.x),) if isinstance(self.x, list) else tuple(self.x.shape)
        if not isinstance(self.x, list) and len(shape) < 2:
            axes = "(N, T)" if self.layout.batch_first else "(T, N)"
            raise ValueError(f"x must have at least the axes {axes}, got shape {shape}")
        if 0 in shape:
            raise ValueError("x must hold at least one sequence of at least one step, got none")
        return shape[0] if isinstance(self.x, list) else shape[self.layout.axis]

    def steps(self) -> int:
        """Return the number of steps of an array, padding included."""
        return int(self.x.shape[1 - self.layout.axis])

    def _swapped(self, counts: Sequence[int]) -> str:
        """Return what to do if what was counted fits x with its first two axes swapped."""
        if isinstance(self.x, list) or not 0 < len(counts) < 3:
            return ""
        T, N = self.steps(), self.size
        if tuple(counts) not in {(T,), (N, T) if self.layout.axis else (T, N)}:
            return ""
        read, ways = "A time-major model reads x as (T, B, F)", "give its layers batch_first=True"
        if self.layout.batch_first:
            read, ways = "A batch_first model reads x as (B, T, F)", "leave batch_first out"
        return f". {read}, here {T} steps of {N} sequences: give x.swapaxes(0, 1), or {ways}"

    def check_labels(self, classes: int) -> None:
        """Raise ValueError if a target is not the label of one of so many classes."""
        bk = self.layout.backend
        if self.layout.reduces_time:
            arrays.check_labels(bk, self.y, None, 0, classes, start=None)
        else:
            arrays.check_labels(bk, self.y, self.lengths, self.layout.axis, classes)

    def _read_lengths(self, given: Any) -> np.ndarray:
        if isinstance(self.x, list):
            return np.asarray([len(row) for row in self.x])
        T = self.steps()
        if given is None:
            return np.full(self.size, T)
        lengths = arrays.host(self.layout.backend, "lengths", given)
        if lengths.shape != (self.size,) or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"lengths must be {self.size} integers, one per sequence, got {lengths.dtype} of "
                f"shape {lengths.shape}{self._swapped(lengths.shape)}"
            )
        if lengths.min() < 1 or lengths.max() > T:
            raise ValueError(
                f"lengths must be between 1 and {T}, got {lengths.min()} to {lengths.max()}"
            )
        return lengths

    def _read_weights(self, given: Any) -> np.ndarray:
        weights = arrays.host(self.layout.backend, "weights", given).astype("float64")
        if weights.shape != (self.size,):
            raise ValueError(
                f"weights must have shape {(self.size,)}, got {weights.shape}"
                f"{self._swapped(weights.shape)}"
            )
        if not np.all(np.isfinite(weights)) or weights.min() < 0 or weights.max() == 0:
            raise ValueError("weights must be finite, at least 0 and not all 0")
        return weights

    def _count(self) -> np.ndarray:
        """Return the weight of each sequence's targets in the loss, (N,)."""
        targets = np.ones(self.size) if self.layout.reduces_time else self.lengths
        return targets * (1.0 if self.weights is None else self.weights)

    def _read_targets(self, y: Any) -> Array:
        """Return the targets: one per sequence or one per step."""
        bk = self.layout.backend
        if self.layout.reduces_time:
            values = arrays.read(bk, "y", y)
            if values.ndim == 0 or values.shape[0] != self.size:
                raise ValueError(
                    f"y must hold {self.size} targets, one for each sequence of x, got shape "
                    f"{tuple(values.shape)}{self._swapped(values.shape[:1])}"
                )
            return arrays.checked("y", values, None, 0, start=None)
        values = arrays.read_rows(bk, "y", y)
        listed = isinstance(self.x, list)
        if isinstance(values, list) != listed:
            raise ValueError(
                "x and y must both be arrays or both be lists if there is one target per step; "
                "with one per sequence, the model needs a Pool"
            )
        got = [len(row) for row in values] if listed else tuple(values.shape[:2])
        expected = self.lengths.tolist() if listed else tuple(self.x.shape[:2])
        if got != expected:
            raise ValueError(
                f"y must have a target for each step of x, {_brief(expected)}, got {_brief(got)}; "
                f"with one per sequence, the model needs a Pool{self._swapped(got)}"
            )
        return arrays.checked("y", values, self.lengths, self.layout.axis)


def arranged(
    lengths: np.ndarray, ragged: bool, batch_size: int, rng: np.random.Generator | None
) -> np.ndarray:
    """Return the order of sequences: shuffled if `rng` is given, then sorted in groups."""
    rows = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    if not ragged:
        return rows
    pools = _cut(rows, len(lengths) if rng is None else POOL * batch_size)
    return np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in pools])


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _brief(counts: Any) -> str:
    return str(counts) if len(counts) <= 8 else f"[{', '.join(map(str, counts[:8]))}, ...]"
