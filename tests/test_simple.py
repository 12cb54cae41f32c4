"""SimpleRNN: the listing's interface, exact gradients, and every wrong use."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from cases import assert_close

import rnnx
from rnnx import Backend, SimpleRNN
from rnnx.backends.complex import make as complex_numbers
from rnnx.optim import Adam, clip_by_global_norm

SIZES = {"input_size": 3, "hidden_size": 4, "output_size": 2}
REFERENCE = rnnx.get_backend("numpy", dtype="float64")


def lively(backend: Any = "numpy", seed: int = 5, **options: Any) -> SimpleRNN:
    """Return a network whose weights are large enough to tell right gradients from wrong."""
    options = {"dtype": "float64"} | options if backend == "numpy" else options
    rnn = SimpleRNN(**SIZES, backend=backend, seed=seed, **options)
    rng = np.random.default_rng(seed)
    shapes = {name: tuple(W.shape) for name, W in rnn.params.items()}
    rnn.set_params({k: rng.standard_normal(s) / np.sqrt(s[1]) for k, s in shapes.items()})
    return rnn


def test_the_listing_runs_unchanged(bk: Backend) -> None:
    """The listing's second cell, on any backend: T columns out, weights moved down the gradient."""
    sequence = [np.array([1, 0, 0]), np.array([0, 1, 0]), np.array([0, 0, 1])]
    rnn = SimpleRNN(input_size=3, hidden_size=5, output_size=2, backend=bk, seed=1)
    before = dict(rnn.params)

    outputs = rnn.forward(sequence)
    doutputs = [np.ones((2, 1)) for _ in outputs]
    grads = rnn.backward(doutputs)

    assert [tuple(y.shape) for y in outputs] == [(2, 1)] * 3
    for name, W in rnn.params.items():
        assert np.any(bk.to_numpy(grads[name])), name
        assert_close(bk, W, bk.to_numpy(before[name]) - 0.01 * bk.to_numpy(grads[name]), name)


def listing_forward(p: dict[str, Any], inputs: list[np.ndarray]) -> list[Any]:
    """Return the outputs as the listing computes them, a column at a time."""
    h = np.zeros((p["Whh"].shape[0], 1))
    outputs = []
    for x in inputs:
        h = np.tanh(p["Wxh"] @ x.reshape(-1, 1) + p["Whh"] @ h + p["bh"])
        outputs.append(p["Why"] @ h + p["by"])
    return outputs


def test_outputs_and_gradients_are_those_of_the_listing_made_exact(bk: Backend) -> None:
    """Outputs equal the listing's formula, gradients its complex-step derivative."""
    rng = np.random.default_rng(2)
    inputs = [rng.standard_normal(3) for _ in range(4)]
    doutputs = [rng.standard_normal((2, 1)) for _ in range(4)]
    exact = {name: REFERENCE.to_numpy(W) for name, W in lively().params.items()}
    rnn = lively(bk)

    def loss(p: dict[str, Any]) -> Any:
        return sum(np.sum(d * y) for d, y in zip(doutputs, listing_forward(p, inputs), strict=True))

    expected = oracle.complex_step(loss, exact)
    for y, y_exact in zip(rnn.forward(inputs), listing_forward(exact, inputs), strict=True):
        assert_close(bk, y, y_exact, "y")
    for name, gradient in rnn.gradients(doutputs).items():
        assert_close(bk, gradient, expected[name], f"d{name}")


@pytest.mark.parametrize("shape", [(1, 3), (5, 3), (1, 1, 3), (1, 2, 3), (5, 1, 3), (4, 6, 3)])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_gradients_equal_the_oracle(nonlinearity: str, shape: tuple[int, ...]) -> None:
    """All gradients are exact for sequences and batches, for one step and one row too."""
    rng = np.random.default_rng(3)
    rnn, x = lively(nonlinearity=nonlinearity), rng.standard_normal(shape)
    rnn.set_params({"bh": np.full((4, 1), 0.9)})
    y = rnn.forward(x, state=np.ones((x.shape[-2] if x.ndim == 3 else 1, 4)))
    dy = rng.standard_normal(y.shape)
    x3, dy3 = (a if a.ndim == 3 else a[:, None, :] for a in (x, dy))

    twin = rnn.to(complex_numbers())

    def loss(p: dict[str, Any]) -> Any:
        twin._take(p)
        return np.sum(dy3 * twin.forward(x3, state=np.ones((x3.shape[1], 4))))

    oracle.check(loss, rnn.params, rnn.gradients(dy))


