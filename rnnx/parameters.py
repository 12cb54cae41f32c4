"""Parameters: dicts of arrays, replaced whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnx.backend import Array, Backend


def replaced(
    backend: Backend, params: dict[str, Array], new: Mapping[str, Any]
) -> dict[str, Array]:
    """Return `params` with the arrays of `new` in place of those of the same names.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, a wrong shape, or numbers that are not real.
    """
    result = dict(params)
    for name, value in new.items():
        if name not in params:
            raise ValueError(f"parameter must be one of {', '.join(params)}, got {name!r}")
        with backend.scope():  # a copy: what the caller writes into its array later is its own
            array = backend.xp.asarray(backend.asarray(value), copy=True)
        shape = tuple(params[name].shape)
        if tuple(array.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
        result[name] = array
    return result
