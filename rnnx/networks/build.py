"""From the options of a model to its network."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx import validate
from rnnx.backend import get_backend
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.pool import Pool
from rnnx.layers.rnn import RNN
from rnnx.layers.sequential import Sequential

CELLS: dict[str, Any] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


def recurrent(cell: Any, input_size: int, hidden_size: int, num_layers: int, **options: Any) -> Any:
    """Return stacked recurrent layers of a cell, given by name or as a `Cell`."""
    layer = CELLS[validate.one_of("cell", cell, CELLS)]
    return layer(input_size, hidden_size, num_layers, **options)


def build(
    options: Any, features: int, outputs: int, seed: np.random.Generator, *, embed: bool = False
) -> Sequential:
    """Return a new network: recurrent layers, a `Pool` unless it answers per step, a linear layer.

    Parameters
    ----------
    options : RecurrentModel
        What to build, and where.
    features, outputs : int
        Sizes of the recurrent layers' input and of the linear layer's output.
    seed : numpy.random.Generator
        Draws the weights.
    embed : bool
        Whether the input is integers below `outputs`, embedded in vectors of length `features`.
    """
    o, both = options, bool(getattr(options, "bidirectional", False))
    where: dict[str, Any] = {"backend": get_backend(o.backend, device=o.device, dtype=o.dtype)}
    layers: list[Any] = [Embedding(outputs, features, seed=seed, **where)] if embed else []
    layers.append(
        recurrent(
            o.cell, features, o.hidden_size, o.num_layers, bidirectional=both,
            dropout=o.dropout if o.num_layers > 1 else 0.0,
            recurrent_init="orthogonal", weight_init="glorot", seed=seed, **where,
        )
    )  # fmt: skip
    if not getattr(o, "per_step", True):
        layers.append(Pool(o.pool, bidirectional=both, **where))
    if o.dropout:
        layers.append(Dropout(o.dropout, **where))
    width = o.hidden_size * (2 if both else 1)
    return Sequential(*layers, Linear(width, outputs, seed=seed, **where))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return exp z / Σ exp z over the last axis, in float64."""
    z = logits.astype("float64")
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)