def test_state_gradients_equal_the_oracle() -> None:
    """dL/dh_t is the derivative by a nudge of h_t that all later steps feel."""
    rng = np.random.default_rng(4)
    rnn, x, dy = lively(), rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 2))
    rnn.forward(x)
    p = rnn.params

    def loss(a: dict[str, Any]) -> Any:
        h, total = np.zeros((2, 4)), 0.0
        for t in range(4):
            h = np.tanh(x[t] @ p["Wxh"].T + h @ p["Whh"].T + p["bh"].T) + a["nudge"][t]
            total = total + np.sum(dy[t] * (h @ p["Why"].T + p["by"].T))
        return total

    oracle.check(loss, {"nudge": np.zeros((4, 2, 4))}, {"nudge": rnn.state_gradients(dy)})


def test_every_form_is_the_same_network(bk: Backend) -> None:
    """A list, an array (T, I) and an array (T, B, I) give the same outputs and gradients."""
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    columns, dcolumns = [row[:, None] for row in x], [row[:, None] for row in dy]
    own = [bk.asarray(column) for column in columns]
    results = []
    forms = [
        (x, dy), (x[:, None], dy[:, None]), (columns, dcolumns), (list(x), list(dy)),
        (own, dcolumns), (x.tolist(), dy.tolist()), (columns, np.stack(dcolumns)),
        (bk.asarray(x), bk.asarray(dy)),
    ]  # fmt: skip
    for inputs, doutputs in forms:
        rnn = lively(bk)
        outputs = rnn.forward(inputs)
        y = bk.xp.stack(outputs) if isinstance(outputs, list) else outputs
        results.append((np.reshape(bk.to_numpy(y), (5, 2)), rnn.gradients(doutputs)))
    for y, grads in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        for name, gradient in grads.items():
            np.testing.assert_array_equal(
                bk.to_numpy(gradient), bk.to_numpy(results[0][1][name]), err_msg=name
            )


def test_the_state_is_carried_from_chunk_to_chunk(bk: Backend) -> None:
    """Two chunks with the state handed on give the outputs of the whole sequence."""
    x = np.random.default_rng(8).standard_normal((6, 2, 3))
    rnn = lively(bk)
    whole = bk.to_numpy(rnn.forward(x))
    first = bk.to_numpy(rnn.forward(x[:2]))
    second = bk.to_numpy(rnn.forward(x[2:], state=rnn.final_state))
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-5)


def test_one_seed_is_one_network(bk: Backend) -> None:
    """The same seed draws the same weights on every backend, another seed others."""
    reference = SimpleRNN(**SIZES, seed=3, dtype=bk.dtype_name)
    rnn = SimpleRNN(**SIZES, seed=np.random.default_rng(3), backend=bk)
    for name, W in rnn.params.items():
        np.testing.assert_array_equal(bk.to_numpy(W), reference.params[name])
    assert np.any(SimpleRNN(**SIZES, seed=4).Wxh != SimpleRNN(**SIZES, seed=5).Wxh)
    assert 0.003 < np.std(SimpleRNN(30, 30, 30, seed=0).Whh) < 0.03
    assert not np.any(SimpleRNN(**SIZES).bh)


def test_nothing_that_was_passed_in_is_changed(bk: Backend) -> None:
    """Inputs, states, gradients and handed-out parameters stay as they were."""
    rng = np.random.default_rng(9)
    x, h0, dy = (rng.standard_normal(s) for s in [(3, 2, 3), (2, 4), (3, 2, 2)])
    for array in (x, h0, dy):
        array.flags.writeable = False
    rnn = lively(bk)
    held = dict(rnn.params)
    copies = {name: np.array(bk.to_numpy(W)) for name, W in held.items()}
    rnn.forward(x, state=h0)
    rnn.gradients(dy)
    rnn.backward(dy)
    for name, W in held.items():
        np.testing.assert_array_equal(bk.to_numpy(W), copies[name])


def test_two_calls_are_bit_identical(bk: Backend) -> None:
    """The same call gives the same bits; `gradients` changes nothing."""
    x, dy = np.ones((4, 3, 3)) / 3, np.ones((4, 3, 2)) / 7
    rnn = lively(bk)
    first, again = rnn.forward(x), rnn.forward(x)
    np.testing.assert_array_equal(bk.to_numpy(first), bk.to_numpy(again))
    for one, two in zip(rnn.gradients(dy).values(), rnn.gradients(dy).values(), strict=True):
        np.testing.assert_array_equal(bk.to_numpy(one), bk.to_numpy(two))


