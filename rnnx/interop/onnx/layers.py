"""How each layer is written as nodes. Inside a graph sequences are (T, B, ·)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnx.cells.gru import GRUCell
from rnnx.cells.gru_reset_before import ResetBeforeGRUCell
from rnnx.cells.lstm import LSTMCell
from rnnx.cells.rnn import RNNCell
from rnnx.core.sizes import layer_params, suffixes
from rnnx.interop.onnx.graph import Graph
from rnnx.interop.onnx.weights import to_file
from rnnx.layers.activation import Activation
from rnnx.layers.base import Layer
from rnnx.layers.embedding import Embedding
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.rnn import RNN

OPS: dict[type, str] = {RNNCell: "RNN", GRUCell: "GRU", ResetBeforeGRUCell: "GRU", LSTMCell: "LSTM"}
FLOAT, INT32 = 1, 6  # dtypes by ONNX's numbers


class Place(NamedTuple):
    """Where a layer stands in its graph."""

    name: str  # "layer2", how the names of its nodes and weights begin
    states: str  # how the names of its states begin
    lengths: str = ""  # the name of the input


def recurrent(graph: Graph, x: str, layer: Any, place: Place) -> str:
    """Write a node for each layer of a stack, with its states as inputs and outputs."""
    sizes, states = layer.sizes, list(layer.sizes.state_sizes)
    L, D, H = sizes.num_layers, sizes.directions, sizes.hidden_size
    shape = [L * D, "B", H]
    axes = "(layers and directions, batch, hidden)"
    starts = [
        graph.input(f"{place.states}{s}0", "float32", shape, f"initial {s} {axes}") for s in states
    ]
    parts = list(zip(*[_split(graph, start, L) for start in starts], strict=True))
    kept: list[list[str]] = []
    for k in range(L):
        x, finals = _layer(graph, x, layer, k, parts[k], place)
        kept.append(finals)
    for s, rows in zip(states, zip(*kept, strict=True), strict=True):
        final = rows[0] if L == 1 else graph.node("Concat", *rows, axis=0)
        graph.output(final, f"{place.states}{s}_n", shape, f"final {s} {axes}")
    return x


def _layer(
    graph: Graph, x: str, layer: Any, k: int, starts: tuple[str, ...], place: Place
) -> tuple[str, list[str]]:
    """Write the node of layer k; return its output (T, B, D·H) and its final states."""
    sizes = layer.sizes
    D, H, op, name = sizes.directions, sizes.hidden_size, OPS[type(sizes.cell)], place.name
    ways = suffixes(sizes)[k * D : (k + 1) * D]
    found = [to_file(op, layer_params(layer.params, way)) for way in ways]
    weights = [
        graph.constant(f"{name}_{key}_l{k}", np.stack([way[key] for way in found]))
        for key in found[0]
    ]
    options: dict[str, Any] = {"direction": "bidirectional" if D == 2 else "forward"}
    if op == "RNN":
        options["activations"] = [sizes.cell.nonlinearity.capitalize()] * D
    if op == "GRU":
        options["linear_before_reset"] = int(isinstance(sizes.cell, GRUCell))
    inputs = [x, *weights, *[""] * (3 - len(weights)), place.lengths, *starts]
    y, *finals = graph.node_of(
        op, inputs, 1 + len(starts), f"{name}_{op}_l{k}", hidden_size=H, **options
    )
    if place.lengths:  # without a step the state stays; ONNX Runtime returns zeros
        steps = graph.node("Greater", place.lengths, graph.constant("no_steps", np.int32(0)))
        column = graph.node("Unsqueeze", steps, graph.integers(0, 2))  # (1, B, 1)
        finals = [graph.node("Where", column, *pair) for pair in zip(finals, starts, strict=True)]
    if D == 1:
        return graph.node("Squeeze", y, graph.integers(1)), finals
    y = graph.node("Transpose", y, perm=[0, 2, 1, 3])  # (T, B, D, H)
    return graph.node("Reshape", y, graph.integers(0, 0, D * H)), finals


def linear(graph: Graph, x: str, layer: Any, place: Place) -> str:
    """Write x Wᵀ + b."""
    params = layer.params
    y = graph.node("MatMul", x, graph.constant(f"{place.name}_weight", params["weight"].T))
    if "bias" not in params:
        return y
    return graph.node("Add", y, graph.constant(f"{place.name}_bias", params["bias"]))


def embedding(graph: Graph, x: str, layer: Any, place: Place) -> str:
    """Write W[x]."""
    return graph.node("Gather", graph.constant(f"{place.name}_weight", layer.params["weight"]), x)


def activation(graph: Graph, x: str, layer: Any, place: Place) -> str:
    """Write φ(x)."""
    op = layer.function.capitalize()
    return graph.node(op, x, axis=-1) if op == "Softmax" else graph.node(op, x)


def pool(graph: Graph, x: str, layer: Any, place: Place) -> str:
    """Write the last valid step (B, F), the mean or the maximum of the valid steps."""
    if place.lengths:
        return _pool_valid(graph, x, layer, place.lengths)
    if layer.how != "last":
        op = {"mean": "ReduceMean", "max": "ReduceMax"}[layer.how]
        return graph.node(op, x, graph.integers(0), keepdims=0)
    y = graph.node("Gather", x, graph.constant("last_step", np.int64(-1)))
    return _with_first(graph, y, x) if layer.bidirectional else y


def _pool_valid(graph: Graph, x: str, layer: Any, lengths: str) -> str:
    """Write the same for rows of these lengths; a row without a step gives zeros."""
    zero, one = graph.constant("zero", 0.0), graph.constant("one_step", np.int32(1))
    none = graph.constant("no_steps", np.int32(0))
    size = graph.node("Squeeze", graph.node("Shape", x, start=0, end=1))
    steps = graph.node("Range", none, graph.node("Cast", size, to=INT32), one)  # int32 (T,)
    steps = graph.node("Unsqueeze", steps, graph.integers(1, 2))  # (T, 1, 1)
    column = graph.node("Unsqueeze", lengths, graph.integers(1))  # (B, 1)
    some = graph.node("Greater", column, none)
    if layer.how == "last":
        at = graph.node("Equal", steps, graph.node("Sub", column, one))  # (T, B, 1)
        y = graph.node("Where", at, x, zero)
        y = graph.node("ReduceSum", y, graph.integers(0), keepdims=0)
        first = _with_first(graph, y, x) if layer.bidirectional else y
        return graph.node("Where", some, first, zero)
    valid = graph.node("Less", steps, column)  # (T, B, 1)
    if layer.how == "max":
        least = graph.constant("least", -np.inf)
        y = graph.node("Where", valid, x, least)
        y = graph.node("ReduceMax", y, graph.integers(0), keepdims=0)
        return graph.node("Where", some, y, zero)
    y = graph.node("Where", valid, x, zero)
    y = graph.node("ReduceSum", y, graph.integers(0), keepdims=0)
    return graph.node("Div", y, graph.node("Cast", graph.node("Max", column, one), to=FLOAT))


def _with_first(graph: Graph, y: str, x: str) -> str:
    """Write y (B, F) with the second half of its features from the first step of x (T, B, F)."""
    first = graph.node("Gather", x, graph.constant("first_step", np.int64(0)))
    halves = [graph.node_of("Split", [h], 2, axis=-1, num_outputs=2) for h in (y, first)]
    return graph.node("Concat", halves[0][0], halves[1][1], axis=-1)


def _split(graph: Graph, state: str, layers: int) -> list[str]:
    """Write the parts (D, B, H) of a state (L·D, B, H)."""
    if layers == 1:
        return [state]
    return graph.node_of("Split", [state], layers, axis=0, num_outputs=layers)


WRITERS: dict[type, Callable[[Graph, str, Any, Place], str]] = {
    **dict.fromkeys((RNN, GRU, LSTM, Recurrent), recurrent),
    Linear: linear, Embedding: embedding, Activation: activation, Pool: pool,
}  # fmt: skip


def check(layers: tuple[Layer, ...]) -> None:
    """Raise ValueError for no layers, and for the first that ONNX cannot hold."""
    if not layers:
        raise ValueError("expected a model with layers other than Dropout, got none")
    for place, layer in enumerate(layers):
        name = type(layer).__name__
        if type(layer) not in WRITERS:
            raise ValueError(
                f"expected layers of rnnx, got a {name}: ONNX has no operator for your own"
            )
        if isinstance(layer, Embedding) and place:
            raise ValueError(f"an Embedding must be the first layer, got it after {place} others")
        if isinstance(layer, Recurrent):
            _check_recurrent(name, layer)


def _check_recurrent(name: str, layer: Recurrent) -> None:
    if type(layer.cell) not in OPS:
        raise ValueError(
            f"expected the cell of an RNN, a GRU or an LSTM, got {type(layer.cell).__name__} in a "
            f"{name}: ONNX has no operator for it"
        )
    if layer.sizes.proj_size:
        raise ValueError(
            f"expected proj_size=0, got {layer.sizes.proj_size} in a {name}: ONNX's LSTM has no "
            "projection"
        )
