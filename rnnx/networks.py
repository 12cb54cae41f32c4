"""The networks behind the estimators and the character model, and the options they share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
Check = Callable[[str, Any], Any]  # (name, value) -> value; raises ValueError

TEXTS = {  # what a class's docstring says about an option that several classes share
    "hidden_size": "int\nUnits per layer and direction.",
    "cell": f"{{{', '.join(map(repr, CELLS))}}} or Cell\nThe recurrent cell.".replace("'", '"'),
    "num_layers": "int\nNumber of stacked layers.",
    "bidirectional": "bool\nWhether each layer also reads backward in time.",
    "pool": '{"last", "mean", "max"}\nHow the outputs of all steps become one vector.',
    "per_step": "bool\nWhether there is one target per step, instead of one per sequence.",
    "dropout": "float\nDropout rate in [0, 1), between layers and before the linear layer.",
    "epochs": "int\nNumber of passes over the training data.",
    "batch_size": "int\nSequences per mini-batch; for a forecaster, windows.",
    "learning_rate": "float\nInitial learning rate.",
    "schedule": '{"cosine", "constant"}\nHow `fit` changes the learning rate: to zero along a '
    "cosine, or not at all.",
    "weight_decay": "float\nWeight decay of AdamW; 0 trains with Adam.",
    "clip_norm": "float or None\nMaximum joint norm of the gradients; None never clips.",
    "validation_fraction": "float\nFraction in [0, 1) of the sequences, drawn at random, that `fit` "
    "holds out. It then\n    keeps the parameters of the epoch with the lowest validation loss.",
    "patience": "int or None\nStop after this many epochs without a lower validation loss.",
    "backend": "str or Backend\nWhere to compute, as for `rnnx.get_backend`.",
    "device": "str, int or None\nDevice of the backend.",
    "dtype": '{"float32", "float64"} or None\nFloating-point type; by default the backend\'s.',
    "random_state": "None, int or numpy.random.RandomState\nSeed for initial weights, the order "
    "of the data and dropout.",
    "verbose": "bool\nWhether to show a progress bar.",
    "model_": "rnnx.Sequential\nThe trained network.",
    "mean_": "numpy.ndarray, shape (F,)\nMean of each feature in the data that `fit` learned from.",
    "scale_": "numpy.ndarray, shape (F,)\nStandard deviation; the network reads "
    "``(x - mean_) / scale_``.",
    "history_": "rnnx.train.History\nThe training history.",
    "n_iter_": "int\nNumber of epochs trained.",
    "n_features_in_": "int\nNumber of features; for a table (n, T), its number of columns.",
}


def flag(name: str, value: Any) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def one_of(known: Iterable[str]) -> Check:
    """Return the check that a value is among the known names."""
    return lambda name, value: validate.one_of(name, value, known)


def optional(check: Check) -> Check:
    """Return a check that also accepts None."""
    return lambda name, value: None if value is None else check(name, value)


@dataclass(eq=False, repr=False, kw_only=True)
class RecurrentModel:
    """The options of every model here, their documentation and their checks.

    In a subclass's docstring, a line such as ``{hidden_size, cell}`` stands for the shared
    description of these options.
    """

    hidden_size: int = 32
    cell: Any = "gru"
    num_layers: int = 1
    dropout: float = 0.0
    epochs: int = 50
    learning_rate: float = 0.01
    clip_norm: float | None = 1.0
    validation_fraction: float = 0.0
    patience: int | None = None
    backend: Any = "numpy"
    device: Any = None
    dtype: str | None = None
    verbose: bool = False

    _checks = {
        "hidden_size": validate.size,
        "num_layers": validate.size,
        "dropout": validate.fraction,
        "epochs": validate.size,
        "learning_rate": validate.positive,
        "clip_norm": optional(validate.positive),
        "validation_fraction": validate.fraction,
        "patience": optional(validate.size),
    }

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__doc__ = documented(cls.__doc__)

    def _check_options(self) -> None:
        """Raise ValueError for the first option that is out of range."""
        if isinstance(self.cell, str):
            validate.one_of("cell", self.cell, CELLS)
        for name, check in self._checks.items():
            check(name, getattr(self, name))
        if self.patience is not None and not self.validation_fraction:
            raise ValueError("patience needs held-out data: give a validation_fraction above 0")


def documented(docstring: str | None) -> str | None:
    """Return a docstring with the descriptions of the shared options spliced in."""

    def entries(found: re.Match[str]) -> str:
        texts = {name: TEXTS[name].split("\n", 1) for name in found[1].split(", ")}
        return "\n".join(f"{name} : {kind}\n    {text}" for name, (kind, text) in texts.items())

    if docstring is None:  # python -OO
        return None
    return re.sub(r"^\{([\w, ]+)\}$", entries, inspect.cleandoc(docstring), flags=re.MULTILINE)


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
