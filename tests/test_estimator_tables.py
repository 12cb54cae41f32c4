"""Arrow, polars, cuDF and pandas on Arrow in the estimators: the results of the same NumPy data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("pandas", reason="needs pandas")

import pandas as pd
from sklearn.model_selection import cross_val_score
from test_estimator_inputs import EXOG, RAGGED, SERIES, SMALL, STEPS, WEIGHTS, X, Y

from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor

LABELLED = [RNNClassifier, RNNRegressor]
TEXTS = np.asarray(["no", "yes"], dtype=object)[Y]


class CuDF:
    """What stands in for cuDF, which needs a GPU: the part of its documented API that is used.

    Like cuDF's objects it refuses to become an array by itself, and converts with `to_pandas`.
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    shape = property(lambda self: self._data.shape)
    ndim = property(lambda self: self._data.ndim)

    def __len__(self) -> int:
        return len(self._data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(
            "Implicit conversion to a host NumPy array via __array__ is not allowed, To explicitly "
            "construct a GPU matrix, consider using .to_cupy()\nTo explicitly construct a host "
            "matrix, consider using .to_numpy()."
        )

    def to_pandas(self, *, nullable: bool = False, arrow_type: bool = False) -> Any:
        """Return a copy on the host, with pandas's nullable dtypes if they are asked for."""
        if nullable and self.ndim == 1 and self.dtype == "category":
            raise NotImplementedError("nullable=True is not implemented.")
        return self._data.convert_dtypes(
            infer_objects=False, convert_string=nullable, convert_integer=False,
            convert_boolean=nullable, convert_floating=nullable,
        )  # fmt: skip


class DataFrame(CuDF):
    """cudf.DataFrame."""

    columns = property(lambda self: self._data.columns)
    dtypes = property(lambda self: self._data.dtypes)


class Series(CuDF):
    """cudf.Series."""

    name = property(lambda self: self._data.name)
    dtype = property(lambda self: self._data.dtype)


DataFrame.__module__, Series.__module__ = "cudf.core.dataframe", "cudf.core.series"


def cudf(values: Any, names: list[str] | None) -> Any:
    return (
        Series(pd.Series(values))
        if names is None
        else DataFrame(pd.DataFrame(values, columns=names))
    )


def arrow(values: Any, names: list[str] | None) -> Any:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    return pa.array(values) if names is None else pa.table(list(values.T), names=names)


def chunks(values: Any, names: list[str] | None) -> Any:
    """Return Arrow data in two chunks."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    if names is None:
        whole = pa.array(values)
        return pa.chunked_array([whole[:1], whole[1:]])
    return pa.concat_tables([arrow(values[:1], names), arrow(values[1:], names)])


def batches(values: Any, names: list[str] | None) -> Any:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    return pa.array(values) if names is None else pa.record_batch(list(values.T), names=names)


def polars(values: Any, names: list[str] | None) -> Any:
    pl = pytest.importorskip("polars", reason="needs polars")
    values = values.tolist() if np.asarray(values).dtype.kind == "O" else np.asarray(values)
    return pl.Series(values) if names is None else pl.DataFrame(values, schema=names, orient="row")


def pandas_arrow(values: Any, names: list[str] | None) -> Any:
    """Return pandas objects whose memory is Arrow's."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    values = np.asarray(values)
    dtype = pd.ArrowDtype(
        pa.string() if values.dtype.kind == "O" else pa.from_numpy_dtype(values.dtype)
    )
    if names is None:
        return pd.Series(values, dtype=dtype)
    return pd.DataFrame(values, columns=names).astype(dtype)


def nullable(values: Any, names: list[str] | None) -> Any:
    made = pd.Series(values) if names is None else pd.DataFrame(values, columns=names)
    return made.convert_dtypes()


HOLDERS = [arrow, chunks, batches, polars, cudf, pandas_arrow, nullable]
Holder = Callable[[Any, list[str] | None], Any]
UV, STEP_NAMES = ["u", "v"], list("abcde")


@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("kind", LABELLED)
def test_lists_of_tables_are_the_arrays_that_they_hold(kind: Any, hold: Holder) -> None:
    """X, y and weights, with the names of the columns: bit for bit; predictions are NumPy's."""
    rows = [hold(x, UV) for x in RAGGED]
    one = kind(**SMALL).fit(rows, hold(Y, None), sample_weight=hold(WEIGHTS, None))
    two = kind(**SMALL).fit(RAGGED, Y, sample_weight=WEIGHTS)
    assert one.feature_names_in_.tolist() == UV
    found = one.predict(rows)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, two.predict(RAGGED))
    assert one.score(rows, hold(Y, None), hold(WEIGHTS, None)) == two.score(RAGGED, Y, WEIGHTS)
    columns = [hold(x[:, 0], None) for x in RAGGED]
    three = kind(**SMALL).fit([x[:, 0] for x in RAGGED], Y)
    np.testing.assert_array_equal(
        kind(**SMALL).fit(columns, Y).predict(columns), three.predict([x[:, 0] for x in RAGGED])
    )


