"""Checks of a recurrent layer's cell and sizes, made where the layer is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnx import validate
from rnnx.cells import CELLS, Cell
from rnnx.cells.base import Steps, recurrent_gates
from rnnx.core.sizes import LAYER_NAMES, Sizes

STEPS, ROWS = 2, 3


def read_proj_size(proj_size: int, hidden_size: int) -> int:
    """Return the size of the projection, 0 for none."""
    if proj_size != 0 and not 0 < validate.size("proj_size", proj_size) < hidden_size:
        raise ValueError(
            f"proj_size must be below hidden_size = {hidden_size}, or 0 for none, got {proj_size}"
        )
    return int(proj_size)


def check_sizes(sizes: Sizes, drops_recurrent: bool) -> None:
    """Raise where a cell does not keep the contract, or cannot have the options asked for."""
    cell = sizes.cell
    if type(cell) not in CELLS.values():
        check_cell(cell, sizes.hidden_size)
    name = type(cell).__name__
    if sizes.proj_size and cell.reads_h:
        raise ValueError(f"proj_size must be 0 for a {name}, which reads h beside the product")
    if drops_recurrent and recurrent_gates(cell) != cell.gates:
        raise ValueError(
            "recurrent_dropout and weight_drop must be 0 for a cell with a recurrent product of "
            f"its own, got {name}"
        )


def check_cell(cell: Cell, hidden_size: int) -> None:
    """Run two steps of a cell forward and back on NumPy; raise where a shape is not as promised.

    Raises
    ------
    TypeError, ValueError
        One line: what the cell lacks, or which of its functions returned what.
    """
    name = type(cell).__name__
    for part in ("gates", "state_sizes", "parameters", "step", "linearize", "step_backward",
                 "gradients"):  # fmt: skip
        if not hasattr(cell, part):
            raise TypeError(f"{name} must have {part!r}: derive it from rnnx.Cell")
    try:
        hash(cell)
    except TypeError:
        raise TypeError(f"{name} must be hashable: make it a frozen dataclass") from None
    gates = cell.gates
    if not isinstance(gates, tuple) or not gates or not all(isinstance(g, str) for g in gates):
        raise TypeError(f"{name}.gates must be a tuple of names, got {gates!r}")
    taken = [own for own in cell.parameters(hidden_size) if own in LAYER_NAMES or "_l" in own]
    if taken:
        raise ValueError(f"{name}.parameters must not have the name {taken[0]!r}: choose another")
    try:
        _dry_run(cell, hidden_size)
    except _Misshapen as error:
        raise ValueError(f"{name}.{error}") from None
    except Exception as error:  # whatever a user's functions raise
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{name} must run on NumPy arrays with hidden_size={hidden_size}, got "
            f"{type(error).__name__}: {reason}"
        ) from error


class _Misshapen(Exception):
    """Which function returned what."""


def _dry_run(cell: Cell, H: int) -> None:
    rng = np.random.default_rng(0)
    T, B, sizes = STEPS, ROWS, cell.state_sizes(H)
    rows, recurrent = len(cell.gates) * H, len(recurrent_gates(cell)) * H
    own = {k: rng.random(p.shape) for k, p in cell.parameters(H).items()}
    state0 = tuple(rng.random((B, width)) for width in sizes.values())
    wide = {f"state {k!r}": (B, width) for k, width in sizes.items()}
    p, q = rng.random((B, rows)), rng.random((B, recurrent))
    state, saved = cell.step(np, p, q, state0, own)
    _compare("step", dict(zip(wide, state, strict=False)), wide)
    before, states, kept = (
        tuple(np.stack([a] * T) for a in part) for part in (state0, state, saved)
    )
    known = Steps(before, states, kept)
    slopes = cell.linearize(np, known, own)
    found = cell.step_backward(np, state, tuple(s[0] for s in slopes), own)
    da, dq, dstate = found
    if cell.reads_h == (dstate[0] is None):
        raise _Misshapen(f"reads_h is {cell.reads_h}, but step_backward returned "
                         f"{'None' if dstate[0] is None else 'a gradient'} for h")  # fmt: skip
    arrays = dict(zip(wide, dstate, strict=False)) | {"dq": dq}
    expected = wide | {"dq": (B, recurrent)}
    if dstate[0] is None:
        first = next(iter(wide))
        del arrays[first], expected[first]
    _compare("step_backward", arrays, expected)
    dp, dq, down = cell.gradients(np, np.stack([da] * T), known, own)
    shapes = {"dp": (T, B, rows), "dq": (T, B, recurrent)} | {k: v.shape for k, v in own.items()}
    _compare("gradients", {"dp": dp, "dq": dq, **down}, shapes)


def _compare(
    function: str, found: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise for an array that is missing, not asked for, or of another shape."""
    for name in {**expected, **found}:
        shape = tuple(np.shape(found[name])) if name in found else "nothing"
        if shape != expected.get(name):
            raise _Misshapen(
                f"{function} must return {name} of shape {expected.get(name)}, got {shape}"
            )
