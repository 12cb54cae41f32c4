"""Files of ONNX from anybody: the layers that they hold, or one line that names the file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("sklearn", reason="needs scikit-learn")

import onnx
from fuzz import bar
from fuzz.kinds import Good, Held
from fuzz.mutations import mutated
from onnx import TensorProto, helper, numpy_helper

from rnnx import GRU, LSTM, RNN, Embedding, Linear, Pool, Sequential
from rnnx.interop import from_onnx, to_onnx
from rnnx.interop.onnx import parsing


def weights(proto: Any) -> Held:
    """Return the weights that lead to the first output of a file, in order, as onnx reads them."""
    arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    wanted, found = {proto.graph.output[0].name}, []
    for node in reversed(proto.graph.node):
        if wanted & {*node.output}:
            wanted |= {*node.input} - {""}
            own = [arrays[name] for name in node.input if name in arrays]
            found[:0] = _one_bias(node, [a for a in own if a.ndim and a.dtype.kind == "f"])
    return {"arrays": dict(enumerate(found))}


def _one_bias(node: Any, own: list[np.ndarray]) -> list[np.ndarray]:
    """Return a node's weights; with the reset before the product a gate's biases are one."""
    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type != "GRU" or options.get("linear_before_reset") or len(own) < 3:
        return own
    W, R, B = own
    B = B.reshape(len(B), 2, 3, -1).copy()
    B[:, 0, 2], B[:, 1, 2] = B[:, 0, 2] + B[:, 1, 2], 0
    return [W, R, B.reshape(len(B), -1)]


def good(model: Any, **options: Any) -> Good:
    """Return the file of a model, how the package reads it, and how onnx does."""
    return Good(
        "model.onnx",
        to_onnx(model, **options).SerializeToString(),
        lambda path: weights(to_onnx(from_onnx(path))),
        lambda raw: weights(onnx.load_from_string(raw)),
        False,
    )


def goods() -> list[Good]:
    chain = Sequential(
        Embedding(5, 2, seed=0), GRU(2, 2, 2, bidirectional=True, batch_first=True, seed=1),
        Linear(4, 3, seed=2),
    )  # fmt: skip
    pooled = Sequential(LSTM(2, 3, seed=3), Pool("mean"), Linear(3, 2, bias=False, seed=4))
    return [
        good(chain),
        good(pooled, lengths=True),
        good(GRU(2, 2, reset_after=False, seed=5)),
        good(RNN(2, 2, nonlinearity="relu", bias=False, seed=6)),
    ]


def test_two_thousand_damaged_files(tmp_path: Path) -> None:
    """Some are read, with the weights that onnx finds in them; all others are refused."""
    rng, files, ends = np.random.default_rng(0), goods(), Counter[str]()
    for i in range(2000):
        whole, other = files[i % 4], files[int(rng.integers(4))].whole
        ends[bar._end(tmp_path, whole, mutated(whole.whole, other, rng), False)] += 1
    assert {*ends} == {bar.RIGHT, bar.REFUSED}, ends
    assert min(ends.values()) > 100


def refused(tmp_path: Path, raw: bytes | Any) -> str:
    """Return why a file is refused, once it is clear that it was in one line and in no memory."""
    raw = raw if isinstance(raw, bytes) else raw.SerializeToString()
    found: list[str] = []

    def load(path: Path) -> Held:
        try:
            return weights(to_onnx(from_onnx(path)))
        except ValueError as error:
            found.append(str(error))
            raise

    assert (
        bar._end(tmp_path, Good("model.onnx", b"", load, weights, False), raw, True) == bar.REFUSED
    )
    return found[0]


def gru() -> Any:
    return to_onnx(GRU(2, 2, seed=0))


def external(proto: Any) -> None:
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")


def external_by_halves(proto: Any) -> None:
    proto.graph.initializer[0].external_data.add(key="location", value="../weights")


def external_in_a_node(proto: Any) -> None:
    external(proto)
    node = helper.make_node("Constant", [], ["layer0_W_l0"], value=proto.graph.initializer[0])
    del proto.graph.initializer[0]
    proto.graph.node.insert(0, node)


def shaped(*dims: int) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        proto.graph.initializer[0].dims[:] = dims

    return change


def retyped(kind: int) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        proto.graph.initializer[0].data_type = kind

    return change


def wired(**places: str) -> Callable[[Any], None]:
    """Return a change of the first node's inputs and outputs, by the letter and the place."""

    def change(proto: Any) -> None:
        for place, name in places.items():
            node = proto.graph.node[0]
            names = node.input if place[0] == "i" else node.output
            names[int(place[1])] = name

    return change


