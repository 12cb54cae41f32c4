"""What goes into the estimators: pandas, any byte order, huge and complex numbers, objects."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency

import rnnx
from rnnx.cells import RNNCell
from rnnx.characters import CharacterModel
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor

SMALL: dict[str, Any] = {"hidden_size": 4, "epochs": 2, "random_state": 0}
LABELLED = [RNNClassifier, RNNRegressor]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 5, 2))
Y = np.arange(12) % 2
STEPS = (X[:, :, 0] > 0).astype(int)  # one target per step
WEIGHTS = np.arange(12) % 3 + 1.0
RAGGED = [x[: 3 + i % 3] for i, x in enumerate(X)]
SERIES = np.sin(np.arange(60.0)) + 0.1 * RNG.standard_normal(60)
EXOG = RNG.standard_normal((63, 2))


@pytest.fixture
def pd() -> Any:
    return pytest.importorskip("pandas", reason="needs pandas")


def framed(pd: Any, sequences: Any, **options: Any) -> list[Any]:
    """Return sequences as data frames with the columns u and v and an index of no use."""
    return [
        pd.DataFrame(x, columns=["u", "v"], index=np.arange(len(x))[::-1], **options)
        for x in sequences
    ]


@pytest.mark.parametrize("dtype", ["float64", "Float64", "mixed"])
@pytest.mark.parametrize("kind", LABELLED)
def test_data_frames_are_the_arrays_that_they_hold(kind: Any, dtype: str, pd: Any) -> None:
    """X, y and weights: bit for bit, whatever the index and with nullable dtypes too."""

    def put(a: np.ndarray) -> Any:
        return pd.Series(a, index=np.arange(len(a))[::-1])

    def as_dtype(frame: Any) -> Any:
        return frame.astype({"u": "Float64", "v": "float64"} if dtype == "mixed" else dtype)

    plain = kind(**SMALL).fit(RAGGED, Y, sample_weight=WEIGHTS)
    rows = [as_dtype(frame) for frame in framed(pd, RAGGED)]
    frames = kind(**SMALL).fit(rows, put(Y), sample_weight=put(WEIGHTS))
    np.testing.assert_array_equal(frames.predict(rows), plain.predict(RAGGED))
    weighed = [one.score(x, y, sample_weight=w) for one, x, y, w in
               ((frames, rows, put(Y), put(WEIGHTS)), (plain, RAGGED, Y, WEIGHTS))]  # fmt: skip
    assert weighed[0] == weighed[1]
    np.testing.assert_array_equal(
        kind(**SMALL).fit([frame["u"] for frame in rows], Y).predict([row["u"] for row in rows]),
        kind(**SMALL).fit([x[:, 0] for x in RAGGED], Y).predict([x[:, 0] for x in RAGGED]),
    )


@pytest.mark.parametrize("kind", LABELLED)
def test_targets_per_step_in_data_frames(kind: Any, pd: Any) -> None:
    """One frame (n, T), a list of series, and a list of frames with one column."""
    options = SMALL | {"per_step": True}
    steps = [row[: len(x)] for row, x in zip(STEPS, RAGGED, strict=True)]
    columns = [pd.DataFrame({"y": row}) for row in steps]
    weights = pd.Series(WEIGHTS)
    for x, y, forms in (
        (X, STEPS, [pd.DataFrame(STEPS)]),
        (RAGGED, steps, [[pd.Series(row) for row in steps], columns]),
    ):
        expected = kind(**options).fit(x, y)
        for form in forms:
            found = kind(**options).fit(x, form)
            for a, b in zip(found.predict(x), expected.predict(x), strict=True):
                np.testing.assert_array_equal(np.ravel(a), b)
            assert found.score(x, form, sample_weight=weights) == pytest.approx(
                expected.score(x, y, sample_weight=WEIGHTS)
            )
    if kind is RNNClassifier:
        with pytest.raises(ValueError, match="y must hold one label per step, got shape"):
            kind(**options).fit(X, np.stack([STEPS, STEPS], axis=2))


def test_series_and_data_frames_of_a_forecaster(pd: Any) -> None:
    """A series (T,), its exogenous frame (T, E), a table, and one frame in a list."""
    days = pd.date_range("2020-01-01", periods=63)
    series, exog = pd.Series(SERIES, days[:60]), pd.DataFrame(EXOG, days, ["p", "q"])
    plain = RNNForecaster(3, **SMALL).fit(SERIES, exog=EXOG[:60])
    for dtype in ("float64", "Float64"):
        one = RNNForecaster(3, **SMALL).fit(series.astype(dtype), exog=exog[:60].astype(dtype))
        np.testing.assert_array_equal(
            one.predict(series.astype(dtype), exog=exog.astype(dtype)),
            plain.predict(SERIES, exog=EXOG),
        )
    frame = exog[:60]
    both = RNNForecaster(3, **SMALL).fit([frame])
    assert both.feature_names_in_.tolist() == ["p", "q"]
    np.testing.assert_array_equal(
        both.predict([frame]), RNNForecaster(3, **SMALL).fit([EXOG[:60]]).predict([EXOG[:60]])
    )
    table = RNNForecaster(3, **SMALL).fit(frame.T)
    assert table.predict(frame.T.iloc[:, 5:]).shape == (2, 3)


def change(frames: list[Any], names: list[str]) -> list[Any]:
    """Return data frames with other columns, some of them new."""
    return [frame.reindex(columns=names, fill_value=0.0) for frame in frames]


WRONG_NAMES = {
    "reordered": (["v", "u"], r"expected \['u', 'v'\], got \['v', 'u'\]"),
    "renamed": (["u", "w"], r"missing \['v'\], unexpected \['w'\]"),
    "missing": (["u"], r"missing \['v'\]"),
    "more": (["u", "v", "w"], r"unexpected \['w'\]"),
}


@pytest.mark.parametrize("case", WRONG_NAMES)
@pytest.mark.parametrize("kind", LABELLED)
def test_lists_of_data_frames_keep_their_columns(kind: Any, case: str, pd: Any) -> None:
    """In one list, and between fit and every later call: one line that names what differs."""
    names, words = WRONG_NAMES[case]
    frames = framed(pd, RAGGED)
    one = kind(**SMALL).fit(frames, Y)
    assert one.feature_names_in_.tolist() == ["u", "v"]
    assert one.feature_names_in_.dtype == object
    other = change(frames, names)
    for call in (
        lambda: one.predict(other),
        lambda: one.score(other, Y),
        lambda: one.partial_fit(other, Y),
    ):
        with pytest.raises(ValueError, match="X must have the columns of fit .*" + words) as caught:
            call()
        assert "\n" not in str(caught.value)
    mixed = [*frames[:7], other[7], *frames[8:]]
    for call in (lambda: one.fit(mixed, Y), lambda: one.predict(mixed)):
        with pytest.raises(ValueError, match=r"X\[7\] must have the columns of X\[0\] .*" + words):
            call()
    with pytest.raises(ValueError, match=r"X\[7\] .* of X\[0\] .*: missing \['u', 'v'\]"):
        one.fit([*frames[:7], RAGGED[7], *frames[8:]], Y)
    with pytest.raises(ValueError, match=r"X\[1\] .* of X\[0\] .*: unexpected \['u', 'v'\]"):
        one.fit([RAGGED[0], *frames[1:]], Y)
    assert one.feature_names_in_.tolist() == ["u", "v"]
    assert cross_val_score(one, frames, Y, cv=2).shape == (2,)


def test_names_on_one_side_only_warn(pd: Any) -> None:
    """As in scikit-learn; a new fit without names forgets the old ones."""
    frames = framed(pd, X)
    one = RNNClassifier(**SMALL).fit(frames, Y)
    for given in (X, list(X)):
        with pytest.warns(UserWarning, match="X does not have valid feature names, but RNNClass"):
            one.predict(given)
    one.fit(X, Y)
    assert not hasattr(one, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but RNNClassifier was fitted with"):
        one.predict(frames)
    unnamed = [frame.set_axis([0, 1], axis=1) for frame in frames]  # numbers are no names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.fit(unnamed, Y).predict(X)
    table = RNNClassifier(**SMALL).fit(pd.DataFrame(X[:, :, 0], columns=list("abcde")), Y)
    with warnings.catch_warnings():  # the names are those of steps, which a list need not have
        warnings.simplefilter("error")
        table.predict([frame[["u"]] for frame in frames])


@pytest.mark.parametrize("kind", LABELLED)
def test_tables_keep_their_columns_as_scikit_learn_checks_it(kind: Any) -> None:
    """Its own check, which `check_estimator` leaves out."""
    pytest.importorskip("pandas", reason="needs pandas")
    name = kind.__name__
    check_dataframe_column_names_consistency(name, kind(**SMALL))


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_exogenous_columns_are_kept(case: str, pd: Any, tmp_path: Path) -> None:
    """Between fit and later calls, in a file and in a pickle; and those of series, too."""
    names, words = WRONG_NAMES[case]
    exog = pd.DataFrame(EXOG, columns=["u", "v"])
    series = pd.DataFrame({"u": SERIES, "v": SERIES**2})
    one = RNNForecaster(3, **SMALL).fit([series], exog=[exog[:60]])
    one.save(tmp_path / "model.safetensors")
    again = [one, rnnx.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(one))]
    for forecaster in again:
        assert forecaster.predict([series], exog=[exog]).shape == (1, 3, 2)
        with pytest.raises(ValueError, match="exog must have the columns of fit .*" + words):
            forecaster.predict([series], exog=change([exog], names))
        with pytest.raises(ValueError, match="X must have the columns of fit .*" + words):
            forecaster.predict(change([series], names), exog=[exog])
        with pytest.warns(UserWarning, match="exog does not have valid feature names, but RNNFore"):
            forecaster.predict([series], exog=[EXOG])
    two = [exog[:60], *change([exog[:60]], names)]
    with pytest.raises(ValueError, match=r"exog\[1\] must have the columns of exog\[0\]"):
        one.fit([series, series], exog=two)
    single = RNNForecaster(3, **SMALL).fit(series["u"], exog=exog[:60])
    with pytest.raises(ValueError, match="exog must have the columns of fit .*" + words):
        single.predict(series["u"], exog=change([exog], names)[0])


def test_columns_without_numbers_are_named(pd: Any) -> None:
    """Texts, dates, complex numbers and missing values, which an array would hide."""
    frames = framed(pd, RAGGED)
    for value, words in (
        ("1.5", r"X\[0\] must hold real numbers, got dtype .* in column 'v': convert or drop it"),
        (pd.Timestamp("2020"), r"got dtype datetime64.* in column 'v'"),
        (1j, r"Complex data not supported: X\[0\] .* in column 'v'"),
        (np.nan, r"X\[0\] contains NaN"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            RNNClassifier(**SMALL).fit([frame.assign(v=value) for frame in frames], Y)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor, RNNForecaster, CharacterModel])
def test_an_unknown_option_names_class_and_nearest(kind: Any) -> None:
    """Of the class that was called, not of a base; without a near name, all that there are."""
    with pytest.raises(
        TypeError, match=f"^{kind.__name__} has no option 'hidden': did you mean 'h"
    ):
        kind(hidden=5)
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__} has no option 'xyz': it has .*dropout,"
    ):
        kind(xyz=5)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN"), (-np.inf, "infinity or a number too")]
)
def test_a_wrong_number_has_a_place(pd: Any, value: float, kind: str) -> None:
    """Sequence, step and feature, by name where there is one, of X, y and exogenous values."""

    def wrong(values: Any, *index: int) -> Any:
        spoiled = np.array(values, dtype="float64")
        spoiled[index] = value
        return spoiled

    def found(place: str, call: Callable[[], Any]) -> None:
        refused("^" + re.sub(r"([][])", r"\\\1", place), call)

    fit = RNNRegressor(**SMALL).fit
    named = [pd.DataFrame(wrong(x, 2, 1) if i == 3 else x, columns=["u", "v"])
             for i, x in enumerate(X)]  # fmt: skip
    frame = pd.DataFrame(wrong(X[:, :, 0], 3, 4), columns=list("abcde"))
    found(f"X[3] contains {kind}.* at step 4, feature 1: remove", lambda: fit(wrong(X, 3, 4, 1), Y))
    found(f"X[3] contains {kind}.* at step 2, feature 'v': remove", lambda: fit(named, Y))
    found(f"X[3] contains {kind}.* at step 4: remove", lambda: fit(wrong(X[:, :, 0], 3, 4), Y))
    found(f"X[3] contains {kind}.* at column 'e': remove", lambda: fit(frame, Y))
    one = fit(X, Y)
    found(f"X[1] contains {kind}.* at step 0, feature 0", lambda: one.predict(wrong(X, 1, 0, 0)))
    for kind_of in LABELLED:
        found(f"y[3] contains {kind}", lambda kind_of=kind_of: kind_of(**SMALL).fit(X, wrong(Y, 3)))
        steps = kind_of(**SMALL, per_step=True).fit
        listed = [wrong(y, 2) if i == 1 else y for i, y in enumerate(STEPS)]
        found(f"y[3] contains {kind}.* at step 2", lambda fit=steps: fit(X, wrong(STEPS, 3, 2)))
        found(f"y[1] contains {kind}.* at step 2", lambda fit=steps: fit(list(X), listed))  # noqa: B023
    pairs = np.stack([Y, Y], axis=1)
    found(f"y[3] contains {kind}.* at value 1", lambda: fit(X, wrong(pairs, 3, 1)))
    ahead = RNNForecaster(3, **SMALL).fit
    found(f"X[0] contains {kind}.* at step 17: remove", lambda: ahead(wrong(SERIES, 17)))
    exog = wrong(EXOG[:60], 17, 1)
    found(f"exog[0] contains {kind}.* at step 17, feature 1", lambda: ahead(SERIES, exog=exog))


def big(values: Any) -> Any:
    """Return numbers with the most significant byte first."""
    if isinstance(values, list):
        return [big(row) for row in values]
    return values.astype(values.dtype.newbyteorder(">"))


@pytest.mark.parametrize("kind", LABELLED)
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("form", ["table", "array", "list"])
def test_other_byte_orders_are_numbers(kind: Any, per_step: bool, form: str) -> None:
    """X, y and weights, as files of instruments have them: the same model, bit for bit."""
    x: Any = {"table": X[:, :, 0], "array": X, "list": RAGGED}[form]
    y: Any = Y
    if per_step:
        y = [row[: len(x)] for row, x in zip(STEPS, RAGGED, strict=True)]
        y = y if form == "list" else STEPS
    one = kind(**SMALL, per_step=per_step).fit(big(x), big(y), sample_weight=big(WEIGHTS))
    two = kind(**SMALL, per_step=per_step).fit(x, y, sample_weight=WEIGHTS)
    for a, b in zip(one.predict(big(x)), two.predict(x), strict=True):
        np.testing.assert_array_equal(a, b)
    scores = one.score(big(x), big(y), sample_weight=big(WEIGHTS)), two.score(x, y, WEIGHTS)
    assert scores[0] == scores[1]


def test_other_byte_orders_in_a_forecaster() -> None:
    """Series and exogenous values."""
    one = RNNForecaster(3, **SMALL).fit(big(SERIES), exog=big(EXOG[:60]))
    two = RNNForecaster(3, **SMALL).fit(SERIES, exog=EXOG[:60])
    np.testing.assert_array_equal(
        one.predict(big(SERIES), exog=big(EXOG)), two.predict(SERIES, exog=EXOG)
    )


def objects(values: Any) -> np.ndarray:
    """Return a one-dimensional array of objects."""
    found = np.empty(len(values), dtype=object)
    found[:] = list(values)
    return found


def refused(words: str, call: Callable[[], Any]) -> None:
    """Assert that a call raises ValueError in one line with these words."""
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", LABELLED)
def test_complex_numbers_are_refused_in_one_line(kind: Any) -> None:
    """Wherever numbers go in."""
    words = "Complex data not supported: {} must hold real numbers, got dtype complex128"
    steps = kind(**SMALL, per_step=True)
    table = X[:, :, 0] * 1j
    for x in (table, table.tolist(), X * 1j):
        refused(words.format("X"), lambda x=x: kind(**SMALL).fit(x, Y))
    refused(words.format(r"X\[0\]"), lambda: kind(**SMALL).fit(list(X * 1j), Y))
    refused(words.format("y"), lambda: kind(**SMALL).fit(X, Y * 1j))
    refused(words.format("y"), lambda: kind(**SMALL).fit(X, (Y * 1j).tolist()))
    refused(words.format("y"), lambda: steps.fit(X, STEPS * 1j))
    refused(words.format("y"), lambda: steps.fit(list(X), list(STEPS * 1j)))
    refused(words.format("sample_weight"), lambda: kind(**SMALL).fit(X, Y, WEIGHTS * 1j))
    one = kind(**SMALL).fit(X, Y)
    refused(words.format("X"), lambda: one.predict(X * 1j))
    refused(words.format("y"), lambda: one.score(X, Y * 1j))
    refused(words.format("sample_weight"), lambda: one.score(X, Y, WEIGHTS * 1j))


@pytest.mark.parametrize("kind", LABELLED)
def test_objects_are_refused_with_the_way_out(kind: Any) -> None:
    """Numbers as objects, rows of different lengths, masks."""
    way = r"must hold real numbers, got dtype object: convert numbers with astype\('float64'\), or "
    objects_of_numbers = X.astype(object)
    refused(
        "X " + way + "give sequences as a list of arrays", lambda: kind().fit(objects_of_numbers, Y)
    )
    refused(r"X\[0\] " + way, lambda: kind().fit(list(X.astype(object)), Y))
    refused("sample_weight " + way, lambda: kind().fit(X, Y, WEIGHTS.astype(object)))
    per_step = "one per step with per_step=True"
    unequal = [np.arange(1 + i % 3) for i in range(12)]
    refused("y " + way + ".*" + per_step, lambda: kind().fit(X, objects(unequal)))
    refused("y must hold rows of equal length.*" + per_step, lambda: kind().fit(X, unequal))
    nested = [row.tolist() for row in unequal]
    refused("X must hold rows of equal length.* list of arrays", lambda: kind().fit(nested, Y))
    for x in (np.ma.masked_array(X, X > 1), np.ma.masked_array(X[:, :, 0])):
        refused("X must not be masked", lambda x=x: kind().fit(x, Y))
    refused(r"X\[0\] must not be masked", lambda: kind().fit(list(np.ma.masked_array(X)), Y))
    if kind is RNNClassifier:
        refused("y must hold texts or numbers.*astype", lambda: kind().fit(X, Y.astype(object)))
    one = kind(**SMALL, per_step=True)
    one.fit(RAGGED, objects([row[: len(x)] for row, x in zip(STEPS, RAGGED, strict=True)]))


def test_what_a_forecaster_refuses() -> None:
    """Complex numbers, objects and masks, in series and in exogenous values."""
    fit = RNNForecaster(3, **SMALL).fit
    two = [SERIES, SERIES[:50]]
    refused("Complex .* X must", lambda: fit(SERIES * 1j))
    refused(r"Complex .* exog\[0\] must", lambda: fit(SERIES, exog=EXOG[:60] * 1j))
    numbers = SERIES.astype(object)
    refused("X must hold real numbers, got dtype object: .* list of arrays", lambda: fit(numbers))
    refused("X must hold rows of equal length", lambda: fit([row.tolist() for row in two]))
    refused("exog must hold real numbers", lambda: fit(two, exog=EXOG.astype(object)))
    refused("X must not be masked", lambda: fit(np.ma.masked_array(SERIES)))
    assert len(fit(two, exog=[EXOG[:60], EXOG[:50]]).history_["loss"]) == 2


HUGE = {"float32": (1e17, 1e30, 1e39, 1e200, 1.7e308), "float64": (1e151, 1e200, 1.7e308)}
CASES = [(dtype, sign * value) for dtype in HUGE for value in HUGE[dtype] for sign in (1, -1)]


@pytest.mark.parametrize(("dtype", "value"), CASES)
@pytest.mark.parametrize("kind", LABELLED)
def test_huge_values_are_named(kind: Any, dtype: str, value: float) -> None:
    """One line, no warning of NumPy, and nothing changed: at prediction, in X and in targets."""
    one = kind(**SMALL, dtype=dtype).fit(X, Y)
    expected = one.predict(X)
    words = f"X must stay below .* when scaled, got values as large as {abs(value):.3g}".replace(
        "+", r"\+"
    )
    x = X.copy()
    x[3, 2, 1] = value
    for form in (x, list(x)):
        refused(words, lambda form=form: one.predict(form))
        refused(words, lambda form=form: one.score(form, Y))
        refused(words, lambda form=form: one.partial_fit(form, Y))
    table = kind(**SMALL, dtype=dtype).fit(X[:, :, 0], Y)
    refused(words, lambda: table.predict(np.where(X[:, :, 0] > 1, value, -value)))
    if kind is RNNClassifier:
        refused(words, lambda: one.predict_proba(x))
    else:
        refused("y" + words[1:], lambda: one.partial_fit(X, Y + value))
    np.testing.assert_array_equal(one.predict(X), expected)
    if abs(value) > 1e155:
        refused(words.replace("below .* when", "below .* float64 when"), lambda: one.fit(x, Y))
    elif dtype == "float32":
        refused(words + ".* or use dtype='float64'$", lambda: one.predict(x))


@pytest.mark.parametrize(("dtype", "value"), CASES)
@pytest.mark.parametrize("scale", ["window", "standard", None])
def test_huge_values_in_a_forecaster_are_named(scale: Any, dtype: str, value: float) -> None:
    """Series and exogenous values; a window that is scaled by itself may be large."""
    options = SMALL | {"scale": scale, "dtype": dtype, "window": 8}
    one = RNNForecaster(3, **options).fit(SERIES, exog=EXOG[:60])
    words = "X must stay below .* when scaled, got values as large as "
    past = SERIES.copy()
    past[-4] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if scale == "window" and abs(value) < 1e150:
            assert np.all(np.isfinite(one.predict(past, exog=EXOG)))
        else:
            refused(words, lambda: one.predict(past, exog=EXOG))
        if abs(value) > 1e155:
            refused(words, lambda: one.fit(past, exog=EXOG[:60]))
    if scale != "window":
        ahead = SERIES.copy()
        ahead[-1] = value  # in a target alone
        refused(words, lambda: one.partial_fit(ahead, exog=EXOG[:60]))
    exog = EXOG.copy()
    exog[-1, 0] = value
    refused("exog" + words[1:], lambda: one.predict(SERIES, exog=exog))


@pytest.mark.parametrize("kind", [*LABELLED, RNNForecaster])
def test_predictions_that_overflow_are_refused(kind: Any) -> None:
    """A relu network whose state grows from step to step: no infinity is returned."""
    whole = {"linear": False} if kind is RNNForecaster else {}
    one = kind(**SMALL, **whole, cell=RNNCell("relu"))
    one.fit(*((SERIES,) if kind is RNNForecaster else (X, Y)))
    names = [name for name in one.model_.params if "weight" in name]
    one.model_.set_params({k: np.full(one.model_.params[k].shape, 1e10) for k in names})
    x = SERIES if kind is RNNForecaster else np.abs(X)
    with np.errstate(all="ignore"):
        refused("predictions must be finite, got NaN or infinity", lambda: one.predict(x))


def test_the_layer_norm_of_large_values_is_right() -> None:
    """Up to the limit its squares do not overflow: the output no longer depends on the scale."""
    one = RNNRegressor(**SMALL, cell="layer_norm_lstm").fit(X, Y)
    signs = np.sign(X)
    np.testing.assert_allclose(one.predict(9e15 * signs), one.predict(1e9 * signs), rtol=1e-4)
