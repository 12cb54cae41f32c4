"""Layers from files of ONNX: equal to what the writer of the file computes, or refused by name."""

from __future__ import annotations

import io as streams
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper

from rnnx import GRU, LSTM, RNN, Activation, Embedding, Linear, Pool, Sequential
from rnnx.interop import from_onnx, to_onnx

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4, 3)).astype("float32")


def near(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def by_runtime(proto: Any, x: np.ndarray) -> np.ndarray:
    """Return the first output by ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    session = runtime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    y: np.ndarray = session.run(None, {session.get_inputs()[0].name: x})[0]
    return y


# files of torch


def of_torch(module: Any, *x: Any) -> Any:
    """Return a module as torch writes it, with any numbers of steps and rows."""
    import torch

    file = streams.BytesIO()
    axes = {name: {0: "a", 1: "b"} for name in ("x", "y")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), x, file, dynamo=False, input_names=["x", "h"], output_names=["y"],
            dynamic_axes=axes if len(x) == 1 else None,
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def torch_model(kind: str, last: bool = False, **options: Any) -> Any:
    """Return a recurrent layer of torch and a linear one, of all steps or of the last."""
    torch = pytest.importorskip("torch", reason="needs torch")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = getattr(torch.nn, kind)(3, 4, **options)
            self.linear = torch.nn.Linear(8 if options.get("bidirectional") else 4, 2)

        def forward(self, x: Any, h: Any = None) -> Any:
            y, h = self.layer(x, h)
            if last:
                y = y[:, -1] if options.get("batch_first") else y[-1]
            return self.linear(y), h

    torch.manual_seed(0)
    return Model()


@pytest.mark.parametrize("last", [False, True], ids=["steps", "last"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["(T, B)", "(B, T)"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_files_of_torch(
    kind: str, num_layers: int, bidirectional: bool, batch_first: bool, last: bool
) -> None:
    """The layer comes back with torch's weights and options, and the outputs are torch's."""
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "batch_first": batch_first}
    module = torch_model(kind, last, **options)
    import torch

    proto = of_torch(module, torch.zeros(2, 3, 3))
    model = from_onnx(proto)
    with torch.no_grad():
        expected = module(torch.asarray(X))[0].numpy()
    near(model(X)[0], expected)
    near(by_runtime(proto, X), expected)
    assert [type(layer).__name__ for layer in model.layers] == [
        kind, *["Pool"] * last, "Linear",
    ]  # fmt: skip
    for name, weight in module.layer.state_dict().items():
        assert np.array_equal(model.params[f"0.{name}"], weight.numpy())
    config = model.layers[0].config()
    assert {name: config[name] for name in options} == options


def test_initial_states_of_torch() -> None:
    """Those that are inputs of the graph are left to the call."""
    module = torch_model("GRU", num_layers=2)
    import torch

    h = torch.randn(2, 4, 4)
    model = from_onnx(of_torch(module, torch.zeros(5, 4, 3), h))
    with torch.no_grad():
        y, h_n = module(torch.asarray(X), h)
    found, (state, _) = model(X, [h.numpy(), None])
    near(found, y.numpy())
    near(state, h_n.numpy())


def test_constant_initial_states() -> None:
    """Zeros are no news; other numbers are refused."""
    torch = pytest.importorskip("torch", reason="needs torch")

    class Model(torch.nn.Module):
        def __init__(self, start: float) -> None:
            super().__init__()
            self.layer = torch.nn.GRU(3, 4)
            self.register_buffer("start", torch.full((1, 4, 4), start))

        def forward(self, x: Any) -> Any:
            return self.layer(x, self.start)[0]

    assert isinstance(from_onnx(of_torch(Model(0.0), torch.zeros(5, 4, 3))), GRU)
    with pytest.raises(ValueError, match=r"initial state of the GRU .* is constant and not zero"):
        from_onnx(of_torch(Model(0.5), torch.zeros(5, 4, 3)))


# files of ours


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda **o: RNN(3, 4, 2, nonlinearity="relu", **o),
        lambda **o: GRU(3, 4, 3, bias=False, **o),
        lambda **o: LSTM(3, 4, **o),
    ],
    ids=["RNN", "GRU", "LSTM"],
)
def test_layers_come_back(
    make: Callable[..., Any], bidirectional: bool, batch_first: bool, lengths: bool
) -> None:
    """With the same configuration, and the weights bit for bit."""
    layer = make(bidirectional=bidirectional, batch_first=batch_first, seed=0)
    found = from_onnx(to_onnx(layer, lengths=lengths))
    assert found.config() == layer.config()
    assert all(np.array_equal(found.params[name], w) for name, w in layer.params.items())


@pytest.mark.parametrize("lengths", [None, [5, 0, 3, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("how", ["last", "mean", "max", None])
def test_chains_come_back(
    how: str | None, bidirectional: bool, batch_first: bool, lengths: Any, tmp_path: Path
) -> None:
    """Through a file, with equal outputs; consecutive layers of one kind as a stack."""
    axes = {"bidirectional": bidirectional, "batch_first": batch_first}
    width = 8 if bidirectional else 4
    model = Sequential(
        Embedding(7, 3, seed=0), GRU(3, 4, **axes, seed=1), GRU(width, 4, **axes, seed=2),
        LSTM(width, 4, **axes, seed=3), Linear(width, 6, seed=4),
        *([Pool(how, **axes)] if how else []), Linear(6, 2, bias=False, seed=5),
    )  # fmt: skip
    to_onnx(model, tmp_path / "model.onnx", lengths=lengths is not None)
    found = from_onnx(tmp_path / "model.onnx")
    ids = RNG.integers(0, 7, (4, 5) if batch_first else (5, 4))
    given = {} if lengths is None else {"lengths": lengths}
    assert np.array_equal(found(ids, **given)[0], model(ids, **given)[0])
    assert len(found.layers) == len(model.layers) - 1
    assert found.layers[1].config()["num_layers"] == 2


def test_backend_and_dtype() -> None:
    """By default in float32 on NumPy; else where it was asked for."""
    proto = to_onnx(GRU(3, 4, seed=0))
    assert from_onnx(proto).backend.dtype_name == "float32"
    assert from_onnx(proto, dtype="float64").backend.dtype_name == "float64"
    with pytest.raises(ValueError, match="dtype must be"):
        from_onnx(proto, dtype="int8")
    pytest.importorskip("torch", reason="needs torch")
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    found = from_onnx(graph([node], {"W": np.ones((3, 2))}), backend="torch")
    assert found.backend.dtype_name == "float64"
    assert found(np.ones((1, 3)))[0].tolist() == [[3, 3]]
    with pytest.raises(TypeError, match=r"expected a path or an onnx\.ModelProto, got bytes"):
        from_onnx(b"")  # type: ignore[arg-type]


# files by hand


def graph(
    nodes: list[Any], arrays: dict[str, Any], shape: Any = ("T", "B", 3), opset: int = 22
) -> Any:
    """Return a model from x to y."""
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)
        for name, axes in (("x", shape), ("y", None))
    )
    tensors = [numpy_helper.from_array(np.asarray(array), k) for k, array in arrays.items()]
    made = helper.make_graph(nodes, "by hand", [x], [y], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def one_node(op: str = "GRU", gates: int = 3, dtype: str = "float32", **attributes: Any) -> Any:
    """Return a model of a recurrent node, named "node"."""
    shapes = {"W": (1, 4 * gates, 3), "R": (1, 4 * gates, 4), "B": (1, 8 * gates)}
    arrays = {k: RNG.standard_normal(shape).astype(dtype) for k, shape in shapes.items()}
    node = helper.make_node(op, ["x", "W", "R", "B"], ["Y"], name="node", **attributes)
    squeeze = helper.make_node("Squeeze", ["Y", "axes"], ["y"])
    return graph([node, squeeze], {**arrays, "axes": np.asarray([1])})


def test_a_reset_before_the_product() -> None:
    """linear_before_reset=0, the default, with both biases of h."""
    proto = one_node(hidden_size=4)
    model = from_onnx(proto)
    assert model.config()["reset_after"] is False
    near(model(X)[0], by_runtime(proto, X))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("as_nodes", [False, True], ids=["initializers", "Constant nodes"])
def test_weights_of_any_float(dtype: str, as_nodes: bool) -> None:
    """Exactly, in float64 where the file has it, else in float32."""
    host = np.dtype("float32" if dtype == "bfloat16" else dtype)
    proto = one_node("LSTM", 4, str(host), hidden_size=4)
    if dtype == "bfloat16":
        for tensor in list(proto.graph.initializer)[:3]:
            array = (numpy_helper.to_array(tensor).view("uint32") >> 16).astype("uint16")
            tensor.CopyFrom(
                helper.make_tensor(
                    tensor.name, TensorProto.BFLOAT16, array.shape, array.tobytes(), raw=True
                )
            )
    W = numpy_helper.to_array(proto.graph.initializer[0]).astype("float64")[0]
    if as_nodes:
        for tensor in proto.graph.initializer:
            proto.graph.node.insert(
                0, helper.make_node("Constant", [], [tensor.name], value=tensor)
            )
        del proto.graph.initializer[:]
    model = from_onnx(proto)
    assert model.backend.dtype_name == ("float64" if dtype == "float64" else "float32")
    i, o, f, c = np.split(W, 4)
    assert np.array_equal(model.params["weight_ih_l0"], np.concatenate([i, f, c, o]))


def test_numbers_outside_raw_data() -> None:
    """Fields of numbers, of the length that the shape says."""
    proto = one_node("RNN", 1, hidden_size=4, activations=["Relu"])
    expected = from_onnx(proto)
    for tensor in list(proto.graph.initializer)[:3]:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(
            helper.make_tensor(tensor.name, TensorProto.FLOAT, array.shape, array.reshape(-1))
        )
    found = from_onnx(proto)
    assert found.config()["nonlinearity"] == "relu"
    assert all(np.array_equal(found.params[k], w) for k, w in expected.params.items())
    del proto.graph.initializer[0].float_data[0]
    with pytest.raises(ValueError, match=r"W of the RNN 'node' must hold 12 numbers .* got 11"):
        from_onnx(proto)


@pytest.mark.parametrize("transB", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_gemm(transB: int, bias: bool) -> None:
    """The linear layer of one vector per row, with its weights either way."""
    arrays = {"W": RNG.standard_normal((2, 3) if transB else (3, 2)).astype("f4")}
    arrays |= {"C": np.ones(2, "f4")} if bias else {}
    node = helper.make_node("Gemm", ["x", *arrays], ["y"], transB=transB)
    proto = graph([node], arrays, ("B", 3))
    near(from_onnx(proto)(X[0])[0], by_runtime(proto, X[0]))


def test_what_does_nothing_in_inference() -> None:
    """Identity and Dropout, and a bias on the left."""
    arrays = {"W": RNG.standard_normal((3, 2)).astype("f4"), "b": np.ones(2, "f4"),
              "ratio": np.float32(0.5), "mode": np.bool_(False)}  # fmt: skip
    nodes = [
        helper.make_node("Identity", ["x"], ["i"]),
        helper.make_node("Dropout", ["i", "ratio", "mode"], ["d"]),
        helper.make_node("MatMul", ["d", "W"], ["m"]),
        helper.make_node("Add", ["b", "m"], ["y"]),
    ]
    proto = graph(nodes, arrays)
    model = from_onnx(proto)
    assert isinstance(model, Linear)
    near(model(X)[0], by_runtime(proto, X))
    proto.graph.initializer[3].CopyFrom(numpy_helper.from_array(np.bool_(True), "mode"))
    with pytest.raises(ValueError, match=r"Dropout .* expected training_mode=False"):
        from_onnx(proto)


def test_a_softmax_is_a_layer() -> None:
    """Over the features, wherever it is; over another axis it raises."""
    model = Sequential(Pool("last"), Linear(3, 2, seed=1))
    proto = to_onnx(model, softmax=True)
    same = from_onnx(proto)
    assert same.config() == Sequential(*model.layers, Activation("softmax")).config()
    near(same(X)[0], by_runtime(proto, X))
    proto.graph.node[-1].attribute[0].i = 0
    with pytest.raises(ValueError, match="softmax over the last axis, got axis=0"):
        from_onnx(proto)


def test_one_node_of_any_graph() -> None:
    """By its name, or by that of its first output."""
    proto = one_node(hidden_size=4, linear_before_reset=1)
    alone = from_onnx(proto)
    proto.graph.node[1].op_type = "Conv"
    with pytest.raises(ValueError, match=r"the Conv 'y': expected .* which are \['node'\]"):
        from_onnx(proto)
    for name in ("node", "Y"):
        found = from_onnx(proto, node=name)
        assert isinstance(found, GRU)
        assert all(np.array_equal(found.params[k], w) for k, w in alone.params.items())
        proto.graph.node[0].name = ""
    with pytest.raises(ValueError, match=r"of \['Y'\], got 'other'"):
        from_onnx(proto, node="other")


def given(**attributes: Any) -> Callable[[Any], None]:
    """Return a change of a node's attributes."""

    def change(proto: Any) -> None:
        for name, value in attributes.items():
            proto.graph.node[0].attribute.append(helper.make_attribute(name, value))

    return change


def inserted(op: str, **attributes: Any) -> Callable[[Any], None]:
    """Return a change that puts a node at the end of the graph."""

    def change(proto: Any) -> None:
        proto.graph.node[-1].output[0] = "between"
        proto.graph.node.append(helper.make_node(op, ["between"], ["y"], **attributes))

    return change


def fed(place: int, array: Any, op: str = "") -> Callable[[Any], None]:
    """Return a change that gives a node one more input."""

    def change(proto: Any) -> None:
        names = proto.graph.node[0].input
        names.extend([""] * (place - len(names)))
        names.append("more")
        if op:
            proto.graph.node.append(helper.make_node(op, ["x"], ["more"]))
        else:
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), "more"))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (given(clip=1.0), "'clip', which has no equal"),
        (given(input_forget=1), "input_forget=1"),
        (given(activations=["Sigmoid", "Relu", "Tanh"]), "activations=.*Relu"),
        (given(activation_alpha=[0.1]), "activation_alpha=.*no equal"),
        (given(activation_beta=[0.1]), "activation_beta=.*no equal"),
        (given(layout=1), "layout=1"),
        (given(direction="reverse"), "direction='reverse'"),
        (given(direction="bidirectional"), "W of the LSTM 'node' must have shape"),
        (given(hidden_size=5), "hidden_size=5, its weights 4"),
        (given(hidden_size=4.0), "hidden_size of type int, got 4.0"),
        (given(hidden_size=4, direction=3), "direction of type str, got 3"),
        (fed(7, np.zeros((1, 12), "f4")), "peepholes"),
        (fed(4, np.asarray([5, 5, 5, 5], "i4")), "constant sequence_lens"),
        (fed(4, None, "Shape"), "lengths 'more' are computed"),
        (fed(5, np.full((1, 4, 4), 0.5, "f4")), "constant and not zero"),
        (fed(6, None, "Erf"), "initial state 'more' is computed"),
        (fed(5, None, "ConstantOfShape"), None),
        (fed(6, np.zeros((1, 4, 4), "f4")), None),
        (inserted("Elu"), "the Elu 'y': it is no layer here"),
        (inserted("Relu"), None),
        (inserted("Softmax"), None),
        (inserted("Sigmoid", own=1), "has 'own', which has no equal"),
        (inserted("Relu", domain="own"), "the 'own.Relu' 'y'"),
        (inserted("Transpose", perm=[1, 0, 2]), "steps and batch in another order"),
        (inserted("Transpose", perm=[2, 1, 0]), r"perm=\[2, 1, 0\] is not between"),
        (inserted("Squeeze", axes=[1]), r"axes=\[1\] is not between"),
        (inserted("ReduceMean", axes=[2], keepdims=0), "axis 2 is not that of time"),
        (inserted("ReduceMean", axes=[0]), "expected keepdims=0"),
        (inserted("ReduceMean", axes=[0], keepdims=0), None),
    ],
)  # fmt: skip
def test_what_has_no_equal(change: Callable[[Any], None], words: str | None) -> None:
    """It is refused by name, in one line; and what seems odd but has an equal is not."""
    proto = one_node("LSTM", 4)
    change(proto)
    if words is None:
        from_onnx(proto)
        return
    with pytest.raises(ValueError, match=words) as caught:
        from_onnx(proto)
    assert "\n" not in str(caught.value)


def test_pools_that_read_padding() -> None:
    """The last step of all rows is not that of each, where the layers before take lengths."""
    proto = to_onnx(Sequential(GRU(3, 4, seed=0), Pool("last")))
    proto.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]))
    proto.graph.node[0].input[4] = "lengths"
    with pytest.raises(ValueError, match="its lengths are not those of the layer before"):
        from_onnx(proto)


def test_an_old_softmax() -> None:
    """Before opset 13 it is over all axes from the second."""
    proto = to_onnx(GRU(3, 4, seed=0), softmax=True)
    del proto.graph.node[-1].attribute[:]
    assert isinstance(from_onnx(proto).layers[1], Activation)
    proto.opset_import[0].version = 12
    with pytest.raises(ValueError, match="got axis=1"):
        from_onnx(proto)