def test_nan_spreads_forward_in_time_and_nowhere_else() -> None:
    """NaN in the input is allowed: it reaches its own row's later outputs only."""
    x = np.ones((4, 2, 3))
    x[1, 0, 0] = np.nan
    y = lively().forward(x)
    assert np.all(np.isnan(y[1:, 0]))
    assert not np.any(np.isnan(y[:, 1]))
    assert not np.any(np.isnan(y[0]))
    relu = lively(nonlinearity="relu")
    assert np.all(np.isnan(relu.forward(x)[1:, 0]))


def test_parameters_are_attributes(bk: Backend) -> None:
    """`rnn.Whh` reads and, with the checks of `set_params`, writes a parameter."""
    rnn = lively(bk)
    assert rnn.Whh is rnn.params["Whh"]
    rnn.Whh = np.eye(4)
    np.testing.assert_array_equal(bk.to_numpy(rnn.params["Whh"]), np.eye(4))
    with pytest.raises(ValueError, match=r"Whh must have shape \(4, 4\), got \(3, 3\)"):
        rnn.Whh = np.eye(3)
    with pytest.raises(AttributeError, match="'SimpleRNN' object has no attribute 'Wyy'"):
        _ = rnn.Wyy


def test_set_params_is_all_or_nothing() -> None:
    """One wrong entry, and no parameter changes."""
    rnn = lively()
    before = dict(rnn.params)
    with pytest.raises(ValueError, match=r"by must have shape \(2, 1\), got \(2,\)"):
        rnn.set_params({"Whh": np.eye(4), "by": np.zeros(2)})
    with pytest.raises(ValueError, match=r"parameter must be one of Wxh, .*, got 'W'"):
        rnn.set_params({"Whh": np.eye(4), "W": np.eye(4)})
    with pytest.raises(TypeError, match="real numbers"):
        rnn.set_params({"Whh": np.eye(4), "by": np.full((2, 1), 1j)})
    assert all(rnn.params[name] is W for name, W in before.items())


def test_a_copy_on_another_backend_is_the_same_network(bk: Backend) -> None:
    """`to` there and back again keeps every bit, and the copies share nothing."""
    rnn = lively(dtype=bk.dtype_name)
    there = rnn.to(bk)
    back = there.to("numpy")
    for name, W in rnn.params.items():
        np.testing.assert_array_equal(back.params[name], W)
        assert not np.shares_memory(back.params[name], W)
    assert there.backend == bk
    assert back.backend == rnn.backend
    x = np.ones((2, 3))
    assert_close(bk, there.forward(x), lively().forward(x))


