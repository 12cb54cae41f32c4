"""Read X and y as users of scikit-learn have them: arrays, data frames, lists of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import (
    _check_n_features,
    _check_sample_weight,
    check_array,
    validate_data,
)

from rnnx.estimators.reading import columns, dates, layout
from rnnx.estimators.reading.forms import Rows, is_list, on_host
from rnnx.estimators.reading.nested import unpacked
from rnnx.estimators.reading.tables import Table
from rnnx.estimators.reading.values import check_finite, check_table, plain, real

NUMBERS: dict[str, Any] = {"dtype": "float64", "ensure_all_finite": False}  # we say where they are


def read_sequences(estimator: Any, X: Any, *, reset: bool, any_length: bool = False) -> Rows:
    """Return X as an array (n, T, F) or a list of arrays (T_i, F) of float64.

    X is (n, T, F); (n, T), a table whose columns are the steps of one feature; or a list of
    (T_i, F) or (T_i,). In the layout "FT", F comes before T. The estimator's `n_features_in_` and
    `feature_names_in_` are set if `reset`, else compared. A table must have as many steps as in
    `fit`, unless `any_length`.
    """
    X, how = unpacked("X", on_host(estimator, X)), estimator._options["layout"]
    missing = estimator._options.get("missing")  # a forecaster has no such option
    gaps = None if missing is None else missing == "indicator"
    if isinstance(X, list | tuple) and len(X) == 0:
        raise ValueError("X must hold at least one sequence, got an empty list")
    if is_list(X):
        names = columns.common("X", X)
        rows: Any = [sequence(f"X[{i}]", row, how, gaps=gaps) for i, row in enumerate(X)]
        layout.check_features(rows, how, reset=reset)
        if reset and how is None and not any(map(layout.has_rows, X)):
            layout.check_given(rows, f"of {len(rows)} arrays of shape {rows[0].shape}")
        _check_features(estimator, rows, names, reset)
        return rows
    if getattr(X, "ndim", 2) == 3:
        rows = real("X", X)
        if 0 in rows.shape:
            raise ValueError(
                f"X must hold at least one sequence, step and feature, got shape {rows.shape}"
            )
        rows = layout.steps_first(rows, how)
        check_finite("X", rows, ["", "step", "feature"], gaps=gaps)
        if reset and how is None:
            layout.check_given(rows, f"of shape {rows.shape}")
        _check_features(estimator, rows, None, reset)
        return rows
    columns.check_steps("X", X)
    check_table("X", X)
    if reset or not (any_length or estimator._steps_in is None):
        table = _validated(estimator, X, reset=reset)
        estimator._steps_in = table.shape[1]
    else:
        table = check_array(X, **NUMBERS, input_name="X")
        _check_number(estimator, 1)
    names = columns.names_of(X)
    check_finite("X", table, ["", "step" if names is None else "column"], names, gaps=gaps)
    return table[:, :, None]


def sequence(
    name: str, row: Any, how: str | None = None, *, gaps: bool | None = None
) -> np.ndarray:
    """Return one sequence, of this layout unless it is a data frame, as (T, F)."""
    dates.check_order(name, dates.of(getattr(row, "index", None)))
    array = layout.steps_first(real(name, row), None if layout.has_rows(row) else how)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape ({', '.join(how or 'TF')}) with at least one step of one "
            f"feature, got {np.shape(row)}"
        )
    check_finite(name, array, ["step", "feature"], columns.names_of(row), gaps=gaps)
    return array


def features_of(estimator: Any) -> int:
    """Return the number of features F; a table has one, whose steps are its columns."""
    return 1 if estimator._steps_in is not None else int(estimator.n_features_in_)


def read_steps(name: str, y: Any, X: Rows) -> Rows:
    """Return one target per step, in the form of X: (n, T, ...) or a list of (T_i, ...)."""
    listed = y if isinstance(y, list | tuple) else plain(name, y)
    found = [plain(f"{name}[{i}]", row) for i, row in enumerate(listed)]
    if len(found) != len(X):
        raise ValueError(f"{name} must have as many sequences as X, {len(X)}, got {len(found)}")
    for i, (row, x) in enumerate(zip(found, X, strict=True)):
        if row.ndim == 0 or len(row) != len(x):
            raise ValueError(
                f"{name}[{i}] must have a target for each of the {len(x)} steps of X[{i}], got "
                f"shape {row.shape}"
            )
    return found if isinstance(X, list) else np.stack(found)


def read_weights(estimator: Any, sample_weight: Any, rows: Rows) -> np.ndarray | None:
    """Return one weight per sequence, or None."""
    if sample_weight is None:
        return None
    given = real("sample_weight", on_host(estimator, sample_weight))
    weights: np.ndarray = _check_sample_weight(
        given if given.ndim else float(given),
        np.zeros((len(rows), 1)),
        dtype="float64",
        ensure_non_negative=True,
    )
    if not np.any(weights):
        raise ValueError("sample_weight must have an entry above 0, got only zeros")
    return weights


def _validated(estimator: Any, X: Any, *, reset: bool) -> np.ndarray:
    """Return a table (n, T) as float64, with its columns set or compared as scikit-learn does."""
    if not isinstance(X, Table):
        checked: np.ndarray = validate_data(estimator, X, reset=reset, **NUMBERS)
        return checked
    array = real("X", X)
    if reset:
        array = validate_data(estimator, array, reset=True, **NUMBERS)
        estimator._columns = X.names
        return array
    columns.check("X", X.names, estimator._columns, estimator)
    _check_n_features(estimator, array, reset=False)
    return check_array(array, **NUMBERS, input_name="X", estimator=estimator)


def _check_features(estimator: Any, rows: Rows, names: columns.Names, reset: bool) -> None:
    """Set or compare number and names of features."""
    steps, features = rows[0].shape
    if not reset:
        if estimator._steps_in is None:  # else the known names are those of a table's steps
            columns.check("X", names, estimator._columns, estimator)
        return _check_number(estimator, features, steps)
    estimator.n_features_in_ = features
    estimator._steps_in = None
    vars(estimator).pop("feature_names_in_", None)
    estimator._columns = names
    return None


def _check_number(estimator: Any, features: int, steps: int = 0) -> None:
    expected = features_of(estimator)
    if features != expected:
        turned = f": it has {steps} steps, so swap the last two axes" * (steps == expected)
        raise ValueError(
            f"X has {features} features, but {type(estimator).__name__} is expecting {expected} "
            f"features as input, as in fit{turned}"
        )
