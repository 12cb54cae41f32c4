"""Where values come from, walked from the output of a graph back to its inputs."""

from __future__ import annotations

from typing import Any

from rnnx.interop.onnx.pools import pooled
from rnnx.interop.onnx.values import (
    ADVICE,
    FLOATS,
    Values,
    attributes,
    label,
    operator,
    read_tensor,
)

PASSED = (  # what may be between an input, or zeros, and an initial state
    "Cast", "Expand", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip


def back(values: Values, name: str) -> tuple[list[Any], str]:
    """Return the nodes that lead to a value, in order, and the input of the graph they start at.

    Several nodes that are a pooling are one entry, a `Pooled`.
    """
    found: list[Any] = []
    while name not in values.inputs:
        node = values.makers.get(name)
        if node is None or values.is_constant(name):
            raise ValueError(f"{name!r:.80} comes from no sequence input of the graph")
        if len(found) == len(values.nodes):
            raise ValueError(f"its graph goes round in a circle at {label(node)}")
        if name != node.output[0]:
            raise ValueError(
                f"{label(node)}: only its first output is read, got {name!r:.80}. {ADVICE}"
            )
        several = pooled(values, node)
        found.append(several or node)
        name = several.x if several else _before(values, node)
    return found[::-1], name


def is_of_the_call(values: Values, name: str, x: str) -> bool:
    """Whether an initial state is left to who calls: absent, zeros, or an input other than x."""
    for _ in range(len(values.nodes) + 1):
        if not name or name in values.inputs:
            return name != x
        if values.is_constant(name):
            return values.is_zero(name, f"the state {name!r:.80}")
        node = values.makers.get(name)
        if node is not None and operator(node) == "ConstantOfShape":
            value = attributes(node).get("value")
            what = f"the value of {label(node)}"
            return value is None or not read_tensor(value, what, FLOATS).any()
        if node is None or operator(node) not in PASSED or not node.input:
            return False
        name = node.input[0]
    return False


def _before(values: Values, node: Any) -> str:
    """Return the name of the value that a node of a chain changes."""
    if len(node.input) < (2 if operator(node) in ("Gather", "Add", "MatMul") else 1):
        raise ValueError(f"{label(node)} lacks an input")
    second = operator(node) in ("Gather", "Add") and values.is_constant(node.input[0])
    return str(node.input[1 if second else 0])
