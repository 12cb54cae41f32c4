"""What all three estimators share: their options, one training, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from rnnx import validate
from rnnx.data import Sequences
from rnnx.estimators.layout import LAYOUTS
from rnnx.networks.fitted import RecurrentModel
from rnnx.networks.options import Checks, one_of, optional, texts
from rnnx.optim import Adam, AdamW, Constant, Cosine
from rnnx.train import History, Run, fit

SCHEDULES = ("constant", "cosine")


@dataclass(eq=False, repr=False, kw_only=True)
class RecurrentEstimator(RecurrentModel, BaseEstimator):
    """The base of `RNNClassifier`, `RNNRegressor` and `RNNForecaster`."""

    batch_size: int = 32
    schedule: str = "cosine"
    weight_decay: float = 0.0
    layout: str | None = None
    random_state: Any = None

    _checks: ClassVar[Checks] = RecurrentModel._checks | {
        "batch_size": validate.size,
        "schedule": one_of(SCHEDULES),
        "weight_decay": validate.nonnegative,
        "layout": optional(one_of(LAYOUTS)),
    }

    _json: ClassVar[Checks] = {
        "n_features_in_": validate.size,
        "n_iter_": validate.count,
        "_steps_in": optional(validate.size),
        "_columns": optional(texts),
    }

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

    def _begin(self) -> None:
        """Make a new network, with random weights."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self._rng = np.random.default_rng(seed)
        self.model_ = self._network(self._rng)
        self._forget()
        self.n_iter_ = 0

    def _forget(self) -> None:
        self._opt_state, self.history_ = None, History()

    def _learn(
        self,
        data: Sequences,
        held_out: Sequences | None,
        epochs: int,
        loss: Callable[..., Any],
        metrics: Mapping[str, Any],
    ) -> Self:
        """Train the network, from where the last training ended."""
        n = len(data.x) if isinstance(data.x, list) else data.x.shape[1]
        steps = epochs * -(-n // self.batch_size)

        def keep(run: Run) -> None:
            self._opt_state = run.carry.opt_state

        self.history_ = fit(
            self.model_,
            data,
            loss=loss,
            optimizer=_Continued(self, self._opt_state),
            epochs=epochs,
            validation=held_out,
            batch_size=self.batch_size,
            metrics=metrics,
            clip_norm=self.clip_norm,
            schedule=Cosine(steps) if self.schedule == "cosine" and epochs > 1 else Constant(),
            patience=None if held_out is None else self.patience,
            callbacks=[keep],
            progress=bool(self.verbose),
            seed=self._rng,
        )
        self.n_iter_ += len(self.history_["epoch"])
        return self


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Restore an estimator, its parameters and its random state if the body fails."""
    before = dict(vars(estimator))
    model, rng = before.get("model_"), before.get("_rng")
    params = None if model is None else model.params
    state = None if rng is None else rng.bit_generator.state
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        if model is not None:
            model.set_params(params)
        if rng is not None:
            rng.bit_generator.state = state
        raise


class _Continued:
    """An optimizer that goes on from the state of an earlier training."""

    def __init__(self, options: RecurrentEstimator, state: Any) -> None:
        rate, decay = options.learning_rate, options.weight_decay
        self._optimizer = AdamW(rate, weight_decay=decay) if decay else Adam(rate)
        self.learning_rate, self.update, self._state = rate, self._optimizer.update, state

    def init(self, params: Any) -> Any:
        """Return the state before the first step of this training."""
        return self._optimizer.init(params) if self._state is None else self._state
