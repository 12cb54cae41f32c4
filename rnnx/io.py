"""Model files: NumPy's npz, an open format without pickle, with a JSON header.

The file holds a header, the JSON text of what the model is, as bytes in the array ``rnnx``, and
every parameter under its own name. It is written beside its place and then moved there, so that a
reader never meets half a file.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
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
    target = Path(path)
    text = json.dumps({"model": model, "version": VERSION, **header})
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            members = {_HEADER: np.frombuffer(text.encode(), dtype=np.uint8), **arrays}
            np.savez(file, allow_pickle=False, **members)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
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
    FileNotFoundError
        Where there is no such file.
    ValueError
        For a file that is truncated, not ours, of another model or of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                name.removesuffix(".npy"): _read(archive, name) for name in archive.namelist()
            }
        header = json.loads(arrays.pop(_HEADER).tobytes())
        found, version = header.pop("model"), header.pop("version")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError,
            zipfile.BadZipFile) as error:  # fmt: skip
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"expected a model file of rnnx, got {os.fspath(path)!r}, which is truncated or of "
            f"another kind ({reason}): save the model again"
        ) from None
    if found != model:
        raise ValueError(f"expected the file of a {model}, got that of a {found}: {path}")
    if version != VERSION:
        raise ValueError(
            f"expected file version {VERSION}, got {version}: read {path} with the version of "
            "rnnx that wrote it"
        )
    return header, arrays


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
