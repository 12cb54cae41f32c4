"""Where each value of a graph comes from: an input, a constant, or a node; and what it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rnnx.interop.needed import needed
from rnnx.io import finite

# dtypes of constants, and the fields that hold their numbers where raw_data does not
FLOATS = {"FLOAT": "float_data", "DOUBLE": "double_data", "FLOAT16": "int32_data",
          "BFLOAT16": "int32_data"}  # fmt: skip
INTEGERS = {"INT64": "int64_data", "INT32": "int32_data", "BOOL": "int32_data"}
OLDEST = 7  # opset; before it, operators broadcast by attributes
LARGEST, SMALL = 2**31, 8  # numbers in a constant, and in one that says an axis or a shape
ADVICE = "node= with a name takes the weights of one RNN, GRU or LSTM node out of any graph"
SHARED = 4  # times the size of a model, the most that its weights may take


class Values:
    """The values of a model's graph by name."""

    def __init__(self, model: Any) -> None:
        graph, self.opset = model.graph, _opset(model)
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = {x.name: x for x in graph.input if x.name not in self.constants}
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.left = SHARED * model.ByteSize()
        _check_names(graph, self.constants)
        for node in self.nodes:
            _check_external([a.t for a in node.attribute])
        _check_external(graph.initializer)

    def is_constant(self, name: str) -> bool:
        """Whether a value is the same in every call."""
        maker = self.makers.get(name)
        return name in self.constants or (maker is not None and operator(maker) == "Constant")

    def weights(self, name: str, what: str, axes: int) -> np.ndarray:
        """Return a constant of finite floats, float32 or float64, with so many axes."""
        array = self._array(name, what, FLOATS)
        if array.ndim != axes:
            raise ValueError(f"{what} must have {axes} axes, got the shape {array.shape}")
        with np.errstate(invalid="ignore"):  # of a NaN, which is refused
            array = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
        self.left -= array.nbytes
        if self.left < 0:
            raise ValueError(
                f"its nodes share weights: a model of them would take more than {SHARED} times "
                "the size of the file"
            )
        finite({what: array})
        return array

    def integers(self, name: str, what: str, axes: int = 1) -> list[int]:
        """Return the integers of a small constant with so many axes, 0 or 1."""
        array = self._array(name, what, INTEGERS, SMALL)
        if array.ndim != axes:
            raise ValueError(f"{what} has the shape {array.shape}, which has no equal here")
        return [int(value) for value in array.reshape(-1)]

    def is_zero(self, name: str, what: str) -> bool:
        """Whether a constant of floats is zero everywhere."""
        return not self._array(name, what, FLOATS).any()

    def equals(self, name: str, expected: np.ndarray) -> bool:
        """Whether a constant is this one, dtype and shape included."""
        found = self._array(name, f"the constant {name!r:.80}", FLOATS | INTEGERS, SMALL)
        return found.dtype == expected.dtype and np.array_equal(found, expected)

    def _array(
        self, name: str, what: str, dtypes: dict[str, str], most: int = LARGEST
    ) -> np.ndarray:
        """Return a constant of one of these dtypes, of at most so many numbers."""
        if not self.is_constant(name):
            raise ValueError(f"{what} must be a constant, got {name!r:.80}")
        if name in self.constants:
            return read_tensor(self.constants[name], what, dtypes, most)
        maker = self.makers[name]
        return read_tensor(attributes(maker).get("value"), what, dtypes, most)


def read_tensor(tensor: Any, what: str, dtypes: dict[str, str], most: int = LARGEST) -> np.ndarray:
    """Return the array of a tensor, after its shape was compared with the bytes that are there."""
    onnx = needed("onnx")
    if not isinstance(tensor, onnx.TensorProto):
        raise ValueError(f"{what} must be a tensor in the attribute 'value' of a Constant")
    shape = tuple(tensor.dims)
    kinds = {onnx.TensorProto.DataType.Value(name): name for name in dtypes}
    kind = kinds.get(tensor.data_type)
    if kind is None:
        raise ValueError(f"{what} must be of {', '.join(dtypes)}, got type {tensor.data_type}")
    size = math.prod(shape)
    if len(shape) > 8 or any(n < 1 for n in shape) or size > most:
        raise ValueError(f"{what} has a wrong shape, {list(shape)!r:.80}")
    itemsize = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    raw = tensor.HasField("raw_data")
    held = len(tensor.raw_data) / itemsize if raw else len(getattr(tensor, dtypes[kind]))
    if held != size or tensor.HasField("segment"):
        raise ValueError(f"{what} must hold {size:,} numbers for its shape, got {held:,g}")
    array: np.ndarray = onnx.numpy_helper.to_array(tensor)
    return array


def operator(node: Any) -> str:
    """Return the operator of a node, with its domain unless that is ONNX's own."""
    own = node.domain in ("", "ai.onnx")
    return str(node.op_type if own else f"{node.domain}.{node.op_type}")


def label(node: Any) -> str:
    """Return how messages name a node: its name, or else that of its first output."""
    op = operator(node)
    return f"the {op if op.isidentifier() else repr(op):.40} {node_name(node)!r:.80}"


def node_name(node: Any) -> str:
    """Return a node's name, or else that of its first output."""
    return str(node.name or next(iter(node.output), ""))


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name."""
    found = {a.name: _value(a) for a in node.attribute}
    if len(found) < len(node.attribute):
        raise ValueError(f"{label(node)} repeats an attribute")
    return found


def options(node: Any, **defaults: Any) -> dict[str, Any]:
    """Return the attributes with their defaults; any other raises, and one of another type."""
    found = attributes(node)
    for name, value in found.items():
        if name not in defaults:
            raise ValueError(f"{label(node)} has {name!r:.40}, which has no equal here")
        if type(value) is not type(defaults[name]):
            kind = type(defaults[name]).__name__
            raise ValueError(f"{label(node)} must have {name} of type {kind}, got {value!r:.40}")
    return defaults | found


def _value(attribute: Any) -> Any:
    """Return an attribute's value, texts as str."""
    value = needed("onnx").helper.get_attribute_value(attribute)
    if isinstance(value, list):
        return [one.decode() if isinstance(one, bytes) else one for one in value]
    return value.decode() if isinstance(value, bytes) else value


def _check_names(graph: Any, constants: Any) -> None:
    """Raise where two values have one name, or one has none."""
    names = [tensor.name for tensor in graph.initializer]
    names += [x.name for x in graph.input if x.name not in constants]
    names += [name for node in graph.node for name in node.output if name]
    if len(set(names)) < len(names) or "" in names:
        raise ValueError("its graph gives one name to two values, or none to one")


def _check_external(tensors: Any) -> None:
    for tensor in tensors:
        if tensor.data_location or len(tensor.external_data):
            raise ValueError(
                f"the weights {tensor.name!r:.80} are in another file, which is not opened: save "
                "the model with its weights in one file"
            )


def _opset(model: Any) -> int:
    """Return the version of ONNX's own operators, one whose meaning is known."""
    newest = needed("onnx").defs.onnx_opset_version()
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        raise ValueError(f"expected one opset from {OLDEST} to {newest}, got {versions!r:.80}")
    if len(model.functions):
        raise ValueError("it has functions of its own: export it without them")
    return int(versions[0])
