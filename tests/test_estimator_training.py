"""How the estimators train: budgets, choices by the data, averaged networks, weights of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight

import rnnx
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor, budget, ensemble
from rnnx.estimators.reading.forms import framed
from rnnx.estimators.sequences import Data
from rnnx.layers.pool import HOWS

SMALL: dict[str, Any] = {"hidden_size": 8, "random_state": 0}


def blobs(n: int = 30, T: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences (n, T, 2), and their class by the sign of their mean."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return rng.standard_normal((n, T, 2)) + (2 * y - 1)[:, None, None], y


@pytest.mark.parametrize("pool", HOWS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ensemble.MERGED)
def test_a_merged_network_is_the_average(cell: str, bidirectional: bool, pool: str) -> None:
    """Two layers deep, on a ragged batch: to rounding."""

    def network(units: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        shape = {"bidirectional": bidirectional, "dtype": "float64", "seed": rng}
        return rnnx.Sequential(
            rnnx.Recurrent(cell, 3, units, 2, **shape),
            rnnx.Pool(pool, bidirectional=bidirectional, dtype="float64"),
            rnnx.Linear(units * (1 + bidirectional), 4, dtype="float64", seed=rng),
        )

    members, whole = [network(5, seed) for seed in range(3)], network(15, 9)
    whole.set_params(ensemble.merged([member.params for member in members], 5))
    x, lengths = np.random.default_rng(0).standard_normal((7, 6, 3)), [7, 1, 3, 7, 2, 5]
    mean = np.mean([member(x, lengths=lengths)[0] for member in members], axis=0)
    np.testing.assert_allclose(whole(x, lengths=lengths)[0], mean, rtol=1e-12, atol=1e-13)


def test_the_average_of_several_fits() -> None:
    """One network, in one file; its logits are the mean of what the members say."""
    X, y = blobs()
    one, three = (RNNClassifier(**SMALL, epochs=2, n_estimators=K).fit(X, y) for K in (1, 3))
    assert three.model_.params["0.weight_hh_l0"].shape == (3 * 24, 24)
    np.testing.assert_array_equal(
        three.model_.params["0.weight_hh_l0"].reshape(3, 3, 8, 3, 8)[:, 0, :, 0],
        one.model_.params["0.weight_hh_l0"].reshape(3, 8, 8),  # the first member, same seed
    )
    assert (len(three.histories_), three.chosen_["n_estimators"], three.n_iter_) == (3, 3, 2)


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_averages_are_kept_and_trained_further(kind: Any, tmp_path: Path) -> None:
    """The file holds the merged network, and `partial_fit` goes on from it."""
    X, y = blobs()
    estimator = kind(**SMALL, epochs=2, n_estimators=2, num_layers=2).fit(X, y)
    rnnx.save(tmp_path / "two.safetensors", estimator)
    loaded = rnnx.load(tmp_path / "two.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    assert loaded.chosen_ == estimator.chosen_
    before = estimator.predict(X)
    assert estimator.partial_fit(X, y).n_iter_ == 3
    if kind is RNNRegressor:
        assert np.max(np.abs(estimator.predict(X) - before)) > 0


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor, RNNForecaster])
def test_a_loaded_estimator_is_trained_further(kind: Any, tmp_path: Path) -> None:
    """By `partial_fit`, and by `fit` with `warm_start`."""
    X, y = blobs()
    data = (X[:, :, 0].reshape(1, -1),) if kind is RNNForecaster else (X, y)
    estimator = kind(**SMALL, epochs=2, warm_start=True, n_estimators=2).fit(*data)
    for go_on in ("partial_fit", "fit"):
        rnnx.save(tmp_path / "saved.safetensors", estimator)
        loaded, before = rnnx.load(tmp_path / "saved.safetensors"), estimator.n_iter_
        getattr(loaded, go_on)(*data)
        assert loaded.n_iter_ == before + (1 if go_on == "partial_fit" else 2)
        changed = [np.any(w != estimator.model_.params[k]) for k, w in loaded.model_.params.items()]
        assert all(changed)


def test_cells_whose_units_meet_are_not_averaged() -> None:
    """Normalization is over all units of a layer: one network, or a refusal."""
    X, y = blobs()
    assert RNNClassifier(cell="layer_norm_lstm", **SMALL, epochs=1).fit(X, y)._copies() == 1
    with pytest.raises(ValueError, match="n_estimators must be 1 with the cell 'layer_norm_lstm'"):
        RNNClassifier(cell="layer_norm_lstm", n_estimators=2).fit(X, y)


def test_few_sequences_are_not_few_updates() -> None:
    """At least `min_updates`, more passes where they are cheap, and a bound of the work."""
    few, many = budget.Work(36, 36, 9000, 2), budget.Work(3000, 30, 9000, 2)
    assert budget.epochs(few, 16, min_updates=1000, max_epochs=1000) == 334
    assert budget.epochs(few, 16, min_updates=1000, max_epochs=50) == 50
    assert budget.epochs(many, 32, min_updates=1000, max_epochs=1000) == budget.LEAST_EPOCHS
    huge = budget.Work(10**6, 500, 10**6, 2)
    assert budget.epochs(huge, 64, min_updates=1000, max_epochs=1000) == 1
    assert budget.networks(few, 16, 334) == budget.NETWORKS
    assert budget.networks(huge, 64, 1) == 1
    for n in (36, 3000, 10**6):
        assert budget.batch_size(n) <= max(16, n // 50)


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_choices_are_reported_and_can_be_given(kind: Any, capsys: Any) -> None:
    """`chosen_` has every option with an "auto"; what is given stays; `verbose` prints the rest."""
    X, y = blobs(n=20, T=70)
    found = kind(**SMALL, min_updates=4, n_estimators=1, verbose=True).fit(X, y).chosen_
    assert found | {"epochs": 2} == {
        "n_estimators": 1, "epochs": 2, "batch_size": 16, "validation_fraction": 0,
        "patience": None, "bidirectional": True, "pool": "max", "frame": 2, "scale": "standard",
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "frame=2" in said
    assert "training takes about 0 s of one CPU core, or less" in said
    assert "n_estimators" not in said
    given = {
        "n_estimators": 2, "epochs": 3, "batch_size": 7, "validation_fraction": 0.2, "patience": 2,
        "bidirectional": False, "pool": "mean", "frame": 5, "scale": "sequence",
    }  # fmt: skip
    assert kind(**SMALL, **given).fit(X, y).chosen_ == given
    stepwise = kind(**SMALL, per_step=True, epochs=1).fit(X, np.tile(y[:, None], (1, 70))).chosen_
    assert (stepwise["frame"], stepwise["bidirectional"]) == (1, False)
    with pytest.raises(ValueError, match="frame must be 1 for a target per step, got 2"):
        kind(per_step=True, frame=2).fit(X, y)


def test_much_data_is_held_out_in_part() -> None:
    """A tenth of 1,000 sequences, and patience in proportion."""
    X, y = blobs(n=1000, T=2)
    found = RNNClassifier(
        2, learning_rate=0.1, random_state=0, min_updates=30, max_epochs=1, n_estimators=1
    ).fit(X, y)
    assert (found.chosen_["validation_fraction"], found.chosen_["patience"]) == (0.1, 10)
    assert "validation_loss" in found.history_


def test_training_ends_when_it_has_converged() -> None:
    """Classes far apart: the loss is a thousandth of the first epoch's long before the end."""
    X, y = blobs()
    classifier = RNNClassifier(**SMALL, n_estimators=1).fit(5 * X, y)
    assert classifier.history_.stopped == "converged"
    assert classifier.n_iter_ < classifier.chosen_["epochs"]


