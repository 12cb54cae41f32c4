"""Where a wrong number is, in words: steps and features are counted from 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def first(wrong: np.ndarray) -> tuple[int, ...]:
    """Return the index of the first True."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))


def words(
    index: Sequence[int], shape: Sequence[int], axes: Sequence[str], names: Any = None
) -> str:
    """Return an index in words, as in " at step 17, feature 'b'".

    `axes` says what the axes are; those beyond are of the last kind. A feature that is the only one
    is not worth a word. `names` are those along the last axis.
    """
    found = []
    for k, (i, size) in enumerate(zip(index, shape, strict=True)):
        axis = axes[min(k, len(axes) - 1)]
        if size > 1 or axis == "step":
            named = names is not None and k == len(shape) - 1
            found.append(f"{axis} {names[i]!r:.80}" if named else f"{axis} {i}")
    return f" at {', '.join(found)}" * bool(found)
