"""From the options of a model to its network."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.backend import get_backend
from rnnx.layers.base import Seed
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.linear import Linear
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.sequential import Sequential


def network(
    options: Any, features: int, outputs: int, seed: Seed, *, embed: bool = False
) -> Sequential:
    """Return a new network: recurrent layers, a `Pool` unless it answers per step, a linear layer.

    With `embed`, the input is integers below `outputs`, embedded in vectors of length `features`.
    """
    o, both = options, bool(getattr(options, "bidirectional", False))
    where: dict[str, Any] = {"backend": get_backend(o.backend, device=o.device, dtype=o.dtype)}
    layers: list[Any] = [Embedding(outputs, features, seed=seed, **where)] if embed else []
    layers.append(
        Recurrent(
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