def test_a_saved_network_is_the_same_on_every_backend(bk: Backend, tmp_path: Path) -> None:
    """Saved anywhere and loaded anywhere, every bit is there."""
    rnn = lively(bk, nonlinearity="relu")
    path = tmp_path / "model.rnnx"
    rnnx.save(path, rnn)
    for target in ("numpy", bk):
        copy = rnnx.load(path, backend=target)
        assert copy.nonlinearity == rnn.nonlinearity
        assert copy.backend.dtype_name == bk.dtype_name
        for name, W in copy.params.items():
            np.testing.assert_array_equal(
                copy.backend.to_numpy(W), bk.to_numpy(rnn.params[name]), strict=True
            )
    assert [p.name for p in tmp_path.iterdir()] == ["model.rnnx"]


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (np.ones((5, 2, 4)), ValueError, r"shape \(T, B, 3\) or \(T, 3\) to match input_size, .*"
         r"got \(5, 2, 4\)"),
        (np.ones(3), ValueError, r"got \(3,\)"),
        (np.ones((1, 1, 1, 3)), ValueError, r"got \(1, 1, 1, 3\)"),
        (np.ones((0, 3)), ValueError, r"T and B at least 1, got \(0, 3\)"),
        (np.ones((2, 0, 3)), ValueError, r"got \(2, 0, 3\)"),
        ([], ValueError, "inputs must hold at least one vector, got an empty list"),
        ([np.ones(3), np.ones(2)], ValueError, r"inputs\[1\] must have shape \(3,\) or \(3, 1\), "
         r"got \(2,\)"),
        ([[1, 2, 3], [1, 2]], ValueError, r"inputs\[1\] must have shape"),
        ([1, 2, 3], ValueError, r"inputs\[0\] must have shape .* got \(\)"),
        (np.ones((4, 3), dtype=int), TypeError, r"must be a real floating array, got dtype int64"),
        (np.ones((4, 3), dtype=complex), TypeError, r"must be a real floating .* complex128"),
        ([np.full(3, 1j)], TypeError, "expected an array of real numbers, got dtype complex128"),
        ("text", TypeError, "expected an array of real numbers, got dtype <U4"),
        (None, TypeError, "expected an array of real numbers, got dtype object"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_refused(
    bk: Backend, inputs: Any, error: type[Exception], message: str
) -> None:
    """One line: expected and got; and the last forward pass is still there."""
    rnn = lively(bk)
    rnn.forward(np.ones((2, 3)))
    with pytest.raises(error, match=message) as caught:
        rnn.forward(inputs)
    assert "\n" not in str(caught.value)
    rnn.backward(np.ones((2, 2)))


@pytest.mark.parametrize(
    ("inputs", "doutputs", "error", "message"),
    [
        ([np.ones(3)] * 2, [np.ones((2, 1))] * 3, ValueError, "each of 2 outputs, got 3"),
        ([np.ones(3)] * 2, [np.ones((3, 1))] * 2, ValueError, r"doutputs\[0\] must have shape"),
        (np.ones((2, 3)), np.ones((3, 2)), ValueError, r"outputs' shape \(2, 2\), got \(3, 2\)"),
        (np.ones((2, 1, 3)), np.ones((2, 2)), ValueError, r"shape \(2, 1, 2\), got \(2, 2\)"),
        (np.ones((2, 3)), np.ones((2, 2), dtype=int), TypeError, "real floating array, got .*int"),
        (np.ones((2, 3)), np.ones((2, 2)) * 1j, TypeError, "complex"),
    ],
)
def test_wrong_gradients_are_refused(
    inputs: Any, doutputs: Any, error: type[Exception], message: str
) -> None:
    """One line: expected and got; no parameter moves."""
    rnn = lively()
    rnn.forward(inputs)
    before = dict(rnn.params)
    with pytest.raises(error, match=message):
        rnn.backward(doutputs)
    assert all(rnn.params[name] is W for name, W in before.items())


def test_backward_needs_a_forward_pass() -> None:
    """None yet, or none since the parameters changed: an error that says to call forward."""
    rnn, message = lively(), r"expected a forward pass first.*call forward\(inputs\)"
    for call in (rnn.backward, rnn.gradients, rnn.state_gradients):
        with pytest.raises(RuntimeError, match=message):
            call(np.ones((2, 2)))
    rnn.forward(np.ones((2, 3)))
    rnn.backward(np.ones((2, 2)))
    with pytest.raises(RuntimeError, match=message):
        rnn.backward(np.ones((2, 2)))
    rnn.forward(np.ones((2, 3)))
    rnn.set_params({"bh": np.zeros((4, 1))})
    with pytest.raises(RuntimeError, match=message):
        rnn.gradients(np.ones((2, 2)))
    with pytest.raises(RuntimeError, match="expected a forward pass first"):
        _ = lively().final_state


def test_the_final_state_outlives_the_update() -> None:
    """Truncated BPTT as one writes it: forward, backward, and on with the state."""
    rnn, x = lively(), np.ones((4, 2, 3))
    y = rnn.forward(x)
    state = rnn.final_state
    rnn.backward(y)
    assert rnn.final_state is state
    rnn.forward(x, state=rnn.final_state)


def test_parameters_are_copied_in(bk: Backend) -> None:
    """What the caller writes into its array later is its own."""
    rnn, W = lively(bk), np.zeros((4, 1), dtype=bk.dtype_name)
    rnn.set_params({"bh": W})
    W[:] = 7
    assert not np.any(bk.to_numpy(rnn.bh))


def test_a_network_survives_copy_and_pickle(bk: Backend) -> None:
    """A deep copy has the weights and shares none; a pickle goes to another process."""
    rnn = lively(bk)
    for twin in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        np.testing.assert_array_equal(bk.to_numpy(twin.Whh), bk.to_numpy(rnn.Whh))
        assert twin.backend == bk


@pytest.mark.parametrize("seed", [-1, "a", 1.5])
def test_wrong_seeds_are_refused(seed: Any) -> None:
    """A seed is None, an integer of at least 0, or a Generator."""
    with pytest.raises(ValueError, match="seed must be None, an integer of at least 0"):
        SimpleRNN(**SIZES, seed=seed)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf"), "0.1", None, True, np.ones(2)])
def test_wrong_learning_rates_are_refused(rate: float) -> None:
    """A rate is finite and not negative; no parameter moves."""
    rnn = lively()
    rnn.forward(np.ones((2, 3)))
    before = dict(rnn.params)
    with pytest.raises(ValueError, match="learning_rate must be at least 0 and finite"):
        rnn.backward(np.ones((2, 2)), learning_rate=rate)
    assert all(rnn.params[name] is W for name, W in before.items())


def test_a_numpy_scalar_does_not_decide_the_dtype(bk: Backend) -> None:
    """A rate of np.float64 leaves float32 parameters float32."""
    rnn = lively(bk)
    rnn.forward(np.ones((2, 3)))
    grads = rnn.backward(np.ones((2, 2)), learning_rate=np.float64(0.1))
    stepped, _ = Adam(np.float64(0.1)).update(rnn.params, grads, Adam().init(rnn.params))
    clipped, _ = clip_by_global_norm(grads, np.float64(0.1))
    for params in (rnn.params, stepped, clipped):
        assert {W.dtype for W in params.values()} == {rnn.Whh.dtype}
        assert rnn.Whh.dtype == bk.dtype


def test_wrong_states_are_refused() -> None:
    """The initial state must fit the batch."""
    rnn = lively()
    with pytest.raises(ValueError, match=r"state must have shape \(2, 4\), got \(1, 4\)"):
        rnn.forward(np.ones((3, 2, 3)), state=np.zeros((1, 4)))
    one = [rnn.forward(np.ones((3, 3)), state=np.ones(s)) for s in [(4,), (4, 1), (1, 4)]]
    np.testing.assert_array_equal(one[0], one[1])
    np.testing.assert_array_equal(one[0], one[2])


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None, np.asarray([4])])
def test_wrong_sizes_are_refused(size: Any) -> None:
    """A size is an integer of at least one."""
    for name in SIZES:
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got"):
            SimpleRNN(**SIZES | {name: size})


