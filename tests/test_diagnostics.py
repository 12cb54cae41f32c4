"""Gradients by the states against the oracle, and eigenvalues of weights that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import KINDS, TOLERANCE, assert_near, recurrent
from oracle import check

import rnnx
from rnnx import Backend
from rnnx.core.sizes import layer_params, suffixes
from rnnx.diagnostics import eigenvalues, gradient_norms, state_gradients

T, B, I = 4, 2, 3
RNG = np.random.default_rng(5)
X = RNG.standard_normal((T, B, I))


def make(kind: str, backend: Any = "numpy", **options: Any) -> Any:
    """Return a layer of three inputs and three units, by default in float64 on NumPy."""
    options |= {"dtype": "float64"} if backend == "numpy" else {}
    return recurrent(kind, I, 3, **options, backend=backend, seed=1)


def weights(y: Any) -> np.ndarray:
    """Return the fixed numbers w of the loss Σ w y² / 2."""
    return np.random.default_rng(3).standard_normal(tuple(y.shape))


def square(bk: Backend) -> Any:
    """Return the loss Σ w y² / 2 on a backend; its gradient depends on y."""

    def loss(y: Any) -> tuple[Any, Any]:
        w = bk.asarray(weights(y))
        return bk.xp.sum(w * y * y) / 2, w * y

    return loss


def nudged(layer: Any, x: Any, state: tuple[Any, ...], nudges: dict[str, Any]) -> Any:
    """Return y of a layer run step by step, a number added to every h_t as soon as it is there."""
    S = len(layer.sizes.state_sizes)
    names, D = suffixes(layer.sizes), layer.sizes.directions
    for k in range(layer.sizes.num_layers):
        hs = []
        for d in range(D):
            name = names[k * D + d]
            p = layer_params(layer.params, name)
            now, h = tuple(s[k * D + d] for s in state[:S]), [None] * T
            for t in reversed(range(T)) if d else range(T):
                z = x[t] @ p["weight_ih"].T + p.get("bias_ih", 0)
                q = now[0] @ p["weight_hh"].T + p.get("bias_hh", 0)
                now, _ = layer.cell.step(np, z, q, now, p)
                out = now[0] @ p["weight_hr"].T if "weight_hr" in p else now[0]
                now = (out + nudges[f"h_{name}"][t], *now[1:])
                h[t] = now[0]
            hs.append(np.stack(h))
        x = np.concatenate(hs, axis=-1)
    return x


def initial(layer: Any) -> tuple[np.ndarray, ...]:
    """Return an initial state that is not zero, one array or two."""
    rows = layer.sizes.num_layers * layer.sizes.directions
    widths = layer.sizes.state_sizes.values()
    return tuple(np.random.default_rng(8).standard_normal((rows, B, width)) for width in widths)


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_state_gradients_equal_the_oracle(kind: str, layers: int, both: bool) -> None:
    """A nudge of any h_t, felt by all later states and all layers above, to 1e-12."""
    layer = make(kind, num_layers=layers, bidirectional=both)
    start = initial(layer)
    state = start[0] if len(start) == 1 else start
    found = state_gradients(layer, X, square(layer.backend), state=state)
    still = {name: np.zeros_like(dh) for name, dh in found.items()}
    y, _ = layer(X, state)
    np.testing.assert_allclose(nudged(layer, X, start, still), y, rtol=1e-12, atol=1e-14)
    w = weights(y)
    check(lambda e: np.sum(w * nudged(layer, X, start, e) ** 2) / 2, still, found)


def test_restarting_from_a_nudged_state_agrees() -> None:
    """By central differences through the public interface alone, at every step of a GRU."""
    gru = make("GRU")
    loss = square(gru.backend)
    dh = state_gradients(gru, X, loss)["h_l0"]
    y, _ = gru(X)
    for t in range(T - 1):
        for b, unit in np.ndindex(B, 3):
            values = []
            for step in (1e-6, -1e-6):
                h = y[t].copy()
                h[b, unit] += step
                rest, _ = gru(X[t + 1 :], h[None])
                values.append(loss(np.concatenate([y[:t], h[None], rest]))[0])
            assert dh[t, b, unit] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def chain(bk: Any) -> rnnx.Sequential:
    """Return a chain of layers with two recurrent ones, one of them in a chain of its own."""
    inner = rnnx.Sequential(
        rnnx.Linear(6, 3, backend=bk, seed=2), make("LSTM", bk, num_layers=2, bidirectional=True)
    )
    return rnnx.Sequential(
        make("GRU", bk, bidirectional=True, dropout=0.0, recurrent_dropout=0.5),
        rnnx.Dropout(0.5, backend=bk),
        inner,
        rnnx.Linear(6, 2, backend=bk, seed=4),
    )


def test_every_backend_equals_the_reference(bk: Backend) -> None:
    """A chain with all that a chain may hold; names by position, arrays time-major and its own."""
    reference = rnnx.get_backend("numpy", dtype="float64")
    expected = state_gradients(chain(reference), X, square(reference))
    found = state_gradients(chain(bk), X, square(bk))
    names = ["0.h_l0", "0.h_l0_reverse", "2.1.h_l0", "2.1.h_l0_reverse", "2.1.h_l1"]
    assert list(found) == list(expected) == [*names, "2.1.h_l1_reverse"]
    norms = gradient_norms(chain(bk), X, square(bk))
    for name, dh in found.items():
        assert bk.asarray(dh) is dh, f"{name} is not an array of {bk}"
        assert_near(bk.to_numpy(dh), expected[name], 3 * TOLERANCE[bk.dtype_name], name)
        exact = np.sqrt(np.sum(expected[name] ** 2, axis=(1, 2)))
        assert_near(norms[name], exact, 3 * TOLERANCE[bk.dtype_name], name)


def test_a_chain_equals_the_oracle() -> None:
    """The gradient by the first layer's states goes back through the layers after it."""
    gru, linear = make("GRU"), rnnx.Linear(3, 2, dtype="float64", seed=2)
    model = rnnx.Sequential(gru, linear)
    found = state_gradients(model, X, square(model.backend))
    w, W = weights(np.empty((T, B, 2))), linear.params

    def loss(e: dict[str, Any]) -> Any:
        h = nudged(gru, X, (np.zeros((1, B, 3)),), {"h_l0": e["0.h_l0"]})
        return np.sum(w * (h @ W["weight"].T + W["bias"]) ** 2) / 2

    check(loss, {"0.h_l0": np.zeros((T, B, 3))}, found)


