"""Which axis is time, which column is which: by names and options, and refused in doubt."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.model_selection import GridSearchCV, cross_val_score
from test_estimator_inputs import (
    EXOG,
    LABELLED,
    RAGGED,
    SERIES,
    SMALL,
    STEPS,
    WEIGHTS,
    X,
    Y,
    objects,
)

import rnnx
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor

TURNED = np.swapaxes(X, 1, 2)  # (n, F, T)
BOTH = np.stack([SERIES, SERIES**2], axis=1)


@pytest.fixture
def pd() -> Any:
    return pytest.importorskip("pandas", reason="needs pandas")


def refused(words: str, call: Callable[[], Any]) -> None:
    """Assert that a call raises ValueError in one line with these words."""
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("kind", LABELLED)
def test_features_first_is_the_same_model(kind: Any, per_step: bool, tmp_path: Path) -> None:
    """Arrays and ragged lists, bit for bit; y and answers go step by step; files remember."""
    steps = [row[: len(x)] for row, x in zip(STEPS, RAGGED, strict=True)]
    for turned, plain, y in (
        (TURNED, X, STEPS if per_step else Y),
        ([x.T for x in RAGGED], RAGGED, steps if per_step else Y),
    ):
        one = kind(**SMALL, per_step=per_step, layout="FT").fit(turned, y, WEIGHTS)
        two = kind(**SMALL, per_step=per_step).fit(plain, y, WEIGHTS)
        assert one.n_features_in_ == 2
        one.save(tmp_path / "model.safetensors")
        for other in (one, rnnx.load(tmp_path / "model.safetensors")):
            assert other.layout == "FT"
            for a, b in zip(other.predict(turned), two.predict(plain), strict=True):
                np.testing.assert_array_equal(a, b)
        assert one.score(turned, y, WEIGHTS) == two.score(plain, y, WEIGHTS)
        if kind is RNNClassifier:
            for a, b in zip(one.predict_proba(turned), two.predict_proba(plain), strict=True):
                np.testing.assert_array_equal(a, b)
        refused("so swap the last two axes|has 2 features, swap their axes",
                lambda one=one, plain=plain: one.predict(plain))  # fmt: skip


def test_features_first_in_a_forecaster() -> None:
    """Series, exogenous values and forecasts, of arrays, lists and one series."""
    one, two = RNNForecaster(3, **SMALL, layout="FT"), RNNForecaster(3, **SMALL)
    x, exog = np.stack([BOTH, BOTH[::-1]]), np.stack([EXOG, EXOG[::-1]])
    turned, turned_exog = np.swapaxes(x, 1, 2), np.swapaxes(exog, 1, 2)
    found = one.fit(turned, exog=turned_exog[:, :, :60]).predict(turned, exog=turned_exog)
    expected = two.fit(x, exog=exog[:, :60]).predict(x, exog=exog)
    np.testing.assert_array_equal(found, np.swapaxes(expected, 1, 2))
    assert one.score(turned, found, exog=turned_exog) == 1
    refused("y must have the shape of the forecast",
            lambda: one.score(turned, expected, exog=turned_exog))  # fmt: skip
    lists = one.fit(list(turned), exog=list(turned_exog[:, :, :60]))
    np.testing.assert_array_equal(lists.predict(list(turned), exog=list(turned_exog)), found)
    single = one.fit(SERIES, exog=EXOG[:60].T).predict(SERIES, exog=EXOG.T)
    expected = two.fit(SERIES, exog=EXOG[:60]).predict(SERIES, exog=EXOG)
    np.testing.assert_array_equal(single, expected)
    table = np.stack([SERIES, SERIES[::-1]])
    np.testing.assert_array_equal(one.fit(table).predict(table), two.fit(table).predict(table))


@pytest.mark.parametrize("kind", [*LABELLED, RNNForecaster])
def test_more_features_than_steps_have_two_readings(kind: Any) -> None:
    """In fit, of an array and of a list of equal shapes; either layout, said, is taken."""
    options = SMALL | ({"window": 1} if kind is RNNForecaster else {})
    words = r"has two readings: give layout='TF' for \(steps, features\) = \(2, 5\), or "
    words += r"layout='FT' for \(features, steps\) = \(2, 5\)"
    refused(r"X of shape \(12, 2, 5\) " + words, lambda: kind(**options).fit(TURNED, Y))
    refused(r"X of 12 arrays of shape \(2, 5\) " + words,
            lambda: kind(**options).fit(list(TURNED), Y))  # fmt: skip
    for layout, features in (("TF", 5), ("FT", 2)):
        for x in (TURNED, list(TURNED)):
            assert kind(**options, layout=layout).fit(x, Y).n_features_in_ == features
    refused("layout must be one of TF, FT", lambda: kind(layout="NTF").fit(X, Y))


def test_a_ragged_list_of_features_first_names_the_option() -> None:
    """Equal first axes, unequal second ones; and the other way round."""
    rows = [x.T for x in RAGGED]
    refused(r"X\[1\] must have 3 features like X\[0\], got 4: if each sequence has 2 features, "
            "give layout='FT'", lambda: RNNClassifier().fit(rows, Y))  # fmt: skip
    refused("if each sequence has 2 features, give layout='TF'",
            lambda: RNNClassifier(layout="FT").fit(RAGGED, Y))  # fmt: skip
    refused(r"X\[1\] must have 2 features like X\[0\], got 1$",
            lambda: RNNClassifier().fit([X[0], X[1, :4, :1]], [0, 1]))  # fmt: skip


def test_the_layout_goes_through_model_selection() -> None:
    """A grid, cross-validation and a pickle; a wrong layout is another model."""
    grid = GridSearchCV(RNNClassifier(**SMALL, layout="FT"), {"hidden_size": [2, 4]}, cv=2)
    found = grid.fit(TURNED, Y).best_estimator_
    assert (found.layout, found.n_features_in_) == ("FT", 2)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).predict(TURNED),
                                  found.predict(TURNED))  # fmt: skip
    scores = cross_val_score(RNNRegressor(**SMALL), X, WEIGHTS, cv=2)
    turned = cross_val_score(RNNRegressor(**SMALL, layout="FT"), TURNED, WEIGHTS, cv=2)
    np.testing.assert_array_equal(scores, turned)


def test_data_frames_have_a_row_per_step_in_any_layout(pd: Any) -> None:
    """Their columns are features, however many."""
    frames = [pd.DataFrame(x, columns=list("abcde")) for x in TURNED]
    expected = RNNClassifier(**SMALL, layout="TF").fit(TURNED, Y).predict_proba(TURNED)
    for layout in (None, "TF", "FT"):
        one = RNNClassifier(**SMALL, layout=layout).fit(frames, Y)
        assert one.feature_names_in_.tolist() == list("abcde")
        np.testing.assert_array_equal(one.predict_proba(frames), expected)


@pytest.mark.parametrize("kind", LABELLED)
def test_an_array_of_unequal_sequences_is_the_list(kind: Any) -> None:
    """As NumPy holds them, and through cross-validation."""
    found = kind(**SMALL).fit(objects(RAGGED), Y).predict(objects(RAGGED))
    np.testing.assert_array_equal(found, kind(**SMALL).fit(RAGGED, Y).predict(RAGGED))
    np.testing.assert_array_equal(
        cross_val_score(kind(**SMALL), objects(RAGGED), Y, cv=2),
        cross_val_score(kind(**SMALL), RAGGED, Y, cv=2),
    )


def test_arrays_of_series_are_lists() -> None:
    """Of a forecaster, with their exogenous values."""
    x, exog = [BOTH, BOTH[:50]], [EXOG[:60], EXOG[:50]]
    one = RNNForecaster(3, **SMALL).fit(objects(x), exog=objects(exog))
    two = RNNForecaster(3, **SMALL).fit(x, exog=exog)
    more = objects([EXOG, EXOG[:53]])
    np.testing.assert_array_equal(
        one.predict(objects(x), exog=more), two.predict(x, exog=list(more))
    )


@pytest.mark.parametrize("cell", [lambda pd, v: pd.Series(v), lambda pd, v: v], ids=["pd", "np"])
def test_nested_data_frames_are_lists(cell: Any, pd: Any) -> None:
    """As sktime has them, with a sequence in each cell: ragged, with the names of features."""
    nested = pd.DataFrame(
        {name: [cell(pd, x[:, k]) for x in RAGGED] for k, name in enumerate(["u", "v"])},
        index=range(50, 62),
    )
    one = RNNClassifier(**SMALL).fit(nested, Y)
    assert one.feature_names_in_.tolist() == ["u", "v"]
    expected = RNNClassifier(**SMALL).fit(RAGGED, Y).predict_proba(RAGGED)
    np.testing.assert_array_equal(one.predict_proba(nested), expected)
    assert cross_val_score(one, nested, Y, cv=2).shape == (2,)
    refused(
        "X must have the columns of fit in the same order", lambda: one.predict(nested[["v", "u"]])
    )
    nested.iat[3, 1] = np.zeros(9)
    refused(r"row 3 of X must hold sequences of equal length, one per feature, got shapes \[\(3,\)",
            lambda: one.predict(nested))  # fmt: skip


def test_sktime_and_aeon_data(pd: Any) -> None:
    """A data set that sktime bundles, in each of its forms: one model."""
    datasets = pytest.importorskip("sktime.datasets", reason="needs sktime")
    (nested, y), (cube, _) = (
        datasets.load_basic_motions(split="train", return_type=form)
        for form in ("nested_univ", "numpy3D")
    )
    one = RNNClassifier(**SMALL).fit(nested, y)
    two = RNNClassifier(**SMALL, layout="FT").fit(cube, y)
    assert one.n_features_in_ == two.n_features_in_ == 6
    np.testing.assert_array_equal(one.predict_proba(nested), two.predict_proba(cube))
    univariate = cube[:, :1]
    refused("two readings", lambda: RNNClassifier(**SMALL).fit(univariate, y))


@pytest.mark.parametrize("column", ["Unnamed: 0", "index", "level_0"])
@pytest.mark.parametrize("start", [0, 1, 7])
def test_a_saved_index_is_no_feature(column: str, start: int, pd: Any) -> None:
    """In lists, tables and exogenous values; a column of that name with other numbers is one."""
    words = f"a column '{column}' that counts the rows, like a saved index: drop it"
    frames = [pd.DataFrame(x, columns=["u", "v"]) for x in RAGGED]
    for frame in frames:
        frame.insert(0, column, np.arange(start, start + len(frame)))
    refused(r"X\[0\] must hold features alone, got " + words,
            lambda: RNNClassifier(**SMALL).fit(frames, Y))  # fmt: skip
    table = pd.DataFrame(X[:, :, 0], columns=list("abcde"))
    table.insert(0, column, np.arange(start, start + 12))
    refused("X must hold features alone, got " + words,
            lambda: RNNClassifier(**SMALL).fit(table, Y))  # fmt: skip
    exog = pd.DataFrame(EXOG[:60], columns=["p", "q"]).assign(**{column: range(start, start + 60)})
    refused(r"exog\[0\] must hold features alone, got " + words,
            lambda: RNNForecaster(3, **SMALL).fit(SERIES, exog=exog))  # fmt: skip
    squares = [frame.assign(**{column: frame[column] ** 2}) for frame in frames]
    assert RNNClassifier(**SMALL).fit(squares, Y).n_features_in_ == 3


def test_a_saved_index_of_polars_and_arrow() -> None:
    """Whose readers leave its name empty."""
    pl = pytest.importorskip("polars", reason="needs polars")
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    columns = [{"": np.arange(len(x)), "u": x[:, 0]} for x in RAGGED]
    for make in (pl.DataFrame, pa.table):
        refused("a column '' that counts the rows", lambda make=make: RNNClassifier(**SMALL).fit(
            [make(c) for c in columns], Y))  # fmt: skip


def test_numbered_columns_are_in_order(pd: Any) -> None:
    """Numbers other than 0, 1, 2 are names; a table's steps are in order."""
    frames = [pd.DataFrame(x) for x in RAGGED]
    one = RNNClassifier(**SMALL).fit(frames, Y)
    back = [frame[[1, 0]] for frame in frames]
    refused(r"in order if they are numbered, got \[1, 0\]: sort them", lambda: one.predict(back))
    refused("in order if they are numbered", lambda: RNNClassifier(**SMALL).fit(back, Y))
    years = [frame.set_axis([1990, 2000], axis=1) for frame in frames]
    one = RNNClassifier(**SMALL).fit(years, Y)
    assert one.feature_names_in_.tolist() == ["1990", "2000"]
    refused("in the same order", lambda: one.predict([year[[2000, 1990]] for year in years]))
    table = pd.DataFrame(X[:, :, 0])
    refused(r"X must have its columns, the steps, in order, got \[4, 3, 2, 1, 0\]: sort them",
            lambda: RNNClassifier(**SMALL).fit(table[[4, 3, 2, 1, 0]], Y))  # fmt: skip
