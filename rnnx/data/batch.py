"""What a model is handed, and what it expects of its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from rnnx.backend import Array, Backend


class Layout(NamedTuple):
    """What a model expects of its data."""

    backend: Backend
    batch_first: bool  # (B, T, ...) and not (T, B, ...)
    reduces_time: bool  # one output a sequence, not one a step
    both_ways: bool  # a layer reads backward in time, too
    symbols: int | None  # how many there are, where the first layer embeds them

    @classmethod
    def of(cls, model: Any) -> Self:
        """Return the layout of a model's data."""
        return cls(
            model.backend,
            _any(model, lambda layer: getattr(layer, "batch_first", False)),
            bool(model.reduces_time),
            _any(model, lambda layer: getattr(getattr(layer, "sizes", None), "directions", 1) == 2),
            _symbols(model),
        )

    @property
    def axis(self) -> int:
        """The axis of x along which sequences lie."""
        return 0 if self.batch_first else 1


class Batch(NamedTuple):
    """A mini-batch, or a chunk of a stream, on the backend's device."""

    x: Array
    target: Array | None
    lengths: Array | None  # (B,) integers; None where no sequence is padded
    weights: Array | None  # (B,)
    steps: int  # of the longest sequence; x may have more, for the library's sake
    size: int  # sequences
    counted: float  # steps or sequences that the loss is a mean of, each times its weight


def _any(model: Any, of: Callable[[Any], bool]) -> bool:
    """Return whether something is so of a model or a layer in it."""
    return bool(of(model)) or any(_any(layer, of) for layer in getattr(model, "layers", ()))


def _symbols(model: Any) -> int | None:
    while hasattr(model, "layers"):
        model = model.layers[0]
    return getattr(model, "num_embeddings", None)
