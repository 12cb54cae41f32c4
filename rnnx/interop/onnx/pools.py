"""A `Pool` with lengths, or of both directions: several nodes, found by writing the same anew."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from rnnx.interop.onnx.graph import Graph
from rnnx.interop.onnx.layers import Place, pool
from rnnx.interop.onnx.values import Values, attributes, operator
from rnnx.layers.pool import HOWS, Pool

LAST = ("Where", "Div", "Concat")  # the operators that such a graph ends with


class Pooled(NamedTuple):
    """A pooling that is part of a graph."""

    node: Any  # its last
    config: dict[str, Any]
    x: str  # the name of what it pools
    lengths: str  # that of the input, "" for none


def pooled(values: Values, node: Any) -> Pooled | None:
    """Return the pooling that ends with a node, as `to_onnx` writes it; None for anything else."""
    if operator(node) not in LAST:
        return None
    for graph, y, config in _written():
        found: dict[str, str] = {}
        if _same(graph, y, values, node.output[0], found):
            return Pooled(node, config, found["x"], found.get("lengths", ""))
    return None


@lru_cache(maxsize=1)
def _written() -> list[tuple[Graph, str, dict[str, Any]]]:
    """Return every pooling as its graph, the name of its output, and its configuration."""
    found = []
    for how, bidirectional, lengths in product(HOWS, (False, True), ("", "lengths")):
        graph, layer = Graph(), Pool(how, bidirectional=bidirectional)
        found.append((graph, pool(graph, "x", layer, Place("", "", lengths)), layer.config()))
    return found


def _same(graph: Graph, ours: str, values: Values, name: str, found: dict[str, str]) -> bool:
    """Whether a value is made as one of ours is; note the names of x and lengths."""
    if ours in ("x", "lengths"):
        return found.setdefault(ours, name) == name
    if ours in graph.constants:
        return values.is_constant(name) and values.equals(name, graph.constants[ours])
    node, made = values.makers.get(name), next(n for n in graph.nodes if ours in n.output)
    return (
        node is not None
        and operator(node) == made.op_type
        and attributes(node) == attributes(made)
        and list(node.output).index(name) == list(made.output).index(ours)
        and len(node.input) == len(made.input)
        and all(
            _same(graph, own, values, other, found)
            for own, other in zip(made.input, node.input, strict=True)
        )
    )
