"""Read NPY and NPZ files, without pickle; every error names the file and the place in it."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_DAMAGED = (  # what NumPy raises for files that are not what they seem
    ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError, RuntimeError,
    MemoryError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def given(options: Namespace) -> bool:
    """Return whether the input is a file of arrays, which has no columns for options to name."""
    some = [path for path in options.files if path.suffix.lower() in (".npy", ".npz")]
    if some and len(options.files) > 1:
        raise ValueError(
            f"expected a single file of arrays, or CSV files, got {some[0]} and others"
        )
    for name in ("id", "time", "features", "target", "exog") if some else ():
        if getattr(options, name, None):
            raise ValueError(f"--{name} names columns of a CSV file, got {some[0]}")
    return bool(some)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name; the array of an NPY file is X."""
    try:
        with open(path, "rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"X": loaded}
            return {name: loaded[name] for name in loaded.files}
    except _DAMAGED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} must be a file of NumPy arrays without pickle: {text}") from None


def numbers(path: Path, name: str, arrays: dict[str, np.ndarray], axes: Sequence[int]) -> Any:
    """Return an array as float64; its number of axes must be one of these."""
    if name not in arrays:
        raise ValueError(f"{path} must hold an array {name}, got {', '.join(arrays) or 'none'}")
    array = arrays[name]
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} in {path} must hold real numbers, got dtype {array.dtype}")
    if array.ndim not in axes or 0 in array.shape:
        known = " or ".join(map(str, axes))
        raise ValueError(
            f"{name} in {path} must have {known} axes, none of them empty, got shape {array.shape}"
        )
    return array.astype("float64")


def check_finite(path: Path, name: str, values: np.ndarray, lengths: Any = None) -> None:
    """Raise ValueError if a number is not finite, except in the padding of sequences."""
    wrong = ~np.isfinite(values)
    if lengths is not None:
        wrong[np.arange(values.shape[1]) >= lengths[:, None]] = False
    for place in np.argwhere(wrong).tolist():
        value = values[tuple(place)]
        raise ValueError(f"{name}{place} in {path} must be a finite number, got {value}")


def read_lengths(path: Path, arrays: dict[str, np.ndarray], shape: Sequence[int]) -> Any:
    """Return the number of steps of each sequence without its padding, or None."""
    if "lengths" not in arrays:
        return None
    lengths, (n, T) = arrays["lengths"], shape[:2]
    if lengths.shape != (n,) or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"lengths in {path} must be {n} integers, one per sequence of X, got "
            f"{lengths.dtype} of shape {lengths.shape}"
        )
    if lengths.min() < 1 or lengths.max() > T:
        raise ValueError(
            f"lengths in {path} must be between 1 and {T}, got {lengths.min()} to {lengths.max()}"
        )
    return lengths
