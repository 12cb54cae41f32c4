"""Nothing in a training step reads a value back to the host, and JAX compiles it once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from cases import TOLERANCE, assert_near
from test_simple import lively
from training import ADAM, training_step

from rnnx import Backend, SimpleRNN, get_backend


def arguments(bk: Backend) -> tuple[Any, ...]:
    """Return the arguments of a training step, of arrays of the backend."""
    rng = np.random.default_rng(14)
    params = lively(bk).params
    x = bk.asarray(rng.standard_normal((5, 2, 3)))
    targets = bk.asarray(rng.integers(0, 2, (5, 2)), dtype="int32")
    return params, ADAM.init(params), bk.zeros((2, 4)), x, targets


def test_a_training_step_runs_without_values() -> None:
    """torch's meta device has shapes and no values: any read of one would raise."""
    pytest.importorskip("torch", reason="needs torch's meta device")
    bk = get_backend("torch", device="meta")
    with bk.scope():
        params, _, h, loss = training_step(bk, *arguments(bk))
    assert {name: tuple(W.shape) for name, W in params.items()} == SimpleRNN(3, 4, 2)._shapes()
    assert all(W.is_meta for W in (*params.values(), h, loss))


def test_simple_rnn_runs_without_values() -> None:
    """The class, too, reads nothing back."""
    pytest.importorskip("torch", reason="needs torch's meta device")
    rnn = SimpleRNN(3, 4, 2, backend="torch", device="meta")
    y = rnn.forward(rnn.backend.zeros((5, 2, 3)))
    assert rnn.state_gradients(y).shape == (5, 2, 4)
    assert rnn.backward(y)["Whh"].is_meta


def test_jax_compiles_a_training_step_once() -> None:
    """`jax.jit` traces the whole step, once for all calls, to the values that NumPy gives."""
    pytest.importorskip("jax", reason="needs JAX")
    bk = get_backend("jax", dtype="float64")
    traces = []

    def step(*arguments: Any) -> Any:
        traces.append(1)
        return training_step(bk, *arguments)

    compiled = bk.compile(step)
    reference = get_backend("numpy", dtype="float64")
    params, state, h, x, targets = arguments(bk)
    expected, expected_state, expected_h, x_np, targets_np = arguments(reference)
    for _ in range(3):
        params, state, h, loss = compiled(params, state, h, x, targets)
        expected, expected_state, expected_h, expected_loss = training_step(
            reference, expected, expected_state, expected_h, x_np, targets_np
        )
    assert len(traces) == 1
    assert_near(bk.to_numpy(loss), expected_loss, TOLERANCE["float64"])
    for name, W in params.items():
        assert_near(bk.to_numpy(W), expected[name], TOLERANCE["float64"], name)


def test_a_training_step_is_the_same_on_every_backend(bk: Backend) -> None:
    """Loss, state and parameters after a compiled step agree with NumPy in float64."""
    reference = get_backend("numpy", dtype="float64")
    expected, _, expected_h, expected_loss = training_step(reference, *arguments(reference))
    params, _, h, loss = bk.compile(partial(training_step, bk))(*arguments(bk))
    tolerance = TOLERANCE[bk.dtype_name]
    assert_near(bk.to_numpy(loss), expected_loss, tolerance, "loss")
    assert_near(bk.to_numpy(h), expected_h, tolerance, "h")
    for name, W in params.items():
        assert_near(bk.to_numpy(W), expected[name], tolerance, name)
