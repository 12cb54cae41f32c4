"""Weights from torch and for torch, compared on torch's own outputs; files need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from cases import assert_near, recurrent

import rnnx
from rnnx.interop import from_torch, to_torch

X = np.random.default_rng(0).standard_normal((7, 3, 4))
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"num_layers": 2, "bidirectional": True},
    "without bias": {"bias": False, "batch_first": True},
}


def layer(kind: str, **options: Any) -> Any:
    """Return a layer of ours in float64; a GRU has non-zero b_hn."""
    return recurrent(kind, 4, 5, dtype="float64", seed=0, **options)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["RNN", "RNN-relu", "GRU", "LSTM", "LSTM-proj"])
def test_a_file_of_ours_is_a_state_dict_and_back(
    kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Of torch's names alone, as another reader of safetensors sees it; the same layer comes back.

    A state_dict says all but the nonlinearity of an RNN and the order of the axes.
    """
    ours, path = layer(kind, **options), tmp_path / "layer.safetensors"
    rnnx.save(path, ours)
    state_dict = safetensors.numpy.load_file(path)
    assert {*state_dict} == {*ours.params}
    said = {"nonlinearity": ours.cell.nonlinearity} if kind.startswith("RNN") else {}
    said |= {"batch_first": ours.batch_first}
    prefixed = {f"a.b.{name}": W for name, W in state_dict.items()} | {"a.c": np.ones(2)}
    for twin in (from_torch(path, **said), from_torch(prefixed, prefix="a.b", **said)):
        assert type(twin) is type(ours)
        assert twin.config() == ours.config()
        np.testing.assert_array_equal(twin(X)[0], ours(X)[0])


def test_parameters_are_copies() -> None:
    """What is written into the state_dict later does not reach the layer."""
    state_dict = {name: W.copy() for name, W in layer("GRU").params.items()}
    twin = from_torch(state_dict)
    before = twin(X)[0]
    for W in state_dict.values():
        W[...] = 0
    np.testing.assert_array_equal(twin(X)[0], before)


def test_narrow_numbers_are_exact_in_float32(tmp_path: Path) -> None:
    """float16 and bfloat16 files; float64 stays, unless asked otherwise."""
    gru = rnnx.GRU(4, 5, seed=0)
    half = {name: W.astype("float16") for name, W in gru.params.items()}
    safetensors.numpy.save_file(half, tmp_path / "half")
    for name, W in from_torch(tmp_path / "half").params.items():
        assert W.dtype == np.float32
        np.testing.assert_array_equal(W, half[name])
    upper = {k: (W.view("uint32") >> 16).astype("uint16") for k, W in gru.params.items()}
    raw = safetensors.numpy.save(upper)
    length = 8 + int.from_bytes(raw[:8], "little")
    header = raw[8:length].replace(b'"U16"', b'"BF16"')
    (tmp_path / "brain").write_bytes(len(header).to_bytes(8, "little") + header + raw[length:])
    for name, W in from_torch(tmp_path / "brain").params.items():
        np.testing.assert_array_equal(W.view("uint32"), upper[name].astype("uint32") << 16)
    assert from_torch(layer("GRU").params).backend.dtype_name == "float64"
    assert from_torch(layer("GRU").params, dtype="float32").backend.dtype_name == "float32"


WRONG = [
    ({}, "got nothing: choose"),
    ({"weight": np.ones((2, 3))}, "got 'weight'"),
    ({"lstm.weight_ih_l0": np.ones((4, 1)), "fc.bias": np.ones(2)}, r"prefix= \(lstm, fc\)"),
    ({"weight_ih_l0": np.ones((4, 1)), "weight_ih": np.ones((4, 1))}, "got both"),
    ({"weight_ih_l1": np.ones((4, 1)), "weight_hh_l1": np.ones((4, 1))}, "expected all parameters"),
    ({"weight_ih_l0": np.ones((4, 2))}, "expected the parameter weight_hh"),
    ({"weight_ih_l0": np.ones((5, 2)), "weight_hh_l0": np.ones((5, 2))}, "1, 3 or 4 times 2"),
    ({"weight_ih_l0": np.ones((8, 2)), "weight_hh_l0": np.ones((7, 2))}, "weight_hh_l0 must have"),
    ({"weight_ih_l0": np.ones(8), "weight_hh_l0": np.ones((7, 2))}, "weight_ih must be a matrix"),
    ({"weight": np.full((2, 3), np.nan), "bias": np.ones(2)}, "finite"),
]


