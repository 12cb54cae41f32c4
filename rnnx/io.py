"""Model files: NumPy's npz, an open format without pickle, with a JSON header.

The file holds a header, the JSON text of what the model is, as bytes in the array ``rnnx``, and
every parameter under its own name. It is written beside its place and then moved there, so that a
reader never meets half a file.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
PART = ".part"  # the ending of a file that is being written
_HEADER = "rnnx"


def save(
    path: str | PathLike[str], model: str, header: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write a model's header and arrays to `path`, whole or not at all.

    Parameters
    ----------
    path : path
        Where to write, under exactly this name; an older file there is replaced.
    model : str
        The model's class.
    header : mapping
        What JSON can hold.
    arrays : mapping of str to numpy.ndarray
        The parameters.

    Raises
    ------
    OSError
        Where the folder is missing, not writable or full; an older file stays as it was.
    """
    text = json.dumps({"model": model, "version": VERSION, **header})
    members = {_HEADER: np.frombuffer(text.encode(), dtype=np.uint8), **arrays}
    with replacing(path, "wb") as file:
        np.savez(file, allow_pickle=False, **members)


@contextmanager
def replacing(path: str | PathLike[str], mode: str, **options: Any) -> Iterator[Any]:
    """Open a file to be written that takes its place at `path` when it is whole, or not at all.

    Parameters
    ----------
    path : path
        Its place; an older file there is replaced.
    mode : {"w", "wb"}
        As for `open`, as are the options.

    Raises
    ------
    OSError
        Where the folder is missing, not writable or full; an older file stays as it was.
    """
    target = Path(path).resolve()
    part = target.with_name(f"{target.name}.{secrets.token_hex(8)}{PART}")
    try:
        with open(part, mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(part):
            error.filename = str(path)  # the name that the caller knows
        raise


def load(path: str | PathLike[str], model: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a file that `save` wrote for this class of model.

    Returns
    -------
    header : dict
        As given to `save`.
    arrays : dict of str to numpy.ndarray
        As given to `save`, bit for bit.

    Raises
    ------
    OSError
        Where there is no such file, or it cannot be read.
    ValueError
        For a file that is truncated, not ours, of another model or of another version.
    """
    found, version, header, arrays = _content(path)
    if found != model:
        raise ValueError(f"expected the file of a {model}, got that of a {found}: {path}")
    _check(version, path)
    return header, arrays


def read(path: str | PathLike[str]) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Read a file that `save` wrote for whatever model; return also the name of its class.

    Raises
    ------
    OSError, ValueError
        As `load` does.
    """
    model, version, header, arrays = _content(path)
    _check(version, path)
    return model, header, arrays


def damaged(path: str | PathLike[str], reason: object) -> ValueError:
    """Return the error of a file that is not, or no longer, a model of rnnx."""
    text = str(reason).partition("\n")[0]
    return ValueError(
        f"expected a model file of rnnx, got {os.fspath(path)!r}, which is truncated or of another "
        f"kind ({text}): save the model again"
    )


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _content(
    path: str | PathLike[str],
) -> tuple[str, Any, dict[str, Any], dict[str, np.ndarray]]:
    """Return the class of model, the version, the header and the arrays of a file."""
    content = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = archive.namelist()
            arrays = {name.removesuffix(".npy"): _read(archive, name) for name in names}
        header = json.loads(arrays.pop(_HEADER).tobytes())
        return header.pop("model"), header.pop("version"), header, arrays
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, RuntimeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise damaged(path, error) from None


def _check(version: Any, path: str | PathLike[str]) -> None:
    if version != VERSION:
        raise ValueError(
            f"expected file version {VERSION}, got {version}: read {path} with the version of "
            "rnnx that wrote it"
        )
