"""From a model to a file of ONNX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from rnnx._version import __version__
from rnnx.interop.needed import needed
from rnnx.interop.onnx.graph import Graph
from rnnx.interop.onnx.layers import WRITERS, Place, check
from rnnx.io import finite, replacing
from rnnx.layers.base import Layer
from rnnx.layers.embedding import Embedding
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.sequential import Sequential
from rnnx.networks.deployed import Deployed, Scaling, deployed

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 22  # the first whose recurrent operators have all that we need, and the least we write
LARGEST = 2**31 - 2**20  # bytes of constants: a file has at most 2 GB


def to_onnx(
    model: Any,
    path: str | PathLike[str] | None = None,
    *,
    lengths: bool = False,
    softmax: bool | None = None,
    opset: int = OPSET,
) -> ModelProto:
    """Return a model as ONNX, and write it to a file if a path is given.

    The graph computes what the model does in inference, in float32, for any numbers T of steps and
    B of rows. Its first input is ``x``, (T, B, I), with `batch_first` (B, T, I), or int64 symbols
    (T, B) for an `Embedding`; its first output is ``y``. Estimators read (T, B, I), too, and what
    surrounds their network is in the graph: ``y`` are a classifier's probabilities (B, classes),
    and a regressor's values (B, values).

    The states of a recurrent layer are inputs and outputs of their own, (L·D, B, H) as here:
    ``h0`` and ``h_n``, for an LSTM also ``c0`` and ``c_n``. Give zeros to start, and the final
    states with the next part of a stream. With several recurrent layers the names begin with the
    layer's place in the chain, Dropout not counted: ``layer1_h0``, ``layer1_h_n``.

    Parameters
    ----------
    model : layer, RNNClassifier, RNNRegressor or CharacterModel
        RNN, GRU and LSTM without projection, Linear, Embedding first, Pool, and chains of them.
        Dropout is left out.
    path : path, optional
        The file. An existing one is replaced once the new one is complete.
    lengths : bool
        Whether the graph has an input ``lengths``, int32 (B,), the number of valid steps of each
        row, 0 included. Outputs of recurrent layers are zero at other steps, as here.
    softmax : bool, optional
        Whether ``y`` are probabilities; by default for a classifier alone.
    opset : int, default 22
        The version of ONNX's operators, at least 22.

    Returns
    -------
    onnx.ModelProto
        Its metadata hold the layers' configuration, and a classifier's classes or a character
        model's alphabet, each as JSON.

    Raises
    ------
    ImportError
        Without the package onnx.
    TypeError, ValueError
        For what ONNX cannot hold: another cell, a projection, a layer of your own, parameters that
        are not finite in float32 or have 2 GB or more; for a model that is not fitted, `lengths`
        without a layer that reads sequences, and an opset below 22 or unknown to the package.
    OSError
        If the file cannot be written. An existing file stays as it was.

    References
    ----------
    The operators: https://onnx.ai/onnx/operators/.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime                                                     # doctest: +SKIP
    >>> import rnnx
    >>> model = rnnx.Sequential(rnnx.GRU(3, 8, seed=0), rnnx.Linear(8, 2, seed=1))
    >>> proto = rnnx.interop.to_onnx(model, "model.onnx")                      # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("model.onnx")                   # doctest: +SKIP
    >>> x, h0 = np.ones((7, 4, 3), "float32"), np.zeros((1, 4, 8), "float32")
    >>> y, h_n = session.run(None, {"x": x, "h0": h0})                         # doctest: +SKIP
    """
    onnx = needed("onnx")
    newest = onnx.defs.onnx_opset_version()
    if type(opset) is not int or not OPSET <= opset <= newest:
        raise ValueError(f"opset must be an integer from {OPSET} to {newest}, got {opset!r}")
    found = deployed(model)
    check(found.layers)
    softmax = found.softmax if softmax is None else bool(softmax)
    if softmax and found.after:
        raise ValueError("a softmax is for the outputs of a classifier: leave softmax out")
    if lengths and not any("lengths" in layer.options for layer in found.layers):
        raise ValueError("lengths=True needs a recurrent layer or a Pool: leave it out")
    graph = _graph(found._replace(softmax=softmax), lengths)
    made = _proto(graph, found, opset)
    if path is not None:
        with replacing(path, "wb") as file:
            file.write(made.SerializeToString())
    return made


def _graph(found: Deployed, lengths: bool) -> Graph:
    """Return the nodes from x to y."""
    graph, layers = Graph(), found.layers
    batch_first = any(layer.batch_first for layer in layers)
    shape: tuple[Any, ...] = ("B", "T") if batch_first else ("T", "B")
    symbols = isinstance(layers[0], Embedding)
    if not symbols:
        shape = (*shape, getattr(layers[0], "input_size", "F"))  # a Pool takes any
    x = graph.input("x", "int64" if symbols else "float32", shape, f"the input {_axes(shape)}")
    given = graph.input("lengths", "int32", ["B"], "valid steps of each row (B)") if lengths else ""
    several = sum(isinstance(layer, Recurrent) for layer in layers) > 1
    y = graph.node("Transpose", x, perm=[1, 0, 2][: len(shape)]) if batch_first else x
    y = _scaled(graph, y, "before", ("Sub", "Div"), found.before)
    for i, layer in enumerate(layers):
        place = Place(f"layer{i}", f"layer{i}_" if several else "", given)
        y = WRITERS[type(layer)](graph, y, layer, place)
        shape = layer.output_shape(shape)
    y = graph.node("Softmax", y, axis=-1) if found.softmax else y
    y = _scaled(graph, y, "after", ("Mul", "Add"), found.after and found.after[::-1])
    if batch_first and len(shape) == 3:
        y = graph.node("Transpose", y, perm=[1, 0, 2])
    graph.output(y, "y", shape, f"the output {_axes(shape)}")
    graph.outputs.insert(0, graph.outputs.pop())
    return graph


def _scaled(graph: Graph, x: str, name: str, ops: tuple[str, str], numbers: Scaling | None) -> str:
    """Write two operations with one number per feature."""
    for op, values in zip(ops, numbers or (), strict=False):
        x = graph.node(op, x, graph.constant(f"{name}_{op.lower()}", values))
    return x


def _axes(shape: tuple[Any, ...]) -> str:
    names = {"T": "steps", "B": "batch"}
    return f"({', '.join(names.get(size, 'features') for size in shape)})"


def _proto(graph: Graph, found: Deployed, opset: int) -> Any:
    """Return the model of a graph, with its origin and its configuration."""
    onnx, helper = needed("onnx"), needed("onnx").helper
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LARGEST:
        raise ValueError(f"a file of ONNX has at most 2 GB, got {size:,} bytes of parameters")
    finite({name: array for name, array in graph.constants.items() if name != "least"})
    tensors = [onnx.numpy_helper.from_array(array, k) for k, array in graph.constants.items()]
    version = helper.make_opsetid("", opset)
    made = helper.make_model(
        helper.make_graph(graph.nodes, "rnnx", graph.inputs, graph.outputs, tensors),
        opset_imports=[version],
        ir_version=helper.find_min_ir_version_for([version]),
        producer_name="rnnx",
        producer_version=__version__,
    )
    about = {"rnnx.config": _config(found.layers), **found.about}
    helper.set_model_props(made, {k: json.dumps(v, allow_nan=False) for k, v in about.items()})
    return made


def _config(layers: tuple[Layer, ...]) -> Mapping[str, Any]:
    return layers[0].config() if len(layers) == 1 else Sequential(*layers).config()