@pytest.mark.parametrize(("state_dict", "words"), WRONG)
def test_what_is_not_one_layer_is_refused(state_dict: dict[str, Any], words: str) -> None:
    """With what was found, and a way out."""
    with pytest.raises(ValueError, match=words):
        from_torch(state_dict)


def test_nothing_is_guessed() -> None:
    """The nonlinearity of an RNN, what belongs to other kinds, other cells, integers."""
    with pytest.raises(ValueError, match="must be 'tanh' or 'relu' for an RNN"):
        from_torch(layer("RNN").params)
    with pytest.raises(ValueError, match="got it for this LSTM"):
        from_torch(layer("LSTM").params, nonlinearity="tanh")
    for kind in ("gru_reset_before", "leaky_rnn", "layer_norm_lstm"):
        with pytest.raises(ValueError, match=r"expected all parameters of one"):
            from_torch(layer(kind).params)
    with pytest.raises(TypeError, match="weight must be a floating array, got dtype int64"):
        from_torch({"weight": np.ones((2, 3), "int64"), "bias": np.ones(2)})
    with pytest.raises(TypeError, match="expected a torch module, a state_dict or a file name"):
        from_torch(3)
    with pytest.raises(TypeError, match="a state_dict with names as keys"):
        from_torch({1: np.ones((2, 3))})
    with pytest.raises(ValueError, match="got nothing that begins with 'decoder'"):
        from_torch({"encoder.weight": np.ones((2, 3))}, prefix="decoder")


def test_modules_of_a_module() -> None:
    """One that is there is read, by every name of it; any other is an error that names them."""
    torch = pytest.importorskip("torch", reason="needs torch")
    linear = torch.nn.Linear(3, 2)
    module = torch.nn.ModuleDict({"head": linear, "again": linear})
    for prefix in ("head", "head.", "again"):
        assert type(from_torch(module, prefix=prefix)) is rnnx.Linear
    with pytest.raises(ValueError, match="prefix must be one of head, again, got 'tail'"):
        from_torch(module, prefix="tail")


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    """That names it; a file that is not there is an OSError."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"cannot load .*x\.safetensors"):
        from_torch(path)
    safetensors.numpy.save_file({"fc.weight": np.ones((2, 3))}, path)
    with pytest.raises(ValueError, match=r"cannot load .*x\.safetensors.*prefix= \(fc\)"):
        from_torch(path)
    safetensors.numpy.save_file({"weight": np.ones((2, 3), "int64"), "bias": np.ones(2)}, path)
    with pytest.raises(ValueError, match=r"cannot load .*x\.safetensors.* got dtype int64"):
        from_torch(path)
    with pytest.raises(FileNotFoundError):
        from_torch(tmp_path / "missing")


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["RNN", "RNN-relu", "GRU", "LSTM", "LSTM-proj"])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_torch_computes_the_same(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    """A module from our layer, its layer, and its state_dict from our file: one output."""
    torch = pytest.importorskip("torch", reason="needs torch")
    from safetensors.torch import load_file, save_file

    ours = layer(kind, **options)
    module = to_torch(ours)
    y, _ = module(torch.tensor(X))
    assert_near(ours(X)[0], y.detach().numpy(), 1e-12)
    np.testing.assert_array_equal(from_torch(module)(X)[0], ours(X)[0])
    assert from_torch(module).config() == ours.config()
    rnnx.save(tmp_path / "ours", ours)
    other = to_torch(layer(kind, **options) if kind != "GRU" else recurrent(
        kind, 4, 5, dtype="float64", seed=9, **options))  # fmt: skip
    other.load_state_dict(load_file(tmp_path / "ours"))
    assert torch.equal(other(torch.tensor(X))[0], y)
    save_file(module.state_dict(), tmp_path / "theirs")
    said = {"nonlinearity": ours.cell.nonlinearity} if kind.startswith("RNN") else {}
    twin = from_torch(tmp_path / "theirs", batch_first=ours.batch_first, **said)
    np.testing.assert_array_equal(twin(X)[0], ours(X)[0])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_torch_cells(kind: str) -> None:
    """A cell is a layer of one, with one step's numbers."""
    torch = pytest.importorskip("torch", reason="needs torch")
    cell = getattr(torch.nn, f"{kind}Cell")(4, 5)
    twin = from_torch(cell)
    y, _ = twin.step(X[0].astype("float32"))
    h = cell(torch.tensor(X[0]).float())
    assert_near(y, (h[0] if kind == "LSTM" else h).detach().numpy(), 1e-6)


