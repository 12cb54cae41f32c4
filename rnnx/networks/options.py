"""The options that the estimators and the character model share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self

import numpy as np

from rnnx import validate
from rnnx._doc import filled, with_defaults
from rnnx.cells import CELLS, get_cell

Check = Callable[[str, Any], Any]  # (name, value) -> value; raises ValueError
Checks = dict[str, Check]  # by the name of what is checked

SHARED = {  # what the docstrings of several classes say
    "network": f"""
hidden_size : int
    Units per layer and direction.
cell : {{{", ".join(f'"{name}"' for name in CELLS)}}} or Cell
    The recurrent cell.
num_layers : int
    Number of stacked layers.
dropout : float
    Dropout rate in [0, 1), between layers and before the linear layer.
""",
    "sequences": """
bidirectional : bool or "auto"
    Whether each layer also reads backward in time; "auto" does, unless there is a target per step.
pool : {"last", "mean", "max"} or "auto"
    How the outputs of all steps become one vector; "auto" takes the maximum.
frame : int or "auto"
    Steps that the network reads at once, as one vector; "auto" leaves it about 32 frames of a long
    sequence, and single steps of one below 64 or with a target per step.
per_step : bool
    Whether there is one target per step, instead of one per sequence.
scale : {"standard", "sequence"} or "auto"
    How features are scaled: by the mean and deviation of all sequences; or by those of each
    sequence, with its level and the logarithm of its spread as further features. "auto" takes
    "sequence" where the spreads of the middle half of the sequences differ by more than a factor of
    10 and there is no target per step.
missing : {"error", "indicator"}
    What to do with NaN in X: refuse it, or take the feature's mean in its place and, for each
    feature with missing values in `fit`, give the network an indicator beside it: 1 where the value
    was missing, else 0.
validation_fraction : float or "auto"
    Fraction in [0, 1) of the sequences, drawn at random, that `fit` holds out. It then keeps the
    parameters of the epoch with the lowest validation loss. "auto" is 0.1 of at least 1,000
    sequences, and 0 of fewer.
""",
    "layout": """
layout : {"TF", "FT"} or None
    Order of the axes of a sequence in arrays: steps and then features, (n, T, F), or features
    first, (n, F, T), as in aeon and sktime. None is "TF", but `fit` refuses arrays with more
    features than steps.
""",
    "training": """
epochs : int
    Number of passes over the training data.
learning_rate : float
    Initial learning rate.
clip_norm : float or None
    Maximum joint norm of the gradients; None never clips.
patience : int or None
    Stop after this many epochs without a lower validation loss.
""",
    "budget": """
epochs : int or "auto"
    Number of passes over the training data. "auto" makes at least `min_updates` and, where that
    takes less than about 30 seconds of one CPU core, 40 passes. It ends earlier where training has
    converged.
max_epochs : int
    The most passes that "auto" makes.
min_updates : int
    The fewest updates that "auto" plans, unless `max_epochs` passes have fewer.
n_estimators : int or "auto"
    Number of networks from different random weights, which are merged to one that computes their
    average. "auto" trains 5, or as many as about 30 seconds of one CPU core allow.
learning_rate : float
    Initial learning rate.
clip_norm : float or None
    Maximum joint norm of the gradients; None never clips.
patience : int, None or "auto"
    Stop after this many epochs without a lower validation loss; None never does. "auto" is a
    quarter of the epochs where both they and what is held out are chosen, at least 10.
warm_start : bool
    Whether another call of `fit` continues from the fitted network, with its scaling and choices,
    instead of starting anew. What is held out is drawn again, so some of it was learned before.
""",
    "batches": """
batch_size : int or "auto"
    Sequences per mini-batch; for a forecaster, windows. "auto" takes 16 of fewer than 1,000, 32 of
    fewer than 10,000, else 64.
schedule : {"cosine", "constant"}
    How `fit` changes the learning rate: to zero along a cosine, or not at all.
