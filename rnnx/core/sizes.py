"""The sizes of a recurrent layer, and the names and shapes of its parameters.

Names and shapes are those of torch.nn.RNN, GRU and LSTM, in the order of their state_dict, with `k`
the layer, ``_reverse`` the second direction, D directions, P the size of h, and G gates::

    weight_ih_l{k}  (G·H, I) for k = 0, else (G·H, D·P)
    weight_hh_l{k}  (G·H, P)
    bias_ih_l{k}, bias_hh_l{k}  (G·H,)
    weight_hr_l{k}  (P, H)      only with a projection

A cell's own parameters follow those of their layer and direction, with the same suffix.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from rnnx.cells.base import Cell, recurrent_gates

Shapes = dict[str, tuple[int, ...]]
LAYER_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # else the cell's own


class Sizes(NamedTuple):
    """What decides the shapes."""

    cell: Cell
    input_size: int
    hidden_size: int
    proj_size: int
    num_layers: int
    directions: int
    bias: bool

    @property
    def output_size(self) -> int:
        """The size P of h."""
        return self.proj_size or self.hidden_size

    @property
    def rows(self) -> int:
        """The number L·D of layers and directions."""
        return self.num_layers * self.directions

    @property
    def state_sizes(self) -> dict[str, int]:
        """The width of each state array by name; the first is h."""
        return dict(_state_sizes(self))

    def features(self, layer: int) -> int:
        """The size of a layer's input."""
        return self.directions * self.output_size if layer else self.input_size


@lru_cache(maxsize=64)
def _state_sizes(sizes: Sizes) -> dict[str, int]:
    widths = sizes.cell.state_sizes(sizes.hidden_size)
    return widths | {next(iter(widths)): sizes.output_size}


def suffixes(sizes: Sizes) -> list[str]:
    """Return the suffix of every layer and direction, layers first: ``l0``, ``l0_reverse``, ..."""
    ways = ["", "_reverse"][: sizes.directions]
    return [f"l{layer}{way}" for layer in range(sizes.num_layers) for way in ways]


def shapes(sizes: Sizes) -> Shapes:
    """Return the shape of every parameter by its name."""
    H, P, cell = sizes.hidden_size, sizes.output_size, sizes.cell
    rows, recurrent_rows = len(cell.gates) * H, len(recurrent_gates(cell)) * H
    own = {name: parameter.shape for name, parameter in cell.parameters(H).items()}
    biased = sizes.bias and cell.biased
    biases: Shapes = {"bias_ih": (rows,), "bias_hh": (recurrent_rows,)} if biased else {}
    projection: Shapes = {"weight_hr": (P, H)} if sizes.proj_size else {}
    rest = {"weight_hh": (recurrent_rows, P)} | biases | projection | own
    return {
        f"{name}_{suffix}": shape
        for i, suffix in enumerate(suffixes(sizes))
        for name, shape in {
            "weight_ih": (rows, sizes.features(i // sizes.directions)),
            **rest,
        }.items()
    }


def layer_params(params: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """Return the parameters of one layer and direction, without the suffix in their names."""
    end = f"_{suffix}"
    return {k.removesuffix(end): W for k, W in params.items() if k.endswith(end)}