@pytest.mark.parametrize("how", ["last", "mean", "max"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_torch_chains(how: str, both: bool, batch_first: bool) -> None:
    """Symbols in, states carried, one vector per sequence; and the same chain back."""
    torch = pytest.importorskip("torch", reason="needs torch")
    ids = np.random.default_rng(0).integers(0, 9, (3, 3))
    chain = rnnx.Sequential(
        rnnx.Embedding(9, 4, seed=0),
        rnnx.Sequential(
            rnnx.LSTM(4, 5, 2, dropout=0.3, bidirectional=both, batch_first=batch_first, seed=1),
            rnnx.Dropout(0.5),
        ),
        rnnx.Pool(how, bidirectional=both, batch_first=batch_first),
        rnnx.Linear(10 if both else 5, 3, bias=False, seed=2),
        rnnx.Activation("softmax"),
    )
    module = to_torch(chain).eval()
    assert list(module.state_dict()) == list(chain.params)
    _, state = chain(ids)
    given = [None, [tuple(map(torch.tensor, state[1][0])), None], None, None, None]
    y, final = module(torch.tensor(ids), given)
    expected, expected_state = chain(ids, state)
    assert_near(y.detach().numpy(), expected, 1e-6)
    assert_near(final[1][0][1].detach().numpy(), expected_state[1][0][1], 1e-6)
    back = from_torch(module)
    assert back.config() == chain.config()
    np.testing.assert_array_equal(back(ids)[0], chain(ids)[0])
    assert from_torch(module, prefix="1.0").config() == chain.layers[1].layers[0].config()


def test_a_module_that_comes_twice_in_a_chain() -> None:
    """Is two layers, with copies of the same parameters."""
    torch = pytest.importorskip("torch", reason="needs torch")
    linear, tanh = torch.nn.Linear(4, 4), torch.nn.Tanh()
    module = torch.nn.Sequential(linear, tanh, linear, tanh)
    x = torch.randn(3, 2, 4)
    ours = from_torch(module)
    assert_near(ours(x.numpy())[0], module(x).detach().numpy(), 1e-6)
    assert len(ours.layers) == 4


def test_torch_modules_without_an_equal_are_refused() -> None:
    """By name, both ways; also a subclass, whose forward may be any."""
    torch = pytest.importorskip("torch", reason="needs torch")

    class Mine(torch.nn.LSTM):
        pass

    def hooked(module: Any) -> Any:
        module.register_forward_hook(lambda module, x, y: 2 * y)
        return module

    def patched(module: Any) -> Any:
        module.forward = lambda x: x
        return module

    for module, words in [
        (torch.nn.Conv1d(2, 3, 1), "got Conv1d"),
        (torch.nn.Embedding(2, 3, max_norm=1.0), "got Embedding"),
        (torch.nn.Softmax(dim=0), "got Softmax"),
        (Mine(2, 3), r"got .*Mine"),
        (torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 3)), "Parametrized"),
        (torch.nn.ModuleList([torch.nn.Linear(2, 3)]), "got ModuleList"),
        (torch.nn.LSTM(2, 3, device="meta"), "has no values"),
        (hooked(torch.nn.Linear(2, 3)), "got one with hooks"),
        (patched(torch.nn.Linear(2, 3)), "a forward of its own"),
    ]:
        with pytest.raises(ValueError, match=words):
            from_torch(module)
    for options in ({"nonlinearity": "relu"}, {"dropout": 0.5}, {"batch_first": True}):
        with pytest.raises(ValueError, match="what a module says itself"):
            from_torch(torch.nn.RNN(2, 3), **options)
    for ours in (layer("gru_reset_before"), layer("leaky_rnn"), layer("layer_norm_lstm-proj")):
        with pytest.raises(ValueError, match="a layer that torch lacks"):
            to_torch(ours)
    with pytest.raises(TypeError, match="expected a layer"):
        to_torch(3)


def test_without_torch_to_torch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImportError that says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        to_torch(rnnx.GRU(1, 1))