weight_decay : float
    Weight decay of AdamW; 0 trains with Adam.
random_state : None, int or numpy.random.RandomState
    Seed for initial weights, the order of the data and dropout.
""",
    "place": """
backend : str or Backend
    Where to compute, as for `rnnx.get_backend`.
device : str, int or None
    Device of the backend.
dtype : {"float32", "float64"} or None
    Floating-point type; by default the backend's.
verbose : bool
    Whether to show a progress bar and, for an estimator, what the data chose.
""",
    "fitted": """
model_ : rnnx.Sequential
    The trained network.
mean_, scale_ : numpy.ndarray, shape (F,)
    Mean and standard deviation of each feature over the training sequences. With the scale
    "standard", the network reads ``(x - mean_) / scale_``.
chosen_ : dict
    The options with an "auto", as they were given or as the data chose them.
history_ : rnnx.train.History
    The training history, of the first network where several are averaged.
histories_ : list of rnnx.train.History
    The training histories of all networks.
n_iter_ : int
    Number of epochs trained, the most of any network.
n_features_in_ : int
    Number of features; for a table (n, T), its number of columns.
feature_names_in_ : numpy.ndarray of str
    Names of these columns, if X was a data frame or a list of data frames.
""",
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


def numbers(name: str, value: Any) -> list[int]:
    """Return a list of integers of at least 0, each once."""
    if not isinstance(value, list) or len({*map(repr, value)}) < len(value):
        raise ValueError(f"{name} must be a list of integers, each once, got {value!r:.80}")
    return [validate.count(f"{name}[{i}]", entry) for i, entry in enumerate(value)]


def one_of(known: Iterable[str]) -> Check:
    """Return the check that a value is among the known names."""
    return lambda name, value: validate.one_of(name, value, known)


def auto(check: Check) -> Check:
    """Return a check that also accepts "auto": the data chooses."""
    return lambda name, value: (
        value if isinstance(value, str) and value == "auto" else check(name, value)
    )


def optional(check: Check) -> Check:
    """Return a check that also accepts None."""
    return lambda name, value: None if value is None else check(name, value)


@dataclass(eq=False, repr=False, kw_only=True)
class Options:
    """The options of every model here, their documentation and their checks.

    In a subclass's docstring, ``{network}`` and so on stand for the texts of `SHARED`.
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
        cls.__doc__ = with_defaults(filled(cls.__doc__, SHARED), cls._defaults())

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Return the defaults, also of a class that is not yet a dataclass."""
        found = {}
        for kind in reversed(cls.__mro__):
            for name in vars(kind).get("__annotations__", {}):
                value = getattr(cls, name, MISSING)
                found[name] = value.default if isinstance(value, Field) else value
        return {name: value for name, value in found.items() if value is not MISSING}

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Return a new object; an unknown option raises, with the name that is nearest."""
        known = cls._names()
        for name in [name for name in options if name not in known]:
            near = get_close_matches(name, known, 1)
            ways = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise TypeError(f"{cls.__name__} has no option {name!r}: {ways}")
        return super().__new__(cls)

    @classmethod
    def _names(cls, *without: str) -> list[str]:
        """Return the names of the options, in order."""
        return [f.name for f in fields(cls) if f.init and f.name not in without]

    def _read_options(self) -> dict[str, Any]:
        """Return the options; raise ValueError for the first that is out of range."""
        get_cell(self.cell)
        for name, check in self._checks.items():
            check(name, getattr(self, name))
        self._check_patience(self.validation_fraction)
        return {name: getattr(self, name) for name in self._names()}

    def _check_patience(self, fraction: float | str) -> None:
        """Raise ValueError if there is patience and nothing is held out."""
        patience: Any = self.patience
        if patience not in (None, "auto") and not fraction:
            raise ValueError("patience needs held-out data: give a validation_fraction above 0")
