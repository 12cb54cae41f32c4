"""Configurations: every layer is described, built again and shown; chains take steps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from cases import KINDS, TOLERANCE, assert_near, noise, recurrent

import rnnx
from rnnx import Backend
from rnnx.layers.base import UNDRAWN
from rnnx.models import shapes


def chain(backend: Any = "numpy", **options: Any) -> rnnx.Sequential:
    """Return a nested chain of every kind of layer that takes symbols and reduces time."""
    at: dict[str, Any] = {"backend": backend, **options}
    return rnnx.Sequential(
        rnnx.Embedding(7, 3, seed=0, **at),
        rnnx.Sequential(
            rnnx.LSTM(3, 4, 2, proj_size=2, dropout=0.1, forget_bias=1.0, seed=1, **at),
            rnnx.Dropout(0.2, **at),
            rnnx.GRU(2, 4, reset_after=False, seed=2, **at),
        ),
        rnnx.Recurrent("leaky_rnn", 4, 3, bidirectional=True, seed=3, **at),
        rnnx.Pool("last", bidirectional=True, **at),
        rnnx.Linear(6, 2, seed=4, **at),
    )


def every_layer() -> list[Any]:
    """Return one layer of every kind, with options that are not the defaults."""
    odd: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    odd |= {"weight_init": "normal", "recurrent_init": "orthogonal"}
    layers = [recurrent(kind, 3, 4, seed=0, **odd, **noise(kind)) for kind in KINDS]
    layers += [recurrent(kind, 3, 4, seed=0) for kind in KINDS]
    small = [rnnx.Linear(3, 2, bias=False), rnnx.Embedding(5, 2)]
    small += [rnnx.Dropout(0.5), rnnx.Activation("softmax")]
    return [*layers, *small, rnnx.Pool("max", batch_first=True), rnnx.SimpleRNN(3, 4, 2), chain()]


@pytest.mark.parametrize("layer", every_layer(), ids=lambda layer: type(layer).__name__)
def test_a_configuration_builds_the_same_layer(layer: Any) -> None:
    """By way of JSON: the same configuration, parameters of the same names and shapes, in order."""
    config = json.loads(json.dumps(layer.config()))
    twin = rnnx.build(config, seed=0)
    assert type(twin) is type(layer)
    assert twin.config() == layer.config()
    assert repr(twin) == repr(layer)
    own = {name: W.shape for name, W in layer.params.items()}
    assert list(twin.params) == list(own)
    assert {name: W.shape for name, W in twin.params.items()} == own
    assert shapes(config) == own


def test_one_seed_builds_one_network() -> None:
    """A chain is drawn from one generator, on every backend and dtype alike."""
    one, two = (rnnx.build(chain().config(), seed=5, dtype="float64") for _ in range(2))
    for name, W in one.params.items():
        np.testing.assert_array_equal(W, two.params[name])
    assert np.any(one.params["0.weight"] != chain(dtype="float64").params["0.weight"])


WRONG: list[tuple[Any, str]] = [
    (None, "config must be a dict with names as keys, got NoneType"),
    ({"layer": "os.system"}, "layer must be one of RNN, GRU, .*, got 'os.system'"),
    ({"layer": ["GRU"]}, "layer must be one of"),
    ({"layer": "GRU", "input_size": 3}, "expected the options of a GRU, got .*'hidden_size'"),
    ({"layer": "Pool", "how": "sum"}, "how must be one of last, mean, max, got 'sum'"),
    ({"layer": "Linear", "input_size": -1, "output_size": 2}, "input_size must be an integer"),
    ({"layer": "Linear", "input_size": 1, "output_size": 2, "x": 1}, "unexpected .* 'x'"),
    ({"layer": "Linear", "input_size": 1, "output_size": 2, "seed": 0}, "must not name a backend"),
    ({"layer": "Sequential", "layers": {}}, "expected a Sequential with a list of layers"),
    ({"layer": "Sequential", "layers": []}, "expected at least one layer, got none"),
    ({"layer": "Recurrent", "cell": {"name": "eval"}}, "expected a registered cell, got 'eval'"),
    (
        {"layer": "Recurrent", "cell": {"name": "gru", "x": 1}, "input_size": 1, "hidden_size": 1},
        "expected the options of the cell 'gru'",
    ),
]


@pytest.mark.parametrize(("config", "message"), WRONG, ids=lambda given: str(given)[:40])
def test_a_wrong_configuration_is_refused(config: Any, message: str) -> None:
    """In one line, without anything looked up by a name that came from outside."""
    for make in (rnnx.build, shapes):
        with pytest.raises(ValueError, match=message) as caught:
            make(config)
        assert "\n" not in str(caught.value)


def test_a_hostile_configuration_takes_no_memory() -> None:
    """Sizes beyond any memory have shapes at once; chains in chains and stacks have a limit."""
    assert shapes({"layer": "Linear", "input_size": 10**9, "output_size": 10**9}) == {
        "weight": (10**9, 10**9),
        "bias": (10**9,),
    }
    config: Any = {"layer": "Dropout", "p": 0.1}
    for _ in range(40):
        config = {"layer": "Sequential", "layers": [config]}
    with pytest.raises(ValueError, match="at most 32 chains within chains"):
        rnnx.build(config)
    deep = rnnx.GRU(2, 3).config() | {"num_layers": 10**9}
    with pytest.raises(ValueError, match="num_layers must be an integer of at most 12, got 10000"):
        shapes(deep, at_most=12)


def test_a_layer_without_values_gets_them_from_set_params() -> None:
    """UNDRAWN parameters have shapes only; set_params checks names and shapes all the same."""
    model = rnnx.build(chain().config(), seed=UNDRAWN)
    with pytest.raises(ValueError, match=r"0.weight must have shape \(7, 3\), got \(1,\)"):
        model.set_params({"0.weight": np.ones(1)})
    model.set_params(chain().params)
    ids = np.asarray([[1, 2], [0, 6]])
    np.testing.assert_array_equal(model(ids)[0], chain()(ids)[0])


def test_a_summary_is_a_table() -> None:
    """One row per layer, with the shape of its output and the number of its parameters."""
    text = repr(chain())
    assert text == chain().summary()
    first, head, *rows, total = text.splitlines()
    assert first == f"Sequential on {chain().backend}"
    assert head.split() == ["layer", "output", "parameters"]
    assert [row.split()[0] for row in rows] == ["0", "1.0", "1.1", "1.2", "2", "3", "4"]
    assert "(T, B, 3)" in rows[0]
    assert rows[-2].endswith("(B, 6)              0")
    count = sum(W.size for W in chain().params.values())
    assert total.split() == ["all", f"{count:,}"]
    assert "core='auto'" in repr(rnnx.LSTM(2, 3))
    assert repr(rnnx.Dropout(0.5)).startswith("Dropout(p=0.5, backend=Backend(")
    assert "(B, T, 3)" in rnnx.GRU(2, 3, batch_first=True).summary()


def test_a_chain_takes_steps(bk: Backend) -> None:
    """Symbol by symbol, with the state carried, a chain gives what it gives of the sequence."""
    at: dict[str, Any] = {"backend": bk}
    model = rnnx.Sequential(
        rnnx.Embedding(7, 3, seed=0, **at),
        rnnx.Sequential(rnnx.LSTM(3, 4, 2, seed=1, **at), rnnx.Dropout(0.2, **at)),
        rnnx.GRU(4, 3, seed=2, **at),
        rnnx.Linear(3, 2, seed=3, **at),
    )
    ids = np.random.default_rng(0).integers(0, 7, (5, 3))
    whole, final = model(ids)
    state: Any = None
    for row, expected in zip(ids, bk.to_numpy(whole), strict=True):
        y, state = model.step(row, state)
        assert_near(bk.to_numpy(y), expected, TOLERANCE[bk.dtype_name])
    h, c = state[1][0]
    for ours, theirs in zip((h, c, state[2]), (*final[1][0], final[2]), strict=True):
        assert_near(bk.to_numpy(ours), bk.to_numpy(theirs), TOLERANCE[bk.dtype_name])
    with pytest.raises(ValueError, match="expected a layer with one output per step, got a Pool"):
        rnnx.Pool("last").step(np.ones(3))