def test_the_layout_of_x_does_not_matter() -> None:
    """Batch first and without a batch axis: the same numbers, time-major."""
    layer = make("GRU", num_layers=2)
    swapped = make("GRU", num_layers=2, batch_first=True)
    loss = square(layer.backend)
    expected = state_gradients(layer, X, lambda y: (None, y))
    found = state_gradients(swapped, X.transpose(1, 0, 2), lambda y: (None, y))
    for name, dh in found.items():
        np.testing.assert_array_equal(dh, expected[name])
    one = state_gradients(layer, X[:, 0], loss)["h_l0"]
    assert one.shape == (T, 1, 3)


@pytest.mark.parametrize("w", [1e-3, 1.5])
def test_norms_of_a_linear_unit_are_powers(w: float) -> None:
    """dL/dh_t = w^(T-1-t): from 1e-297, whose square is no number of float64, to explosion."""
    rnn = rnnx.RNN(1, 1, nonlinearity="relu", dtype="float64")
    ones = {name: np.ones_like(W) for name, W in rnn.params.items()}
    rnn.set_params(ones | {"weight_hh_l0": np.full((1, 1), w)})
    dy = np.zeros((100, 1, 1))
    dy[-1] = 1
    norms = gradient_norms(rnn, np.ones((100, 1, 1)), lambda y: (None, dy))["h_l0"]
    np.testing.assert_allclose(norms, w ** np.arange(99.0, -1, -1), rtol=1e-12)


def test_norms_that_are_no_finite_numbers_stay_what_they_are() -> None:
    """Zero is zero, infinity is infinity, NaN is NaN, whatever scales them."""
    rnn = make("RNN")
    for value in (0.0, np.inf, np.nan):
        dy = np.zeros((1, B, 3))
        dy[0, 0, 0] = value
        with np.errstate(invalid="ignore"):  # NumPy's word on a product with infinity
            norms = gradient_norms(rnn, X[:1], lambda y, dy=dy: (None, dy))["h_l0"]
        np.testing.assert_array_equal(norms, [value])


