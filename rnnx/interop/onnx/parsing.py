"""The bytes of a file from anybody, as the package onnx reads them."""

from __future__ import annotations

from typing import Any

from rnnx.interop.onnx.weights import package

PARTS = 500_000  # fields of messages in a file: each takes memory when it is parsed
LARGEST = 2**31 - 1  # bytes, what protobuf reads


def parsed(raw: bytes) -> Any:
    """Return the model in a file.

    Raises
    ------
    ValueError
        If these are not the bytes of one, or have so many parts that it would take much more memory
        than the file.
    """
    from google.protobuf.message import DecodeError

    model = package().ModelProto()
    if not 0 < len(raw) <= LARGEST:
        raise ValueError(f"expected a file of ONNX of at most {LARGEST:,} bytes, got {len(raw):,}")
    _check_parts(raw, model.DESCRIPTOR)
    try:
        model.ParseFromString(raw)
    except DecodeError:
        raise ValueError("it is truncated, or not a file of ONNX") from None
    return model


def _check_parts(raw: bytes, kind: Any) -> None:
    """Raise for bytes that are no messages, or too many; no part is copied."""
    parts, left = 0, [(0, len(raw), kind)]
    while left:
        at, end, kind = left.pop()
        fields = kind.fields_by_number
        while at < end:
            tag, at = _number(raw, at)
            length = {1: 8, 5: 4}.get(tag & 7, 0)
            if tag & 7 == 0:
                _, at = _number(raw, at)
            elif tag & 7 == 2:
                length, at = _number(raw, at)
                inner = fields.get(tag >> 3)
                if inner is not None and inner.message_type is not None:
                    left.append((at, at + length, inner.message_type))
            at, parts = at + length, parts + 1
            if at > end or tag & 7 in (3, 4, 6, 7):
                raise ValueError("it is truncated, or not a file of ONNX")
            if parts > PARTS:
                raise ValueError(f"it has more than {PARTS:,} parts, which would take much memory")


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
    raise ValueError("it is truncated, or not a file of ONNX")
