"""The file format: safetensors, with a description of the content as JSON in its metadata.

Every array and every number of the header is checked before memory is taken for it, and a checksum
covers all of the content. No name in a file is looked up in a module, and nothing is unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from rnnx.io.files import File, damaged, regular, replacing
from rnnx.io.header import DTYPES, VERSION, Description, Spec, check_size, read_header, read_specs

Arrays = dict[str, np.ndarray]
Expect = Callable[[Description], Mapping[str, Spec]]


def write(path: File, description: Description, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a description and arrays, whole or not at all; `read` is the inverse."""
    from safetensors.numpy import save

    own = {name: _plain(name, array) for name, array in arrays.items()}
    content = json.loads(json.dumps(_fields(description), allow_nan=False))
    content["checksum"] = _checksum(content, own)
    whole = save(own, {"rnnx": json.dumps(content)})
    check_size(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    with replacing(path, "wb") as file:
        file.write(whole)


def describe(path: File) -> Description:
    """Return what a file says of its content, without reading the arrays."""
    with opened(path) as file:
        return read_header(file)[0]


def read(
    path: File, kind: str | None = None, expect: Expect | None = None
) -> tuple[Description, Arrays]:
    """Read a file that `write` wrote; any other raises a ValueError of one line that names it.

    Only this kind of content is accepted, if one is given. ``expect(description)`` returns the
    `Spec` of every array by name: others are refused before memory is taken for them.
    """
    with opened(path) as file:
        description, checksum = read_header(file)
        if kind is not None and description.kind != kind:
            raise ValueError(f"it holds a {description.kind!r}, expected a {kind!r}")
        if expect is not None:
            _compare(description.specs, expect(description))
        arrays = {name: _array(file, spec) for name, spec in description.specs.items()}
        if _checksum(_fields(description), arrays) != checksum:
            raise ValueError("its checksum does not match its content")
    return description, arrays


def tensors(path: File) -> Arrays:
    """Read the arrays of any safetensors file, checked as those of our own; bfloat16 as float32."""
    with opened(path) as file:
        return {name: _tensor(file, spec) for name, spec in read_specs(file).items()}


def finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError if an array holds NaN or infinity."""
    for name, array in arrays.items():
        if array.size and not np.all(np.isfinite([array.min(), array.max()])):  # in no memory
            raise ValueError(f"expected finite numbers in {name!r}, got NaN or infinity")


def part(named: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose names start with ``prefix.``, without it."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in named.items() if k.startswith(start)}


@contextmanager
def opened(path: File) -> Iterator[IO[bytes]]:
    """Open a regular file; errors of what reads it are those of `naming`."""
    with regular(path) as file, naming(path):
        yield file


@contextmanager
def naming(path: File) -> Iterator[None]:
    """Turn what is wrong with the content of a file into one line that names it."""
    try:
        yield
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise damaged(path, error) from None
    except MemoryError:
        raise OSError(errno.ENOMEM, "not enough memory for it", os.fspath(path)) from None


def _fields(description: Description) -> dict[str, Any]:
    """Return what a file keeps of a description, beside the checksum."""
    return {"version": VERSION} | {k: v for k, v in description._asdict().items() if k != "specs"}


def _compare(found: Mapping[str, Spec], expected: Mapping[str, Spec]) -> None:
    """Raise where names, dtypes or shapes differ."""
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            raise ValueError(
                f"array {name!r:.80}: expected {expected.get(name, 'none')}, "
                f"got {found.get(name, 'none')}"
            )


def _array(file: IO[bytes], spec: Spec) -> np.ndarray:
    """Return the next array of the file."""
    array = np.empty(spec.shape, np.dtype(spec.dtype).newbyteorder("<"))
    raw = array.reshape(-1).view("uint8")
    if file.readinto(raw) != raw.size:  # type: ignore[attr-defined]
        raise ValueError("it became shorter while it was read")
    if spec.dtype == "bool" and raw.size and raw.max() > 1:
        raise ValueError("a truth value must be 0 or 1")
    return array.astype(spec.dtype, copy=False)


def _tensor(file: IO[bytes], spec: Spec) -> np.ndarray:
    """Return the next array of a file of others."""
    if spec.dtype != "bfloat16":
        return _array(file, spec)
    upper = _array(file, spec._replace(dtype="uint16")).astype("uint32")  # half of a float32
    return (upper << 16).view("float32")


def _plain(name: str, array: Any) -> np.ndarray:
    """Return an array as the format holds it."""
    array = np.asarray(array)
    if array.dtype.name not in DTYPES.values():
        raise TypeError(f"expected numbers or truth values in {name!r}, got dtype {array.dtype}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _checksum(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of a description and its arrays."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.name} {arrays[name].shape}".encode())
        digest.update(arrays[name].reshape(-1).view("uint8").data)
    return digest.hexdigest()
