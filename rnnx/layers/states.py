"""The states of a stack as users hold them: one array, or a tuple such as (h, c); or None.

Each array is (L·D, B, ·), layers first, whatever the layout of x; without B for one sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rnnx.backend import Array, Backend
from rnnx.cells.base import State
from rnnx.core.sizes import Sizes
from rnnx.layers.forms import Unbatched

Shapes = dict[str, tuple[int, ...]]


def shapes(sizes: Sizes, batch: int, form: Any = ()) -> Shapes:
    """Return the shapes of a state's arrays, by name."""
    lead = (sizes.rows,) if isinstance(form, Unbatched) else (sizes.rows, batch)
    return {name: (*lead, width) for name, width in sizes.state_sizes.items()}


def kind(names: Iterable[str]) -> str:
    """Return what a state of arrays of these names is, in words."""
    found = list(names)
    if len(found) == 1:
        return "one array"
    return f"a {'pair' if len(found) == 2 else 'tuple'} ({', '.join(found)})"


def read(backend: Backend, name: str, state: Any, expected: Shapes) -> tuple[Array | None, ...]:
    """Return the arrays of a state, of the expected shapes but with B; None where it is None."""
    if len(expected) == 1:
        given = [state]
    elif state is None:
        given = [None] * len(expected)
    elif isinstance(state, list | tuple) and len(state) == len(expected):
        given = list(state)
    else:
        raise ValueError(f"{name} must be {kind(expected)}, got {type(state).__name__}")
    named = {f"{name}, {k}," if len(expected) > 1 else name: s for k, s in expected.items()}
    return tuple(
        None if array is None else _read_one(backend, label, array, shape)
        for (label, shape), array in zip(named.items(), given, strict=True)
    )


def initial(backend: Backend, sizes: Sizes, state: Any, batch: int, form: Any) -> State:
    """Return the initial state's arrays, (L·D, B, ·) each; zeros for None."""
    given = read(backend, "state", state, shapes(sizes, batch, form))
    wide = shapes(sizes, batch).values()
    return tuple(
        backend.zeros(shape) if array is None else array
        for shape, array in zip(wide, given, strict=True)
    )


def write(state: State, form: Any) -> Any:
    """Return a state (L·D, B, ·) as its user holds it."""
    if isinstance(form, Unbatched):
        state = tuple(s[:, 0, :] for s in state)
    return state[0] if len(state) == 1 else state


def _read_one(backend: Backend, name: str, array: Any, shape: tuple[int, ...]) -> Array:
    array = backend.floating(name, array)
    if tuple(array.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
    return array if len(shape) == 3 else array[:, None, :]
