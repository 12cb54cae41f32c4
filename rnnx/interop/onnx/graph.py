"""A graph of ONNX while it is written: nodes, constants, inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnx.interop.needed import needed

Shape = Sequence[Any]  # of integers, and of letters for sizes that a call decides


class Graph:
    """Nodes in order, and what they need. A value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def input(self, name: str, dtype: str, shape: Shape, doc: str) -> str:
        """Return the name of a new input."""
        self.inputs.append(_described(name, dtype, shape, doc))
        return name

    def output(self, value: str, name: str, shape: Shape, doc: str) -> None:
        """Let a value be a float32 output of this name."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [name if own == value else own for own in names]
        self.outputs.append(_described(name, "float32", shape, doc))

    def constant(self, name: str, array: Any) -> str:
        """Return the name of a constant; floats become float32."""
        array = np.asarray(array)
        if array.dtype == np.float64:
            with np.errstate(over="ignore"):  # who calls looks for infinity
                array = array.astype(np.float32)
        self.constants[name] = array
        return name

    def integers(self, *values: int) -> str:
        """Return the name of a constant of int64, one for all who need the same."""
        return self.constant(f"integers_{'_'.join(map(str, values))}", np.asarray(values, np.int64))

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Return the name of the one output of a new node."""
        return self.node_of(op, inputs, 1, name, **attributes)[0]

    def node_of(
        self, op: str, inputs: Sequence[str], outputs: int, name: str = "", **attributes: Any
    ) -> list[str]:
        """Return the names of so many outputs of a new node."""
        name = name or f"{op}_{len(self.nodes)}"
        names = [f"{name}_{k}" for k in range(outputs)]
        make = needed("onnx").helper.make_node
        self.nodes.append(make(op, list(inputs), names, name=name, **attributes))
        return names


def _described(name: str, dtype: str, shape: Shape, doc: str) -> Any:
    onnx = needed("onnx")
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_value_info(name, number, list(shape), doc)
