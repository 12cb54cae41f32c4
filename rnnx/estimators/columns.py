"""The column names of data frames: the same in every frame, and in every call as in `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import _get_feature_names

from rnnx.estimators.tables import Table

Names = Sequence[str] | None  # None: no data frame, or one whose columns have no texts as names


def common(name: str, tables: Sequence[Any]) -> Names:
    """Return the column names that all data frames in a list must share."""
    found = [names_of(table) for table in tables]
    for i, names in enumerate(found):
        _compare(f"{name}[{i}]", names or [], f"{name}[0]", found[0] or [])
    return found[0]


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
    """Return the names of a table's columns."""
    if isinstance(table, Table):
        return table.names
    names = None if isinstance(table, np.ndarray) else _get_feature_names(table)
    return None if names is None else list(names)


def _compare(name: str, names: Sequence[str], other: str, expected: Sequence[str]) -> None:
    if list(names) == list(expected):
        return
    missing = [column for column in expected if column not in names]
    unexpected = [column for column in names if column not in expected]
    found = {"missing": missing, "unexpected": unexpected}
    differs = ", ".join(f"{what} {some!r:.200}" for what, some in found.items() if some)
    differs = differs or f"expected {list(expected)!r:.200}, got {list(names)!r:.200}"
    raise ValueError(f"{name} must have the columns of {other} in the same order: {differs}")
