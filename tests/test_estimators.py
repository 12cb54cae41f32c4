"""Estimators: scikit-learn's conventions hold, for tables, arrays and ragged lists."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Case
from conftest import make

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import rnnx
from rnnx import Backend, BackendUnavailable, io
from rnnx.cells import CELLS, LeakyRNNCell
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor
from rnnx.optim import Adam

pytestmark = pytest.mark.filterwarnings("ignore:the training loss")  # of one epoch, or of noise

CANNOT_APPLY = {  # estimator -> scikit-learn's check -> why it cannot hold
    "RNNForecaster": {
        "check_n_features_in_after_fitting": "columns are steps; more of them are a longer past",
        "check_fit2d_1feature": "one column is a series of one step, too short to learn from",
        "check_fit1d": "one axis is one series",
        "check_fit2d_predict1d": "one axis is one series",
    },
}


ONE_BATCH: dict[str, Any] = {
    "epochs": 50, "batch_size": 64, "n_estimators": 1, "random_state": 0, "dtype": "float64",
}  # fmt: skip


def cannot_apply(estimator: Any) -> dict[str, str]:
    return CANNOT_APPLY.get(type(estimator).__name__, {})


@parametrize_with_checks(
    [
        # float64: two checks compare batches of different sizes to 1e-7, float32's own rounding;
        # one batch: a check compares a weight of 2 with a sequence given twice
        RNNClassifier(**ONE_BATCH),
        RNNRegressor(**ONE_BATCH),
        RNNForecaster(hidden_size=8, epochs=5, n_estimators=1, random_state=0),
    ],
    expected_failed_checks=cannot_apply,
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of scikit-learn, on what its checks feed
@pytest.mark.filterwarnings("ignore:Estimator .* is missing from its estimator_html_repr")
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    """All of `check_estimator`, but for what is listed with its reason."""
    check(estimator)


def ragged(n: int = 60, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return sequences and their class: whether the first feature is above zero in the mean."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, size=n)
    return [rng.standard_normal((rng.integers(3, 12), 2)) + 2 * k - 1 for k in y], y


SMALL: dict[str, Any] = {"hidden_size": 8, "epochs": 15, "n_estimators": 1, "random_state": 0}


def test_ragged_lists_in_the_tools_of_scikit_learn() -> None:
    """GridSearchCV, cross_val_score and a Pipeline take a list of arrays as it is."""
    X, y = ragged()
    assert cross_val_score(RNNClassifier(**SMALL), X, y, cv=3).min() > 0.8
    search = GridSearchCV(RNNClassifier(**SMALL), {"cell": ["rnn", "gru"]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.8
    assert search.best_estimator_.score(X, y) > 0.8
    double = FunctionTransformer(lambda rows: [2 * row for row in rows])
    assert make_pipeline(double, RNNClassifier(**SMALL)).fit(X, y).score(X, y) > 0.8
    sums = np.asarray([row[-1].sum() for row in X])
    assert cross_val_score(RNNRegressor(**SMALL | {"epochs": 60}), X, sums, cv=3).min() > 0.5


def test_tables_in_a_pipeline() -> None:
    """A scaler before a table's columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 6)) * np.arange(1, 7)
    y = np.where(X.sum(axis=1) > 0, "up", "down")
    pipeline = make_pipeline(StandardScaler(), RNNClassifier(**SMALL | {"epochs": 30}))
    assert pipeline.fit(X, y).score(X, y) > 0.8
    assert set(pipeline.predict(X)) == {"up", "down"}


def test_arrays_lists_and_tables_are_one_thing() -> None:
    """The same numbers in three forms: the same predictions."""
    rng = np.random.default_rng(0)
    table, y = rng.standard_normal((20, 6)), rng.integers(0, 2, size=20)
    forms = [table, table[:, :, None], [row[:, None] for row in table]]
    found = [RNNClassifier(**SMALL).fit(X, y).predict_proba(X) for X in forms]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


@pytest.mark.parametrize("kind", ["array", "list"])
def test_a_label_a_step(kind: str) -> None:
    """The sign of the running sum, at each step."""
    rng = np.random.default_rng(0)
    X: Any = [
        rng.standard_normal((7 if kind == "array" else rng.integers(3, 9), 1)) for _ in range(60)
    ]
    y: Any = [np.where(np.cumsum(row[:, 0]) > 0, "up", "down") for row in X]
    if kind == "array":
        X, y = np.stack(X), np.stack(y)
    classifier = RNNClassifier(16, per_step=True, epochs=40, random_state=0).fit(X, y)
    assert classifier.score(X, y) > 0.9
    labels, p = classifier.predict(X), classifier.predict_proba(X)
    assert [row.shape for row in labels] == [row.shape for row in y]
    assert [row.shape for row in p] == [(*row.shape, 2) for row in y]
    hits = np.mean(np.concatenate([*labels]) == np.concatenate([*y]))
    assert classifier.score(X, y) == pytest.approx(hits)
    scores = cross_val_score(classifier, X, y, cv=KFold(2))
    assert scores.min() > 0.6


