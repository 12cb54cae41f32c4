"""What all three estimators share: their options and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from rnnx import io, validate
from rnnx.data import chunks
from rnnx.estimators import ensemble
from rnnx.estimators.reading.layout import LAYOUTS
from rnnx.estimators.training import Training
from rnnx.networks.fitted import NOT_SAVED, SEEDS
from rnnx.networks.options import Checks, auto, flag, one_of, optional, texts
from rnnx.parallel.stages import Stages
from rnnx.train.setup import differences, in_short, name_of

SCHEDULES = ("constant", "cosine")


@dataclass(eq=False, repr=False, kw_only=True)
class RecurrentEstimator(Training, BaseEstimator):
    """The base of `RNNClassifier`, `RNNRegressor` and `RNNForecaster`."""

    epochs: int | str = "auto"
    max_epochs: int = 1000
    min_updates: int = 1000
    n_estimators: int | str = "auto"
    batch_size: int | str = "auto"
    schedule: str = "cosine"
    weight_decay: float = 0.03
    validation_fraction: float | str = "auto"  # type: ignore[assignment]
    patience: int | str | None = "auto"  # type: ignore[assignment]
    warm_start: bool = False
    layout: str | None = None
    random_state: Any = None

    _checks: ClassVar[Checks] = Training._checks | {
        "epochs": auto(validate.size),
        "max_epochs": validate.size,
        "min_updates": validate.size,
        "n_estimators": auto(validate.size),
        "batch_size": auto(validate.size),
        "schedule": one_of(SCHEDULES),
        "weight_decay": validate.nonnegative,
        "validation_fraction": auto(validate.fraction),
        "patience": auto(optional(validate.size)),
        "warm_start": flag,
        "layout": optional(one_of(LAYOUTS)),
    }

    _json: ClassVar[Checks] = {
        "n_features_in_": validate.size,
        "n_iter_": validate.count,
        "chosen_": lambda name, value: value,  # `_from_file` checks it
        "_steps_in": optional(validate.size),
        "_columns": optional(texts),
    }

    _auto: ClassVar[tuple[str, ...]] = (  # the options that the data may choose
        "n_estimators", "epochs", "batch_size", "validation_fraction", "patience",
    )  # fmt: skip

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    @property
    def _dtype(self) -> str:
        """The dtype that the network computes with."""
        return self.model_.backend.dtype_name

    @property
    def _columns(self) -> list[str] | None:
        """The names of the columns, for a file."""
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else list(names)

    @_columns.setter
    def _columns(self, names: list[str] | None) -> None:
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)

    def plot_history(self, ax: Any = None) -> Any:
        """Draw the learning curves of `history_`; return the Matplotlib Axes."""
        self._check_is_fitted()
        return self.history_.plot(ax=ax)

    def _by_chunk(self, predict: Callable[[Any], Any], X: Any, out: int = 0) -> Any:
        """Return the predictions of X, which comes in chunks; sequences lie along the axis `out`.

        A Dask array has them along the first in any layout.
        """
        self._check_is_fitted()
        return chunks.predicted(predict, X, out=out)

    def _check_is_fitted(self) -> None:
        check_is_fitted(self, "model_")

    def _check_fitted(self) -> None:
        if self._steps_in not in (None, self.n_features_in_):
            raise ValueError(f"a table of {self._steps_in} steps has as many columns")
        if len(self._columns or "") not in (0, self.n_features_in_):
            raise ValueError(f"expected {self.n_features_in_} names of columns")
        for name in self._arrays():
            if name.endswith(("scale", "scale_")) and not np.all(getattr(self, name) > 0):
                raise ValueError(f"{name} must be above 0")

    @classmethod
    def _from_file(cls, description: io.Description) -> Self:
        model = super()._from_file(description)
        chosen = model.chosen_
        if not isinstance(chosen, dict) or chosen.keys() != {*cls._auto}:
            raise ValueError(f"chosen_ must hold {', '.join(cls._auto)}, got {chosen!r:.200}")
        for name, value in chosen.items():
            cls._checks[name](name, value)
            alone = name == "n_estimators" and value == 1  # as partial_fit begins
            if value == "auto" or not (alone or getattr(model, name) in ("auto", value)):
                raise ValueError(
                    f"{name}={getattr(model, name)!r:.80} cannot have become {value!r:.80}"
                )
        return model

    def _copies(self) -> int:
        return int(self.chosen_["n_estimators"])

    def _read_options(self) -> dict[str, Any]:
        options = super()._read_options()
        if self.n_estimators not in ("auto", 1) and not self._merges():
            raise ValueError(
                f"n_estimators must be 1 with the cell {self.cell!r}, got {self.n_estimators}: "
                f"networks of {', '.join(ensemble.MERGED)} can be averaged"
            )
        return options


@contextmanager
def unchanged_on_error(estimator: Any, comm: Any = None) -> Iterator[None]:
    """Restore an estimator, its parameters and its random state if the body fails.

    The body fails in all processes of a communicator, or in none.
    """
    before = dict(vars(estimator))
    model, rng = before.get("model_"), before.get("_rng")
    params = None if model is None else model.params
    state = None if rng is None else rng.bit_generator.state
    estimator._stages = Stages(comm)
    try:
        with estimator._stages.all():
            _check_alike(estimator)
            yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        if model is not None:
            model.set_params(params)
        if rng is not None:
            rng.bit_generator.state = state
        raise
    del estimator._stages


def _check_alike(estimator: Any) -> None:
    """Raise ValueError unless all processes have the options of rank 0, and are fitted if it is."""
    if estimator._stages.size == 1:
        return
    options = estimator.get_params(deep=False).items()
    mine: dict[str, Any] = {k: name_of(v) for k, v in options if k not in (*NOT_SAVED, *SEEDS)}
    mine["fitted"] = hasattr(estimator, "model_")
    root = estimator._stages.from_root(mine)
    other = differences(type(estimator).__name__, mine, root, "here", "on rank 0")
    if other:
        raise ValueError(
            f"all processes must have the same estimator, got {in_short(other)}: give each the "
            "same options, and fit or load it in all or in none"
        )
