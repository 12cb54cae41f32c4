"""The options that the estimators and the character model share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from rnnx import validate
from rnnx.cells import CELLS, get_cell

Check = Callable[[str, Any], Any]  # (name, value) -> value; raises ValueError
Checks = dict[str, Check]  # by the name of what is checked

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
    "validation_fraction": "float\nFraction in [0, 1) of the sequences, drawn at random, that "
    "`fit` holds out. It\n    then keeps the parameters of the epoch with the lowest validation "
    "loss.",
    "patience": "int or None\nStop after this many epochs without a lower validation loss.",
    "backend": "str or Backend\nWhere to compute, as for `rnnx.get_backend`.",
    "device": "str, int or None\nDevice of the backend.",
    "dtype": '{"float32", "float64"} or None\nFloating-point type; by default the backend\'s.',
    "random_state": "None, int or numpy.random.RandomState\nSeed for initial weights, the order "
    "of the data and dropout.",
    "verbose": "bool\nWhether to show a progress bar.",
    "model_": "rnnx.Sequential\nThe trained network.",
    "mean_": "numpy.ndarray, shape (F,)\nMean of each feature over the training sequences.",
    "scale_": "numpy.ndarray, shape (F,)\nStandard deviation of each "
    "feature; the network reads ``(x - mean_) / scale_``.",
    "history_": "rnnx.train.History\nThe training history.",
    "n_iter_": "int\nNumber of epochs trained.",
    "n_features_in_": "int\nNumber of features; for a table (n, T), its number of columns.",
}


def flag(name: str, value: Any) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def texts(name: str, value: Any) -> list[str]:
    """Return a list of texts."""
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError(f"{name} must be a list of texts, got {value!r:.80}")
    return value


def one_of(known: Iterable[str]) -> Check:
    """Return the check that a value is among the known names."""
    return lambda name, value: validate.one_of(name, value, known)


def optional(check: Check) -> Check:
    """Return a check that also accepts None."""
    return lambda name, value: None if value is None else check(name, value)


@dataclass(eq=False, repr=False, kw_only=True)
class Options:
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

    _checks: ClassVar[Checks] = {
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

    @classmethod
    def _names(cls, *without: str) -> list[str]:
        """Return the names of the options, in order."""
        return [f.name for f in fields(cls) if f.init and f.name not in without]

    def _read_options(self) -> dict[str, Any]:
        """Return the options; raise ValueError for the first that is out of range."""
        get_cell(self.cell)
        for name, check in self._checks.items():
            check(name, getattr(self, name))
        if self.patience is not None and not self.validation_fraction:
            raise ValueError("patience needs held-out data: give a validation_fraction above 0")
        return {name: getattr(self, name) for name in self._names()}


def documented(docstring: str | None) -> str | None:
    """Return a docstring with the descriptions of the shared options spliced in."""

    def entries(found: re.Match[str]) -> str:
        texts = {name: TEXTS[name].split("\n", 1) for name in found[1].split(", ")}
        return "\n".join(f"{name} : {kind}\n    {text}" for name, (kind, text) in texts.items())

    if docstring is None:  # python -OO
        return None
    return re.sub(r"^\{([\w, ]+)\}$", entries, inspect.cleandoc(docstring), flags=re.MULTILINE)
