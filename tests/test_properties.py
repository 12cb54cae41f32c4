"""Properties that hold for all shapes, dtypes and values, tried on random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import H as STEP

import rnnx
from rnnx import SimpleRNN, get_backend
from rnnx.backends.complex import make as complex_numbers
from rnnx.losses import softmax_cross_entropy
from rnnx.optim import clip_by_global_norm

REFERENCE = get_backend("numpy", dtype="float64")
sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float32", "float64"])
settings.register_profile("rnnx", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("rnnx")


def network(rng: np.random.Generator, I: int, H: int, O: int, dtype: str = "float64") -> SimpleRNN:
    rnn = SimpleRNN(I, H, O, dtype=dtype, seed=rng)
    rnn.set_params({k: rng.standard_normal(W.shape) for k, W in rnn.params.items()})
    return rnn


@given(sizes, sizes, sizes, sizes, sizes, seeds, st.sampled_from(["tanh", "relu"]))
def test_gradients_are_the_directional_derivative(
    T: int, B: int, I: int, H: int, O: int, seed: int, nonlinearity: str
) -> None:
    """Along a random direction in all parameters, the derivative is <gradient, direction>."""
    rng = np.random.default_rng(seed)
    rnn = SimpleRNN(I, H, O, nonlinearity=nonlinearity, backend=REFERENCE)
    twin = rnn.to(complex_numbers())
    params = network(rng, I, H, O).params
    params = {k: W / np.sqrt(W.shape[1]) for k, W in params.items()}
    x, h0, dy = (rng.standard_normal(s) for s in [(T, B, I), (B, H), (T, B, O)])
    direction = {k: rng.standard_normal(W.shape) for k, W in params.items()}
    shifted: Any = {k: W + 1j * STEP * direction[k] for k, W in params.items()}
    twin._take(shifted)
    exact = np.imag(np.sum(dy * twin.forward(x, state=h0))) / STEP
    rnn.set_params(params)
    rnn.forward(x, state=h0)
    grads = rnn.gradients(dy)
    terms = [np.sum(grads[k] * direction[k]) for k in params]
    assert abs(sum(terms) - exact) <= 1e-11 * (1 + sum(map(abs, terms)))


@given(sizes, sizes, sizes, sizes, seeds, dtypes)
def test_rows_of_a_batch_do_not_meet(T: int, B: int, I: int, H: int, seed: int, dtype: str) -> None:
    """A row's outputs are those it has alone, and the gradients of rows add up."""
    rng = np.random.default_rng(seed)
    rnn = network(rng, I, H, 2, dtype)
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 2))
    y, grads = rnn.forward(x), rnn.gradients(dy)
    rows = []
    tolerance = 1e-10 if dtype == "float64" else 1e-3
    for b in range(B):
        np.testing.assert_allclose(rnn.forward(x[:, b]), y[:, b], rtol=tolerance, atol=tolerance)
        rows.append(rnn.gradients(dy[:, b]))
    for name, gradient in grads.items():
        total = sum(row[name] for row in rows)
        scale = sum(np.abs(row[name]).max() for row in rows)
        assert np.abs(gradient - total).max() <= tolerance * (1 + scale)


@given(sizes, sizes, sizes, sizes, seeds)
def test_time_flows_forward(T: int, B: int, I: int, H: int, seed: int) -> None:
    """A later input never changes an earlier output, to the last bit."""
    rng = np.random.default_rng(seed)
    rnn, x = network(rng, I, H, 2), rng.standard_normal((T, B, I))
    y = rnn.forward(x)
    changed = x.copy()
    changed[-1] += 1
    np.testing.assert_array_equal(rnn.forward(changed)[:-1], y[:-1])


@given(sizes, sizes, sizes, dtypes, seeds)
def test_save_and_load_keep_every_bit(
    tmp_path_factory: Any, I: int, H: int, O: int, dtype: str, seed: int
) -> None:
    """Any network survives the file."""
    rnn = network(np.random.default_rng(seed), I, H, O, dtype)
    path: Path = tmp_path_factory.mktemp("io") / "model"
    rnnx.save(path, rnn)
    for name, W in rnnx.load(path).params.items():
        np.testing.assert_array_equal(W, rnn.params[name], strict=True)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), st.data())
def test_cross_entropy_is_never_negative_nor_infinite(values: list[float], data: Any) -> None:
    """The loss is finite and at least zero, and its gradient sums to zero."""
    target = data.draw(st.integers(0, len(values) - 1))
    loss, dz = softmax_cross_entropy(np.asarray([values]), np.asarray([target]))
    assert 0 <= loss < np.inf
    assert abs(dz.sum()) < 1e-12


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=8), st.floats(1e-3, 1e3))
def test_clipping_never_exceeds_the_bound(values: list[float], bound: float) -> None:
    """The norm after clipping is at most the bound, and the direction is kept."""
    grads, _ = clip_by_global_norm({"g": np.asarray(values)}, bound)
    assert np.linalg.norm(grads["g"]) <= bound * (1 + 1e-12)
    assert np.all(grads["g"] * np.asarray(values) >= 0)
