"""The network of the character model, its loss, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnx import validate
from rnnx.backend import Array, get_backend
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.rnn import RNN
from rnnx.layers.sequential import Sequential
from rnnx.losses import softmax_cross_entropy

CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


def build(options: Any, symbols: int, rng: np.random.Generator) -> Sequential:
    """Return a new network, as the options of a `CharacterModel` say, for so many characters."""
    o = options
    cell = CELLS[validate.one_of("cell", o.cell, CELLS)]
    dropout = validate.fraction("dropout", o.dropout)
    where: dict[str, Any] = {"backend": get_backend(o.backend, device=o.device, dtype=o.dtype)}
    layers: list[Any] = [
        Embedding(symbols, validate.size("embedding_size", o.embedding_size), seed=rng, **where),
        cell(
            o.embedding_size, o.hidden_size, o.num_layers,
            dropout=dropout if validate.size("num_layers", o.num_layers) > 1 else 0.0,
            weight_init="glorot", recurrent_init="orthogonal", seed=rng, **where,
        ),
    ]  # fmt: skip
    layers += [Dropout(dropout, **where)] if dropout else []
    return Sequential(*layers, Linear(o.hidden_size, symbols, seed=rng, **where))


def restored(options: Any, symbols: int, params: Mapping[str, np.ndarray]) -> Sequential:
    """Return the network of these parameters, which must be all of them."""
    model = build(options, symbols, np.random.default_rng(0))
    if params.keys() != model.params.keys():
        raise ValueError(f"expected {list(model.params)}, got {list(params)}")
    model.set_params(params)
    return model


def bits(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the softmax cross-entropy in bits per character, and its gradient."""
    loss, dlogits = softmax_cross_entropy(logits, targets)
    return loss / math.log(2), dlogits / math.log(2)


def draw(
    model: Sequential, ids: np.ndarray, count: int, temperature: float, rng: np.random.Generator
) -> list[int]:
    """Return so many characters' numbers after the given ones (N,), each drawn given all before."""

    def run(params: Any, x: Array, state: Any) -> tuple[Array, Any]:
        y, state = model(x, state, params=params)
        return y[-1, 0, :], state

    bk, state, drawn = model.backend, None, []
    step = bk.compile(run)
    with bk.scope():
        for _ in range(count):
            logits, state = step(model.params, bk.asarray(ids[:, None], "int32"), state)
            p = _softmax(bk.to_numpy(logits).astype("float64") / temperature)
            ids = rng.choice(len(p), size=1, p=p)
            drawn.append(int(ids[0]))
    return drawn


def _softmax(z: np.ndarray) -> np.ndarray:
    """Return exp z / Σ exp z."""
    e = np.exp(z - np.max(z))
    return e / np.sum(e)
