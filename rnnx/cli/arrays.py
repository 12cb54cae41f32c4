"""Read NPY and NPZ files, without pickle; every error names the file and the place in it.

Sizes are compared with the file before memory is taken for what it announces.
"""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from rnnx import io
from rnnx.io.header import natural

NAMES = ("X", "y", "lengths", "exog")  # of arrays in an NPZ file; others are not read
PIECE = 1 << 18  # bytes that are read at once
_HEADERS = {  # by the start of an NPY file: bytes of the header's length, its reader
    b"\x93NUMPY\1\0": (2, np.lib.format.read_array_header_1_0),
    b"\x93NUMPY\2\0": (4, np.lib.format.read_array_header_2_0),
}
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # others may take any memory to unpack
_DAMAGED = (  # what is raised for files that are not what they seem
    ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, EOFError, RuntimeError,
    MemoryError, OSError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
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
    if not some and getattr(options, "layout", None) == "FT":
        raise ValueError("--layout FT is for files of arrays: a CSV file has a row per step")
    return bool(some)


def read(path: Path, name: str = "X") -> dict[str, np.ndarray]:
    """Return the arrays of an NPZ file, which has one of this name, or that of an NPY file."""
    with io.regular(path) as file:
        try:
            size = path.stat().st_size
            if file.read(4) != b"PK\3\4":
                file.seek(0)
                return {name: _array(file, size)}
            names, found = _unpacked(file, size)
        except _DAMAGED as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(
                f"{path} must be a file of NumPy arrays without pickle: {text}"
            ) from None
    if name not in found:
        got = ", ".join(f"{other!r:.40}" for other in names[:12]) or "none"
        raise ValueError(f"{path} must hold an array {name!r}, got {got}")
    return found


def numbers(path: Path, name: str, arrays: dict[str, np.ndarray], axes: Sequence[int]) -> Any:
    """Return an array as float64; its number of axes must be one of these."""
    array = arrays[name]
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} in {path} must hold real numbers, got dtype {array.dtype}")
    if array.ndim not in axes or 0 in array.shape:
        known = " or ".join(map(str, axes))
        raise ValueError(
            f"{name} in {path} must have {known} axes, none of them empty, got shape {array.shape}"
        )
    with np.errstate(all="ignore"):  # what float64 cannot hold is found to be infinite
        return array.astype("float64")


def steps_first(path: Path, X: np.ndarray, layout: str | None) -> np.ndarray:
    """Return an array X of this layout, unless it is a table, as (n, T, F)."""
    if layout is None and X.ndim == 3 and X.shape[2] > X.shape[1]:
        raise ValueError(
            f"X in {path} has shape {X.shape}, which has two readings: give --layout TF for "
            f"(steps, features) = {X.shape[1:]}, or --layout FT for (features, steps)"
        )
    return laid_out(X, layout)


def laid_out(rows: Any, layout: str | None) -> Any:
    """Return rows, an array (n, T, F) or a list of (T_i, F), in a layout; twice is not at all."""
    if layout != "FT" or rows is None:
        return rows
    if isinstance(rows, list):
        return [row.T for row in rows]
    return np.swapaxes(rows, 1, 2) if rows.ndim == 3 else rows


def check_finite(
    path: Path, name: str, values: np.ndarray, lengths: Any = None, layout: str | None = None
) -> None:
    """Raise ValueError if a number is not finite, except in the padding of sequences."""
    wrong = ~np.isfinite(values)
    if lengths is not None and layout == "FT" and values.ndim == 3:
        wrong &= (np.arange(values.shape[2]) < lengths[:, None])[:, None, :]
    elif lengths is not None:
        wrong[np.arange(values.shape[1]) >= lengths[:, None]] = False
    if np.any(wrong):
        place = [int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape)]
        value = values[tuple(place)]
        raise ValueError(f"{name}{place} in {path} must be a finite number, got {value}")


def read_lengths(path: Path, arrays: dict[str, np.ndarray], shape: Sequence[int]) -> Any:
    """Return the number of steps of each of n sequences without its padding, or None.

    The shape begins with n, T.
    """
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


class _Pieces:
    """A file for `zipfile`, which would read a list of members of any length at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if count > PIECE:
            raise ValueError("its list of members is too long")
        return self._file.read(PIECE if count < 0 else count)


def _unpacked(file: IO[bytes], size: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the names in an NPZ file of this size in bytes, and the arrays among `NAMES`."""
    pieces: Any = _Pieces(file)
    with zipfile.ZipFile(pieces) as packed:
        members = packed.infolist()
        names = [info.filename.removesuffix(".npy") for info in members]
        known = {key: info for key, info in zip(names, members, strict=True) if key in NAMES}
        if len(known) < sum(key in NAMES for key in names):
            raise ValueError("it holds two arrays of one name")
        if not {info.compress_type for info in known.values()} <= _METHODS:
            raise ValueError("its arrays are packed in a way that NumPy does not use")
        whole, most = sum(info.file_size for info in known.values()), 16 * size + (4 << 20)
        if whole > most:
            raise ValueError(
                f"its arrays have {whole:,} bytes unpacked, expected at most {most:,} from a file "
                "of this size: store it with np.savez, which does not compress"
            )
        found = {}
        for key, info in known.items():
            with packed.open(info) as member:
                found[key] = _array(member, info.file_size)
        return names, found


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """Return the array of an NPY file of this size in bytes."""
    start = file.read(8)
    if start not in _HEADERS:
        raise ValueError("it is not an NPY or NPZ file, or its version is unknown")
    width, reader = _HEADERS[start]
    header = file.read(width)
    length = int.from_bytes(header, "little")
    if length > 10_000:
        raise ValueError(f"its header has {length:,} bytes, expected at most 10,000")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python, about the text of the header
        shape, by_column, dtype = reader(BytesIO(header + file.read(length)))
    if dtype.kind not in "biufU" or not dtype.itemsize:
        raise ValueError(f"expected numbers, truth values or texts, got dtype {dtype}")
    expected = math.prod(shape) * dtype.itemsize
    if not all(map(natural, shape)) or expected != size - 8 - width - length:
        raise ValueError(
            f"it is truncated or too long for its shape, {shape!s:.80}, of dtype {dtype}"
        )
    array = np.empty(shape, dtype, order="F" if by_column else "C")
    raw = array.reshape(-1, order="A").view("uint8")
    for at in range(0, raw.size, PIECE):
        piece = raw[at : at + PIECE]
        if file.readinto(piece) != piece.size:  # type: ignore[attr-defined]
            raise ValueError("it is truncated")
    return _possible(array)


def _possible(array: np.ndarray) -> np.ndarray:
    """Return an array; raise ValueError if its bytes are no truth values, or no characters."""
    if array.dtype.kind == "b" and np.any(array.view("uint8") > 1):
        raise ValueError("a truth value must be 0 or 1")
    if array.dtype.kind == "U":
        codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if np.any(codes > 0x10FFFF):
            raise ValueError("a text holds a number that is no character")
    return array
