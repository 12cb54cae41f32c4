"""From an estimator's options to a model and its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnx import validate
from rnnx.backend import get_backend
from rnnx.data import Sequences
from rnnx.layers.dropout import Dropout
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.pool import HOWS, Pool
from rnnx.layers.rnn import RNN
from rnnx.layers.sequential import Sequential
from rnnx.optim import Adam, AdamW, Constant, Cosine
from rnnx.train import Callback, History, Run, fit

CELLS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
SCHEDULES = ("constant", "cosine")


def build(estimator: Any, features: int, outputs: int, rng: np.random.Generator) -> Sequential:
    """Return a new model: recurrent layers, a `Pool` but for a target a step, a linear layer."""
    o, both = estimator, bool(getattr(estimator, "bidirectional", False))
    validate.one_of("cell", o.cell, CELLS)
    where: dict[str, Any] = {"backend": get_backend(o.backend, device=o.device, dtype=o.dtype)}
    layers: list[Any] = [
        CELLS[o.cell](
            features, o.hidden_size, o.num_layers, bidirectional=both,
            dropout=o.dropout if validate.size("num_layers", o.num_layers) > 1 else 0.0,
            recurrent_init="orthogonal", weight_init="glorot", seed=rng, **where,
        )
    ]  # fmt: skip
    if not getattr(o, "per_step", True):
        validate.one_of("pool", o.pool, HOWS)
        layers.append(Pool(o.pool, bidirectional=both, **where))
    if o.dropout:
        layers.append(Dropout(o.dropout, **where))
    width = o.hidden_size * (2 if both else 1)
    return Sequential(*layers, Linear(width, outputs, seed=rng, **where))


def held_out_fraction(estimator: Any) -> float:
    """Return the fraction of its data that `fit` holds out, which `patience` needs."""
    fraction = validate.fraction("validation_fraction", estimator.validation_fraction)
    if estimator.patience is not None and not fraction:
        raise ValueError("patience needs held-out data: give a validation_fraction above 0")
    return fraction


class Continued:
    """An optimizer that goes on from the state of an earlier training."""

    def __init__(self, estimator: Any, state: Any) -> None:
        decay = validate.nonnegative("weight_decay", estimator.weight_decay)
        rate = validate.positive("learning_rate", estimator.learning_rate)
        self._optimizer = AdamW(rate, weight_decay=decay) if decay else Adam(rate)
        self.learning_rate, self.update, self.state = rate, self._optimizer.update, state

    def init(self, params: Any) -> Any:
        """Return the state before the first step of this training."""
        return self._optimizer.init(params) if self.state is None else self.state


class _Keep(Callback):
    """Keep the optimizer's state at the end."""

    def __init__(self, optimizer: Continued) -> None:
        self.optimizer = optimizer

    def end(self, run: Run) -> None:
        self.optimizer.state = run.carry.opt_state


def train_model(
    estimator: Any,
    model: Any,
    data: Sequences,
    held_out: Sequences | None,
    optimizer: Continued,
    loss: Any,
    metrics: Mapping[str, Any],
    epochs: int,
    rng: np.random.Generator,
) -> History:
    """Train a model as an estimator's options say."""
    o = estimator
    batch_size = validate.size("batch_size", o.batch_size)
    validate.one_of("schedule", o.schedule, SCHEDULES)
    steps = epochs * -(-_count(data) // batch_size)
    return fit(
        model,
        data,
        loss=loss,
        optimizer=optimizer,
        epochs=epochs,
        validation=held_out,
        batch_size=batch_size,
        metrics=metrics,
        clip_norm=o.clip_norm,
        schedule=Cosine(steps) if o.schedule == "cosine" and epochs > 1 else Constant(),
        patience=None if held_out is None else o.patience,
        callbacks=[_Keep(optimizer)],
        progress=bool(o.verbose),
        seed=rng,
    )


def _count(data: Sequences) -> int:
    """Return the number of sequences."""
    return len(data.x) if isinstance(data.x, list) else int(data.x.shape[1])
