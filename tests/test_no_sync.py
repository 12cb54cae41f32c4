"""Nothing in a training step reads a value back to the host, and JAX compiles it once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from cases import TOLERANCE, assert_near
from training import ADAM, model, training_step

from rnnx import GRU, LSTM, RNN, Backend, Linear, Sequential, SimpleRNN, get_backend
from rnnx.losses import softmax_cross_entropy
from rnnx.optim import clip_by_global_norm


def arguments(bk: Backend) -> tuple[Any, ...]:
    """Return the arguments of a training step, of arrays of the backend."""
    rng = np.random.default_rng(14)
    params = model(bk).params
    x = bk.asarray(rng.standard_normal((5, 2, 3)))
    targets = bk.asarray(rng.integers(0, 2, (5, 2)), dtype="int32")
    return params, ADAM.init(params), bk.zeros((1, 2, 4)), x, targets


def test_a_training_step_runs_without_values() -> None:
    """torch's meta device has shapes and no values: any read of one would raise."""
    pytest.importorskip("torch", reason="needs torch's meta device")
    bk = get_backend("torch", device="meta")
    with bk.scope():
        params, _, h, loss = training_step(bk, *arguments(bk))
    assert {name: tuple(W.shape) for name, W in params.items()} == {
        name: tuple(W.shape) for name, W in model(get_backend("numpy")).params.items()
    }
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


def layers_step(model: Any, params: Any, state: Any, x: Any, targets: Any, masks: Any) -> Any:
    """Return parameters and optimizer state after a training step of a whole model."""
    y, _, cache = model.forward(x, params=params, masks=masks)
    loss, dy = softmax_cross_entropy(y, targets)
    _, _, grads = model.backward(dy, cache)
    grads, _ = clip_by_global_norm(grads, 1.0)
    return (*ADAM.update(params, grads, state), loss)


def two_layers(bk: Backend) -> Any:
    """Return a bidirectional LSTM of two layers with every kind of dropout, and a linear layer."""
    noise = {"dropout": 0.3, "recurrent_dropout": 0.2, "weight_drop": 0.1}
    return Sequential(
        LSTM(3, 4, num_layers=2, bidirectional=True, **noise, backend=bk, seed=0),
        Linear(8, 2, backend=bk, seed=1),
    )


def test_jax_compiles_a_step_of_two_bidirectional_layers_once() -> None:
    """One trace for all steps, each with fresh dropout masks, and NumPy's numbers."""
    pytest.importorskip("jax", reason="needs JAX")
    bk, reference = get_backend("jax", dtype="float64"), get_backend("numpy", dtype="float64")
    ours, exact, traces = two_layers(bk), two_layers(reference), []

    def step(*arguments: Any) -> Any:
        traces.append(1)
        return layers_step(ours, *arguments)

    compiled = bk.compile(step)
    _, _, _, x, targets = arguments(bk)
    _, _, _, x_np, targets_np = arguments(reference)
    params, state = ours.params, ADAM.init(ours.params)
    expected, expected_state = exact.params, ADAM.init(exact.params)
    losses = []
    for seed in range(3):
        masks, masks_np = (model.draw_masks((5, 2, 3), seed) for model in (ours, exact))
        params, state, loss = compiled(params, state, x, targets, masks)
        expected, expected_state, loss_np = layers_step(
            exact, expected, expected_state, x_np, targets_np, masks_np
        )
        losses.append(float(bk.to_numpy(loss)))
        assert_near(bk.to_numpy(loss), loss_np, 1e-11)
    assert len(traces) == 1
    assert len(set(losses)) == 3
    for name, W in params.items():
        assert_near(bk.to_numpy(W), expected[name], 1e-11, name)


def test_a_cache_crosses_the_border_of_a_compiled_function() -> None:
    """forward and backward compiled apart: the cache is a pytree, whatever the form of x."""
    jax = pytest.importorskip("jax", reason="needs JAX")
    for form, batch_first in (((5, 2, 3), False), ((2, 5, 3), True), ((5, 3), False)):
        layer = LSTM(3, 4, bidirectional=True, batch_first=batch_first, backend="jax", seed=0)
        x = layer.backend.asarray(np.ones(form))
        y, _, cache = jax.jit(layer.forward)(x)
        dx, _, grads = jax.jit(layer.backward)(y, cache)
        y_eager, _, cache_eager = layer.forward(x)
        dx_eager, _, _ = layer.backward(y_eager, cache_eager)
        assert dx.shape == form
        assert_near(np.asarray(dx), np.asarray(dx_eager), 1e-5)
        assert grads.keys() == layer.params.keys()


@pytest.mark.parametrize(
    "options",
    [{}, {"lengths": [5, 2]}, {"mask": np.ones((5, 2), bool)}, {"checkpoint": 2},
     {"reset": np.ones((5, 2), bool)}],
    ids=["plain", "lengths", "mask", "checkpoint", "reset"],
)  # fmt: skip
@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_a_step_of_layers_runs_without_values(kind: Any, options: dict[str, Any]) -> None:
    """On torch's meta device, with every option."""
    pytest.importorskip("torch", reason="needs torch's meta device")
    layer = kind(3, 4, num_layers=2, bidirectional=True, dropout=0.5, recurrent_dropout=0.5,
                 backend="torch", device="meta", seed=0)  # fmt: skip
    y, state, cache = layer.forward(layer.backend.zeros((5, 2, 3)), **options)
    dx, _, grads = layer.backward(y, cache, state)
    assert tuple(y.shape) == (5, 2, 8)
    assert tuple(dx.shape) == (5, 2, 3)
    assert all(g.is_meta for g in grads.values())
