"""A classifier of sequences, or of their steps."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from rnnx import losses, metrics
from rnnx.estimators import inputs, saving
from rnnx.estimators.base import SequenceEstimator


class RNNClassifier(ClassifierMixin, SequenceEstimator):
    """Classify sequences, or each of their steps, with a recurrent network.

    The network: RNN, GRU or LSTM layers on standardized features, one vector a sequence by
    `rnnx.Pool`, a linear layer, a softmax; trained with Adam on its cross-entropy.

    Parameters
    ----------
    hidden_size : int
        Units of a layer, in one direction.
    cell : {"gru", "lstm", "rnn"}
        The recurrent layers' kind.
    num_layers : int
        How many are stacked.
    bidirectional : bool
        Whether each reads backward in time, too.
    pool : {"last", "mean", "max"}
        How the outputs of all steps become one vector.
    per_step : bool
        Whether there is a label for each step, and not one for each sequence.
    dropout : float
        In [0, 1): between layers, and before the linear layer.
    epochs : int
        How many times `fit` goes through the sequences.
    batch_size : int
        Sequences in a mini-batch.
    learning_rate : float
        Adam's, at the start.
    schedule : {"cosine", "constant"}
        How the learning rate goes on in `fit`: to zero, or on as it is.
    weight_decay : float
        AdamW's λ.
    clip_norm : float or None
        The largest joint norm of the gradients.
    validation_fraction : float
        In [0, 1): the share of the sequences, drawn at random, that is held out in `fit`; the
        parameters that are best on it are kept.
    patience : int or None
        Stop after so many epochs without a lower loss on what is held out.
    backend, device, dtype
        As for `rnnx.get_backend`.
    random_state : None, int or numpy.random.RandomState
        Of weights, order and dropout.
    verbose : bool
        Whether to show a progress bar.

    Attributes
    ----------
    classes_ : numpy.ndarray
        The labels, sorted.
    model_ : rnnx.Sequential
        The network, of features standardized as ``(x - mean_) / scale_``.
    history_ : rnnx.train.History
        The figures of the last training.
    n_features_in_, n_iter_ : int
        Features of the input (for a table (n, T), its columns); epochs done.

    Raises
    ------
    ValueError
        In `fit`: for fewer than two classes, data that does not fit, options outside their ranges.

    References
    ----------
    K. Cho et al., EMNLP 2014, doi:10.3115/v1/D14-1179; the training is `rnnx.train.fit`'s.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx.estimators import RNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((T, 2)) + T % 2 for T in rng.integers(4, 12, size=60)]
    >>> y = ["odd" if len(x) % 2 else "even" for x in X]
    >>> classifier = RNNClassifier(8, epochs=20, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.8, classifier.predict_proba(X[:1]).shape
    (True, (1, 2))
    """

    _fitted = (*SequenceEstimator._fitted, "classes_")

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Go through these sequences once, from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`. The scaling is that of the first call.
        classes : array, shape (n_classes,), optional
            All labels that will come; needed in the first call unless y has them all.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`, and for a label that is not among the classes.
        """
        first = not hasattr(self, "model_")
        with saving.unchanged_on_error(self):
            if first and classes is not None:
                self.classes_ = _classes(np.asarray(classes))
            elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(
                    f"classes must be those of the first call, {self.classes_}, got {classes}"
                )
            return self._continue(X, y, sample_weight, first)

    def predict(self, X: Any) -> Any:
        """Return the likeliest label of each sequence, (n,), or of each step, in the form of X.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            Before `fit`; for X of other features than in `fit`.
        """
        logits = self._predicted(X)
        if isinstance(logits, list):
            return [self.classes_[np.argmax(z, axis=-1)] for z in logits]
        return self.classes_[np.argmax(logits, axis=-1)]

    def predict_proba(self, X: Any) -> Any:
        """Return the classes' probabilities, (n, K), or of each step (n, T, K) or a list."""
        logits = self._predicted(X)
        return [_softmax(z) for z in logits] if isinstance(logits, list) else _softmax(logits)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the share of sequences, or of steps, whose label is predicted."""
        predicted, y = self.predict(X), inputs.on_host(self, y)
        if not self._options["per_step"]:
            return float(accuracy_score(y, predicted, sample_weight=sample_weight))
        found = np.concatenate([np.ravel(row) for row in predicted])
        labels = np.concatenate([np.ravel(row) for row in inputs.read_steps("y", y, predicted)])
        if sample_weight is not None:
            sample_weight = np.repeat(sample_weight, inputs.lengths_of(predicted))
        return float(accuracy_score(labels, found, sample_weight=sample_weight))

    def _read_targets(self, rows: Any, y: Any, *, reset: bool) -> Any:
        """Return the labels' numbers."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = inputs.on_host(self, y)
        if self._options["per_step"]:
            labels: Any = inputs.read_steps("y", y, rows)
            flat = np.concatenate([np.ravel(row) for row in labels])
        else:
            labels = flat = column_or_1d(y, warn=True)
            if len(flat) != len(rows):
                raise ValueError(f"y must hold {len(rows)} labels, one a sequence, got {len(flat)}")
        assert_all_finite(flat, input_name="y")
        check_classification_targets(flat)
        if reset and not hasattr(self, "model_") and hasattr(self, "classes_"):
            pass  # given to partial_fit
        elif reset:
            self.classes_ = _classes(flat)
        unseen = np.setdiff1d(flat, self.classes_)
        if len(unseen):
            raise ValueError(
                f"y must hold the classes {self.classes_}, got {unseen[0]!r}: give all classes to "
                "the first partial_fit, or fit anew"
            )
        if isinstance(labels, list):
            return [np.searchsorted(self.classes_, row) for row in labels]
        return np.searchsorted(self.classes_, labels)

    def _outputs(self) -> int:
        return len(self.classes_)

    def _loss_function(self) -> Any:
        return losses.softmax_cross_entropy

    def _metrics(self) -> dict[str, Any]:
        return {"accuracy": metrics.accuracy}


def _classes(labels: np.ndarray) -> np.ndarray:
    """Return the distinct labels, at least two."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"y must hold at least 2 classes, got {len(classes)} class: {classes.tolist()}"
        )
    return classes


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Return exp z / Σ exp z, in float64, whose rows sum to one."""
    z = logits.astype("float64")
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)