@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("kind", LABELLED)
def test_a_table_of_steps(kind: Any, hold: Holder) -> None:
    """(n, T), by its names or against an array; integers too; its number of steps is kept."""
    table = hold(X[:, :, 0], STEP_NAMES)
    one = kind(**SMALL).fit(table, Y)
    two = kind(**SMALL).fit(X[:, :, 0], Y)
    assert one.feature_names_in_.tolist() == STEP_NAMES
    np.testing.assert_array_equal(one.predict(table), two.predict(X[:, :, 0]))
    with pytest.raises(ValueError, match=r"[Ff]eature names|columns of fit in the same order"):
        one.predict(hold(X[:, :, 0], STEP_NAMES[::-1]))
    with pytest.warns(UserWarning, match="X has feature names, but"):
        two.predict(table)
    with (
        pytest.warns(UserWarning, match="X has feature names, but"),
        pytest.raises(ValueError, match=r"X has 4 features, but .* is expecting 5"),
    ):
        two.predict(hold(X[:, :4, 0], STEP_NAMES[:4]))
    whole = np.rint(10 * X[:, :, 0]).astype("int64")
    table = hold(whole, STEP_NAMES)
    np.testing.assert_array_equal(
        kind(**SMALL).fit(table, Y).predict(table), kind(**SMALL).fit(whole, Y).predict(whole)
    )


@pytest.mark.parametrize("hold", HOLDERS)
def test_texts_are_labels(hold: Holder) -> None:
    """In fit, partial_fit, score and per step."""
    plain = RNNClassifier(**SMALL).fit(X, TEXTS)
    one = RNNClassifier(**SMALL).fit(X, hold(TEXTS, None))
    assert one.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(one.predict(X), plain.predict(X))
    assert one.score(X, hold(TEXTS, None)) == plain.score(X, TEXTS)
    first = RNNClassifier(**SMALL).partial_fit(X, hold(TEXTS, None), hold(TEXTS, None))
    assert first.classes_.tolist() == ["no", "yes"]
    steps = [TEXTS[row[: len(x)]] for row, x in zip(STEPS, RAGGED, strict=True)]
    per_step = RNNClassifier(**SMALL, per_step=True)
    found = per_step.fit(RAGGED, [hold(row, None) for row in steps]).predict(RAGGED)
    for a, b in zip(found, per_step.fit(RAGGED, steps).predict(RAGGED), strict=True):
        np.testing.assert_array_equal(a, b)