def test_targets_a_step_in_any_form() -> None:
    """Nested lists, a table, a list of rows: as the array."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    X = np.random.default_rng(0).standard_normal((12, 5))
    y = (X > 0).astype(int)
    forms = [(X, y), (X.tolist(), y.tolist()), (X, pandas.DataFrame(y)), (X, list(y)),
             ([row[:, None] for row in X], y)]  # fmt: skip
    found = [RNNClassifier(per_step=True, **SMALL).fit(*data).score(*data) for data in forms]
    assert found == found[:1] * 5


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_value_a_step(outputs: int) -> None:
    """The running sum, one value or two a step, in the unit of the targets."""
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((rng.integers(3, 9), 2)) for _ in range(80)]
    y = [100 + 50 * np.cumsum(row[:, 0] if outputs == 1 else row, axis=0) for row in X]
    regressor = RNNRegressor(16, per_step=True, epochs=60, random_state=0).fit(X, y)
    assert regressor.score(X, y) > 0.9
    assert [row.shape for row in regressor.predict(X)] == [row.shape for row in y]


def test_several_values_a_sequence() -> None:
    """(n, K) in, (n, K) out; K = 1 is a column that scikit-learn warns of."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 5, 2))
    y = X.sum(axis=1) * [1, 100] + [0, 1000]
    regressor = RNNRegressor(16, epochs=60, random_state=0).fit(X, y)
    assert regressor.predict(X).shape == y.shape
    assert regressor.score(X, y) > 0.9


def test_weights_count() -> None:
    """Of two contradicting labels the heavier is learned."""
    X = np.ones((40, 4, 1))
    y, weights = np.arange(40) % 2, np.where(np.arange(40) % 2 == 0, 9.0, 1.0)
    classifier = RNNClassifier(**SMALL).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(classifier.predict_proba(X[:1])[0], [0.9, 0.1], atol=0.05)


def powers(n: int = 12) -> np.ndarray:
    """Return n sequences of one step whose sum tells which of them were summed."""
    return 2.0 ** np.arange(n)[:, None, None]


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_what_is_held_out_shapes_no_scaling(kind: Any) -> None:
    """Mean and deviation are those of the sequences that are learned; so for the targets."""
    X, y = powers(), np.arange(12) % 2 if kind is RNNClassifier else powers()[:, 0, 0]
    one = kind(4, epochs=1, validation_fraction=0.25, random_state=0).fit(X, y)
    total = round(one.mean_[0] * 9)
    kept = np.asarray([bool(total >> k & 1) for k in range(12)])
    assert kept.sum() == 9
    np.testing.assert_allclose(one.scale_, X[kept].std())
    if kind is RNNRegressor:
        np.testing.assert_allclose(one._target_mean, y[kept].mean())
        np.testing.assert_allclose(one._target_scale, y[kept].std())


@pytest.mark.parametrize("form", ["array", "list", "per step"])
def test_the_scaling_counts_weights(form: str) -> None:
    """A weight of 3 is as three sequences, in the scaling of features and of targets."""
    rng = np.random.default_rng(0)
    X: Any = [rng.standard_normal((4 if form == "array" else k % 3 + 1, 2)) for k in range(9)]
    X = np.stack(X) if form == "array" else X
    y: Any = [row[:, 0] ** 2 if form == "per step" else row.sum() ** 2 for row in X]
    weights = np.arange(9) % 3 + 1
    options = {"hidden_size": 4, "epochs": 1, "per_step": form == "per step"}
    one = RNNRegressor(**options).fit(X, y, sample_weight=weights)
    rows = np.repeat(np.arange(9), weights)
    other = RNNRegressor(**options).fit([X[i] for i in rows], [y[i] for i in rows])
    for name in ("mean_", "scale_", "_target_mean", "_target_scale"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)