@pytest.mark.parametrize("noise", [0, 3])
def test_the_length_is_cross_validated(noise: float) -> None:
    """Targets of noise are learned for fewer epochs; a function of the sequences to the end."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((48, 3, 2))
    y = X[:, -1, 0] + noise * rng.standard_normal(48)
    options: dict[str, Any] = {"min_updates": 240, "n_estimators": 1, "learning_rate": 0.02}
    epochs = RNNRegressor(**SMALL, **options).fit(X, y).chosen_["epochs"]
    assert epochs < 40 if noise else epochs == 80


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 9])
def test_frames_hold_all_steps(steps: int) -> None:
    """(n, T, F) or a list becomes frames of so many steps; the last value fills the last frame."""
    x = np.arange(2 * 7 * 3.0).reshape(2, 7, 3)
    found = framed(x, steps)
    n = -(-7 // steps)
    assert found.shape == (2, n, 3 * steps)
    flat = found.reshape(2, n * steps, 3)
    np.testing.assert_array_equal(flat[:, :7], x)
    np.testing.assert_array_equal(flat[:, 7:], np.repeat(x[:, -1:], n * steps - 7, axis=1))
    for row, whole in zip(framed([*x], steps), found, strict=True):
        np.testing.assert_array_equal(row, whole)


@pytest.mark.parametrize("per_step", [False, True])
def test_classes_are_weighted(per_step: bool) -> None:
    """As scikit-learn counts them, by sequences or by steps, with weights of sequences beside."""
    X, y = blobs(n=12)
    y[:8] = 0
    labels = np.tile(y[:, None], (1, X.shape[1])) if per_step else y
    options = SMALL | {"epochs": 3, "n_estimators": 1, "per_step": per_step, "dtype": "float64"}
    weights = np.arange(1.0, 13)

    def found(class_weight: Any) -> np.ndarray:
        classifier = RNNClassifier(class_weight=class_weight, **options)
        return classifier.fit(X, labels, sample_weight=weights).predict_proba(X)

    counted = compute_class_weight("balanced", classes=np.unique(y), y=y)
    balanced = found("balanced")
    np.testing.assert_allclose(balanced, found(dict(enumerate(counted))), rtol=1e-12)
    np.testing.assert_allclose(found({0: 2.0, 1: 2.0}), found(None), rtol=1e-9)
    assert np.mean(balanced[..., 1]) > np.mean(found(None)[..., 1])  # the rarer class gains


def test_class_weights_are_checked_and_kept(tmp_path: Path) -> None:
    """By label, at least 0, of known labels; a file keeps them, of numbers too."""
    X, y = blobs()
    for wrong, words in (
        ("even", "None, 'balanced' or a dict"),
        (np.ones(2), "None, 'balanced' or a dict"),
        ([1.0, 2.0], "None, 'balanced' or a dict"),
        ({0: -1.0}, r"class_weight\[0\] must be at least 0"),
        ({7: 1.0}, r"must be of \[0 1\], got 7"),
    ):
        with pytest.raises(ValueError, match=words):
            RNNClassifier(class_weight=wrong, epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="partial_fit does not know"):
        RNNClassifier(class_weight="balanced").partial_fit(X, y)
    weights = {0: 2.0, 1: 0.5}
    RNNClassifier(**SMALL, class_weight=weights, epochs=1).fit(X, y).save(tmp_path / "w")
    assert rnnx.load(tmp_path / "w").class_weight == weights


def test_a_warm_start_goes_on() -> None:
    """Two calls of `fit` are one of twice the epochs, at a constant rate."""
    X, y = blobs()
    options = SMALL | {"schedule": "constant", "n_estimators": 1}
    warm = RNNClassifier(**options, epochs=3, warm_start=True).fit(X, y).fit(X, y)
    whole = RNNClassifier(**options, epochs=6).fit(X, y)
    assert warm.n_iter_ == whole.n_iter_ == 6
    for name, w in whole.model_.params.items():
        np.testing.assert_array_equal(warm.model_.params[name], w)


def test_what_cannot_have_learned_is_warned_of() -> None:
    """A single sequence or window, and a loss no better than a constant answer's."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 5, 1)), rng.integers(0, 2, 64)
    stuck: dict[str, Any] = {"learning_rate": 1e-9, "epochs": 10, "n_estimators": 1}
    with pytest.warns(ConvergenceWarning, match="is not below 0.69"):
        RNNClassifier(**SMALL, **stuck).fit(X, y)
    rare = (np.arange(64) % 16 == 0).astype(int)
    for options, weights in (({"class_weight": "balanced"}, None), ({}, np.where(rare, 15.0, 1.0))):
        classifier = RNNClassifier(**SMALL, **options, epochs=1).fit(X, rare, weights)
        chance = classifier._chance(Data(X, rare, weights), classifier._loss(rare))
        assert abs(chance - np.log(2)) < 1e-3  # as if both classes were as frequent
    with pytest.warns(ConvergenceWarning, match="that of a constant answer"):
        RNNRegressor(**SMALL, **stuck).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="learned from a single sequence"):
        RNNRegressor(**SMALL, epochs=30, n_estimators=1).fit(X[:1], y[:1])


