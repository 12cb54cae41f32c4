"""Model files and checkpoints by hand: right checksums over wrong content, and wrong headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import safetensors.numpy

from rnnx.io import header
from rnnx.io.format import _checksum

NESTED: Any = "x"
for _ in range(40):
    NESTED = {"layer": "Sequential", "layers": [NESTED]}
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 0.5, 1.5, -0.0, 5e-324, 1e308, 10**9, 10**12, 2**63, 10**30,
    -(10**30), "", "gru", "LSTM", "tanh", "numpy:load", "__import__('os')", "x" * 1000, "a\nb",
    "\ud800", [], [1], [[]], [None] * 9, ["a", "a"], {}, {"a": 1}, {"layer": "GRU"}, NESTED,
]  # fmt: skip
ENTRIES: list[Any] = ["F16", "object", [-1], [2**40], [0, 2**39, 2**39], [True], [4, 0]]
METADATA = '"__metadata__":{"rnnx":"{}"}'
HEADERS = [
    b"", b"[]", b"{}", b"null", b"{" * 3000, b"[" * 100_000, b'{"a": ' * 3000, b'{"a": 1, "a": 1}',
    b'{"a":[' + b"[]," * header.VALUE_LIMIT + b"[]]}", b"{}" + b" " * (header.HEADER_LIMIT + 1),
    b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"\0\0", b"\xef\xbb\xbf{}", b'{"__metadata__": []}',
    b'{"__metadata__": {"rnnx": 3}}', b'{"__metadata__": {"rnnx": "["}}',
    f"{{{METADATA}}}".encode(), f'{{{METADATA},"a\\nb":3}}'.encode(),
]  # fmt: skip
LENGTHS = [0, 1, 2, 7, 10**3, 2**20, 2**31, 2**32, 2**63, 2**64 - 1]
OTHERS = [
    b"", b"\0", b"PK\3\4", b"PK\3\4" + b"\0" * 100, b"\x93NUMPY\1\0", b"\x80\x04N.", b"hello",
    b"\x1f\x8b\x08\0" * 9, b"\xff" * 64, b"\0" * 64, b"{" * 64, b"#!/bin/sh\n",
    b"\x7fELF" + b"\0" * 60,
]  # fmt: skip


def by_hand(whole: bytes) -> Iterator[bytes | Callable[[], bytes]]:
    """Yield wrong files that are close to this good one, or functions that make them."""
    yield from _wrong_fields(whole)
    yield from _wrong_arrays(whole)
    yield from _wrong_entries(whole)
    for text in HEADERS:
        yield len(text).to_bytes(8, "little") + text
        yield len(text).to_bytes(8, "little") + text + whole
    for length in LENGTHS:
        yield length.to_bytes(8, "little") + whole[8:]
    for other in OTHERS:
        yield other
        yield other + whole


def parts(whole: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return the header of a file without its description, the description, and the data."""
    end = 8 + int.from_bytes(whole[:8], "little")
    head = json.loads(whole[8:end])
    return head, json.loads(head.pop("__metadata__")["rnnx"]), whole[end:]


def sealed(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """Return a file with a right checksum, whatever the content."""
    content = {k: v for k, v in content.items() if k != "checksum"}
    content["checksum"] = _checksum(content, arrays)
    return safetensors.numpy.save(arrays, {"rnnx": json.dumps(content)})


def _wrong_fields(whole: bytes) -> Iterator[Callable[[], bytes]]:
    """Yield files in which one value of the description is another, missing or in excess."""
    _, content, _ = parts(whole)
    arrays = dict(sorted(safetensors.numpy.load(whole).items()))
    for path in [*_paths(content)]:
        for value in VALUES:
            yield partial(_changed, content, path, value, arrays)
        yield partial(_changed, content, path, None, arrays, drop=True)
        yield partial(_changed, content, (*path[:-1], "more"), 1, arrays)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value of nested JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value[:3])
    for key, part in entries:
        if key == "checksum":
            continue
        yield (*path, key)
        if isinstance(part, dict | list):
            yield from _paths(part, (*path, key))


def _changed(
    content: Any, path: tuple[Any, ...], value: Any, arrays: Any, *, drop: bool = False
) -> bytes:
    """Return a file with another value at the end of a path."""
    copy = json.loads(json.dumps(content))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    elif isinstance(place, list) and not isinstance(path[-1], int):
        place.append(value)
    else:
        place[path[-1]] = value
    return sealed(copy, arrays)


def _wrong_arrays(whole: bytes) -> Iterator[Callable[[], bytes]]:
    """Yield files in which one array has another name, dtype, shape or content, or is missing."""
    _, content, _ = parts(whole)
    arrays = dict(sorted(safetensors.numpy.load(whole).items()))
    for name, array in arrays.items():
        rest = {k: v for k, v in arrays.items() if k != name}
        yield partial(sealed, content, rest)
        for other in ("", "more", name + ".", name.upper(), "model." + name, "../x", "a\nb"):
            yield partial(sealed, content, rest | {other: array})
        yield partial(sealed, content, arrays | {"more": array})
        dtypes = ("float64", "float32", "bool", "int8", "uint64")
        changed = [np.ones_like(array, dtype) for dtype in dtypes]
        changed += [array.ravel(), array[None], array[..., None], array.T]
        changed += [array[:0], array[:1], array[::-1]] if array.ndim else []
        changed += [np.zeros((), array.dtype), np.zeros((0, 10**6), array.dtype)]
        for value in (np.nan, np.inf, -np.inf, -1, 0, 1e38, 1e-45, 0.5):
            if array.dtype.kind != "f":
                break
            full, one = np.full_like(array, value), array.copy()
            one.flat[:1] = value
            changed += [full, one]
        for other in changed:
            yield partial(sealed, content, rest | {name: np.array(other, order="C")})


def _wrong_entries(whole: bytes) -> Iterator[Callable[[], bytes]]:
    """Yield files whose header says something impossible of one array."""
    head, content, data = parts(whole)
    metadata = {"__metadata__": {"rnnx": json.dumps(content)}}
    for name, entry in head.items():
        for key in ("dtype", "shape", "data_offsets"):
            for value in [*VALUES, *ENTRIES]:
                yield partial(_raw, metadata | head | {name: entry | {key: value}}, data)
        yield partial(_raw, metadata | head | {name: entry | {"more": 1}}, data)
        yield partial(_raw, metadata | head | {name: 3}, data)
        yield partial(_raw, metadata | head | {"more": entry}, data)
        yield partial(_raw, metadata | dict(reversed(head.items())), data)


def _raw(content: Any, data: bytes) -> bytes:
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data
