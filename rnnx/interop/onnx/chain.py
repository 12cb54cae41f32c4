"""The chain of nodes from a graph's sequence input to its first output, as layers.

What is between layers is checked exactly: while it reads the nodes in order, a `Chain` knows the
number of axes, whether the first two are exchanged, and whether the value is a recurrent node's Y
(T, D, B, H).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnnx.interop.onnx import parts, walk
from rnnx.interop.onnx.parts import Part
from rnnx.interop.onnx.pools import Pooled
from rnnx.interop.onnx.values import ADVICE, Values, label, node_name, operator, options
from rnnx.interop.onnx.weights import ORDER

POOLS = {"ReduceMean": "mean", "ReduceMax": "max"}


def layers(values: Values, output: str) -> list[Part]:
    """Return the layers of a graph.

    Raises
    ------
    ValueError
        For the first node that is no layer, or not in the way of one.
    """
    nodes, x = walk.back(values, output)
    chain = Chain(values, x)
    for node in nodes:
        chain.read(node)
    return chain.finished()


class Chain:
    """What was read of a chain, and what is known of the value after it."""

    def __init__(self, values: Values, x: str) -> None:
        kind = values.inputs[x].type.tensor_type
        self.values, self.x = values, x
        self.axes = len(kind.shape.dim) if kind.HasField("shape") else None
        self.swapped = False  # the first two axes are not in the order of x
        self.batch_first: bool | None = None  # whether x is; None until a layer reads sequences
        self.pooled = False
        self.y: tuple[str, int, int] | None = None  # the layout of a node's Y, with D and H
        self.lengths: str | None = None  # the input that all recurrent layers take, "" for none
        self.found: list[Part] = []
        self.width: int | None = None  # the number of features
        self.last = ""  # the operator of the node before

    def read(self, node: Any) -> None:
        """Read the next node, or several that are a pooling."""
        if isinstance(node, Pooled):
            return self._pool(node.node, dict(node.config), self.swapped, node.lengths)
        op = operator(node)
        if self.y is not None and op not in ("Transpose", "Reshape", "Squeeze", "Identity"):
            raise self._odd(node, "expected the directions of a recurrent layer side by side")
        if op not in READERS:
            raise self._odd(node, "it is no layer here")
        READERS[op](self, node)
        self.last = op if op not in ("Identity", "Dropout") else self.last

    def finished(self) -> list[Part]:
        """Return the layers, those of a stack together."""
        if self.y is not None:
            raise ValueError("its output is the Y (T, D, B, H) of a recurrent node: " + ADVICE)
        if self.swapped and not self.pooled:
            raise ValueError("its output has steps and batch in another order than its input")
        if not self.found:
            raise ValueError("its graph holds no layer")
        for part in self.found:
            if part.config["layer"] in (*ORDER, "Pool"):
                part.config["batch_first"] = bool(self.batch_first)
        return parts.merged(self.found)

    def recurrent(self, node: Any) -> None:
        """RNN, GRU or LSTM."""
        part = parts.recurrent(self.values, node)
        names = parts.inputs(node, 7)
        for start in names[5:]:
            if not walk.is_of_the_call(self.values, start, self.x):
                raise self._odd(node, f"its initial state {start!r:.80} is computed in the graph")
        self._sequences(node, names[4], self.swapped)
        self._add(node, part)
        D = 2 if part.config["bidirectional"] else 1
        self.y = ("TDBH", D, part.config["hidden_size"])

    def linear(self, node: Any) -> None:
        """MatMul with weights (I, O) after it."""
        options(node)
        self._settled(node)
        weight = self.values.weights(parts.inputs(node, 2)[1], f"the weights of {label(node)}", 2)
        self._add(node, parts.linear(weight.T))

    def bias(self, node: Any) -> None:
        """Add of a bias to what MatMul returned."""
        options(node)
        if self.last != "MatMul":
            raise self._odd(node, "an Add is read only as the bias of a MatMul before it")
        left, right = parts.inputs(node, 2)
        name = left if self.values.is_constant(left) else right
        self._biased(node, self.values.weights(name, f"the bias of {label(node)}", 1))

    def gemm(self, node: Any) -> None:
        """Gemm, the linear layer of one vector per sequence."""
        found = options(node, alpha=1.0, beta=1.0, transA=0, transB=0)
        if (found["alpha"], found["beta"], found["transA"]) != (1.0, 1.0, 0):
            raise self._odd(node, "expected alpha=1, beta=1 and transA=0")
        self._settled(node)
        _, W, C = parts.inputs(node, 3)
        weight = self.values.weights(W, f"the weights of {label(node)}", 2)
        self._add(node, parts.linear(weight if found["transB"] else weight.T))
        if C:
            self._biased(node, self.values.weights(C, f"the bias of {label(node)}", 1))

    def gather(self, node: Any) -> None:
        """Rows of a table, which is an Embedding; or the last step, which is a Pool."""
        axis = options(node, axis=0)["axis"]
        x, index = parts.inputs(node, 2)
        if not self.values.is_constant(x):
            step = self.values.integers(index, f"the index of {label(node)}", axes=0)
            if step != [-1]:
                raise self._odd(node, f"expected a table of weights, or the last step, got {step}")
            return self._pool_over(node, "last", axis)
        table = self.values.weights(x, f"the table of {label(node)}", 2)
        if axis or self.found:
            raise self._odd(node, "expected rows of a table, and before all other layers")
        V, E = table.shape
        self._add(
            node, Part({"layer": "Embedding", "num_embeddings": V, "size": E}, {"weight": table})
        )
        self.axes = None if self.axes is None else self.axes + 1

    def reduce(self, node: Any) -> None:
        """The mean or the maximum over time."""
        found = options(node, axes=[], keepdims=1, noop_with_empty_axes=0)
        axes = found["axes"] or self.values.integers(
            parts.inputs(node, 2)[1], f"the axes of {label(node)}"
        )
        if found["keepdims"] or len(axes) != 1:
            raise self._odd(node, "expected keepdims=0 and one axis, that of time")
        self._pool_over(node, POOLS[node.op_type], axes[0])

    def transpose(self, node: Any) -> None:
        """Of the first two axes, or of Y to (T, B, D, H)."""
        perm = options(node, perm=[])["perm"]
        if self.y is not None and self.y[0] == "TDBH" and perm == [0, 2, 1, 3]:
            self.y = ("TBDH", *self.y[1:])
        elif self.y is None and not self.pooled and perm in self._exchanges():
            self.swapped, self.axes = not self.swapped, len(perm)
        else:
            raise self._odd(node, f"perm={perm} is not between layers here")

    def reshape(self, node: Any) -> None:
        """From (T, B, D, H) to (T, B, D·H)."""
        allowzero = options(node, allowzero=0)["allowzero"]
        shape = self.values.integers(parts.inputs(node, 2)[1], f"the shape of {label(node)}")
        layout, D, H = self.y or ("", 0, 0)
        if layout != "TBDH" or allowzero or shape not in ([0, 0, -1], [0, 0, D * H]):
            raise self._odd(node, f"the shape {shape} is not between layers here")
        self.y = None

    def squeeze(self, node: Any) -> None:
        """From (T, 1, B, H) to (T, B, H)."""
        found = options(node, axes=[])["axes"]
        axes = found or self.values.integers(parts.inputs(node, 2)[1], f"the axes of {label(node)}")
        if self.y is None or self.y[:2] != ("TDBH", 1) or axes != [1]:
            raise self._odd(node, f"axes={axes} is not between layers here")
        self.y = None

    def identity(self, node: Any) -> None:
        """Nothing to do."""
        options(node)

    def dropout(self, node: Any) -> None:
        """Nothing to do in inference."""
        options(node, ratio=0.0, seed=0)
        training = parts.inputs(node, 3)[2]
        if training and self.values.integers(training, f"the mode of {label(node)}", axes=0) != [0]:
            raise self._odd(node, "expected training_mode=False")

    def activation(self, node: Any) -> None:
        """An elementwise function."""
        options(node)
        self._add(node, Part({"layer": "Activation", "function": operator(node).lower()}, {}))

    def softmax(self, node: Any) -> None:
        """The softmax over the features."""
        axis = options(node, axis=-1 if self.values.opset > 12 else 1)["axis"]
        if axis != -1 and axis + 1 != self.axes:
            raise self._odd(node, f"expected a softmax over the last axis, got axis={axis}")
        self._settled(node)
        self._add(node, Part({"layer": "Activation", "function": "softmax"}, {}))

    def _exchanges(self) -> list[list[int]]:
        """Return the orders that exchange the first two of the axes, 2 or 3."""
        return [perm for perm in ([1, 0], [1, 0, 2]) if self.axes in (None, len(perm))]

    def _pool_over(self, node: Any, how: str, axis: int) -> None:
        axis += 3 if axis < 0 else 0
        if axis not in (0, 1):
            raise self._odd(node, f"axis {axis} is not that of time")
        self._pool(node, {"layer": "Pool", "how": how}, self.swapped != bool(axis), "")

    def _pool(self, node: Any, config: dict[str, Any], swapped: bool, lengths: str) -> None:
        if self.y is not None or self.axes != 3:
            raise self._odd(node, "expected a sequence (T, B, I)")
        self._sequences(node, lengths, swapped)
        self.pooled, self.axes = True, 2
        self._add(node, Part(config, {}))

    def _sequences(self, node: Any, lengths: str, swapped: bool) -> None:
        """Note that a node reads sequences of these lengths, from x with its axes exchanged."""
        if (lengths and lengths not in self.values.inputs) or lengths == self.x:
            raise self._odd(node, f"its lengths {lengths!r:.80} are computed in the graph")
        if self.lengths not in (None, lengths):
            raise self._odd(node, "its lengths are not those of the layer before")
        self.lengths = lengths
        if self.axes not in (None, 3) or self.pooled:
            raise self._odd(node, "expected a sequence (T, B, I)")
        if self.batch_first not in (None, swapped):
            raise self._odd(node, "its axes of steps and batch are not those of the layers before")
        self.batch_first, self.axes = swapped, 3

    def _settled(self, node: Any) -> None:
        """Raise for features that were exchanged with another axis."""
        if self.swapped and self.axes == 2 and not self.pooled:
            raise self._odd(node, "its features were exchanged with another axis")

    def _add(self, node: Any, part: Part) -> None:
        width = part.config.get("input_size")
        if None not in (self.width, width) and self.width != width:
            raise self._odd(node, f"it reads {width} features, got {self.width}")
        self.width = part.width or self.width
        self.found.append(part)

    def _biased(self, node: Any, bias: Any) -> None:
        weight = self.found[-1].arrays["weight"]
        if bias.shape != weight.shape[:1]:
            raise self._odd(node, f"the bias must have shape {weight.shape[:1]}, got {bias.shape}")
        self.found[-1] = parts.linear(weight, bias)

    def _odd(self, node: Any, reason: str) -> ValueError:
        names = [node_name(n) for n in self.values.nodes if operator(n) in ORDER]
        there = f", which are {names!r:.150}" if names else ""
        return ValueError(f"{label(node)}: {reason}. {ADVICE}{there}")


READERS: dict[str, Callable[[Chain, Any], None]] = {
    "RNN": Chain.recurrent, "GRU": Chain.recurrent, "LSTM": Chain.recurrent,
    "MatMul": Chain.linear, "Add": Chain.bias, "Gemm": Chain.gemm, "Gather": Chain.gather,
    "ReduceMean": Chain.reduce, "ReduceMax": Chain.reduce, "Transpose": Chain.transpose,
    "Reshape": Chain.reshape, "Squeeze": Chain.squeeze, "Identity": Chain.identity,
    "Dropout": Chain.dropout, "Softmax": Chain.softmax, "Tanh": Chain.activation,
    "Relu": Chain.activation, "Sigmoid": Chain.activation,
}  # fmt: skip
