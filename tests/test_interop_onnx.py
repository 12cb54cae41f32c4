"""Models as ONNX: ONNX Runtime computes what the models do, at any sizes and in parts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

import onnx
import onnxruntime

import rnnx
from rnnx import GRU, LSTM, RNN, Activation, Dropout, Embedding, Linear, Pool, Recurrent, Sequential
from rnnx.interop import from_onnx, to_onnx
from rnnx.interop.onnx import writing

Make = Callable[..., Any]
KINDS: dict[str, Make] = {
    "RNN": RNN,
    "RNN relu": partial(RNN, nonlinearity="relu"),
    "GRU": GRU,
    "GRU reset before": partial(GRU, reset_after=False),
    "LSTM": LSTM,
    "rnn": partial(Recurrent, "rnn"),
    "gru": partial(Recurrent, "gru"),
    "gru_reset_before": partial(Recurrent, "gru_reset_before"),
    "lstm": partial(Recurrent, "lstm"),
}
LENGTHS = [5, 0, 3, 1]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4, 3)).astype("float32")
IDS = RNG.integers(0, 7, (5, 4))


def run(proto: Any, **feed: Any) -> dict[str, np.ndarray]:
    """Return all outputs by ONNX Runtime; initial states that are not given are zero."""
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    first_last = session.get_inputs()[0].shape[:2]
    batch = feed["x"].shape[first_last.index("B")]
    for given in session.get_inputs():
        if given.name.endswith(("h0", "c0")) and given.name not in feed:
            rows, _, H = given.shape
            feed[given.name] = np.zeros((rows, batch, H), "float32")
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def exported(model: Any, path: Path | None = None, **options: Any) -> Any:
    """Return a model as ONNX, of which the package finds nothing to complain about."""
    proto = to_onnx(model, path, **options)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def near(found: np.ndarray, expected: Any, most: float = 1e-5) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=most)


def named(state: Any) -> dict[str, Any]:
    """Return the arrays of a state by the names of a layer that is alone."""
    return dict(zip("hc", state if isinstance(state, tuple) else (state,), strict=False))


def drawn(layer: Any, batch: int) -> Any:
    """Return an initial state."""
    sizes = layer.sizes
    state = tuple(
        RNG.standard_normal((sizes.rows, batch, width)).astype("float32")
        for width in sizes.state_sizes.values()
    )
    return state if len(state) > 1 else state[0]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell(
    kind: str, num_layers: int, bidirectional: bool, bias: bool, lengths: Any
) -> None:
    """y and the final states, from given states, equal ours; a row of length zero keeps its."""
    options = {"bidirectional": bidirectional, "bias": bias, "seed": 0}
    layer = KINDS[kind](3, 4, num_layers, **options)
    proto = exported(layer, lengths=lengths is not None)
    for x in (X, X[:1, :1], X[:, :1]):
        state, given = drawn(layer, x.shape[1]), {}
        if lengths is not None:
            given = {"lengths": np.minimum(lengths[: x.shape[1]], len(x)).astype("int32")}
        y, finals = layer(x, state, **given)
        starts = {f"{name}0": array for name, array in named(state).items()}
        found = run(proto, x=x, **starts, **given)
        near(found.pop("y"), y)
        assert list(found) == [f"{name}_n" for name in named(finals)]
        for name, final in named(finals).items():
            near(found[f"{name}_n"], final)


@pytest.mark.parametrize("kind", ["GRU", "GRU reset before", "LSTM"])
def test_states_carry_a_stream(kind: str) -> None:
    """Two halves, and single steps, equal the whole."""
    layer = KINDS[kind](3, 4, 2, seed=0)
    proto = exported(layer)
    whole = run(proto, x=X)
    for cuts in ([2], [1, 2, 3, 4]):
        state: dict[str, Any] = {}
        parts = []
        for part in np.split(X, cuts):
            found = run(proto, x=part, **state)
            parts.append(found.pop("y"))
            state = {name.replace("_n", "0"): array for name, array in found.items()}
        near(np.concatenate(parts), whole["y"])
        near(found["h_n"], whole["h_n"])


@pytest.mark.parametrize("batch_first", [False, True], ids=["(T, B)", "(B, T)"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("how", ["last", "mean", "max", None])
def test_chains(how: str | None, bidirectional: bool, lengths: Any, batch_first: bool) -> None:
    """Symbols in, a vector of each row or step out, after layers of every kind."""
    axes = {"bidirectional": bidirectional, "batch_first": batch_first}
    pooling = [Pool(how, **axes)] if how else []
    width = 8 if bidirectional else 4
    model = Sequential(
        Embedding(7, 3, seed=0), Dropout(0.5), GRU(3, 4, **axes, seed=1),
        LSTM(width, 4, dropout=0.5, **axes, seed=2), Linear(width, 6, seed=3), *pooling,
        *map(Activation, ("tanh", "relu", "sigmoid")), Linear(6, 2, bias=False, seed=4),
        Activation("softmax"),
    )  # fmt: skip
    ids = IDS.T if batch_first else IDS
    given = {} if lengths is None else {"lengths": np.asarray(lengths, "int32")}
    found = run(exported(model, lengths=lengths is not None), x=ids, **given)
    y, states = model(ids, **given)
    near(found["y"], y)
    near(found["layer1_h_n"], states[2])
    near(found["layer2_h_n"], states[3][0])
    near(found["layer2_c_n"], states[3][1])


@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_padding_is_never_read(how: str) -> None:
    """What a Pool after another layer finds at padded steps may be anything, NaN included."""
    model = Sequential(Linear(3, 4, seed=0), Pool(how, bidirectional=True))
    x, lengths = X.copy(), np.asarray(LENGTHS, "int32")
    x[np.arange(5)[:, None] >= lengths] = np.nan
    found = run(exported(model, lengths=True), x=x, lengths=lengths)["y"]
    near(found, model(x, lengths=lengths)[0])
    assert not found[1].any()


def test_a_pool_alone_takes_any_features() -> None:
    """The width of its input is that of the call."""
    proto = exported(Pool("max"))
    near(run(proto, x=X)["y"], X.max(axis=0))
    near(run(proto, x=X[..., :2])["y"], X[..., :2].max(axis=0))


@pytest.mark.parametrize("per_step", [False, True])
def test_estimators(per_step: bool) -> None:
    """A classifier's probabilities, with scaling, and its labels; a regressor's values."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    X_ = np.float64(X.transpose(1, 0, 2)) * [1, 10, 0.1] + [0, 100, -3]
    small = {"epochs": 1, "random_state": 0, "per_step": per_step}
    classes = np.asarray(["up", "down", "ä"])[np.arange(20).reshape(4, 5) % 3]
    y = classes if per_step else classes[:, 0]
    classifier = rnnx.estimators.RNNClassifier(4, bidirectional=True, **small).fit(X_, y)
    proto = exported(classifier)
    with pytest.raises(ValueError, match=r"the Sub .* it is no layer here"):
        from_onnx(proto)
    x = X_.transpose(1, 0, 2).astype("float32")
    found = run(proto, x=x)["y"]
    near(found.swapaxes(0, 1) if per_step else found, np.asarray(classifier.predict_proba(X_)))
    labels = {p.key: p.value for p in proto.metadata_props}["classes"]
    assert json.loads(labels) == classifier.classes_.tolist()
    logits = run(exported(classifier, softmax=False), x=x)["y"]
    assert not np.allclose(logits.sum(axis=-1), 1)

    targets = X_[..., :1] * 50 + 7 if per_step else X_[:, 0, :2] * 50 + 7
    regressor = rnnx.estimators.RNNRegressor(4, cell="lstm", **small).fit(X_, targets)
    found = run(exported(regressor), x=x)["y"]
    expected = np.asarray(regressor.predict(X_)).reshape(found.swapaxes(0, 1).shape if per_step
                                                         else found.shape)  # fmt: skip
    near(found.swapaxes(0, 1) if per_step else found, expected, 1e-5 * np.abs(expected).max())