def test_a_fitted_estimator_draws_its_learning_curve() -> None:
    """Of the first network; before `fit`, scikit-learn's error."""
    pytest.importorskip("matplotlib", reason="needs Matplotlib")
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        RNNClassifier().plot_history()
    axes = RNNClassifier(**SMALL, epochs=2, n_estimators=1).fit(*blobs()).plot_history()
    assert axes.lines[0].get_label() == "loss"


@pytest.mark.parametrize("form", ["array", "list", "table"])
def test_missing_values_have_indicators(form: str, tmp_path: Path) -> None:
    """The mean in their place, and 1 beside it; that a value is missing can be all there is."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6, 1 if form == "table" else 2)), np.arange(40) % 2
    X[y == 1, 3, 0] = np.nan
    given: Any = {"array": X, "list": [*X], "table": X[:, :, 0]}[form]
    with pytest.raises(ValueError, match=r"X\[1\] contains NaN at .* missing='indicator'"):
        RNNClassifier(epochs=1).fit(given, y)
    options: dict[str, Any] = {"missing": "indicator", "epochs": 30, "n_estimators": 1}
    classifier = RNNClassifier(**SMALL, **options).fit(given, y)
    assert classifier.score(given, y) == 1
    np.testing.assert_allclose(classifier.mean_, np.nanmean(X, axis=(0, 1)))
    network = classifier._scaled(X)
    assert network.shape == (6, 40, X.shape[2] + 1)  # one feature has gaps
    np.testing.assert_array_equal(network[3, :, -1], y)
    np.testing.assert_array_equal(network[3, y == 1, 0], np.zeros(20))
    classifier.save(tmp_path / "model.safetensors")
    loaded = rnnx.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(given), classifier.predict_proba(given))
    with pytest.raises(ValueError, match=r"features \[0\] have indicators"):
        rnnx.interop.to_python(classifier, tmp_path / "model.py")


def test_missing_values_need_others() -> None:
    """A feature of NaN alone, and infinity, are refused."""
    X, y = blobs()
    X[..., 1] = np.nan
    with pytest.raises(ValueError, match="X has no value of feature 1, only NaN: drop it"):
        RNNClassifier(missing="indicator").fit(X, y)
    X[5, :, 1] = 1.0  # the seed holds this sequence out
    half: dict[str, Any] = {"validation_fraction": 0.5, "epochs": 1, "random_state": 0}
    with pytest.raises(ValueError, match="X, without what is held out, has no value of feature 1"):
        RNNClassifier(missing="indicator", **half).fit(X, y)
    X[..., 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        RNNClassifier(missing="indicator").fit(X, y)


@pytest.mark.parametrize("features", [[7], [-1], [0, 0], [0.5], "all"])
def test_impossible_gaps_in_a_file_are_refused(features: Any, tmp_path: Path) -> None:
    """Indicators are of known features, each once."""
    X, y = blobs()
    X[0, 0, 0] = np.nan
    classifier = RNNClassifier(**SMALL, missing="indicator", epochs=1, n_estimators=1).fit(X, y)
    description, arrays = classifier._describe()
    description.extra["_missing"] = features
    rnnx.io.write(tmp_path / "model.safetensors", description, arrays)
    with pytest.raises(ValueError, match="_missing"):
        rnnx.load(tmp_path / "model.safetensors")


def of_many_sizes(n: int = 40, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return rising or falling ragged sequences, whose sizes span six orders of magnitude."""
    rng = np.random.default_rng(seed)
    y, lengths = np.arange(n) % 2, rng.integers(6, 12, n)
    lines = [np.linspace(0, 2 * k - 1, T)[:, None] for k, T in zip(y, lengths, strict=True)]
    sizes = 10 ** rng.uniform(-3, 3, n)
    return [
        a * (x + 0.2 * rng.standard_normal(x.shape) + 3) for a, x in zip(sizes, lines, strict=True)
    ], y