def test_categories_are_labels() -> None:
    """Of pandas, Arrow, polars and cuDF, which has none that are nullable."""
    pl = pytest.importorskip("polars", reason="needs polars")
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    plain = RNNClassifier(**SMALL).fit(X, TEXTS).predict(X)
    for y in (
        pd.Series(TEXTS, dtype="category"),
        pa.array(TEXTS).dictionary_encode(),
        pl.Series(TEXTS.tolist(), dtype=pl.Categorical),
        Series(pd.Series(TEXTS, dtype="category")),
    ):
        np.testing.assert_array_equal(RNNClassifier(**SMALL).fit(X, y).predict(X), plain)


@pytest.mark.parametrize("hold", HOLDERS)
def test_targets_of_several_columns(hold: Holder) -> None:
    """A regressor's y (n, K), and one per step as a table (n, T)."""
    y = X[:, -1, :]
    one = RNNRegressor(**SMALL).fit(X, hold(y, UV))
    np.testing.assert_array_equal(one.predict(X), RNNRegressor(**SMALL).fit(X, y).predict(X))
    assert one.score(X, hold(y, UV)) == one.score(X, y)
    steps = RNNRegressor(**SMALL, per_step=True)
    np.testing.assert_array_equal(
        steps.fit(X, hold(STEPS, STEP_NAMES)).predict(X), steps.fit(X, STEPS).predict(X)
    )


@pytest.mark.parametrize("hold", HOLDERS)
def test_series_of_a_forecaster(hold: Holder) -> None:
    """One series with its exogenous table, a list of tables, and a table of series."""
    plain = RNNForecaster(3, **SMALL).fit(SERIES, exog=EXOG[:60])
    one = RNNForecaster(3, **SMALL).fit(hold(SERIES, None), exog=hold(EXOG[:60], UV))
    found = one.predict(hold(SERIES, None), exog=hold(EXOG, UV))
    np.testing.assert_array_equal(found, plain.predict(SERIES, exog=EXOG))
    with pytest.raises(ValueError, match="exog must have the columns of fit in the same order"):
        one.predict(hold(SERIES, None), exog=hold(EXOG, UV[::-1]))
    both = RNNForecaster(3, **SMALL).fit([hold(EXOG, UV)])
    assert both.feature_names_in_.tolist() == UV
    np.testing.assert_array_equal(
        both.predict([hold(EXOG, UV)]), RNNForecaster(3, **SMALL).fit([EXOG]).predict([EXOG])
    )
    table = np.stack([SERIES, SERIES[::-1]])
    names = [f"t{i}" for i in range(60)]
    found = RNNForecaster(3, **SMALL).fit(hold(table, names)).predict(hold(table, names))
    np.testing.assert_array_equal(found, RNNForecaster(3, **SMALL).fit(table).predict(table))
    assert one.score(hold(SERIES, None), exog=hold(EXOG[:60], UV)) == plain.score(
        SERIES, exog=EXOG[:60]
    )


def refused(words: str, call: Callable[[], Any]) -> None:
    """Assert that a call raises ValueError with these words in its first line."""
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("kind", LABELLED)
def test_names_of_lists_are_kept(kind: Any, hold: Holder) -> None:
    """In one list, and between fit and later calls."""
    rows = [hold(x, UV) for x in RAGGED]
    one = kind(**SMALL).fit(rows, Y)
    other = [hold(x, ["v", "u"]) for x in RAGGED]
    refused("X must have the columns of fit in the same order", lambda: one.predict(other))
    mixed = [*rows[:7], hold(RAGGED[7], ["u", "w"]), *rows[8:]]
    refused(
        r"X\[7\] must have the columns of X\[0\] .*unexpected \['w'\]", lambda: one.fit(mixed, Y)
    )
    with pytest.warns(UserWarning, match="X does not have valid feature names, but"):
        one.predict(RAGGED)


def holed(values: np.ndarray) -> np.ndarray:
    """Return values as objects, the first of which is missing."""
    found = values.astype(object)
    found.flat[0] = None
    return found


