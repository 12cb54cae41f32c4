"""The small layers, chains of layers, and the public gradient check."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import TOLERANCE, assert_near
from test_layers import assert_right

import rnnx
from rnnx import Backend
from rnnx.layers.activation import FUNCTIONS
from rnnx.layers.linear import Linear

X = np.random.default_rng(0).standard_normal((5, 3, 2))


def chain(backend: Any = "numpy", **options: Any) -> rnnx.Sequential:
    """Return a chain with every kind of layer, in float64 on NumPy."""
    options = {"dtype": "float64"} | options if backend == "numpy" else options
    shared = {"backend": backend, **options}
    return rnnx.Sequential(
        rnnx.LSTM(2, 4, num_layers=2, dropout=0.3, bidirectional=True, seed=0, **shared),
        rnnx.Dropout(0.2, **shared),
        rnnx.Sequential(rnnx.Linear(8, 3, seed=1, **shared), rnnx.GRU(3, 4, seed=2, **shared)),
        rnnx.Linear(4, 2, seed=3, **shared),
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"lengths": [5, 2, 1]}, {"checkpoint": 2}],
    ids=["plain", "lengths", "checkpoint"],
)
def test_a_chain_has_exact_gradients(options: dict[str, Any]) -> None:
    """Through every layer, with dropout, states and options that only some of them take."""
    model = chain()
    _, state, _ = model.forward(X)
    assert_right(rnnx.gradcheck(model, X, state, samples=10, **options))


def test_the_small_layers_have_exact_gradients() -> None:
    """Linear with and without bias, Dropout, Embedding: every entry."""
    for bias in (True, False):
        assert_right(
            rnnx.gradcheck(rnnx.Linear(2, 3, bias=bias, dtype="float64", seed=0), X, samples=None)
        )
    ids = np.asarray([[0, 3], [3, 1], [2, 3]])
    report = rnnx.gradcheck(rnnx.Embedding(4, 2, dtype="float64", seed=0), ids, samples=None)
    assert_right(report)
    report = rnnx.gradcheck(rnnx.Dropout(0.4, dtype="float64"), X, samples=None)
    assert report
    assert [row.name for row in report.rows] == ["x"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_activations_have_exact_gradients(function: str, bk: Backend) -> None:
    """Every entry by complex steps, and the same numbers on every backend."""
    layer = rnnx.Activation(function, dtype="float64")
    assert_right(rnnx.gradcheck(layer, X, samples=None))
    y, _, cache = layer.forward(X)
    dx, _, _ = layer.backward(X, cache)
    own = layer.to(bk)
    found, _, cache = own.forward(bk.asarray(X))
    assert_near(bk.to_numpy(found), y, TOLERANCE[bk.dtype_name])
    assert_near(bk.to_numpy(own.backward(bk.asarray(X), cache)[0]), dx, TOLERANCE[bk.dtype_name])
    with pytest.raises(ValueError, match="dy must have shape"):
        own.backward(bk.asarray(X[:1]), cache)


def test_softmax_keeps_large_numbers() -> None:
    """No overflow in float32 where exp would; nothing to divide is an error."""
    softmax = rnnx.Activation("softmax")
    np.testing.assert_array_equal(softmax(np.asarray([[1e4, 1e4, -1e4]]))[0], [[0.5, 0.5, 0]])
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., K\) with entries"):
        softmax(np.zeros((3, 0)))


def test_a_chain_is_its_layers(bk: Backend) -> None:
    """The same numbers as calling the layers one after the other, on every backend."""
    model, reference = chain(bk), chain()
    masks = model.draw_masks(X.shape, 4)
    y, state, cache = model.forward(X, masks=masks)
    dx, _, grads = model.backward(y, cache)
    expected = reference.forward(X, masks=reference.draw_masks(X.shape, 4))
    exact = reference.backward(expected[0], expected[2])
    tolerance = 3 * TOLERANCE[bk.dtype_name]
    assert_near(bk.to_numpy(y), expected[0], tolerance)
    assert_near(bk.to_numpy(dx), exact[0], tolerance)
    for name, g in grads.items():
        assert_near(bk.to_numpy(g), exact[2][name], tolerance, name)
    x: Any = bk.asarray(X)
    for layer in model.layers:
        x, _ = layer(x)
    np.testing.assert_array_equal(bk.to_numpy(model(X)[0]), bk.to_numpy(x))
    assert state[1] is None
    assert state[3] is None


def test_a_chain_takes_lists_and_carries_states() -> None:
    """A list in, a list out; two halves with the states carried are the whole."""
    model = rnnx.Sequential(
        rnnx.GRU(2, 4, dtype="float64", seed=0), rnnx.Linear(4, 3, dtype="float64", seed=1)
    )
    rows = [X[:, 0], X[:2, 1]]
    ys, _, cache = model.forward(rows)
    dxs, _, grads = model.backward(ys, cache)
    assert [y.shape for y in ys] == [(5, 3), (2, 3)]
    total = {name: 0 * g for name, g in grads.items()}
    for row, y, dx in zip(rows, ys, dxs, strict=True):
        y_alone, _, cache_alone = model.forward(row[:, None])
        dx_alone, _, part = model.backward(y_alone, cache_alone)
        assert_near(y, y_alone[:, 0], 1e-12)
        assert_near(dx, dx_alone[:, 0], 1e-12)
        total = {name: total[name] + g for name, g in part.items()}
    for name, g in grads.items():
        assert_near(g, total[name], 1e-12, name)
    whole, _ = model(X)
    first, state = model(X[:3])
    second, _ = model(X[3:], state)
    assert_near(np.concatenate([first, second]), whole, 1e-12)


def test_the_parameters_of_a_chain_are_its_layers() -> None:
    """set_params reaches the layers; `to` moves all of them; `params=` is for one call."""
    model = chain()
    name = "2.1.weight_hh_l0"
    model.set_params({name: 0 * model.params[name]})
    inner = model.layers[2]
    assert not np.any(inner.params["1.weight_hh_l0"])
    assert not np.any(inner.layers[1].params["weight_hh_l0"])
    inner.layers[1].set_params(
        {"bias_ih_l0": np.ones(12)}
    )  # and what a layer changes, the chain has
    assert np.all(model.params["2.1.bias_ih_l0"] == 1)
    moved = model.to("array_api_strict")
    assert moved.backend.name == "array_api_strict"
    assert_near(moved.backend.to_numpy(moved(X)[0]), model(X)[0], 1e-12)
    zero = {k: 0 * W for k, W in model.params.items()}
    assert not np.any(model(X, params=zero)[0])
    assert np.any(model(X)[0])


def test_dropout_as_a_layer() -> None:
    """A call is the identity; a forward pass draws, or takes, a mask."""
    dropout = rnnx.Dropout(0.25, dtype="float64")
    np.testing.assert_array_equal(dropout(X)[0], X)
    y, _, _ = dropout.forward(np.ones((200, 50)))
    assert np.unique(y).tolist() == [0, 1 / 0.75]
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(dropout.forward(X, masks={})[0], X)


class Doubled(Linear):
    """A linear layer whose bias gradient is twice what it should be."""

    def backward(self, dy: Any, cache: Any, dstate: None = None) -> Any:
        dx, none, grads = super().backward(dy, cache, dstate)
        return dx, none, grads | {"bias": 2 * grads["bias"]}


@pytest.mark.parametrize("method", ["complex-step", "central"])
def test_the_report_says_what_is_wrong_and_where(method: str) -> None:
    """A wrong gradient is named with its place, its value and the right one."""
    report = rnnx.gradcheck(Doubled(2, 3, dtype="float64", seed=0), X, method=method)
    assert not report
    wrong = [row for row in report.rows if row.error > report.tolerance]
    assert [row.name for row in wrong] == ["bias"]
    assert wrong[0].error == pytest.approx(1, rel=1e-4)
    assert wrong[0].gradient == pytest.approx(2 * wrong[0].derivative, rel=1e-4)
    assert "WRONG       bias" in str(report)
    assert "ok          weight" in str(report)


def test_gradcheck_on_every_backend(bk: Backend) -> None:
    """The oracle is NumPy's, the gradients are the backend's own."""
    layer = rnnx.GRU(2, 3, backend=bk, seed=0)
    assert rnnx.gradcheck(layer, X, np.ones((1, 3, 3)), lengths=[5, 1, 2], samples=5)


def test_gradcheck_by_central_differences() -> None:
    """Right layers pass, in both dtypes."""
    for dtype in ("float64", "float32"):
        layer = rnnx.LSTM(2, 3, dtype=dtype, seed=0)
        report = rnnx.gradcheck(layer, X, method="central", samples=5)
        assert report, str(report)