def test_wrong_calls_say_what_is_expected() -> None:
    """A layer without states, a list of sequences, a gradient of another shape."""
    gru = make("GRU")
    for layer in (rnnx.Linear(3, 2), rnnx.Sequential(rnnx.Dropout(0.5)), rnnx.SimpleRNN(3, 2, 1)):
        with pytest.raises(TypeError, match=f"got {type(layer).__name__}: a SimpleRNN has"):
            state_gradients(layer, X, square(gru.backend))
    for model in (gru, rnnx.Sequential(gru)):
        with pytest.raises(ValueError, match="x must be one array"):
            state_gradients(model, [X[:, 0], X[:2, 0]], square(gru.backend))
    with pytest.raises(ValueError, match=r"dy must have shape \(4, 2, 3\), got \(4, 2, 2\)"):
        state_gradients(gru, X, lambda y: (None, y[..., :2]))


def test_a_layer_is_left_as_it_is() -> None:
    """Parameters, input and the loss's gradient are the same bytes; two calls give one result."""
    layer, x, dy = make("LSTM", bidirectional=True), X.copy(), np.ones((T, B, 6))
    before = {name: W.copy() for name, W in layer.params.items()}
    first, second = (state_gradients(layer, x, lambda y: (None, dy)) for _ in range(2))
    for name, dh in first.items():
        np.testing.assert_array_equal(dh, second[name])
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(dy, 1)
    for name, W in layer.params.items():
        np.testing.assert_array_equal(W, before[name])


def test_eigenvalues_are_those_of_each_gate(bk: Backend) -> None:
    """Diagonal blocks, each with eigenvalues of its own, in both layers and directions."""
    gru = make("GRU", bk, num_layers=2, bidirectional=True)
    blocks = np.concatenate([np.diag([k + 0.25, k + 0.5, -k]) for k in (0.0, 1.0, 2.0)])
    gru.set_params({name: blocks for name in gru.params if "weight_hh" in name})
    found = eigenvalues(rnnx.Sequential(rnnx.Linear(3, 3, backend=bk), gru))
    ways = ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert list(found) == [f"1.weight_hh_{way} {gate}" for way in ways for gate in "rzn"]
    for name, values in found.items():
        k = "rzn".index(name[-1])
        assert sorted(values.real) == sorted([k + 0.25, k + 0.5, -k])
        assert values.dtype == "complex128"


def test_eigenvalues_of_every_kind_of_layer() -> None:
    """A rotation's are e^(±iφ); SimpleRNN's are of Whh; a projection's of W_hr W_hh."""
    c, s = np.cos(0.3), np.sin(0.3)
    rnn = rnnx.RNN(1, 2, dtype="float64")
    rnn.set_params({"weight_hh_l0": [[c, -s], [s, c]]})
    (values,) = eigenvalues(rnn).values()
    np.testing.assert_allclose(sorted(np.angle(values)), [-0.3, 0.3])
    simple = rnnx.SimpleRNN(1, 2, 1, dtype="float64")
    simple.Whh = np.asarray([[2.0, 1.0], [0.0, -3.0]])
    assert sorted(eigenvalues(simple)["Whh"].real) == [-3, 2]
    lstm = make("LSTM-proj")
    found, W = eigenvalues(lstm), lstm.params
    assert list(found) == [f"weight_hh_l0 {gate}" for gate in "ifgo"]
    composed = W["weight_hr_l0"] @ W["weight_hh_l0"][6:9]
    assert found["weight_hh_l0 g"].shape == (2,)
    assert np.prod(found["weight_hh_l0 g"]).real == pytest.approx(np.linalg.det(composed))
    assert np.sum(found["weight_hh_l0 g"]).real == pytest.approx(np.trace(composed))


def test_eigenvalues_of_nothing_are_refused() -> None:
    """A layer without recurrent weights, and weights that are not finite."""
    with pytest.raises(TypeError, match="must have recurrent weights, got Linear"):
        eigenvalues(rnnx.Linear(3, 2))
    rnn = rnnx.RNN(1, 2)
    rnn.set_params({"weight_hh_l0": [[np.nan, 0], [0, 1]]})
    with pytest.raises(ValueError, match="weight_hh_l0 must be finite"):
        eigenvalues(rnn)