def circle(proto: Any) -> None:
    proto.graph.node[0].input[0] = "y"


def state_in_a_circle(proto: Any) -> None:
    proto.graph.node[0].input[5] = "round"
    proto.graph.node.append(helper.make_node("Identity", ["round"], ["round"]))


def twice(proto: Any) -> None:
    proto.graph.initializer.append(proto.graph.initializer[0])


def made_twice(proto: Any) -> None:
    proto.graph.node.append(helper.make_node("Identity", ["x"], ["y"]))


def nameless(proto: Any) -> None:
    proto.graph.initializer[0].name = ""


def cut(field: str) -> Callable[[Any], None]:
    return lambda proto: proto.graph.ClearField(field)


def attribute(name: str, value: Any) -> Callable[[Any], None]:
    """Return a change of an attribute of the first node."""

    def change(proto: Any) -> None:
        kept = [a for a in proto.graph.node[0].attribute if a.name != name]
        del proto.graph.node[0].attribute[:]
        proto.graph.node[0].attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def repeated(proto: Any) -> None:
    proto.graph.node[0].attribute.append(proto.graph.node[0].attribute[0])


def referring(proto: Any) -> None:
    proto.graph.node[0].attribute[0].ref_attr_name = "other"


def functions(proto: Any) -> None:
    proto.functions.add(name="GRU", domain="")


def opset(version: int) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        proto.opset_import[0].version = version

    return change


def two_opsets(proto: Any) -> None:
    proto.opset_import.add(domain="ai.onnx", version=20)


def sparse(proto: Any) -> None:
    tensor = proto.graph.initializer[0]
    proto.graph.sparse_initializer.add(values=tensor, dims=tensor.dims)
    del proto.graph.initializer[0]