def test_a_character_model() -> None:
    """Logits of the next character, and the alphabet."""
    text = "to be or not to be ä" * 8
    model = rnnx.characters.CharacterModel(4, epochs=1, seed=0, streams=2, length=9).fit(text)
    proto = exported(model)
    near(run(proto, x=IDS)["y"], model.model_(IDS)[0])
    meta = {p.key: json.loads(p.value) for p in proto.metadata_props}
    assert meta["alphabet"] == model.characters_


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    """Its origin, configuration and axes; node and weight names tell the layer."""
    model = Sequential(Dropout(0.5), GRU(3, 4, 2, batch_first=True), Linear(4, 2))
    proto = exported(model, tmp_path / "model.onnx", lengths=True, softmax=True)
    assert (tmp_path / "model.onnx").read_bytes() == proto.SerializeToString()
    assert (proto.producer_name, proto.producer_version) == ("rnnx", rnnx.__version__)
    config = json.loads({p.key: p.value for p in proto.metadata_props}["rnnx.config"])
    assert rnnx.build(config).config()["layers"] == model.config()["layers"][1:]
    values = {
        v.name: ([d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim], v.doc_string)
        for v in [*proto.graph.input, *proto.graph.output]
    }
    state = "h (layers and directions, batch, hidden)"
    assert values == {
        "x": (["B", "T", 3], "the input (batch, steps, features)"),
        "lengths": (["B"], "valid steps of each row (B)"),
        "h0": ([2, "B", 4], f"initial {state}"),
        "y": (["B", "T", 2], "the output (batch, steps, features)"),
        "h_n": ([2, "B", 4], f"final {state}"),
    }
    nodes = {node.op_type: node for node in proto.graph.node}
    assert nodes["GRU"].name == "layer0_GRU_l1"
    assert list(nodes["GRU"].input)[1:4] == ["layer0_W_l1", "layer0_R_l1", "layer0_B_l1"]
    near(run(proto, x=X, lengths=np.full(5, 4, "int32"))["y"].sum(axis=-1), np.ones((5, 4)))