def test_sequences_of_many_sizes_are_scaled_one_by_one(tmp_path: Path) -> None:
    """Each to mean 0 and deviation 1, with its level and spread beside; so shapes are learned."""
    X, y = of_many_sizes()
    classifier = RNNClassifier(**SMALL, epochs=40, n_estimators=1).fit(X, y)
    assert classifier.chosen_["scale"] == "sequence"
    assert classifier.score(*of_many_sizes(seed=1)) > 0.9
    read = classifier._scaled(X)
    beside = np.stack([x[0, 1:] for x in read])
    np.testing.assert_allclose(beside.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(beside.std(axis=0), 1)
    for x in read:
        np.testing.assert_allclose([x[:, 0].mean(), x[:, 0].std()], [0, 1], atol=1e-9)
        np.testing.assert_array_equal(x[:, 1:], np.tile(x[:1, 1:], (len(x), 1)))
    order = np.argsort([x.std() for x in X])
    assert np.all(np.diff(beside[order, 1]) > 0)
    classifier.save(tmp_path / "model.safetensors")
    loaded = rnnx.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    with pytest.raises(ValueError, match='fit with scale="standard"'):
        rnnx.interop.to_python(classifier, tmp_path / "model.py")


def test_the_scale_is_chosen_by_the_spreads() -> None:
    """Sequences alike, and targets per step, share a scale; constants and gaps are fine."""
    X, y = blobs()
    assert RNNClassifier(**SMALL, epochs=1).fit(X, y).chosen_["scale"] == "standard"
    X, y = of_many_sizes()
    steps = [np.full(len(x), k) for x, k in zip(X, y, strict=True)]
    options: dict[str, Any] = {"epochs": 1, "n_estimators": 1, "missing": "indicator"}
    stepwise = RNNClassifier(**SMALL, **options, per_step=True).fit(X, steps)
    assert stepwise.chosen_["scale"] == "standard"
    X[0][:] = 5.0
    X[1][2] = np.nan
    one = RNNClassifier(**SMALL, **options).fit(X, y)
    read = one._scaled(X)
    np.testing.assert_array_equal(read[0][:, 0], np.zeros(len(X[0])))
    assert read[1][2, 0] == 0
    assert read[1][2, -1] == 1