def missing(hold: Holder, values: np.ndarray, names: list[str] | None) -> Any:
    """Return what holds values of which the first is missing."""
    if hold in (pandas_arrow, nullable):
        made = hold(values, names)
        if names is None:
            made.iloc[0] = None
        else:
            made.iloc[0, 0] = None
        return made
    if hold is cudf:
        made = hold(values, names)
        made._data = made._data.convert_dtypes()
        made._data.iloc[(0, 0) if names else 0] = pd.NA
        return made
    if names is None:
        return (
            hold(holed(values).tolist(), None)
            if hold is not polars
            else polars(holed(values), None)
        )
    if hold is polars:
        return pytest.importorskip("polars").DataFrame(
            {name: column.tolist() for name, column in zip(names, holed(values).T, strict=True)}
        )
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    make = pa.record_batch if hold is batches else pa.table
    return make([pa.array(column.tolist()) for column in holed(values).T], names=names)


@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("kind", LABELLED)
def test_missing_values_are_named(kind: Any, hold: Holder) -> None:
    """Numbers, flags and texts, wherever they go in."""
    fit = kind(**SMALL).fit
    words = rf"X\[0\] contains NaN at (step 0|column '{STEP_NAMES[0]}'): remove"
    refused(words, lambda: fit(missing(hold, X[:, :, 0], STEP_NAMES), Y))
    flags = missing(hold, X[:, :, 0] > 0, STEP_NAMES)
    refused(words, lambda: fit(flags, Y))
    rows = [missing(hold, x, UV) for x in RAGGED]
    refused(r"X\[0\] contains NaN at step 0, feature (0|'u'): remove", lambda: fit(rows, Y))
    refused(r"y\[0\] contains NaN: remove", lambda: fit(X, missing(hold, Y, None)))
    refused("sample_weight contains NaN", lambda: fit(X, Y, missing(hold, WEIGHTS, None)))
    if kind is RNNClassifier:
        texts = missing(hold, TEXTS, None)
        refused("y must hold a label for each, got missing ones", lambda: fit(X, texts))


@pytest.mark.parametrize("hold", HOLDERS)
def test_columns_without_numbers_are_named(hold: Holder) -> None:
    """Texts in a table of a list."""
    texts = np.stack([TEXTS, TEXTS], axis=1)
    words = r"X\[0\] must hold real numbers, got dtype .* in column 'u': convert or drop it"
    refused(words, lambda: RNNRegressor(**SMALL).fit([hold(texts, UV)] * 12, Y))


def test_times_beside_numbers_are_named() -> None:
    """In a table, whose columns have no common dtype."""
    pl = pytest.importorskip("polars", reason="needs polars")
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    columns = {"u": X[:, 0, 0], "when": np.full(12, "2020-01-01", "M8[ms]")}
    for table in (pl.DataFrame(columns), pa.table(columns)):
        for form in (table, [table] * 12):
            words = r"must hold real numbers, got dtype datetime64.* in column 'when'"
            refused(words, lambda form=form: RNNRegressor(**SMALL).fit(form, Y))


def test_what_is_not_data_yet_is_refused() -> None:
    """A lazy frame, and a column of lists."""
    pl = pytest.importorskip("polars", reason="needs polars")
    with pytest.raises(TypeError, match=r"got a polars LazyFrame, .*: call collect\(\) first"):
        RNNRegressor().fit(pl.LazyFrame({"a": [1.0]}), Y)
    pairs = pl.DataFrame({"p": pl.Series([[1, 2]] * 12, dtype=pl.Array(pl.Int64, 2))})
    refused("column 'p' must hold one value per row", lambda: RNNRegressor().fit(pairs, Y))


def test_scikit_learn_splits_polars() -> None:
    """A table and its labels in cross-validation."""
    table, y = polars(X[:, :, 0], STEP_NAMES), polars(TEXTS, None)
    one = cross_val_score(RNNClassifier(**SMALL), table, y, cv=2)
    np.testing.assert_array_equal(one, cross_val_score(RNNClassifier(**SMALL), X[:, :, 0], Y, cv=2))