def test_float32_stays_within_1e_5_of_float64() -> None:
    """Outputs and gradients of a batch of long sequences, at the size of real work."""
    rng = np.random.default_rng(10)
    exact = SimpleRNN(16, 64, 8, dtype="float64", seed=0)
    exact.set_params({"Whh": rng.standard_normal((64, 64)) / 8})
    single = exact.to("numpy", dtype="float32")
    x, dy = rng.standard_normal((200, 32, 16)), rng.standard_normal((200, 32, 8))
    y, y_exact = single.forward(x), exact.forward(x)
    assert np.abs(y - y_exact).max() / np.abs(y_exact).max() < 1e-5
    for name, g in exact.gradients(dy).items():
        assert np.abs(single.gradients(dy)[name] - g).max() / np.abs(g).max() < 1e-5, name


def listing_gradient(p: dict[str, Any], x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return dWhh as the listing computes it: with 1 - tanh(h)², h being a tanh already."""
    T, hidden = len(x), p["Whh"].shape[0]
    h = [np.zeros((hidden, 1))]
    for t in range(T):
        h.append(np.tanh(p["Wxh"] @ x[t][:, None] + p["Whh"] @ h[-1] + p["bh"]))
    dWhh, dh_next = np.zeros_like(p["Whh"]), np.zeros((hidden, 1))
    for t in reversed(range(T)):
        da = (p["Why"].T @ dy[t][:, None] + dh_next) * (1 - np.tanh(h[t + 1]) ** 2)
        dWhh += da @ h[t].T
        dh_next = p["Whh"].T @ da
    return dWhh


@pytest.mark.parametrize(("scale", "defect"), [(0.01, 0.0), (0.5, 0.09), (1.0, 0.44)])
def test_the_listings_defect_is_as_large_as_the_readme_says(scale: float, defect: float) -> None:
    """Its gradient's relative error: unseen at its initial weights, then tens of percent."""
    errors = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        rnn = SimpleRNN(4, 16, 3, dtype="float64", seed=0)
        shapes = {name: W.shape for name, W in rnn.params.items() if name.startswith("W")}
        rnn.set_params(
            {k: scale * rng.standard_normal(s) / np.sqrt(s[1]) for k, s in shapes.items()}
        )
        x = rng.standard_normal((10, 4))
        dy = rng.standard_normal(rnn.forward(x).shape)
        exact = rnn.gradients(dy)["Whh"]
        wrong = listing_gradient(rnn.params, x, dy)
        errors.append(np.linalg.norm(wrong - exact) / np.linalg.norm(exact))
    assert np.median(errors) == pytest.approx(defect, abs=0.005)
