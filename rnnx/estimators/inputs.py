"""Read X and y as users of scikit-learn have them: arrays, data frames, lists of sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from rnnx.backend import get_backend

Rows = Any  # an array (n, T, F), or a list of n arrays (T_i, F)


def read_sequences(estimator: Any, X: Any, *, reset: bool, any_length: bool = False) -> Rows:
    """Return X as an array (n, T, F) or a list of arrays (T_i, F) of float64.

    X is (n, T, F); (n, T), a table whose columns are the steps of one feature; or a list of
    (T_i, F) or (T_i,). The estimator's `n_features_in_` is set if `reset`, else
    compared. A table must have as many steps as in `fit`, unless `any_length`.
    """
    X = on_host(estimator, X)
    if isinstance(X, list | tuple) and len(X) == 0:
        raise ValueError("X must hold at least one sequence, got an empty list")
    if is_list(X):
        rows: Any = [_sequence(f"X[{i}]", row) for i, row in enumerate(X)]
        for i, row in enumerate(rows):
            if row.shape[1] != rows[0].shape[1]:
                raise ValueError(
                    f"X[{i}] must have {rows[0].shape[1]} features like X[0], got {row.shape[1]}"
                )
    elif getattr(X, "ndim", 2) == 3:
        rows = check_array(X, allow_nd=True, dtype="float64", input_name="X")
        if 0 in rows.shape:
            raise ValueError(f"X must hold at least one step of one feature, got {rows.shape}")
    elif not reset and (any_length or estimator._steps_in is None):
        rows = check_array(X, dtype="float64", input_name="X")[:, :, None]
    else:
        table = validate_data(estimator, X, reset=reset, dtype="float64")
        estimator._steps_in = table.shape[1]
        return table[:, :, None]
    _check_features(estimator, rows[0].shape[1], reset)
    return rows


def on_host(estimator: Any, X: Any) -> Any:
    """Return X, or the entries of a list, copied to the host from the estimator's device."""
    if isinstance(X, list | tuple):
        return [on_host(estimator, row) for row in X] if any(map(_on_device, X)) else X
    if not _on_device(X):
        return X
    return get_backend(estimator.backend, device=estimator.device, dtype=estimator.dtype).host(X)


def is_list(X: Any) -> bool:
    """Return whether X is a list of sequences, and not a table written as nested lists."""
    if not isinstance(X, list | tuple):
        return False
    shapes = [np.shape(row) if hasattr(row, "shape") else None for row in X]
    if any(shape is None for shape in shapes):
        return any(np.ndim(row[0]) > 0 for row in X if isinstance(row, list | tuple) and row)
    return any(len(shape or ()) != 1 for shape in shapes) or len(set(shapes)) > 1


def features_of(estimator: Any) -> int:
    """Return the number of features F; a table has one, whose steps are its columns."""
    return 1 if estimator._steps_in is not None else int(estimator.n_features_in_)


def each(function: Callable[[Any], Any], rows: Rows) -> Rows:
    """Return a function of all steps, of an array as a whole or of each array in a list."""
    return [function(row) for row in rows] if isinstance(rows, list) else function(rows)


def time_major(rows: Rows) -> Rows:
    """Return an array (n, T, ...) as (T, n, ...), and a list unchanged."""
    return rows if isinstance(rows, list) else np.swapaxes(rows, 0, 1)


def moments(rows: Rows, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and standard deviation (1 if constant) of each feature."""
    flat = np.concatenate(rows)  # (Σ T_i, F)
    if not flat.shape[1]:
        return np.zeros(0), np.ones(0)
    of_steps = None if weights is None else np.repeat(weights, [len(row) for row in rows])
    scaler = StandardScaler().fit(flat, sample_weight=of_steps)
    return scaler.mean_, scaler.scale_


def read_steps(name: str, y: Any, X: Rows) -> Rows:
    """Return one target per step, in the form of X: (n, T, ...) or a list of (T_i, ...)."""
    found = [np.asarray(row) for row in (np.asarray(y) if hasattr(y, "iloc") else y)]
    if len(found) != len(X):
        raise ValueError(f"{name} must have as many sequences as X, {len(X)}, got {len(found)}")
    for i, (row, x) in enumerate(zip(found, X, strict=True)):
        if row.ndim == 0 or len(row) != len(x):
            raise ValueError(
                f"{name}[{i}] must have a target for each of the {len(x)} steps of X[{i}], got "
                f"shape {row.shape}"
            )
    return found if isinstance(X, list) else np.stack(found)


def read_exog(
    exog: Any, series: list[np.ndarray], width: int | None, more: int
) -> list[np.ndarray]:
    """Return the exogenous values (T_i + more, E) of each series (T_i, F); E is 0 for None.

    E must be `width` unless that is None, as it is in `fit`.
    """
    if exog is None:
        if width:
            raise ValueError(f"exog must have {width} values per step, as in fit, got none")
        return [np.zeros((len(row) + more, 0)) for row in series]
    if len(exog) != len(series):
        raise ValueError(f"exog must be of {len(series)} series like X, got {len(exog)}")
    found = [_sequence(f"exog[{i}]", values) for i, values in enumerate(exog)]
    expected, like = (found[0].shape[1], "like exog[0]") if width is None else (width, "as in fit")
    for i, (row, values) in enumerate(zip(series, found, strict=True)):
        if len(values) != len(row) + more:
            raise ValueError(
                f"exog[{i}] must have shape ({len(row) + more}, E): a row for each step of "
                f"X[{i}]{f' and of the {more} steps ahead' if more else ''}, got {values.shape}"
            )
        if values.shape[1] != expected:
            raise ValueError(
                f"exog must have {expected} values per step, {like}, got {values.shape[1]} in "
                f"exog[{i}]"
            )
    return found


def read_weights(estimator: Any, sample_weight: Any, rows: Rows) -> np.ndarray | None:
    """Return one weight per sequence, or None."""
    if sample_weight is None:
        return None
    weights: np.ndarray = _check_sample_weight(
        on_host(estimator, sample_weight),
        np.zeros((len(rows), 1)),
        dtype="float64",
        ensure_non_negative=True,
    )
    if not np.any(weights):
        raise ValueError("sample_weight must have an entry above 0, got only zeros")
    return weights


def _on_device(x: Any) -> bool:
    return is_array_api_obj(x) and not isinstance(x, np.ndarray | np.generic)


def _sequence(name: str, row: Any) -> np.ndarray:
    """Return one sequence as (T, F)."""
    array = np.asarray(row)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape (T, F) with at least one step of one feature, got "
            f"{np.shape(row)}"
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} contains NaN or infinity: remove or fill them")
    return array.astype("float64")


def _check_features(estimator: Any, features: int, reset: bool) -> None:
    if reset:
        estimator.n_features_in_ = features
        estimator._steps_in = None
        vars(estimator).pop("feature_names_in_", None)
    elif features != features_of(estimator):
        raise ValueError(
            f"X has {features} features, but {type(estimator).__name__} is expecting "
            f"{features_of(estimator)} features as input, as in fit"
        )
