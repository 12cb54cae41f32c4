"""The states of a stack as users hold them: one array, or for an LSTM a pair; or None.

Each array is (L·D, B, ·), layers first, whatever the layout of x; without B for one sequence.
"""

from __future__ import annotations

from typing import Any

from rnnx.backend import Array, Backend
from rnnx.core.portable import States
from rnnx.forms import read_floating
from rnnx.layers.forms import Unbatched
from rnnx.layers.parameters import Sizes


def shapes(sizes: Sizes, count: int, batch: int, form: Any = ()) -> list[tuple[int, ...]]:
    """Return the shapes of a state's `count` arrays."""
    rows = sizes.num_layers * sizes.directions
    widths = [sizes.output_size, sizes.hidden_size][:count]
    single = isinstance(form, Unbatched)
    return [(rows, width) if single else (rows, batch, width) for width in widths]


def read(
    backend: Backend, name: str, state: Any, expected: list[tuple[int, ...]]
) -> tuple[Array | None, ...]:
    """Return the arrays of a state, (L·D, B, ·) each, of these shapes; None where it is None."""
    if len(expected) == 1:
        arrays = [state]
    elif state is None:
        arrays = [None] * len(expected)
    elif isinstance(state, list | tuple) and len(state) == len(expected):
        arrays = list(state)
    else:
        raise ValueError(f"{name} must be a pair (h, c), got {type(state).__name__}")
    letters = [f"{name}, {letter}," if len(expected) > 1 else name for letter in "hc"]
    return tuple(
        None if array is None else _read_one(backend, letter, array, shape)
        for letter, array, shape in zip(letters, arrays, expected, strict=False)
    )


def write(state: States, form: Any) -> Any:
    """Return a state (L·D, B, ·) as its user holds it."""
    if isinstance(form, Unbatched):
        state = tuple(s[:, 0, :] for s in state)
    return state[0] if len(state) == 1 else state


def _read_one(backend: Backend, name: str, array: Any, shape: tuple[int, ...]) -> Array:
    array = read_floating(backend, name, array)
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
    return array if len(shape) == 3 else array[:, None, :]
