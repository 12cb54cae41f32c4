"""A regressor of sequences, or of their steps."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, column_or_1d

from rnnx import losses, validate
from rnnx.estimators import inputs
from rnnx.estimators.base import SequenceEstimator

LOSSES = {
    "squared_error": losses.mean_squared_error,
    "absolute_error": losses.mean_absolute_error,
    "huber": losses.huber,
}


class RNNRegressor(RegressorMixin, SequenceEstimator):
    """Predict one value, or several, of each sequence, or of each of its steps.

    The network: RNN, GRU or LSTM layers on standardized features, one vector a sequence by
    `rnnx.Pool`, a linear layer; trained with Adam on standardized targets.

    Parameters
    ----------
    hidden_size, cell, num_layers, bidirectional, pool, per_step, dropout
        The network, as of `RNNClassifier`.
    epochs, batch_size, learning_rate, schedule, weight_decay, clip_norm
        The training, as of `RNNClassifier`.
    validation_fraction, patience, backend, device, dtype, random_state, verbose
        As of `RNNClassifier`.
    loss : {"squared_error", "absolute_error", "huber"}
        What is minimized, of standardized targets.

    Attributes
    ----------
    model_ : rnnx.Sequential
        The network.
    history_ : rnnx.train.History
        The figures of the last training, of standardized targets.
    n_features_in_, n_iter_ : int
        Features of the input (for a table (n, T), its columns); epochs done.

    Raises
    ------
    ValueError
        In `fit`: for data that does not fit itself or is not finite, options outside their ranges.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx.estimators import RNNRegressor
    >>> X = np.random.default_rng(0).standard_normal((80, 6, 1))
    >>> regressor = RNNRegressor(16, random_state=0).fit(X, np.sum(X, axis=(1, 2)))
    >>> regressor.score(X, np.sum(X, axis=(1, 2))) > 0.9
    True
    """

    _fitted = (*SequenceEstimator._fitted, "_target_mean", "_target_scale", "_target_shape")

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        cell: str = "gru",
        num_layers: int = 1,
        bidirectional: bool = False,
        pool: str = "last",
        per_step: bool = False,
        loss: str = "squared_error",
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
        super().__init__(
            hidden_size,
            cell=cell,
            num_layers=num_layers,
            bidirectional=bidirectional,
            pool=pool,
            per_step=per_step,
            dropout=dropout,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule=schedule,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            validation_fraction=validation_fraction,
            patience=patience,
            backend=backend,
            device=device,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go through these sequences once, from where the last call ended.

        Arguments and errors are those of `fit`; the scaling is that of the first call.
        """
        return self._continue(X, y, sample_weight, not hasattr(self, "model_"))

    def predict(self, X: Any) -> Any:
        """Return the values of each sequence, (n,) or (n, K), or of each step, in the form of X.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            Before `fit`; for X of other features than in `fit`.
        """
        outputs = self._predicted(X)
        if isinstance(outputs, list):
            return [self._unscaled(y) for y in outputs]
        return self._unscaled(outputs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R², of all steps with `per_step`; 1 is perfect, 0 that of the mean."""
        predicted, y = self.predict(X), inputs.on_host(self, y)
        if not self._options["per_step"]:
            return float(r2_score(y, predicted, sample_weight=sample_weight))
        if sample_weight is not None:
            sample_weight = np.repeat(sample_weight, inputs.lengths_of(predicted))
        truth = np.concatenate(list(inputs.read_steps("y", y, predicted)))
        return float(r2_score(truth, np.concatenate(list(predicted)), sample_weight=sample_weight))

    def _read_targets(self, rows: Any, y: Any, *, reset: bool) -> Any:
        """Return the standardized targets, K of them a sequence or a step."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = inputs.on_host(self, y)
        if self._options["per_step"]:
            values: Any = inputs.read_steps("y", y, rows)
            flat = check_array(
                np.concatenate([np.asarray(row) for row in values])
                if isinstance(values, list)
                else np.reshape(values, (-1, *values.shape[2:])),
                ensure_2d=False, dtype="float64", input_name="y",
            )  # fmt: skip
        else:
            values = flat = _values(y)
            if len(flat) != len(rows):
                raise ValueError(f"y must hold {len(rows)} values, one a sequence, got {len(flat)}")
        shape = list(flat.shape[1:])
        if reset:
            self._target_shape = shape
            mean, scale = inputs.moments(np.reshape(flat, (1, len(flat), -1)))
            self._target_mean, self._target_scale = mean, scale
        elif shape != self._target_shape:
            raise ValueError(f"y must have targets of shape {self._target_shape}, got {shape}")
        if isinstance(values, list):
            return [self._scaled(row, 1) for row in values]
        return self._scaled(values, 2 if self._options["per_step"] else 1)

    def _scaled(self, y: np.ndarray, lead: int) -> np.ndarray:
        """Return standardized targets (..., K), behind `lead` axes."""
        columns = np.reshape(np.asarray(y, dtype="float64"), (*y.shape[:lead], -1))
        return (columns - self._target_mean) / self._target_scale

    def _unscaled(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs (..., K) in the unit and the shape of the targets."""
        y = outputs.astype("float64") * self._target_scale + self._target_mean
        return np.reshape(y, (*y.shape[:-1], *self._target_shape))

    def _outputs(self) -> int:
        return len(self._target_mean)

    def _loss_function(self) -> Any:
        return LOSSES[validate.one_of("loss", self.loss, LOSSES)]

    def _metrics(self) -> dict[str, Any]:
        return {}


def _values(y: Any) -> np.ndarray:
    """Return one value, or K of them, a sequence."""
    values = check_array(y, ensure_2d=False, dtype="float64", input_name="y")
    return values if values.ndim == 2 and values.shape[1] > 1 else column_or_1d(values, warn=True)