@pytest.mark.parametrize("fraction", [0.0, 0.25])
@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_sequences_of_weight_zero_are_left_out(kind: Any, fraction: float) -> None:
    """Bit for bit as without them, however extreme they are."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 4, 2)), np.arange(20) % 2
    wild, extreme = np.concatenate([X, np.full((5, 4, 2), 1e200)]), np.append(y, [1, 0, 1, 0, 1])
    weights = np.append(np.ones(20), np.zeros(5))
    options = SMALL | {"epochs": 2, "validation_fraction": fraction}
    one = kind(**options).fit(wild, extreme, sample_weight=weights)
    other = kind(**options).fit(X, y, sample_weight=weights[:20])
    for name, w in other.model_.params.items():
        np.testing.assert_array_equal(one.model_.params[name], w)
    np.testing.assert_array_equal(one.scale_, other.scale_)


def test_partial_fit_goes_on() -> None:
    """Epoch by epoch, with Adam's state: as `fit` of constant rate, but for the order."""
    X, y = ragged()
    one = RNNClassifier(**SMALL | {"schedule": "constant"})
    for _ in range(15):
        one.partial_fit(X, y, classes=[0, 1])
    whole = RNNClassifier(**SMALL | {"schedule": "constant"}).fit(X, y)
    assert one.n_iter_ == whole.n_iter_ == 15
    assert one.score(X, y) > 0.8
    for name, w in whole.model_.params.items():  # the same draws in the same order
        np.testing.assert_allclose(one.model_.params[name], w, rtol=1e-4, atol=1e-5)


def test_partial_fit_holds_nothing_out() -> None:
    """It learns all that it is given, also where `fit` would stop early: of one step, too."""
    X, y = ragged()
    options = SMALL | {"schedule": "constant"}
    early = {"validation_fraction": 0.1, "patience": 3}
    series = seasonal()
    for kind, data in ((RNNClassifier, (X[:5], y[:5], [0, 1])), (RNNRegressor, (X[:5], y[:5])),
                       (RNNForecaster, (series,))):  # fmt: skip
        one, other = (kind(**options | more).partial_fit(*data) for more in ({}, early))
        for name, w in one.model_.params.items():
            np.testing.assert_array_equal(other.model_.params[name], w)


def test_partial_fit_knows_its_classes() -> None:
    """A batch of one class is fine once all are known; a class that is not among them is not."""
    X, y = ragged()
    one = RNNClassifier(**SMALL).partial_fit(X[:5], np.zeros(5, int), classes=[0, 1, 2])
    assert one.predict_proba(X[:2]).shape == (2, 3)
    before = {name: w.copy() for name, w in one.model_.params.items()}
    with pytest.raises(ValueError, match="give all classes to the first partial_fit"):
        one.partial_fit(X[:5], np.full(5, 7))
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        one.partial_fit(X[:5], y[:5], classes=[0, 1])
    for name, w in one.model_.params.items():
        np.testing.assert_array_equal(w, before[name])


def test_early_stopping_keeps_the_best() -> None:
    """Random labels: what is held out gets worse, and the training ends."""
    X, _ = ragged()
    y = np.random.default_rng(1).integers(0, 2, size=len(X))
    classifier = RNNClassifier(32, epochs=300, validation_fraction=0.3, patience=4, random_state=0)
    assert classifier.fit(X, y).n_iter_ < 300
    assert classifier.history_.stopped == "patience"


@pytest.mark.parametrize("place", ["numpy", "array_api_strict", "torch", "jax", "cupy"])
def test_estimators_on_every_backend(place: str) -> None:
    """The same seed: NumPy's predictions to tolerance."""
    backend = make(Case(place, None, "float32"))
    X, y = ragged(20)
    options = SMALL | {"epochs": 3, "dropout": 0.2, "num_layers": 2, "bidirectional": True}
    p = [RNNClassifier(**options, backend=b).fit(X, y).predict_proba(X) for b in (backend, "numpy")]
    np.testing.assert_allclose(p[0], p[1], atol=1e-4)
    series = np.sin(np.arange(60))
    f = [RNNForecaster(3, **SMALL | {"epochs": 2}, backend=b).fit(series).predict(series)
         for b in (backend, "numpy")]  # fmt: skip
    np.testing.assert_allclose(f[0], f[1], atol=1e-4)


def test_data_on_the_device(bk: Backend) -> None:
    """X, y, weights and exogenous values: what the same numbers on the host give."""
    rng = np.random.default_rng(0)
    X, values, weights = rng.standard_normal((12, 5, 2)), rng.standard_normal(12), np.ones(12)
    labels, series = (values > 0).astype("int64"), rng.standard_normal((2, 60))
    options = SMALL | {"epochs": 1, "hidden_size": 4}

    def put(a: np.ndarray) -> Any:
        return bk.asarray(a, dtype="int32" if a.dtype.kind == "i" else None)

    for kind, y in ((RNNClassifier, labels), (RNNRegressor, values)):
        found = []
        for place in (put, lambda a: np.asarray(bk.to_numpy(put(a)))):
            one = kind(**options, backend=bk)
            one.fit([place(row) for row in X], place(y), sample_weight=place(weights))
            one.fit(place(X), place(y), sample_weight=place(weights))
            found.append([one.predict(place(X)), one.score(place(X), place(y))])
        np.testing.assert_array_equal(found[0][0], found[1][0])
        assert found[0][1] == found[1][1]
    forecaster = RNNForecaster(3, **options, backend=bk).fit(put(series), exog=put(series))
    ahead = np.concatenate([series, series[:, :3]], axis=1)
    assert forecaster.predict(put(series), exog=put(ahead)).shape == (2, 3)
    assert np.isfinite(forecaster.score(put(series), exog=put(series)))


