"""A regressor of sequences, or of their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, column_or_1d

from rnnx import losses, validate
from rnnx.data import chunks
from rnnx.estimators.base import unchanged_on_error
from rnnx.estimators.reading import inputs, values
from rnnx.estimators.reading.forms import each
from rnnx.estimators.sequences import Data, SequenceEstimator
from rnnx.networks.deployed import Deployed
from rnnx.networks.options import Checks, one_of, optional

LOSSES = {name: losses.LOSSES[name] for name in ("squared_error", "absolute_error", "huber")}


@dataclass(eq=False, repr=False, kw_only=True)
class RNNRegressor(RegressorMixin, SequenceEstimator):
    """Predict one or several values per sequence, or per step, with a recurrent network.

    The network standardizes the features and applies recurrent layers, a `rnnx.Pool` (one vector
    per sequence) and a linear layer. AdamW trains it on standardized targets. Several networks from
    different random weights are merged to one, whose outputs are their mean. Where `epochs` is
    "auto" and nothing is held out, three folds are trained first: if all of them are clearly better
    before the end, the training is as short.

    Parameters
    ----------
    {network}
    {sequences}
    loss : {"squared_error", "absolute_error", "huber"}
        Loss of the standardized targets.
    {budget}
    {batches}
    {layout}
    {place}

    Attributes
    ----------
    {fitted}

    Raises
    ------
    ValueError
        In `fit`, if the data is inconsistent or not finite, or an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx.estimators import RNNRegressor
    >>> X = np.random.default_rng(0).standard_normal((80, 6, 1))
    >>> regressor = RNNRegressor(16, epochs=40, random_state=0).fit(X, np.sum(X, axis=(1, 2)))
    >>> regressor.score(X, np.sum(X, axis=(1, 2))) > 0.9
    True
    """

    loss: str = "squared_error"
    min_updates: int = 2000

    _checks: ClassVar[Checks] = SequenceEstimator._checks | {"loss": one_of(LOSSES)}
    _json: ClassVar[Checks] = SequenceEstimator._json | {"_values": optional(validate.size)}
    _targets = "values"
    _converged = 1e-6
    _cross_validates = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, comm: Any = None) -> Self:
        """Train for one epoch, continuing from the last call.

        Arguments and errors are those of `fit`. The first call learns the scaling.
        """
        with unchanged_on_error(self, comm):
            first = not hasattr(self, "model_")
            return self._fit(X, y, sample_weight, first=first, once=True)

    def predict(self, X: Any) -> Any:
        """Return the values of each sequence, (n,) or (n, K), or of each step, in the form of X.

        Of an iterator of such X, an iterator of their values; of a Dask array in chunks of
        sequences, a Dask array. Both are lazy, and keep no chunk.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            Before `fit`, or if X has other features than in `fit`.
        """
        if chunks.given(X):
            return self._by_chunk(self.predict, X)
        return each(self._unscaled, self._outputs_of(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R², over all steps with `per_step`: 1 is perfect, 0 as good as the mean."""
        truth, found, weights = self._compared(self.predict(X), y, sample_weight)
        return float(r2_score(truth, found, sample_weight=weights))

    def _as_column(self, y: Any) -> np.ndarray:
        """Return one value, or K values, per sequence."""
        y = check_array(y, **inputs.NUMBERS, ensure_2d=False, input_name="y")
        return y if y.ndim == 2 and y.shape[1] > 1 else column_or_1d(y, warn=True)

    def _encoded(self, targets: Any, flat: np.ndarray, *, reset: bool) -> Any:
        """Return the targets, (..., K) per sequence or per step."""
        values.check_table("y", flat)
        flat = check_array(flat, **inputs.NUMBERS, ensure_2d=False, input_name="y")
        number = flat.shape[1] if flat.ndim == 2 else None  # None: a number, not a vector
        if reset:
            self._values = number
        elif number != self._values:
            raise ValueError(
                f"y must have {self._values or 1} values per target, as in fit, got {number or 1}"
            )
        per_step = bool(self._options["per_step"])
        targets = each(lambda y: y.astype("float64"), targets)
        values.check_targets(targets, per_step=per_step)
        lead = 2 if per_step and not isinstance(targets, list) else 1
        return each(lambda y: np.reshape(y, (*y.shape[:lead], -1)), targets)

    def _scale_targets(self, data: Data) -> None:
        y = data.targets if self._options["per_step"] else data.targets[:, None]
        self._target_mean, self._target_scale = values.moments("y", y, data.weights)

    def _scaled_targets(self, targets: Any) -> Any:
        return values.scaled("y", targets, self._target_mean, self._target_scale, self._dtype)

    def _unscaled(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs (..., K) in the unit and the shape of the targets."""
        with np.errstate(over="ignore"):
            y = values.finite(outputs.astype("float64") * self._target_scale + self._target_mean)
        return y[..., 0] if self._values is None else y

    def _outputs(self) -> int:
        return self._values or 1

    def _deployed(self) -> Deployed:
        return super()._deployed()._replace(after=(self._target_mean, self._target_scale))

    def _arrays(self) -> dict[str, int]:
        own = dict.fromkeys(("_target_mean", "_target_scale"), self._outputs())
        return super()._arrays() | own

    def _loss(self, values: np.ndarray) -> Any:
        return LOSSES[self.loss]

    def _constant(self, values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        return np.zeros(self._outputs())  # the mean of standardized targets
