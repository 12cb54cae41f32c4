"""What RNNClassifier and RNNRegressor share: one target per sequence, or per step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.utils import _safe_indexing

from rnnx.data import Sequences
from rnnx.estimators import inputs, values
from rnnx.estimators.base import RecurrentEstimator, unchanged_on_error
from rnnx.estimators.forms import each, on_host, time_major
from rnnx.layers.pool import HOWS
from rnnx.networks.deployed import Deployed, inner_layers
from rnnx.networks.options import Checks, flag, one_of
from rnnx.train import predict


class Data(NamedTuple):
    """Sequences, their targets and their weights."""

    rows: Any  # (n, T, F), or a list of (T_i, F)
    targets: Any  # (n, ...) or, per step, in the form of the rows
    weights: np.ndarray | None  # (n,)

    def part(self, of: np.ndarray) -> Data:
        """Return the sequences with these numbers."""
        return Data(*(None if part is None else _safe_indexing(part, of) for part in self))


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceEstimator(RecurrentEstimator):
    """The base of `RNNClassifier` and `RNNRegressor`."""

    hidden_size: int = field(default=32, kw_only=False)
    bidirectional: bool = False
    pool: str = "last"
    per_step: bool = False

    _checks: ClassVar[Checks] = RecurrentEstimator._checks | {
        "bidirectional": flag,
        "pool": one_of(HOWS),
        "per_step": flag,
    }

    _targets: ClassVar[str]  # what the targets are, in an error
    _metrics: ClassVar[dict[str, Any]] = {}

    def _as_column(self, y: Any) -> np.ndarray:
        """Return one target per sequence, (n,) or (n, K), checked."""
        raise NotImplementedError

    def _encoded(self, targets: Any, flat: np.ndarray, *, reset: bool) -> Any:
        """Return the targets as numbers, after a look at all of them in one array."""
        raise NotImplementedError

    def _loss(self) -> Any:
        """Return the loss: a function of outputs and targets."""
        raise NotImplementedError

    def _outputs(self) -> int:
        """Return the number of outputs of the network."""
        raise NotImplementedError

    def _scale_targets(self, data: Data) -> None:
        """Learn the scaling of the targets."""

    def _scaled_targets(self, targets: Any) -> Any:
        """Return the targets, or a list of those per step, as the network learns them."""
        return targets

    def _sizes(self) -> tuple[int, int]:
        return inputs.features_of(self), self._outputs()

    def _arrays(self) -> dict[str, int]:
        return dict.fromkeys(("mean_", "scale_"), inputs.features_of(self))

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to sequences and their targets, starting from new weights.

        If `fit` fails or is interrupted, the estimator stays as it was.

        Parameters
        ----------
        X : array or list of arrays
            n sequences: (n, T, F), (n, T), or a list of (T_i, F), with the features first if
            `layout` says so. Objects of pandas, Arrow, polars and cuDF are read as arrays of their
            shape, arrays and data frames with a sequence in each cell as a list.
        y : array or list of arrays
            One target per sequence or, with `per_step`, one per step in the form of X: (n, T, ...)
            in any layout.
        sample_weight : array, shape (n,), optional
            Weight of each sequence, at least 0. Sequences of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data is inconsistent or not finite, or an option is out of range.
        rnnx.train.Diverged
            If the loss or a gradient is no longer finite.
        """
        data = X, y, sample_weight
        return self._fit(*data, self.epochs, self.validation_fraction, first=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, epochs: int, fraction: float, *, first: bool
    ) -> Self:
        """Learn the sequences except for a fraction that is held out."""
        with unchanged_on_error(self):
            options = self._read_options()
            if first:
                self._options = options
            rows = inputs.read_sequences(self, X, reset=first)
            targets = self._read_targets(rows, y, reset=first)
            weights = inputs.read_weights(self, sample_weight, rows)
            data = Data(rows, targets, weights)
            if weights is not None:
                data = data.part(np.flatnonzero(weights))
            if first:
                self._begin()
            kept, held = (data.part(of) for of in self._split(len(data.rows), fraction))
            if first:
                self.mean_, self.scale_ = values.moments("X", kept.rows, kept.weights)
                self._scale_targets(kept)
            held_out = self._sequences(held) if len(held.rows) else None
            return self._learn(self._sequences(kept), held_out, epochs, self._loss(), self._metrics)

    def _deployed(self) -> Deployed:
        self._check_is_fitted()
        return Deployed(inner_layers(self.model_), before=(self.mean_, self.scale_))

    def _read_targets(self, rows: Any, y: Any, *, reset: bool) -> Any:
        """Return the targets as numbers, in the form of the rows if per step."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = on_host(self, y)
        if self._options["per_step"]:
            y = inputs.read_steps("y", y, rows)
            return self._encoded(y, np.concatenate(list(y)), reset=reset)
        values.check_table("y", y)
        y = self._as_column(y)
        if len(y) != len(rows):
            raise ValueError(
                f"y must hold {len(rows)} {self._targets}, one per sequence, got {len(y)}"
            )
        return self._encoded(y, y, reset=reset)

    def _sequences(self, data: Data) -> Sequences:
        """Return scaled sequences and targets, time-major."""
        y = self._scaled_targets(data.targets)
        y = time_major(y) if self._options["per_step"] else y
        return Sequences(self._scaled(data.rows), y, weights=data.weights)

    def _scaled(self, rows: Any) -> Any:
        """Return the features as the network reads them, time-major."""
        return time_major(values.scaled("X", rows, self.mean_, self.scale_, self._dtype))

    def _split(self, n: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the sequences to learn and of those held out, at random."""
        held = int(n * fraction)
        if held == n or (fraction and not held):
            raise ValueError(
                f"validation_fraction={fraction} of {n} sequences leaves none to "
                "learn or none to hold out: give more sequences or another fraction"
            )
        order = self._rng.permutation(n) if held else np.arange(n)
        return order[held:], order[:held]

    def _outputs_of(self, X: Any) -> Any:
        """Return the network's outputs, in the form of X if per step."""
        self._check_is_fitted()
        rows = inputs.read_sequences(self, X, reset=False)
        y = each(values.finite, predict(self.model_, self._scaled(rows)))
        return time_major(y) if self._options["per_step"] else y

    def _compared(self, predicted: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Return truth, predictions and weights for a score, with the steps of all sequences."""
        y, weights = on_host(self, y), inputs.read_weights(self, sample_weight, predicted)
        if self._options["per_step"]:
            if weights is not None:
                weights = np.repeat(weights, [len(row) for row in predicted])
            y = np.concatenate(list(inputs.read_steps("y", y, predicted)))
            predicted = np.concatenate(list(predicted))
        values.check_table("y", y)
        return y, predicted, weights
