"""The bytes of a file from anybody, as the package onnx reads them."""

from __future__ import annotations

from typing import Any

from rnnx.interop.needed import needed
from rnnx.io.header import VALUE_LIMIT

LARGEST = 2**31 - 1  # bytes, what protobuf reads
DEEPEST = 100  # messages in each other, what protobuf reads
WIDTHS = {0: 0, 1: 8, 2: 0, 5: 4}  # bytes of a field by how it is written, beside its numbers
BROKEN = "it is truncated, or not a file of ONNX"


def parsed(raw: bytes) -> Any:
    """Return the model in a file.

    Raises
    ------
    ValueError
        If these are not the bytes of one, or have so many parts that it would take much more memory
        than the file.
    """
    from google.protobuf.message import DecodeError

    model = needed("onnx").ModelProto()
    if not 0 < len(raw) <= LARGEST:
        raise ValueError(f"expected a file of ONNX of at most {LARGEST:,} bytes, got {len(raw):,}")
    _check_parts(raw, model.DESCRIPTOR)
    try:
        model.ParseFromString(raw)
    except DecodeError:
        raise ValueError(BROKEN) from None
    return model


def _check_parts(raw: bytes, kind: Any) -> None:
    """Raise for bytes that are no messages, or too many, or too deep in each other."""
    at, parts, open_ = 0, 0, [(len(raw), kind)]  # where the messages around this place end
    while open_:
        end, kind = open_[-1]
        if at == end:
            open_.pop()
            continue
        tag, at = _number(raw, at)
        way, parts = tag & 7, parts + 1
        if way not in WIDTHS:
            raise ValueError(BROKEN)
        length, at = _number(raw, at) if way in (0, 2) else (0, at)
        after = at + (length if way == 2 else WIDTHS[way])
        if after > end or len(open_) > DEEPEST:
            raise ValueError(BROKEN)
        if parts > VALUE_LIMIT:
            raise ValueError(
                f"it has more than {VALUE_LIMIT:,} parts, which would take much more memory than it"
            )
        inner = kind.fields_by_number.get(tag >> 3) if way == 2 else None
        if inner is not None and inner.message_type is not None:
            open_.append((after, inner.message_type))
        else:
            at = after


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number of seven bits in each byte, at most ten, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(raw):
            break
        byte, at = raw[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(BROKEN)
