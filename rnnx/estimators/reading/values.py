"""The numbers in X and y: real, scaled, and never beyond what the network's dtype can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from rnnx.data import places
from rnnx.estimators.reading.forms import Rows, each
from rnnx.estimators.reading.tables import Table

REAL = "fiub"  # the kinds of dtypes that hold real numbers
LIMITS = {"float32": 1e16, "float64": 1e150}  # no sum of squares in a loss or a norm overflows
INSTEAD = {  # of an array of objects, or of rows of different lengths
    "y": "give one target per sequence, or one per step with per_step=True",
    "sample_weight": "give one weight per sequence",
}


def real(name: str, given: Any) -> np.ndarray:
    """Return real numbers as float64 in C order, from an array, nested lists or a table."""
    if hasattr(given, "iloc"):
        dtypes = given.dtypes.items() if given.ndim == 2 else [(given.name, given.dtype)]
        for column, dtype in dtypes:
            _check_dtype(name, dtype, f" in column {column!r}")
        return np.array(given.to_numpy("float64", na_value=np.nan), order="C")
    if isinstance(given, Table):
        for column, values in given.items():
            _check_dtype(name, values.dtype, f" in column {column!r}")
    array = plain(name, given)
    _check_dtype(name, array.dtype)
    with np.errstate(over="ignore"):  # of a longer dtype
        return array.astype("float64", order="C")


def check_table(name: str, table: Any) -> None:
    """Refuse complex numbers and cells that hold sequences; scikit-learn checks the rest."""
    array = plain(name, table)
    nested = array.dtype.kind == "O" and array.ndim and any(np.ndim(cell) for cell in array.flat)
    if array.dtype.kind == "c" or nested:
        _check_dtype(name, array.dtype)


def check_labels(labels: np.ndarray) -> None:
    """Refuse labels that are neither texts nor real numbers."""
    if labels.dtype.kind == "c":
        _check_dtype("y", labels.dtype)
    if labels.dtype.kind == "O" and any(map(_is_missing, labels.flat)):
        raise ValueError("y must hold a label for each, got missing ones: remove or fill them")
    if labels.dtype.kind == "O" and not all(isinstance(label, str) for label in labels.flat):
        raise ValueError(
            "Unknown label type: y must hold texts or numbers, got an array of objects: convert "
            "it, as in astype(int) or astype(str)"
        )


def plain(name: str, given: Any) -> np.ndarray:
    """Return anything array-like as an array; refuse a mask and rows of different lengths."""
    if isinstance(given, np.ma.MaskedArray):
        raise ValueError(f"{name} must not be masked: remove or fill the masked values")
    try:
        return np.asarray(given)
    except ValueError:
        raise ValueError(
            f"{name} must hold rows of equal length, got different ones: {_instead(name)}"
        ) from None


def check_finite(
    name: str,
    array: np.ndarray,
    axes: Sequence[str],
    names: Any = None,
    *,
    gaps: bool | None = None,
) -> None:
    """Refuse infinity and, unless there may be gaps, NaN: with the place, counted from 0.

    None for `gaps` says that no option could allow them.

    `axes` says what the axes of the array are; those that are called "" are indices of the name, as
    in X[3]. `names` are those along the last axis.
    """
    wrong = np.isinf(array) if gaps else ~np.isfinite(array)
    if np.any(wrong):
        index, lead = places.first(wrong), axes.count("")
        at = places.words(index[lead:], array.shape[lead:], axes[lead:], names)
        kind = "NaN" if np.isnan(array[index]) else "infinity or a number too large for float64"
        which = "".join(f"[{i}]" for i in index[:lead])
        more = ", or give missing='indicator'" * (gaps is False and kind == "NaN")
        raise ValueError(f"{name}{which} contains {kind}{at}: remove or fill it{more}")


def gaps_of(name: str, rows: Rows) -> list[int]:
    """Return the features with missing values; each must have others."""
    lost = np.concatenate([np.isnan(row) for row in rows])  # (Σ T_i, F)
    for j in np.flatnonzero(np.all(lost, axis=0)):
        raise ValueError(f"{name} has no value of feature {j}, only NaN: drop it")
    return [int(j) for j in np.flatnonzero(np.any(lost, axis=0))]


def with_indicators(rows: Rows, scaled: Rows, features: list[int]) -> Rows:
    """Return scaled features and, for each of some features, 1 where it was missing, else 0."""

    def one(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.concatenate([z, np.isnan(x[..., features])], axis=-1)

    return [*map(one, rows, scaled)] if isinstance(rows, list) else one(rows, scaled)


def check_targets(targets: Any, *, per_step: bool) -> None:
    """Refuse NaN and infinity in targets (n, ...), or per step (n, T, ...) or a list."""
    rows = targets if isinstance(targets, list) else [targets]
    for i, row in enumerate(rows):
        axes = ["", "step", "value"] if per_step else ["", "value"]
        name, axes = ("y", axes) if row is targets else (f"y[{i}]", axes[1:])
        check_finite(name, row, axes[: row.ndim])


def moments(
    name: str, rows: Rows, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and standard deviation (1 if constant) of each feature."""
    flat = np.concatenate(rows)  # (Σ T_i, F)
    if not flat.shape[1]:
        return np.zeros(0), np.ones(0)
    of_steps = None if weights is None else np.repeat(weights, [len(row) for row in rows])
    with np.errstate(over="ignore", invalid="ignore"):
        scaler = StandardScaler().fit(flat, sample_weight=of_steps)
    check_range(name, flat, "float64", scaler.mean_, scaler.scale_)
    return scaler.mean_, scaler.scale_


def scaled(name: str, rows: Rows, mean: np.ndarray, scale: np.ndarray, dtype: str) -> Rows:
    """Return ``(x - mean) / scale``, which the network's dtype can hold."""

    def one(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            z = (x - mean) / scale
        check_range(name, x, dtype, z)
        return z

    return each(one, rows)


def check_range(name: str, given: np.ndarray, dtype: str, *results: np.ndarray) -> None:
    """Raise ValueError if the results of scaling the given numbers are too large for a dtype."""
    for kind, ways in (("float64", ""), (dtype, ", or use dtype='float64'")):
        if not all(np.all(np.abs(x) < LIMITS[kind]) for x in results):
            raise ValueError(
                f"{name} must stay below {LIMITS[kind]:g} in {kind} when scaled, got values as "
                f"large as {np.max(np.abs(given)):.3g}: clip or remove them{ways}"
            )


def finite(predictions: np.ndarray) -> np.ndarray:
    """Return predictions, which must not have overflowed."""
    if not np.all(np.isfinite(predictions)):
        raise ValueError(
            "predictions must be finite, got NaN or infinity: X is too far from the data of fit, "
            "clip or remove its extremes"
        )
    return predictions


def _is_missing(label: Any) -> bool:
    """Return whether a label is None, NaN or pandas's NA."""
    if isinstance(label, float):
        return bool(np.isnan(label))
    return label is None or type(label).__name__ == "NAType"


def _check_dtype(name: str, dtype: Any, where: str = "") -> None:
    if dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} must hold real numbers, got dtype {dtype}{where}: "
            "split it into real and imaginary parts"
        )
    if dtype.kind not in REAL:
        ways = "convert or drop it"
        if dtype.kind == "O" and not where:
            ways = f"convert numbers with astype('float64'), or {_instead(name)}"
        raise ValueError(f"{name} must hold real numbers, got dtype {dtype}{where}: {ways}")


def _instead(name: str) -> str:
    return INSTEAD.get(name, "give sequences as a list of arrays")