def test_a_newer_opset() -> None:
    """Up to the newest that the package knows, and named in the file."""
    newest = onnx.defs.onnx_opset_version()
    proto = exported(Sequential(GRU(3, 4, seed=0), Pool("mean")), lengths=True, opset=newest)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", newest)]


def test_float64_is_written_as_float32() -> None:
    """As the recurrent operators of ONNX Runtime compute."""
    layer = GRU(3, 4, dtype="float64", seed=0)
    near(run(exported(layer), x=X)["y"], layer(X)[0])


class Own(Linear):
    """A layer of somebody."""


@pytest.mark.parametrize(
    ("model", "options", "error", "words"),
    [
        (LSTM(3, 4, proj_size=2), {}, ValueError, "proj_size=0, got 2 in a LSTM"),
        (Recurrent("leaky_rnn", 3, 4), {}, ValueError, "LeakyRNNCell in a Recurrent"),
        (Recurrent("layer_norm_lstm", 3, 4), {}, ValueError, "LayerNormLSTMCell"),
        (Sequential(RNN(3, 4), Own(4, 2)), {}, ValueError, "got a Own"),
        (Dropout(0.5), {}, ValueError, "layers other than Dropout, got none"),
        (Sequential(Pool(), Embedding(3, 4)), {}, ValueError, "Embedding must be the first layer"),
        (rnnx.SimpleRNN(3, 4, 2), {}, TypeError, "expected a layer"),
        (Linear(3, 4), {"lengths": True}, ValueError, "needs a recurrent layer or a Pool"),
        (GRU(3, 4), {"opset": 21}, ValueError, "opset must be an integer from 22"),
        (GRU(3, 4), {"opset": 10**9}, ValueError, "opset must be"),
    ],
)
def test_refusals(model: Any, options: Any, error: Any, words: str) -> None:
    """What ONNX cannot hold is refused by name."""
    with pytest.raises(error, match=words):
        to_onnx(model, **options)


def test_values_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Infinity in float32, and 2 GB; an existing file stays as it was."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    layer = Linear(1, 1, dtype="float64")
    layer.set_params({"weight": [[1e39]]})
    with pytest.raises(ValueError, match="finite numbers in 'layer0_weight'"):
        to_onnx(layer, path)
    monkeypatch.setattr(writing, "LARGEST", 100)
    with pytest.raises(ValueError, match="at most 2 GB, got 696 bytes"):
        to_onnx(GRU(3, 4, bidirectional=True, bias=False), path)
    assert path.read_bytes() == b"old"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        to_onnx(GRU(3, 4))
    with pytest.raises(ImportError, match="pip install onnx"):
        from_onnx("model.onnx")