def test_a_table_of_exogenous_values() -> None:
    """A data frame, a row for each series, is the array that it holds."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    series = np.random.default_rng(0).standard_normal((2, 60))
    forecasts = [
        RNNForecaster(3, **SMALL).fit(series, exog=exog).predict(series[:, 3:], exog=exog)
        for exog in (series, pandas.DataFrame(series))
    ]
    np.testing.assert_array_equal(*forecasts)


def fitted(kind: str) -> tuple[Any, Any]:
    """Return a fitted estimator of each kind, and what it predicts from."""
    X, y = ragged()
    if kind == "classifier":
        return RNNClassifier(**SMALL).fit(X, np.where(y, "yes", "no")), X
    if kind == "regressor":
        return RNNRegressor(**SMALL).fit(X, [row.sum() for row in X]), X
    series = np.sin(np.arange(90) / 3)
    return RNNForecaster(4, **SMALL).fit(series), series


@pytest.mark.parametrize("kind", ["classifier", "regressor", "forecaster"])
def test_files_and_pickles_keep_everything(kind: str, tmp_path: Path) -> None:
    """Saved, loaded (on another library too), pickled: the same predictions, still trainable."""
    estimator, X = fitted(kind)
    expected = estimator.predict(X)
    estimator.save(tmp_path / "model.safetensors")
    loaded = type(estimator).load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).predict(X), expected)
    assert loaded.get_params() | {"backend": "numpy"} == estimator.get_params()
    strict = make(Case("array_api_strict", None, "float32"))
    other = type(estimator).load(tmp_path / "model.safetensors", backend=strict).predict(X)
    if kind == "classifier":
        np.testing.assert_array_equal(other, expected)
    else:
        np.testing.assert_allclose(other, expected, atol=1e-5)
    with pytest.raises(ValueError, match="expected a 'RNN"):
        (RNNRegressor if kind == "classifier" else RNNClassifier).load(
            tmp_path / "model.safetensors"
        )


@pytest.mark.parametrize("kind", ["classifier", "regressor", "forecaster"])
def test_files_that_lack_something_are_refused(kind: str, tmp_path: Path) -> None:
    """A parameter, what was fitted, an option: never completed at random."""
    estimator, _ = fitted(kind)
    path = tmp_path / "model.safetensors"
    estimator.save(path)
    description, arrays = io.read(path, type(estimator).__name__)
    for lost in [*arrays, *description.config, *description.extra]:
        config, extra, fewer = (
            {name: value for name, value in part.items() if name != lost}
            for part in (description.config, description.extra, arrays)
        )
        io.write(path, description._replace(config=config, extra=extra), fewer)
        with pytest.raises(ValueError, match=r"cannot load .*model.safetensors': .*expected"):
            type(estimator).load(path)


CHOSEN: dict[str, Any] = {  # by a classifier with the options `SMALL`
    "n_estimators": 1, "epochs": 15, "batch_size": 16, "validation_fraction": 0.0, "patience": None,
    "bidirectional": True, "pool": "max", "frame": 1, "scale": "standard",
}  # fmt: skip
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {  # -> kind, entry of the file, error
    "an option": ("classifier", {"epochs": "many"}, "epochs must be an integer"),
    "an option out of range": ("regressor", {"dropout": 1.0}, "dropout must be in"),
    "a truth value": ("classifier", {"per_step": 1}, "per_step must be True or False"),
    "a cell": ("classifier", {"cell": None}, "cell must be a name"),
    "a seed": ("classifier", {"random_state": [1]}, "random_state must be an integer"),
    "sizes": ("classifier", {"hidden_size": 10**9}, r"expected float32 of shape \(3000000000, 2\)"),
    "choices": ("classifier", {"chosen_": {"frame": 1}}, "chosen_ must hold n_estimators, epochs"),
    "a choice": ("classifier", {"chosen_": CHOSEN | {"pool": "sum"}}, "pool must be one of last"),
    "an open choice": ("classifier", {"chosen_": CHOSEN | {"pool": "auto"}}, "have become 'auto'"),
    "another choice": ("classifier", {"chosen_": CHOSEN | {"epochs": 3}}, "epochs=15 cannot have"),
    "layers": ("forecaster", {"num_layers": 10**6}, "fewer arrays than layers"),
    "another network": ("regressor", {"bidirectional": False}, "cannot have become True"),
    "another cell": ("regressor", {"cell": "lstm"}, r"expected float32 of shape \(32, 2\)"),
    "no cell": ("regressor", {"cell": {"name": "os.system"}}, "expected a registered cell"),
    "no options of a cell": ("regressor", {"cell": {"name": "gru", "x": 1}}, "options of the cell"),
    "a number": ("regressor", {"n_iter_": -1}, "n_iter_ must be an integer"),
    "features": ("classifier", {"n_features_in_": 3}, r"expected float32 of shape \(24, 3\)"),
    "steps": ("forecaster", {"_steps_in": 9}, "a table of 9 steps has as many columns"),
    "exogenous names": ("forecaster", {"_exog_columns": ["a"]}, "expected 0 names of exogenous"),
    "names": ("classifier", {"_columns": ["a"]}, "expected 2 names of columns"),
    "swapped classes": ("classifier", {"_labels": ["str", ["yes", "no"]]}, "sorted, each once"),
    "repeated classes": ("classifier", {"_labels": ["str", ["no", "no", "yes"]]}, "each once"),
    "one class": ("classifier", {"_labels": ["str", ["no", "no"]]}, "at least 2 classes"),
    "more classes": ("classifier", {"_labels": ["int8", [1, 2, 3]]}, r"of shape \(3, 16\)"),
    "classes of numbers": ("classifier", {"_labels": ["int8", ["1", "2"]]}, "must be int8 labels"),
    "classes too large": ("classifier", {"_labels": ["int8", [1, 200]]}, "200"),
    "classes of objects": ("classifier", {"_labels": ["object", [1, 2]]}, "the dtype of the"),
    "no classes": ("classifier", {"_labels": None}, "a dtype and a list"),
    "values": ("regressor", {"_values": 0}, "_values must be an integer"),
    "more values": ("regressor", {"_values": 2}, r"of shape \(2, 16\)"),
    "a season": ("forecaster", {"season": 99}, "season=99 cannot have become 19"),
    "a factor": ("forecaster", {"fitted.factor_": np.full(4, 2.0)}, r"factor_ must be in \[0, 1\]"),
    "tests": ("forecaster", {"_origins": 3}, "expected float64 of shape"),
    "a scale": ("classifier", {"fitted.scale_": np.zeros(2)}, "scale_ must be above 0"),
    "a scale's shape": ("classifier", {"fitted.scale_": np.ones(1)}, "expected float64 of shape"),
    "a mean": ("forecaster", {"fitted._mean": np.full(1, np.nan)}, "expected finite numbers"),
    "a dtype": ("regressor", {"fitted._target_mean": np.zeros(1, int)}, "expected float64"),
    "a weight": ("regressor", {"model.2.bias": np.full(1, np.inf, "float32")}, "finite numbers"),
    "an array": ("regressor", {"fitted.fit": np.zeros(1)}, "array 'fitted.fit': expected none"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_files_that_say_something_impossible_are_refused(case: str, tmp_path: Path) -> None:
    """Every option, number and array is checked before it is used."""
    kind, changes, words = WRONG[case]
    estimator, _ = fitted(kind)
    description, arrays = estimator._describe()
    for name, value in changes.items():
        parts = (description.config, description.extra, arrays)
        part = next((part for part in parts if name in part), arrays)
        part[name] = value
    io.write(tmp_path / "model.safetensors", description, arrays)
    with pytest.raises(ValueError, match=words) as caught:
        type(estimator).load(tmp_path / "model.safetensors")
    assert "model.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16", "float32", "bool"])
def test_classes_of_numbers_are_kept(dtype: str, tmp_path: Path) -> None:
    """With their dtype."""
    X, y = ragged()
    RNNClassifier(**SMALL).fit(X, y.astype(dtype)).save(tmp_path / "model.safetensors")
    loaded = rnnx.load(tmp_path / "model.safetensors")
    assert loaded.classes_.dtype == dtype
    assert loaded.score(X, y.astype(dtype)) > 0.8


@pytest.mark.parametrize("kind", ["classifier", "regressor", "forecaster"])
def test_what_is_set_later_is_of_the_next_fit(kind: str, tmp_path: Path) -> None:
    """Options that shape a model are those that it was fitted with, also in its file."""
    estimator, X = fitted(kind)
    expected = estimator.predict(X)
    later = {"hidden_size": 99, "cell": "rnn", "num_layers": 2}
    if kind == "forecaster":
        later |= {"horizon": 9, "season": 7, "scale": None, "linear": False}
    else:
        later |= {"per_step": True, "bidirectional": True, "pool": "max"}
    estimator.set_params(**later)
    np.testing.assert_array_equal(estimator.predict(X), expected)
    estimator.save(tmp_path / "model.safetensors")
    loaded = type(estimator).load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).predict(X), expected)


@dataclass(frozen=True)
class OwnCell(LeakyRNNCell):
    """A cell of a user."""


@pytest.mark.parametrize("cell", [*CELLS, LeakyRNNCell(), OwnCell()])
def test_any_cell_is_learned_and_kept(cell: Any, tmp_path: Path) -> None:
    """By its name or as an object; one of a user can be saved once it is registered."""
    X, y = ragged(20)
    one = clone(RNNClassifier(4, cell=cell, epochs=2, random_state=0)).fit(X, y)
    path = tmp_path / "model.safetensors"
    if type(cell) is OwnCell:
        with pytest.raises(ValueError, match="expected a registered cell, got OwnCell"):
            one.save(path)
        assert not path.exists()
        return
    one.save(path)
    loaded = rnnx.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(X), one.predict_proba(X))
    assert type(loaded.model_.layers[0].cell) is type(one.model_.layers[0].cell)
    strict = rnnx.load(path, backend="array_api_strict")
    np.testing.assert_allclose(strict.predict_proba(X), one.predict_proba(X), atol=1e-5)


def test_options_that_a_search_found_can_be_saved(tmp_path: Path) -> None:
    """NumPy's scalars, as of np.arange and np.linspace."""
    X, y = ragged()
    options = {"hidden_size": np.int64(4), "learning_rate": np.float32(0.5), "dropout": 0.0,
               "bidirectional": np.bool_(True), "random_state": np.int32(3)}  # fmt: skip
    classifier = RNNClassifier(epochs=1, **options).fit(X, y)
    classifier.save(tmp_path / "model.safetensors")
    loaded = RNNClassifier.load(tmp_path / "model.safetensors")
    assert {name: getattr(loaded, name) for name in options} == options
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))


