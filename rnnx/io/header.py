"""The header of a file: parsed and checked before memory is taken for what it announces."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy as np

VERSION = 1
HEADER_LIMIT = 4 << 20  # bytes
VALUE_LIMIT = 200_000  # values in a header: each takes memory when it is parsed
DTYPES = {
    "F64": "float64", "F32": "float32", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
FOREIGN = {"F16": "float16", "BF16": "bfloat16"}  # in files of others
_FIELDS = {
    "version": int, "kind": str, "config": dict, "dtype": str, "extra": dict, "checksum": str,
}  # fmt: skip


class Spec(NamedTuple):
    """What an array must be."""

    dtype: str  # NumPy's name
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


class Description(NamedTuple):
    """What a file says of its content."""

    kind: str  # "layer", the class of an estimator, "training run", ...
    config: dict[str, Any]  # what the object is built from
    dtype: str  # "float32" or "float64": what the parameters were computed in
    extra: dict[str, Any]  # what else is kept, as JSON
    specs: Mapping[str, Spec] = {}  # the arrays in the file; `write` fills this in


def read_header(file: IO[bytes]) -> tuple[Description, str]:
    """Return the description and the checksum; the file stands where the arrays start."""
    header, metadata, size = _header(file)
    if not isinstance(metadata, dict) or list(metadata) != ["rnnx"]:
        raise ValueError("it is not a file of rnnx: its metadata lack the one key 'rnnx'")
    content = _content(metadata["rnnx"])
    checksum, _ = content.pop("checksum"), content.pop("version")
    return Description(**content, specs=_specs(header, size, DTYPES)), checksum


def read_specs(file: IO[bytes]) -> dict[str, Spec]:
    """Return what each array of any safetensors file is, in the order of their bytes."""
    header, _, size = _header(file)
    starts = {name: _start(entry) for name, entry in header.items()}
    ordered = {name: header[name] for name in sorted(header, key=lambda name: starts[name])}
    return _specs(ordered, size, DTYPES | FOREIGN)


def _header(file: IO[bytes]) -> tuple[dict[str, Any], Any, int]:
    """Return the entries of the arrays, the metadata and the number of bytes after the header."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    if start[:4] == b"PK\x03\x04":
        raise ValueError(
            "it is a zip archive, as of numpy.savez and torch.save, not a safetensors file"
        )
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= size - 8:
        raise ValueError("it is truncated, or not a safetensors file")
    if length > HEADER_LIMIT:
        raise ValueError(f"its header has {length:,} bytes, expected at most {HEADER_LIMIT:,}")
    raw = file.read(length)
    check_size(raw)
    header = parsed(raw.decode())
    return header, header.pop("__metadata__", None), size - 8 - length


def check_size(raw: bytes) -> None:
    """Raise for a header that is too long, or would take much memory when it is parsed."""
    values = sum(raw.count(sign) for sign in (b",", b"[", b"{"))
    if len(raw) > HEADER_LIMIT or values > VALUE_LIMIT:
        raise ValueError(
            f"the description must have at most {HEADER_LIMIT:,} bytes and {VALUE_LIMIT:,} values, "
            f"got {len(raw):,} and {values:,}"
        )


def _content(text: Any) -> dict[str, Any]:
    """Return the fields of a description, of this version and each of its own type."""
    content = parsed(text) if isinstance(text, str) else {}
    version = content.get("version")
    if version != VERSION or type(version) is not int:
        raise ValueError(
            f"expected file version {VERSION}, got {version!r}: read it with the version of rnnx "
            "that wrote it"
        )
    if content.keys() != _FIELDS.keys():
        raise ValueError(f"its description must have {list(_FIELDS)}, got {list(content)}")
    for name, kind in _FIELDS.items():
        if type(content[name]) is not kind:
            raise ValueError(f"its {name} must be a {kind.__name__}, got {content[name]!r:.80}")
    if content["dtype"] not in ("float32", "float64"):
        raise ValueError(f"its dtype must be float32 or float64, got {content['dtype']!r:.80}")
    return content


def parsed(text: str) -> dict[str, Any]:
    """Return a JSON object, without repeated keys and with finite numbers only."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) < len(found):
            raise ValueError("its header repeats a name")
        return dict(found)

    def number(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ValueError(f"its header must hold finite numbers, got {digits:.80}")
        return float(digits)

    value = json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=number)
    if not isinstance(value, dict):
        raise ValueError("its header must be a JSON object")
    return value


def _start(entry: Any) -> int:
    """Return where an array starts; 0 where its entry is wrong, which `_specs` finds."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return offsets[0] if isinstance(offsets, list) and offsets and natural(offsets[0]) else 0


def _specs(header: Mapping[str, Any], size: int, dtypes: Mapping[str, str]) -> dict[str, Spec]:
    """Return what each array is; they must fill the rest of the file, in this order."""
    specs, end = {}, 0
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"array {name!r:.80} must have a dtype, a shape and data_offsets")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in dtypes:
            raise ValueError(f"array {name!r:.80} has the unknown dtype {dtype!r:.80}")
        if not isinstance(shape, list) or len(shape) > 8 or not all(map(natural, shape)):
            raise ValueError(f"array {name!r:.80} has a wrong shape, {shape!r:.80}")
        specs[name] = Spec(dtypes[dtype], tuple(shape))
        width = 2 if dtype == "BF16" else np.dtype(dtypes[dtype]).itemsize
        start, end = end, end + math.prod(shape) * width
        if offsets != [start, end]:
            raise ValueError(
                f"array {name!r:.80} must have data_offsets {[start, end]}, got {offsets!r:.80}"
            )
    if end != size:
        raise ValueError(f"it is truncated or too long: expected {end} bytes of arrays, got {size}")
    return specs


def natural(value: Any, most: int = 2**40) -> bool:
    """Return whether a value from JSON is an integer from 0 to `most`."""
    return type(value) is int and 0 <= value <= most
