"""Cells: one file each, the equations of one step and of its backward, side by side.

`rnnx.cells.base` says what a cell is. A cell of this package is one file and one line in `CELLS`;
layers, estimators, the character model and the command line all read that table. A cell of your own
needs no entry: give it to `rnnx.Recurrent`. To save a model of it, `register` the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from rnnx.cells.base import Cell, Parameter
from rnnx.cells.gru import GRUCell
from rnnx.cells.gru_reset_before import ResetBeforeGRUCell
from rnnx.cells.layer_norm_lstm import LayerNormLSTMCell
from rnnx.cells.leaky_rnn import LeakyRNNCell
from rnnx.cells.lstm import LSTMCell
from rnnx.cells.rnn import RNNCell

CELLS: dict[str, type[Cell]] = {
    "rnn": RNNCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
    "gru_reset_before": ResetBeforeGRUCell,
    "leaky_rnn": LeakyRNNCell,
    "layer_norm_lstm": LayerNormLSTMCell,
}

__all__ = [
    "CELLS",
    "Cell",
    "GRUCell",
    "LSTMCell",
    "LayerNormLSTMCell",
    "LeakyRNNCell",
    "Parameter",
    "RNNCell",
    "ResetBeforeGRUCell",
    "get_cell",
    "register",
]


def get_cell(cell: str | Cell) -> Cell:
    """Return the cell with this name in `CELLS`; a cell passes through unchanged.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if not isinstance(cell, str):
        return cell
    if cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)} or a Cell, got {cell!r}")
    return CELLS[cell]()


def register(name: str, cell: type[Cell]) -> None:
    """Enter a class of cells under a name, so that models of it can be saved and loaded.

    The options of the cell must be the fields of a dataclass, of plain JSON types.

    Raises
    ------
    ValueError
        For a name that stands for another class.
    """
    if CELLS.setdefault(name, cell) is not cell:
        raise ValueError(f"name must be a new one, got {name!r}, which is {CELLS[name].__name__}")


def describe(cell: Cell) -> dict[str, Any]:
    """Return a registered cell's name and options, as JSON can hold them; see `build_cell`.

    Raises
    ------
    ValueError
        For a cell that is not registered.
    """
    for name, kind in CELLS.items():
        if type(cell) is kind:
            return {"name": name, **(asdict(cell) if is_dataclass(cell) else {})}
    raise ValueError(
        f"expected a registered cell, got {type(cell).__name__}: call "
        f"rnnx.cells.register(name, {type(cell).__name__}) first"
    )


def build_cell(config: Mapping[str, Any]) -> Cell:
    """Return the cell that `describe` described.

    Raises
    ------
    ValueError
        For an unknown name, or options that the cell does not have.
    """
    options = dict(config)
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in CELLS:
        raise ValueError(f"expected a registered cell, got {name!r}: register it first")
    try:
        return CELLS[name](**options)
    except TypeError as error:
        raise ValueError(f"expected the options of the cell {name!r}, got {error}") from None