def test_the_names_of_columns_are_in_the_file(tmp_path: Path) -> None:
    """A loaded estimator knows another table, as the one that was saved does."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    table = pandas.DataFrame(X3[:, :, 0], columns=list("abcde"))
    RNNClassifier(**SMALL).fit(table, Y3).save(tmp_path / "model.safetensors")
    loaded = RNNClassifier.load(tmp_path / "model.safetensors")
    assert loaded.predict(table).shape == (6,)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(table.rename(columns={"a": "z"}))


def test_a_clone_is_unfitted() -> None:
    """With the same options."""
    estimator, X = fitted("classifier")
    with pytest.raises(NotFittedError):
        clone(estimator).predict(X)
    assert clone(estimator).get_params() == estimator.get_params()
    assert clone(estimator).set_params(cell="lstm").fit(*ragged()).score(*ragged()) > 0.8


X3, Y3 = np.ones((6, 5, 2)), np.arange(6) % 2


@pytest.mark.parametrize(
    ("estimator", "X", "y", "words"),
    [
        (RNNClassifier(), X3, np.ones(6), "at least 2 classes, got 1 class"),
        (RNNClassifier(), X3, Y3[:5], "6 labels"),
        (RNNClassifier(), X3[:0], Y3[:0], "at least one sequence, step and feature"),
        (RNNClassifier(), [], [], "at least one sequence"),
        (RNNClassifier(), [X3[0] * np.nan, X3[1]], Y3[:2], r"X\[0\] contains NaN"),
        (RNNClassifier(), [X3[0], X3[1, :, :1]], Y3[:2], r"X\[1\] must have 2 features"),
        (RNNClassifier(), [X3[0], X3[1, :0]], Y3[:2], r"X\[1\] must have shape"),
        (RNNClassifier(cell="transformer"), X3, Y3, "cell must be one of rnn, gru, lstm"),
        (RNNClassifier(schedule="fast"), X3, Y3, "schedule must be one of"),
        (RNNClassifier(patience=3, validation_fraction=0), X3, Y3, "validation_fraction above"),
        (RNNClassifier(validation_fraction=0.1), X3, Y3, "leaves none"),
        (RNNClassifier(epochs=0), X3, Y3, "epochs must be"),
        (RNNClassifier(pool="sum"), X3, Y3, "pool must be one of last, mean, max"),
        (RNNClassifier(per_step=True), X3, Y3, r"y\[0\] must have a target for each of the 5"),
        (RNNClassifier(backend="abacus"), X3, Y3, "backend must be one of"),
        (RNNRegressor(), X3, np.full(6, np.nan), "NaN"),
        (RNNRegressor(), X3, np.ones(7), "6 values"),
        (RNNRegressor(loss="l3"), X3, Y3, "loss must be one of"),
        (RNNForecaster(9), np.ones((2, 5)), None, "at least 10 steps"),
        (RNNForecaster(window=20), np.ones(12), None, "at least 21 steps"),
        (RNNForecaster(window=3, season=7), np.ones(90), None, "at least the season, 7"),
        (RNNForecaster(scale="log"), np.ones(90), None, "scale must be one of"),
        (RNNForecaster(5, validation_fraction=0.01), np.ones(90), None, "fewer than the horizon"),
    ],
)  # fmt: skip
def test_bad_input_is_named(estimator: Any, X: Any, y: Any, words: str) -> None:
    """Expected, got, what to do."""
    with pytest.raises(ValueError, match=words):
        estimator.fit(X, y)


def learned(estimator: Any) -> dict[str, np.ndarray]:
    """Return all that a fitted estimator predicts with."""
    params = estimator.model_.params
    return {k: np.array(w) for k, w in params.items()} | {
        k: np.array(v) for k, v in vars(estimator).items() if isinstance(v, int | list | np.ndarray)
    }


def interrupt_second_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second step of a training be interrupted by its user."""
    update, steps = Adam.update, iter([False, True])

    def interrupted(*arguments: Any) -> Any:
        if next(steps):
            raise KeyboardInterrupt
        return update(*arguments)

    monkeypatch.setattr(Adam, "update", interrupted)


