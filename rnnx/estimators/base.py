"""What RNNClassifier and RNNRegressor share: options, building, training."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from rnnx import io, validate
from rnnx.data import Sequences
from rnnx.estimators import inputs, saving
from rnnx.estimators.training import Continued, build, held_out_fraction, train_model
from rnnx.train import History, predict


class SequenceEstimator(BaseEstimator):
    """The common part of `RNNClassifier` and `RNNRegressor`; made through these."""

    _read_targets: Callable[..., Any]  # (rows, y, reset=) -> targets as the model learns them
    _outputs: Callable[[], int]  # of the model
    _loss_function: Callable[[], Any]
    _metrics: Callable[[], dict[str, Any]]
    _options: dict[str, Any]  # those that the model was made with
    _fitted: tuple[str, ...] = ("n_features_in_", "n_iter_", "_steps_in", "mean_", "scale_")

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        cell: str = "gru",
        num_layers: int = 1,
        bidirectional: bool = False,
        pool: str = "last",
        per_step: bool = False,
        dropout: float = 0.0,
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        schedule: str = "cosine",
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        backend: Any = "numpy",
        device: Any = None,
        dtype: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_size = hidden_size
        self.cell = cell
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pool = pool
        self.per_step = per_step
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.backend = backend
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to sequences and their targets, from new weights.

        Where this ends by an error, or is interrupted, the estimator stays as it was.

        Parameters
        ----------
        X : array or list of arrays
            n sequences: (n, T, F), (n, T), or a list of (T_i, F).
        y : array or list of arrays
            The targets: one a sequence, or with `per_step` one a step, in the form of X.
        sample_weight : array, shape (n,), optional
            How much each sequence counts, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data that does not fit itself or is not finite, and options outside their ranges.
        rnnx.train.Diverged
            Where the loss or a gradient is no longer finite.
        """
        with saving.unchanged_on_error(self):
            self._options = self.get_params(deep=False)
            rows = inputs.read_sequences(self, X, reset=True)
            targets = self._read_targets(rows, y, reset=True)
            weights = inputs.read_weights(self, sample_weight, rows)
            epochs = validate.size("epochs", self.epochs)
            self._start(rows)
            fraction = held_out_fraction(self)
            return self._train(rows, targets, weights, epochs, fraction)

    def _start(self, rows: Any) -> None:
        """Make a new model for sequences like these."""
        self.mean_, self.scale_ = inputs.moments(rows)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self._rng = np.random.default_rng(seed)
        self.model_ = build(self, inputs.width(rows), self._outputs(), self._rng)
        self._opt_state = None
        self.history_ = History()
        self.n_iter_ = 0

    def _rebuild(self) -> None:
        """Make the model that a file's parameters belong to."""
        self._rng = np.random.default_rng(0)
        self.model_ = build(self, len(self.mean_), self._outputs(), self._rng)
        self._opt_state = None
        self.history_ = History()

    def _continue(self, X: Any, y: Any, sample_weight: Any, first: bool) -> Self:
        """Train for one epoch more, from new weights at first."""
        with saving.unchanged_on_error(self):
            if first:
                self._options = self.get_params(deep=False)
            rows = inputs.read_sequences(self, X, reset=first)
            targets = self._read_targets(rows, y, reset=first)
            weights = inputs.read_weights(self, sample_weight, rows)
            if first:
                self._start(rows)
            return self._train(rows, targets, weights, 1, 0.0)

    def _train(self, rows: Any, targets: Any, weights: Any, epochs: int, fraction: float) -> Self:
        """Learn the sequences, but for a fraction that is held out."""
        rows = inputs.standardized(rows, self.mean_, self.scale_)
        kept, held = self._split(len(rows), fraction)

        def part(of: np.ndarray) -> Sequences:
            y = inputs.chosen(targets, of)
            return Sequences(
                inputs.time_major(inputs.chosen(rows, of)),
                inputs.time_major(y) if self._options["per_step"] else y,
                weights=None if weights is None else weights[of],
            )

        optimizer = Continued(self, self._opt_state)
        self.history_ = train_model(
            self, self.model_, part(kept), part(held) if len(held) else None, optimizer,
            self._loss_function(), self._metrics(), epochs, self._rng,
        )  # fmt: skip
        self._opt_state = optimizer.state
        self.n_iter_ += len(self.history_["epoch"])
        return self

    def _split(self, n: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the sequences to learn and those held out, at random."""
        held = int(n * fraction)
        if held == n or (fraction and not held):
            raise ValueError(
                f"validation_fraction={fraction} of {n} sequences leaves none to "
                "learn or none to hold out: give more sequences or another fraction"
            )
        order = self._rng.permutation(n) if held else np.arange(n)
        return order[held:], order[:held]

    def _predicted(self, X: Any) -> Any:
        """Return the model's outputs, in the form of X."""
        check_is_fitted(self, "model_")
        rows = inputs.read_sequences(self, X, reset=False)
        x = inputs.standardized(rows, self.mean_, self.scale_)
        y = predict(self.model_, inputs.time_major(x))
        return inputs.time_major(y) if self._options["per_step"] else y

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted estimator to a file that `load` reads, without pickle.

        The options are those that it was fitted with, whatever was set since.

        Raises
        ------
        OSError
            Where the folder is missing, not writable or full; an older file stays as it was.
        """
        check_is_fitted(self, "model_")
        header, arrays = saving.packed(self, self._fitted)
        io.save(path, type(self).__name__, header, arrays)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        backend: Any = "numpy",
        device: Any = None,
        dtype: str | None = None,
    ) -> Self:
        """Return the estimator that `save` wrote, on any backend.

        Raises
        ------
        OSError, ValueError
            Where there is no such file, or it is damaged or of another class.
        """
        return saving.load(cls, cls._fitted, path, backend, device, dtype)
