"""The column names of data frames: the same in every frame, and in every call as in `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import _get_feature_names

from rnnx.estimators.reading.dates import check_levels
from rnnx.estimators.reading.tables import Table

SAVED = {"", "Unnamed: 0", "index", "level_0"}  # what an index is called after it was saved
Names = Sequence[str] | None  # None: no data frame, or one whose columns have no texts as names


def common(name: str, tables: Sequence[Any]) -> Names:
    """Return the column names that all data frames in a list must share."""
    found = [names_of(table) for table in tables]
    for i, names in enumerate(found):
        _compare(f"{name}[{i}]", names or [], f"{name}[0]", found[0] or [])
    for column in SAVED & {*(found[0] or [])}:
        counters = [_column(table, column) for table in tables]
        if max(map(len, counters)) > 1 and all(map(counts, counters)):
            raise _is_index(f"{name}[0]", column)
    return found[0]


def check_steps(name: str, table: Any) -> None:
    """Refuse a table of steps with a saved index as its first step, or with steps out of order."""
    labels = table.columns if hasattr(table, "iloc") else None
    check_levels(name, getattr(table, "index", None))
    if labels is not None and not _are_texts(list(labels)):
        mixed = "mixed" in labels.inferred_type  # which scikit-learn refuses
        if not mixed and not labels.is_monotonic_increasing:
            raise ValueError(
                f"{name} must have its columns, the steps, in order, got {list(labels)!r:.200}: "
                "sort them, X[sorted(X.columns)], or give an array"
            )
        return
    for column in SAVED & {*(names_of(table) or [])}:
        if len(table) > 1 and counts(_column(table, column)):
            raise _is_index(name, column)


def check(name: str, names: Names, known: Names, owner: Any) -> None:
    """Compare names with those known from `fit`; warn if only one has any, as scikit-learn does."""
    if (names is None) == (known is None):
        return _compare(name, names or [], "fit", known or [])
    has, fitted = ("has", "without") if known is None else ("does not have valid", "with")
    warnings.warn(
        f"{name} {has} feature names, but {type(owner).__name__} was fitted {fitted} feature names",
        stacklevel=2,
    )
    return None


def names_of(table: Any) -> Names:
    """Return the column names of a data frame: texts, unless they are 0, 1, 2 and so on."""
    if isinstance(table, np.ndarray) or getattr(table, "ndim", 2) != 2:
        return None
    if isinstance(table, Table):
        labels = table.names
    elif hasattr(table, "iloc"):
        labels = list(table.columns)
    else:
        names = _get_feature_names(table)
        return None if names is None else list(names)
    numbers = [*range(len(labels))]
    if labels == numbers:
        return None
    if {*labels} == {*numbers}:
        raise ValueError(
            f"a data frame must have its columns in order if they are numbered, got {labels!r:.200}"
            ": sort them, X[sorted(X.columns)]"
        )
    return labels if _are_texts(labels) else [str(label) for label in labels]


def counts(column: np.ndarray) -> bool:
    """Return whether numbers count the rows: each is 1 more than the one before."""
    return column.dtype.kind in "iuf" and bool(np.all(np.diff(column) == 1))


def _are_texts(labels: list[Any]) -> bool:
    return all(isinstance(label, str) for label in labels)


def _column(table: Any, name: str) -> np.ndarray:
    if isinstance(table, Table):
        return dict(table.items())[name]
    return np.asarray(table[name]) if (table.columns == name).sum() == 1 else np.asarray(["twice"])


def _is_index(name: str, column: str) -> ValueError:
    return ValueError(
        f"{name} must hold features alone, got a column {column!r} that counts the rows, like a "
        f"saved index: drop it, X.drop(columns={column!r}), or rename it if it is a feature"
    )


def _compare(name: str, names: Sequence[str], other: str, expected: Sequence[str]) -> None:
    if list(names) == list(expected):
        return
    missing = [column for column in expected if column not in names]
    unexpected = [column for column in names if column not in expected]
    found = {"missing": missing, "unexpected": unexpected}
    differs = ", ".join(f"{what} {some!r:.200}" for what, some in found.items() if some)
    differs = differs or f"expected {list(expected)!r:.200}, got {list(names)!r:.200}"
    raise ValueError(f"{name} must have the columns of {other} in the same order: {differs}")
