"""A classifier of sequences, or of their steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from rnnx import io, losses, metrics, validate
from rnnx.backend import scope_of
from rnnx.data import chunks
from rnnx.estimators.base import unchanged_on_error
from rnnx.estimators.reading import values
from rnnx.estimators.reading.forms import each, on_host
from rnnx.estimators.sequences import SequenceEstimator
from rnnx.io.header import DTYPES
from rnnx.networks.deployed import Deployed
from rnnx.networks.fitted import softmax
from rnnx.networks.options import Checks


def _read_labels(name: str, value: Any) -> list[Any]:
    """Return the dtype and the labels of a file: sorted, each once."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], list):
        raise ValueError(f"{name} must be a dtype and a list, got {value!r:.80}")
    dtype = validate.one_of("the dtype of the classes", value[0], ("str", *DTYPES.values()))
    if repr(_classes(np.asarray(value[1], dtype=dtype)).tolist()) != repr(value[1]):
        raise ValueError(f"{name} must be {dtype} labels, sorted, each once, got {value[1]!r:.80}")
    return value


def _read_class_weight(name: str, value: Any) -> Any:
    """Return "balanced", None, or a dict of weights of at least 0."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    pairs = value.items() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not all(np.size(pair) == 2 for pair in pairs):
        raise ValueError(f"{name} must be None, 'balanced' or a dict of weights, got {value!r:.80}")
    return {k: validate.nonnegative(f"{name}[{k!r:.40}]", v) for k, v in pairs}


@dataclass(eq=False, repr=False, kw_only=True)
class RNNClassifier(ClassifierMixin, SequenceEstimator):
    """Classify sequences, or each of their steps, with a recurrent network.

    The network standardizes the features and applies recurrent layers, a `rnnx.Pool` (one vector
    per sequence), a linear layer and a softmax. AdamW minimizes its cross-entropy. Several networks
    from different random weights are merged to one, whose logits are their mean.

    Parameters
    ----------
    {network}
    {sequences}
    class_weight : dict, "balanced" or None
        Weight of each label in the loss, 1 where the dict has none. "balanced" gives all classes
        the same weight in total.
    {budget}
    {batches}
    {layout}
    {place}

    Attributes
    ----------
    classes_ : numpy.ndarray
        The labels, sorted.
    {fitted}

    Raises
    ------
    ValueError
        In `fit`, if there are fewer than two classes, the data is inconsistent or not finite, or an
        option is out of range.

    References
    ----------
    K. Cho et al., EMNLP 2014, doi:10.3115/v1/D14-1179. Ensembles: L. K. Hansen and P. Salamon, IEEE
    TPAMI 12 (1990), 993-1001, doi:10.1109/34.58871. Frames: H. Sak et al., "Fast and accurate
    recurrent neural network acoustic models for speech recognition", Interspeech 2015.

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

    class_weight: dict | str | None = None

    _checks: ClassVar[Checks] = SequenceEstimator._checks | {"class_weight": _read_class_weight}
    _json: ClassVar[Checks] = SequenceEstimator._json | {"_labels": _read_labels}
    _targets = "labels"
    _converged = 1e-3
    _metrics: ClassVar[dict[str, Any]] = {"accuracy": metrics.accuracy}

    @classmethod
    def _from_file(cls, description: io.Description) -> Self:
        model = super()._from_file(description)
        model.class_weight = _read_class_weight("class_weight", model.class_weight)
        return model

    def _read_options(self) -> dict[str, Any]:
        options = super()._read_options()
        if isinstance(options["class_weight"], dict):  # a file has no dict by numbers
            options["class_weight"] = [[*pair] for pair in options["class_weight"].items()]
        return options

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        *,
        comm: Any = None,
    ) -> Self:
        """Train for one epoch, continuing from the last call.

        Parameters
        ----------
        X, y, sample_weight, comm
            As for `fit`. The first call learns the scaling.
        classes : array, shape (n_classes,), optional
            All labels of this and later calls. The first call needs it unless y has them all.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`, and if a label is not among the classes.
        """
        with unchanged_on_error(self, comm):
            first = not hasattr(self, "model_")
            self._read_classes(on_host(self, classes), first)
            return self._fit(X, y, sample_weight, first=first, once=True)

    def _read_classes(self, classes: Any, first: bool) -> None:
        """Keep the classes that the first `partial_fit` is given, or check those of a later one."""
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' counts all labels, which partial_fit does not know: give "
                "a dict of weights"
            )
        if first and classes is not None:
            self.classes_ = _classes(np.asarray(classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes must be those of the first call, {self.classes_}, got {classes}"
            )

    def predict(self, X: Any) -> Any:
        """Return the most likely label of each sequence, (n,), or of each step, in the form of X.

        Of an iterator of such X, an iterator of their labels; of a Dask array in chunks of
        sequences, a Dask array. Both are lazy, and keep no chunk.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            Before `fit`, or if X has other features than in `fit`.
        """
        if chunks.given(X):
            return self._by_chunk(self.predict, X)
        return each(lambda z: self.classes_[np.argmax(z, axis=-1)], self._outputs_of(X))

    def predict_proba(self, X: Any) -> Any:
        """Return the class probabilities: (n, K), or per step (n, T, K) or a list.

        Chunks of sequences are read as in `predict`.
        """
        if chunks.given(X):
            return self._by_chunk(self.predict_proba, X)
        return each(softmax, self._outputs_of(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the fraction of correct labels, of sequences or of steps."""
        truth, found, weights = self._compared(self.predict(X), y, sample_weight)
        return float(accuracy_score(np.ravel(truth), found, sample_weight=weights))

    def _as_column(self, y: Any) -> np.ndarray:
        return column_or_1d(y, warn=True)

    def _encoded(self, targets: Any, flat: np.ndarray, *, reset: bool) -> Any:
        """Return the labels as indices of the classes."""
        if flat.ndim > 1:
            if flat.shape[1:] != (1,):
                raise ValueError(f"y must hold one label per step, got shape {flat.shape[1:]}")
            targets, flat = each(lambda labels: labels[..., 0], targets), flat[:, 0]
        values.check_labels(flat)
        if flat.dtype.kind == "f":
            values.check_targets(targets, per_step=bool(self._options["per_step"]))
        check_classification_targets(flat)
        given = hasattr(self, "classes_") and not hasattr(self, "model_")  # to partial_fit
        if reset and not given:
            self.classes_ = _classes(flat)
        unseen = np.setdiff1d(flat, self.classes_)
        if len(unseen):
            raise ValueError(
                f"y must hold the classes {self.classes_}, got {unseen.tolist()[0]!r}: give all "
                "classes to the first partial_fit, or fit anew"
            )
        return each(lambda labels: np.searchsorted(self.classes_, labels), targets)

    def _deployed(self) -> Deployed:
        return super()._deployed()._replace(softmax=True, about={"classes": self._labels[1]})

    def _loss(self, labels: np.ndarray) -> Any:
        of_class = self._class_weights(labels)
        return losses.softmax_cross_entropy if of_class is None else partial(_weighted, of_class)

    def _class_weights(self, labels: np.ndarray) -> np.ndarray | None:
        """Return the weight of each class, by the labels of all sequences if balanced."""
        chosen = _read_class_weight("class_weight", self.class_weight)
        K = len(self.classes_)
        if chosen is None:
            return None
        if chosen == "balanced":
            counts = np.bincount(labels, minlength=K)
            return np.asarray(len(labels) / (K * np.maximum(counts, 1)))
        unknown = [label for label in chosen if label not in self.classes_]
        if unknown:
            raise ValueError(f"class_weight must be of {self.classes_}, got {unknown[0]!r}")
        return np.asarray([chosen.get(label, 1.0) for label in self.classes_.tolist()])

    def _constant(self, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        counts = np.bincount(labels, weights, minlength=len(self.classes_))
        of_class = self._class_weights(labels)
        counts = counts if of_class is None else counts * of_class
        return np.log(np.maximum(counts, 1e-6 * np.max(counts)))

    def _outputs(self) -> int:
        return len(self.classes_)

    @property
    def _labels(self) -> list[Any]:
        """The classes as a file keeps them: the name of their dtype, and a list."""
        kept = self.classes_.tolist()
        text = all(isinstance(label, str) for label in kept)
        dtype = "str" if text else self.classes_.dtype.name
        return _read_labels("classes_", [dtype, kept])

    @_labels.setter
    def _labels(self, labels: list[Any]) -> None:
        self.classes_ = np.asarray(labels[1], dtype=labels[0])


def _weighted(
    of_class: np.ndarray, logits: Any, targets: Any, mask: Any = None, weights: Any = None
) -> Any:
    """Return the cross-entropy with a weight per class."""
    xp = array_namespace(logits)
    with scope_of(logits):
        table = xp.asarray(of_class, dtype=logits.dtype, device=device_of(logits))
        own = xp.reshape(xp.take(table, xp.reshape(targets, (-1,))), targets.shape)
    return losses.softmax_cross_entropy(
        logits, targets, mask, own if weights is None else own * weights
    )


def _classes(labels: np.ndarray) -> np.ndarray:
    """Return the distinct labels, at least two."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"y must hold at least 2 classes, got {len(classes)} class: {classes.tolist()}"
        )
    return classes