def colours(proto: Any) -> None:
    proto.graph.node[0].op_type = "\x1b[31mGRU\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "weights 'layer0_W_l0' are in another file, which is not opened"),
        (external_by_halves, "are in another file"),
        (external_in_a_node, "are in another file"),
        (shaped(1, 6, 2**40), "wrong shape, [1, 6, 1099511627776]"),
        (shaped(2**62, 2**62, 2**62), "wrong shape, [4611686018427387904"),
        (shaped(1, 6, 2**20), "must hold 6,291,456 numbers for its shape, got 12"),
        (shaped(-1, -6, 2), "wrong shape, [-1, -6, 2]"),
        (shaped(0, 6, 2), "wrong shape"),
        (shaped(*[1] * 9, 12), "wrong shape"),
        (shaped(1, 2, 6), "W of the GRU 'layer0_GRU_l0' must have shape (1, 6, 6), got (1, 2, 6)"),
        (shaped(12), "must have 3 axes"),
        (retyped(TensorProto.DOUBLE), "must hold 12 numbers for its shape, got 6"),
        (retyped(TensorProto.STRING), "must be of FLOAT, DOUBLE"),
        (retyped(999), "must be of FLOAT, DOUBLE"),
        (wired(i1=""), "must be a constant, got ''"),
        (wired(i2="lost"), "must be a constant, got 'lost'"),
        (wired(i1="x"), "must be a constant, got 'x'"),
        (wired(i4="x"), "lengths 'x' are computed"),
        (wired(i0="lost"), "'lost' comes from no sequence input"),
        (wired(i0="layer0_W_l0"), "comes from no sequence input"),
        (wired(o0="lost"), "comes from no sequence input"),
        (wired(o0="other", o1="layer0_GRU_l0_0"), "only its first output is read"),
        (circle, "round in a circle"),
        (state_in_a_circle, "its initial state 'round' is computed"),
        (twice, "gives one name to two values"),
        (made_twice, "gives one name to two values"),
        (nameless, "none to one"),
        (cut("output"), "no output"),
        (cut("node"), "'y' comes from no sequence input"),
        (cut("input"), "'x' comes from no sequence input"),
        (cut("initializer"), "must be a constant, got 'layer0_W_l0'"),
        (sparse, "must be a constant, got 'layer0_W_l0'"),
        (attribute("hidden_size", 2.0), "hidden_size of type int, got 2.0"),
        (attribute("hidden_size", "2"), "hidden_size of type int"),
        (attribute("direction", b"\xff"), "codec can't decode"),
        (attribute("activations", ["Tanh"] * 10**4), "activations=['Tanh', "),
        (attribute("linear_before_reset", 2), "linear_before_reset=2"),
        (attribute("body", gru().graph), "'body', which has no equal here"),
        (repeated, "repeats an attribute"),
        (referring, "attribute"),
        (functions, "functions of its own"),
        (opset(6), "one opset from 7"),
        (opset(10**6), "one opset from 7"),
        (two_opsets, "one opset from 7"),
        (colours, r"'\x1b[31mGRU\n'"),
    ],
)  # fmt: skip
def test_attacks(change: Callable[[Any], None], words: str, tmp_path: Path) -> None:
    """Each is refused by its name, in one line and in little memory."""
    proto = gru()
    change(proto)
    assert words in refused(tmp_path, proto)


def nested(levels: int) -> bytes:
    """Return a file of graphs in attributes of graphs."""
    raw = b""
    for _ in range(levels):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # an attribute's g, a node's attribute, a node
            raw = tag + _varint(len(raw)) + raw
    return b"\x3a" + _varint(len(raw)) + raw


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number % 128 + 128]), number // 128
    return found + bytes([number])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "expected a file of ONNX"),
        (b"PK\3\4" * 9, "not a file of ONNX"),
        (b"\x80" * 99, "not a file of ONNX"),
        (gru().SerializeToString()[:-9], "not a file of ONNX"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not a file of ONNX"),
        (b"\x3b\x3c", "not a file of ONNX"),  # a group
        (nested(20), "one opset"),
        (nested(2_000), "not a file of ONNX"),
    ],
    ids=range(8),
)
def test_bytes_that_are_no_model(raw: bytes, words: str, tmp_path: Path) -> None:
    """Not those of a message, or too deep in each other: refused before they are parsed."""
    assert words in refused(tmp_path, raw)


def test_too_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes of a file are a node, which would take a hundred: they are counted first."""
    monkeypatch.setattr(parsing, "VALUE_LIMIT", 20_000)
    raw = b"\x3a" + _varint(40_000) + b"\x0a\x00" * 20_000
    assert "more than 20,000 parts" in refused(tmp_path, raw)


def test_shared_weights(tmp_path: Path) -> None:
    """A thousand layers of the same weights would take a thousand times the memory."""
    proto = to_onnx(Linear(300, 300, bias=False, seed=0))
    node = proto.graph.node.pop()
    for k in range(1000):
        proto.graph.node.append(
            helper.make_node("MatMul", [f"y{k}" if k else "x", node.input[1]], [f"y{k + 1}"])
        )
    proto.graph.output[0].name = "y1000"
    assert "its nodes share weights" in refused(tmp_path, proto)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe(tmp_path: Path) -> None:
    """It is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a device or a pipe"):
        from_onnx(tmp_path / "pipe")