@pytest.mark.parametrize("kind", ["classifier", "regressor", "forecaster"])
@pytest.mark.parametrize(
    ("method", "fault"),
    [("fit", "data"), ("fit", "option"), ("fit", "interrupt"), ("partial_fit", "interrupt")],
)
def test_a_failed_fit_changes_nothing(
    kind: str, method: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever failed, and when: what was learned before stays whole."""
    estimator, X = fitted(kind)
    before, prediction = learned(estimator), estimator.predict(X)
    new, targets = X, estimator.predict(X)  # of the classes that it knows
    if method == "fit":
        new = 9 * X + 7 if kind == "forecaster" else [9 * row[:, :1] + 7 for row in X]
        targets = [str(k % 3) for k in range(len(X))] if kind == "classifier" else targets * 7 + 1
    if fault == "data":
        new, targets = (new[:4] if kind == "forecaster" else new), targets[1:]
    elif fault == "option":
        estimator.set_params(cell="transformer")
    else:
        interrupt_second_step(monkeypatch)
    with pytest.raises((ValueError, KeyboardInterrupt)):
        getattr(estimator, method)(new, targets)
    after = learned(estimator)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    np.testing.assert_array_equal(estimator.predict(X), prediction)


def test_a_failed_first_fit_leaves_nothing() -> None:
    """The classes of a fit that failed are not those of the next."""
    classifier = RNNClassifier(cell="transformer", hidden_size=4, epochs=1)
    for method, options in (("fit", {}), ("partial_fit", {"classes": [7, 8, 9]})):
        with pytest.raises(ValueError, match="cell must be"):
            getattr(classifier, method)(X3, np.arange(6) % 3 + 7, **options)
        assert not hasattr(classifier, "classes_")
    assert classifier.set_params(cell="rnn").fit(X3, Y3).classes_.tolist() == [0, 1]


def test_features_changed_between_fit_and_predict() -> None:
    """Each form says so, as scikit-learn does."""
    classifier = RNNClassifier(**SMALL).fit(X3, Y3)
    for X in (X3[:, :, :1], [X3[0, :, :1]], np.ones((3, 5))):
        with pytest.raises(ValueError, match="is expecting 2 features as input"):
            classifier.predict(X)
    table = RNNClassifier(**SMALL).fit(X3[:, :, 0], Y3)
    with pytest.raises(ValueError, match="X has 4 features, but RNNClassifier is expecting 5"):
        table.predict(np.ones((3, 4)))
    assert table.predict(np.ones((3, 9, 1))).shape == (3,)  # with three axes, any length


def test_predict_before_fit() -> None:
    """scikit-learn's own error."""
    for estimator in (RNNClassifier(), RNNRegressor(), RNNForecaster()):
        with pytest.raises(NotFittedError):
            estimator.predict(X3)


def test_an_unusable_backend_is_said_in_fit() -> None:
    """The selector's own words."""
    with pytest.raises((BackendUnavailable, ValueError), match="cuda"):
        RNNClassifier(backend="numpy", device="cuda").fit(X3, Y3)


def seasonal(n: int = 240) -> np.ndarray:
    """Return a series with a trend, a season of 12 and noise."""
    rng = np.random.default_rng(0)
    t = np.arange(n)
    return 50 + 0.3 * t + 5 * np.sin(2 * np.pi * t / 12) + 0.2 * rng.standard_normal(n)


def test_a_forecast_beats_the_seasonal_naive() -> None:
    """On a trend and a season: less than half its error, in the unit of the series."""
    series = seasonal()
    forecaster = RNNForecaster(12, season=12, random_state=0).fit(series[:-12])
    error = np.abs(forecaster.predict(series[:-12]) - series[-12:]).mean()
    assert error < 0.5 * np.abs(series[-24:-12] - series[-12:]).mean()
    assert forecaster.score(series) > 0.8
    last = series[-forecaster.window_ - 12 :]  # one origin
    assert forecaster.score(series[:-12], series[-12:]) == pytest.approx(forecaster.score(last))


def test_forecasts_have_the_form_of_the_series() -> None:
    """(T,), (n, T), (n, T, F), and a list, of any lengths from the window on."""
    series = seasonal()
    rows = np.stack([series, 2 * series])
    options = SMALL | {"epochs": 2}
    one = RNNForecaster(5, **options).fit(series)
    assert one.predict(series[-50:]).shape == (5,)
    table = RNNForecaster(5, **options).fit(rows)
    assert table.predict(rows[:, -50:]).shape == (2, 5)
    both = RNNForecaster(5, **options).fit(np.swapaxes(rows, 0, 1)[None])
    assert both.predict([rows.T, rows.T[30:]]).shape == (2, 5, 2)
    with pytest.raises(ValueError, match="at least 48 steps"):
        table.predict(rows[:, :9])


def test_a_forecast_follows_the_scale() -> None:
    """Fitted to a series a thousand times larger, a forecast as much larger."""
    series = seasonal()
    one, other = (RNNForecaster(6, **SMALL).fit(factor * series) for factor in (1, 1000))
    np.testing.assert_allclose(other.predict(1000 * series), 1000 * one.predict(series), rtol=1e-4)


def test_exogenous_values_are_used() -> None:
    """Steps of random height that only the exogenous series announces."""
    rng = np.random.default_rng(0)
    exog = rng.standard_normal((300, 1))
    series = 10 + exog[:, 0]
    forecaster = RNNForecaster(4, scale="standard", epochs=40, random_state=0)
    forecaster.fit(series[:-4], exog=exog[:-4])
    np.testing.assert_allclose(forecaster.predict(series[:-4], exog=exog), series[-4:], atol=0.3)
    blind = RNNForecaster(4, scale="standard", epochs=40, random_state=0).fit(series[:-4])
    error = [np.abs(f - series[-4:]).max() for f in (blind.predict(series[:-4]),
             forecaster.predict(series[:-4], exog=exog))]  # fmt: skip
    assert error[1] < 0.5 * error[0]
    assert forecaster.score(series, exog=exog) > 0.8
    for wrong, words in (
        (None, "exog must have 1 values per step, as in fit, got none"),
        (exog[:-4], r"exog\[0\] must have shape \(300, E\)"),
        (np.ones((300, 2)), "exog must have 1 values per step, as in fit, got 2"),
        (exog * np.nan, r"exog\[0\] contains NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            forecaster.predict(series[:-4], exog=wrong)
    uneven = [exog[:-4], np.ones((296, 2))]
    with pytest.raises(ValueError, match=r"1 values per step, like exog\[0\], got 2 in exog\[1\]"):
        blind.fit([series[:-4], series[:-4]], exog=uneven)
    with pytest.raises(ValueError, match="got 1"):
        blind.predict(series[:-4], exog=exog)


def test_early_stopping_of_a_forecaster_holds_out_the_end() -> None:
    """What is held out lies after all that is learned, the scaling included."""
    series = seasonal()
    exog = np.random.default_rng(1).standard_normal((len(series), 1))
    series[-48:] += 1e4
    exog[-48:] += 1e4
    options = SMALL | {"epochs": 2, "scale": "standard", "log": "never", "season": 12}
    forecaster = RNNForecaster(6, **options, window=20, validation_fraction=0.2)
    forecaster.fit(series, exog=exog)
    assert forecaster.history_["validation_loss"].min() > 100 * forecaster.history_["loss"].max()
    alone = RNNForecaster(6, **options, window=20, validation_fraction=0).fit(
        series[:-48], exog=exog[:-48]
    )
    np.testing.assert_array_equal(forecaster.history_["loss"], alone.history_["loss"])


def test_partial_fit_of_forecasters_and_regressors() -> None:
    """Epoch by epoch; the scaling is that of the first call."""
    X, _ = ragged()
    sums = [row.sum() for row in X]
    regressor = RNNRegressor(16, schedule="constant", random_state=0)
    forecaster = RNNForecaster(4, hidden_size=16, schedule="constant", random_state=0)
    for _ in range(30):
        regressor.partial_fit(X, sums)
        forecaster.partial_fit(seasonal())
    assert regressor.score(X, sums) > 0.5
    assert forecaster.score(seasonal()) > 0.5
    assert regressor.n_iter_ == forecaster.n_iter_ == 30
