"""What a model expects of its data, and the batches that it is given."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from rnnx.backend import Array, Backend


class Layout(NamedTuple):
    """What a model expects of its data."""

    backend: Backend
    batch_first: bool  # (B, T, ...) and not (T, B, ...)
    reduces_time: bool  # one output per sequence, not one per step
    both_ways: bool  # a layer also reads backward in time
    symbols: int | None  # the number of symbols, if the first layer embeds them

    @classmethod
    def of(cls, model: Any) -> Self:
        """Return the layout of a model's data."""
        layers = [layer for _, layer in model.walk()]
        return cls(
            model.backend,
            any(layer.batch_first for layer in layers),
            bool(model.reduces_time),
            any(layer.directions == 2 for layer in layers),
            getattr(layers[0], "num_embeddings", None),
        )

    @property
    def axis(self) -> int:
        """The axis of x along which sequences lie."""
        return 0 if self.batch_first else 1


class Whole(NamedTuple):
    """The mini-batch of all processes together, where several train one model."""

    columns: slice  # which of its sequences this process has
    steps: int
    size: int
    counted: float


class Batch(NamedTuple):
    """A mini-batch, or a chunk of a stream, on the backend's device; a step takes `inputs`."""

    x: Array
    target: Array | None
    lengths: Array | None  # (B,) integers; None if no sequence is padded
    weights: Array | None  # (B,)
    steps: int  # of the longest sequence; x may be padded further for compiled libraries
    size: int  # the number of sequences
    counted: float  # the total weight of the steps or sequences that the loss is a mean of
    of: Whole | None = None  # what this is a process's part of, if it is

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arrays."""
        return self[:4]

    @property
    def whole(self) -> Whole:
        """The mini-batch of all processes: this one, if it is not a part."""
        return self.of or Whole(slice(None), self.steps, self.size, self.counted)

    @property
    def share(self) -> float:
        """The part of the whole loss that this one counts for, from 0 to 1."""
        whole = self.whole.counted
        return self.counted / whole if whole else 0.0
