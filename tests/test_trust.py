"""Misuse that once gave wrong numbers in silence: now impossible, or an error in one line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cases import KINDS, assert_near, recurrent

import rnnx
from rnnx import Backend

X = np.random.default_rng(0).standard_normal((5, 3, 2)).astype("float32")


@pytest.mark.parametrize("options", [{}, {"lengths": [5, 2, 1]}, {"checkpoint": 2}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_cannot_be_written_to(kind: str, options: dict[str, Any]) -> None:
    """On NumPy y and the states are read-only, so a cache stays what the forward pass left."""
    layer = recurrent(kind, 2, 3, seed=0)
    y, _, cache = layer.forward(X, **options)
    with pytest.raises(ValueError, match="read-only"):
        y *= 0
    if not options.get("checkpoint"):
        for state in layer.states(cache).values():
            with pytest.raises(ValueError, match="read-only"):
                state[...] = 0
    ys, _, _ = layer.forward([X[:, 0], X[:3, 1]])
    with pytest.raises(ValueError, match="read-only"):
        ys[0][...] = 0
    free, _ = layer(X)
    free *= 0  # inference keeps nothing


def test_a_loss_that_writes_in_place_is_found() -> None:
    """`train.fit` with such a loss raises, in place of training other weights."""

    def careless(y: Any, target: Any) -> Any:
        y -= target
        return np.mean(y * y), 2 * y / y.size

    gru = rnnx.GRU(2, 3, seed=0)
    with pytest.raises(ValueError, match="read-only"):
        rnnx.train.fit(
            gru, (X, np.zeros((5, 3, 3), "float32")), loss=careless,
            optimizer=rnnx.optim.SGD(0.1), epochs=1, progress=False,
        )  # fmt: skip


def every_parameter() -> dict[str, Any]:
    """Return models whose parameters were made in every way there is."""
    gru = rnnx.GRU(2, 3, seed=0)
    trained = rnnx.GRU(2, 3, seed=0)
    target = np.zeros((5, 3, 3), "float32")
    rnnx.train.fit(
        trained, (X, target), loss=rnnx.losses.mean_squared_error,
        optimizer=rnnx.optim.SGD(0.1), epochs=1, progress=False,
    )  # fmt: skip
    given = rnnx.GRU(2, 3, seed=0)
    given.set_params({name: np.array(W) for name, W in gru.params.items()})
    simple = rnnx.SimpleRNN(2, 3, 1, seed=0)
    simple.backward(np.ones_like(simple.forward(X)))
    return {
        "new": gru, "trained": trained, "given": given, "moved": gru.to("numpy", dtype="float64"),
        "copied": copy.deepcopy(gru), "pickled": pickle.loads(pickle.dumps(gru)),
        "chain": rnnx.Sequential(gru, rnnx.Linear(3, 1, seed=0)), "SimpleRNN": simple,
        "SimpleRNN, pickled": pickle.loads(pickle.dumps(simple)),
    }  # fmt: skip


@pytest.mark.parametrize("name", every_parameter())
def test_parameters_change_through_set_params_alone(name: str) -> None:
    """An array of them cannot be written to on NumPy; the dict is a copy."""
    model = every_parameter()[name]
    for W in model.params.values():
        with pytest.raises(ValueError, match="read-only"):
            W[...] = 0
    first = next(iter(model.params))
    model.params[first] = None
    assert model.params[first] is not None
    with pytest.raises(AttributeError):
        model.params = {}


@pytest.mark.parametrize("kind", KINDS)
def test_steps_and_calls_agree_on_extremes(kind: str) -> None:
    """Infinite and huge inputs: the same numbers from `step` as from a call, without a warning."""
    layer = recurrent(kind, 2, 3, dtype="float64", seed=0)
    for value in (np.inf, -np.inf, 1e300, -1e300):
        for x in (np.asarray([[value, 0.5]]), np.asarray([[0.5, value]])):
            with np.errstate(all="ignore"):
                y, _ = layer(x[None])
                y_t, _ = layer.step(x)
            np.testing.assert_allclose(y_t, y[0], rtol=1e-12, atol=1e-300, equal_nan=True)


def test_a_gru_of_an_infinite_input_saturates() -> None:
    """It gives ±1, as torch does, and no NaN."""
    gru = rnnx.GRU(1, 2, dtype="float64", seed=0)
    one = {k: np.ones(W.shape) for k, W in gru.params.items()}
    gru.set_params(one | {"weight_ih_l0": np.asarray([[1.0], [1], [-1], [-1], [1], [1]])})
    y, _ = gru.step(np.asarray([[-np.inf]]))
    np.testing.assert_array_equal(y, [[0.0, 0.0]])  # z = 1: the state stays
    gru.set_params({"weight_ih_l0": np.asarray([[1.0], [1], [1], [1], [1], [1]])})
    y, _ = gru.step(np.asarray([[-np.inf]]))
    np.testing.assert_array_equal(y, [[-1.0, -1.0]])


def test_a_saturated_gate_has_its_small_gradient(bk: Backend) -> None:
    """At a pre-activation of -25, σ' = 1.4e-11 arrives in float32 too."""
    gru = rnnx.GRU(1, 1, backend=bk, seed=0)
    values = {name: np.zeros(W.shape) for name, W in gru.params.items()}
    values["weight_ih_l0"][1] = 1.0  # z
    values["bias_ih_l0"][:] = [0.0, -25.0, 1.0]
    gru.set_params(values)
    _, _, cache = gru.forward(np.zeros((1, 1, 1)), np.full((1, 1, 1), 0.5))
    dx, _, _ = gru.backward(bk.asarray(np.ones((1, 1, 1))), cache)
    z = np.exp(-25.0) / (1 + np.exp(-25.0))
    exact = (0.5 - np.tanh(1.0)) * z * (1 - z)
    assert_near(bk.to_numpy(dx), np.full((1, 1, 1), exact), 2e-6)


def test_other_byte_orders_are_numbers() -> None:
    """Big-endian arrays, as files of instruments have them, are taken as what they hold."""
    gru = rnnx.GRU(2, 3, seed=0)
    expected, _ = gru(X)
    for dtype in (">f4", ">f8", "<f8"):
        np.testing.assert_allclose(gru(X.astype(dtype))[0], expected, rtol=1e-6)
    state = np.ones((1, 3, 3), ">f4")
    np.testing.assert_array_equal(gru(X, state)[0], gru(X, state.astype("float32"))[0])


def test_nested_lists_are_refused_with_the_way_out() -> None:
    """A list of lists may mean (T, B, F) or sequences; a list of arrays is a list of sequences."""
    gru = rnnx.GRU(2, 3, seed=0)
    model = rnnx.Sequential(gru, rnnx.Linear(3, 1, seed=0))
    for given in (X.tolist(), X[:, 0].tolist()):
        for layer in (gru, model):
            with pytest.raises(TypeError, match=r"got nested lists, which .*: use numpy.asarray"):
                layer(given)
    assert gru(list(X))[0][0].shape == (3, 3)
    with pytest.raises(TypeError, match="must be a real floating array, got dtype complex128"):
        gru(X.astype(complex))
