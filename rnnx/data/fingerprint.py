"""A fingerprint of data: enough to notice that a run is resumed with other data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from rnnx.backend import Backend

BUDGET = 1 << 19  # entries that are read; smaller data is read whole
PIECES = 64


def fingerprint(backend: Backend, values: Any) -> str | None:
    """Return the dtype, the shape and a hash of an array, or of a list of arrays.

    The hash covers all shapes and the content, or evenly spaced pieces of more than `BUDGET`
    entries.
    """
    if values is None:
        return None
    digest = hashlib.sha256()
    rows = values if isinstance(values, list) else [values]
    for row in rows:
        digest.update(f"{tuple(row.shape)} {_kind(row)} ".encode())
    if sum(math.prod(row.shape) for row in rows) > BUDGET:
        rows = [rows[i] for i in _spaced(len(rows), 1024)]
    for row in rows:
        for piece in _pieces(row, BUDGET // len(rows)):
            host = backend.to_numpy(piece) if backend.is_own(piece) else np.asarray(piece)
            digest.update(np.asarray(host, order="C").tobytes())
    what = f"a list of {len(values)}" if isinstance(values, list) else tuple(values.shape)
    return f"{_kind(rows[0])} {what}, hash {digest.hexdigest()[:16]}"


def _kind(values: Any) -> str:
    return str(values.dtype).rpartition(".")[2]  # torch writes torch.float32


def _pieces(values: Any, budget: int) -> Iterator[Any]:
    """Yield an array, or evenly spaced slices of it with at most about `budget` entries in all."""
    size = math.prod(values.shape)
    if size <= max(budget, 1):
        yield values
        return
    row = size // values.shape[0]
    share = budget // min(PIECES, values.shape[0])
    step = max(1, share // row)
    for start in _spaced(values.shape[0] - step + 1, PIECES):
        piece = values[start : start + step, ...]
        if row <= share or values.ndim == 1:
            yield piece
        else:
            yield from _pieces(values[start, ...], share)


def _spaced(count: int, most: int) -> list[int]:
    """Return at most `most` evenly spaced numbers from 0 to ``count - 1``."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most))})
