"""What RNNClassifier and RNNRegressor share: one target per sequence, or per step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.utils import _safe_indexing

from rnnx import validate
from rnnx.data import Sequences
from rnnx.estimators.base import RecurrentEstimator, unchanged_on_error
from rnnx.estimators.features import Features
from rnnx.estimators.reading import inputs, values
from rnnx.estimators.reading.forms import each, on_host, time_major
from rnnx.layers.pool import HOWS
from rnnx.networks.options import Checks, auto, flag, numbers, one_of
from rnnx.train import predict

FOLDS = 3  # of the cross-validation that may end the training earlier
CLEARLY = 0.98  # of the loss at the end
FRAMES = 32  # steps that the network reads at least of a sequence, where frame="auto"


class Data(NamedTuple):
    """Sequences, their targets and their weights."""

    rows: Any  # (n, T, F), or a list of (T_i, F)
    targets: Any  # (n, ...) or, per step, in the form of the rows
    weights: np.ndarray | None  # (n,)

    def part(self, of: np.ndarray) -> Data:
        """Return the sequences with these numbers."""
        return Data(*(None if part is None else _safe_indexing(part, of) for part in self))


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceEstimator(Features):
    """The base of `RNNClassifier` and `RNNRegressor`."""

    hidden_size: int = field(default=32, kw_only=False)
    bidirectional: bool | str = "auto"
    pool: str = "auto"
    frame: int | str = "auto"
    per_step: bool = False
    scale: str = "auto"
    missing: str = "error"

    _checks: ClassVar[Checks] = RecurrentEstimator._checks | {
        "bidirectional": auto(flag),
        "pool": auto(one_of(HOWS)),
        "frame": auto(validate.size),
        "per_step": flag,
        "scale": auto(one_of(("standard", "sequence"))),
        "missing": one_of(("error", "indicator")),
    }
    _json: ClassVar[Checks] = RecurrentEstimator._json | {"_missing": numbers}

    _auto = (*RecurrentEstimator._auto, "bidirectional", "pool", "frame", "scale")
    _targets: ClassVar[str]  # what the targets are, in an error
    _metrics: ClassVar[dict[str, Any]] = {}

    def _as_column(self, y: Any) -> np.ndarray:
        """Return one target per sequence, (n,) or (n, K), checked."""
        raise NotImplementedError

    def _encoded(self, targets: Any, flat: np.ndarray, *, reset: bool) -> Any:
        """Return the targets as numbers, after a look at all of them in one array."""
        raise NotImplementedError

    def _loss(self, targets: np.ndarray) -> Any:
        """Return the loss, a function of outputs and targets, after a look at all targets."""
        raise NotImplementedError

    def _constant(self, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Return good outputs (O,) that are the same for all sequences."""
        raise NotImplementedError

    def _scale_targets(self, data: Data) -> None:
        """Learn the scaling of the targets."""

    def _scaled_targets(self, targets: Any) -> Any:
        """Return the targets, or a list of those per step, as the network learns them."""
        return targets

    def _structure(self, steps: float) -> dict[str, Any]:
        per_step = self.per_step
        return {
            "bidirectional": self._given("bidirectional", lambda: not per_step),
            "pool": self._given("pool", lambda: "last" if per_step else "max"),
            "frame": self._given("frame", lambda: 1 if per_step else max(1, int(steps) // FRAMES)),
        }

    def _read_options(self) -> dict[str, Any]:
        options = super()._read_options()
        if self.per_step and self.frame not in ("auto", 1):
            raise ValueError(
                f"frame must be 1 for a target per step, got {self.frame}: a frame has one output"
            )
        return options

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, comm: Any = None) -> Self:
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
        comm : communicator, optional
            Train with all processes of a communicator, as `rnnx.train.fit` does. Give each the same
            data; what is random comes from rank 0.

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
        first = not (self.warm_start and hasattr(self, "model_"))
        with unchanged_on_error(self, comm):
            return self._fit(X, y, sample_weight, first=first)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, first: bool, once: bool = False) -> Self:
        """Learn the sequences except for a fraction that is held out; all of them, `once`."""
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
            indicators = self.missing == "indicator"
            self._missing = values.gaps_of("X", data.rows) if indicators else []
            lengths = [len(row) for row in data.rows]
            scale = self._given("scale", lambda: self._choose_scale(data.rows))
            self._begin(len(lengths), float(np.mean(lengths)), alone=once, scale=scale)
        fraction = 0.0 if once else self._now("validation_fraction")
        kept, held = (data.part(of) for of in self._split(len(data.rows), fraction))
        if first:
            if self._missing:
                values.gaps_of("X, without what is held out,", kept.rows)
            self.mean_, self.scale_ = values.moments("X", kept.rows, kept.weights)
            self._learn_amplitudes(kept.rows)
            self._scale_targets(kept)
            self._share(*self._arrays())
        loss = self._loss(self._flat(kept)[0])
        held_out = self._sequences(held) if len(held.rows) else None
        if first and not once and held_out is None and self.epochs == "auto":
            self._cross_validate(kept, loss)
        epochs = 1 if once else self._now("epochs")
        self._learn(self._sequences(kept), held_out, epochs, loss, self._metrics)
        if not once:
            self._warn(len(kept.rows), "sequence", self._chance(kept, loss))
        return self

    def _cross_validate(self, data: Data, loss: Any) -> None:
        """Choose fewer epochs if every fold is clearly better before the end of the training."""
        n, epochs = len(data.rows), self.chosen_["epochs"]
        if not self._cross_validates or n < 4 * FOLDS:
            return
        order, curves = self._rng.permutation(n), []
        for fold in range(FOLDS):
            held = np.isin(np.arange(n), order[fold::FOLDS])
            kept, rest = (self._sequences(data.part(np.flatnonzero(of))) for of in (~held, held))
            self._opt_state = None
            history = self._train(self._network(self._rng), kept, rest, epochs, loss, {})
            curves.append(history["validation_loss"])
        self._opt_state = None
        smooth = np.ones(1 + epochs // 20) / (1 + epochs // 20)
        table = np.stack([np.convolve(curve, smooth, "valid") for curve in curves])
        best = int(np.argmin(np.mean(table, axis=0)))
        if np.all(table[:, best] < CLEARLY * table[:, -1]):
            epochs = best + len(smooth) // 2 + 1
            networks = self._networks(self.chosen_["batch_size"], epochs)
            self.chosen_ |= {"epochs": epochs, "n_estimators": networks}
        self._share("chosen_")

    def _flat(self, data: Data) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the targets (N, ...) of all sequences, or of all their steps, and the weights."""
        if not self._options["per_step"]:
            return data.targets, data.weights
        lengths, weights = [len(row) for row in data.targets], data.weights
        weights = None if weights is None else np.repeat(weights, lengths)
        return np.concatenate(list(data.targets)), weights

    def _chance(self, data: Data, loss: Any) -> float:
        """Return the loss of a good answer that is the same for all sequences."""
        targets, weights = self._flat(data)
        targets = self._scaled_targets(targets)
        shape = (len(targets), self._outputs())
        answer = np.broadcast_to(self._constant(targets, weights), shape)
        if weights is not None:
            lead = (len(targets), *[1] * (targets.ndim - 1))
            weights = np.broadcast_to(np.reshape(weights, lead), targets.shape)
        return float(loss(answer, targets, None, weights)[0])

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
