"""From a file of ONNX to a layer or a chain of layers."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from rnnx.backend import Backend
from rnnx.interop.building import target
from rnnx.interop.needed import needed
from rnnx.interop.onnx import chain, parts
from rnnx.interop.onnx.parsing import parsed
from rnnx.interop.onnx.parts import Part
from rnnx.interop.onnx.values import Values, node_name, operator
from rnnx.interop.onnx.weights import ORDER
from rnnx.io import naming, opened, restore_layer
from rnnx.io.format import Arrays

if TYPE_CHECKING:
    from onnx import ModelProto


def from_onnx(
    source: str | PathLike[str] | ModelProto,
    *,
    node: str | None = None,
    backend: str | Backend = "numpy",
    device: Any = None,
    dtype: str | None = None,
) -> Any:
    """Return the layers in a file of ONNX, of any exporter, as a model with equal outputs.

    The graph from its sequence input to its first output must be a chain of the operators below,
    and of what stands between them: Transpose, Reshape, Squeeze, Identity, and Dropout in
    inference. Nothing is approximated: whatever has no equal here raises.

    =========================  =====================================================
    RNN, GRU, LSTM             the layer; consecutive ones that fit become one stack
    Gather of a table          `Embedding`
    MatMul and Add, or Gemm    `Linear`
    Gather of the last step    ``Pool("last")``
    ReduceMean, ReduceMax      ``Pool("mean")``, ``Pool("max")``
    Tanh, Relu, Sigmoid        `Activation`, as a Softmax over the features
    =========================  =====================================================

    A GRU with ``linear_before_reset=0`` becomes ``GRU(reset_after=False)``. Initial states and
    sequence_lens are those of a call here. They must be absent, zeros, or inputs of the graph
    there. What an estimator does around its network, such as scaling, is no layer and raises.

    Parameters
    ----------
    source : path or onnx.ModelProto
        The file. It may be from anybody: no code is run, no other file is opened, and the memory
        taken is a few times the size of the file.
    node : str, optional
        The name of one RNN, GRU or LSTM node, or of its first output where it has no name. Its
        weights become a layer of their own, whatever the rest of the graph is.
    backend, device
        As for `rnnx.get_backend`.
    dtype : {"float32", "float64"}, optional
        By default float64 for a file with weights in float64, else float32, or that of the
        `Backend` given.

    Returns
    -------
    Layer
        The one layer, or a `Sequential`.

    Raises
    ------
    ImportError
        Without the package onnx.
    OSError
        If the file is missing or cannot be read.
    TypeError
        For a source that is neither.
    ValueError
        For anything but such a graph, by the name of the first operator or attribute: peepholes, a
        clip, other activations, ``layout=1``, ``direction="reverse"``, states that are constants
        and not zero; weights in another file; and files that are damaged.

    References
    ----------
    The operators: https://onnx.ai/onnx/operators/.

    Examples
    --------
    >>> import rnnx
    >>> model = rnnx.interop.from_onnx("model.onnx")                           # doctest: +SKIP
    >>> gru = rnnx.interop.from_onnx("speech.onnx", node="/gru/GRU")           # doctest: +SKIP
    """
    onnx = needed("onnx")
    if isinstance(source, str | PathLike):
        name = source
        with opened(name) as file:
            config, arrays = _read(parsed(file.read()), node)
    elif isinstance(source, onnx.ModelProto):
        name = "the model given"
        with naming(name):
            config, arrays = _read(source, node)
    else:
        raise TypeError(f"expected a path or an onnx.ModelProto, got {type(source).__name__}")
    place = target(arrays.values(), backend, device, dtype)
    with naming(name):
        return restore_layer(config, arrays, place)


def _read(proto: Any, node: str | None) -> tuple[dict[str, Any], Arrays]:
    """Return the configuration and the parameters of the layers in a parsed file."""
    values = Values(proto)
    found = _layers(values, proto.graph) if node is None else [_one(values, node)]
    if len(found) == 1:
        return found[0].config, found[0].arrays
    arrays = {f"{i}.{k}": array for i, part in enumerate(found) for k, array in part.arrays.items()}
    return {"layer": "Sequential", "layers": [part.config for part in found]}, arrays


def _layers(values: Values, graph: Any) -> list[Part]:
    if not len(graph.output):
        raise ValueError("its graph has no output")
    return chain.layers(values, graph.output[0].name)


def _one(values: Values, name: str) -> Part:
    """Return the layer of the recurrent node of this name."""
    known = [node for node in values.nodes if operator(node) in ORDER]
    named = [node for node in known if node_name(node) == name]
    if len(named) != 1:
        names = [node_name(node) for node in known]
        raise ValueError(
            f"node must be the name of one RNN, GRU or LSTM node, of {names!r:.300}, "
            f"got {name!r:.80}"
        )
    return parts.recurrent(values, named[0])
