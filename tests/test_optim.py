"""Optimizers: their published equations, the same on every backend, nothing changed in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import assert_close

from rnnx import Backend, get_backend
from rnnx.optim import SGD, Adam, AdamW, RMSprop, clip_by_global_norm, global_norm

SHAPES = {"W": (3, 2), "b": (3,)}
ALL = [SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, nesterov=True), RMSprop(0.1), Adam(0.1), AdamW(0.1)]


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


def sgd_by_hand(w: Any, gradients: list[Any], rate: float, momentum: float) -> Any:
    velocity = 0.0
    for g in gradients:
        velocity = momentum * velocity + g
        w = w - rate * velocity
    return w


def adam_by_hand(w: Any, gradients: list[Any], rate: float, b1: float, b2: float) -> Any:
    """Return the parameter after Algorithm 1 of Kingma and Ba, with powers taken directly."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
    return w


def run(bk: Backend, optimizer: Any, steps: int = 20) -> tuple[dict[str, Any], Any]:
    """Return the parameters after some steps of fixed gradients, and the state."""
    params = {k: bk.asarray(w) for k, w in arrays(0).items()}
    state = optimizer.init(params)
    for t in range(1, steps + 1):
        grads = {k: bk.asarray(g) for k, g in arrays(t).items()}
        params, state = optimizer.update(params, grads, state)
    return params, state


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_its_equation(bk: Backend, momentum: float) -> None:
    """Twenty steps equal the recurrence written out."""
    params, _ = run(bk, SGD(0.05, momentum))
    gradients = [arrays(t) for t in range(1, 21)]
    for name, w in arrays(0).items():
        expected = sgd_by_hand(w, [g[name] for g in gradients], 0.05, momentum)
        assert_close(bk, params[name], expected, name)


def test_adam_is_its_equation(bk: Backend) -> None:
    """Twenty steps equal the paper's algorithm written out."""
    params, _ = run(bk, Adam(0.05, beta1=0.8, beta2=0.99))
    gradients = [arrays(t) for t in range(1, 21)]
    for name, w in arrays(0).items():
        expected = adam_by_hand(w, [g[name] for g in gradients], 0.05, 0.8, 0.99)
        assert_close(bk, params[name], expected, name)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_every_backend_takes_the_same_steps(bk: Backend, optimizer: Any) -> None:
    """Twenty steps agree with NumPy's in float64."""
    expected, _ = run(get_backend("numpy", dtype="float64"), optimizer)
    params, _ = run(bk, optimizer)
    for name, w in expected.items():
        assert_close(bk, params[name], w, name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD(0.05), ("SGD", {"lr": 0.05})),
        (SGD(0.05, momentum=0.9), ("SGD", {"lr": 0.05, "momentum": 0.9})),
        (
            SGD(0.05, momentum=0.9, nesterov=True),
            ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        ),
        (RMSprop(0.01, alpha=0.9), ("RMSprop", {"lr": 0.01, "alpha": 0.9})),
        (Adam(0.01), ("Adam", {"lr": 0.01})),
        (AdamW(0.01, weight_decay=0.2), ("AdamW", {"lr": 0.01, "weight_decay": 0.2})),
    ],
    ids=["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"],
)
def test_optimizers_equal_torch(ours: Any, theirs: tuple[str, dict[str, float]]) -> None:
    """Fifty steps in float64 equal torch.optim to 1e-12."""
    torch = pytest.importorskip("torch", reason="torch is the oracle here")
    params = arrays(0)
    tensors = {k: torch.tensor(w, requires_grad=True) for k, w in params.items()}
    optimizer = getattr(torch.optim, theirs[0])(tensors.values(), **theirs[1])
    state = ours.init(params)
    for t in range(1, 51):
        grads = arrays(t)
        params, state = ours.update(params, grads, state)
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name])
        optimizer.step()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(params[name], tensor.detach().numpy(), rtol=0, atol=1e-12)


def assert_same_bits(bk: Backend, actual: Any, expected: Any) -> None:
    """Assert that two arrays of the backend's dtype, or two dicts of such, do not differ."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            assert_same_bits(bk, actual[name], value)
    else:
        assert actual.dtype == expected.dtype == bk.dtype
        np.testing.assert_array_equal(bk.to_numpy(actual), bk.to_numpy(expected))


@pytest.mark.parametrize("rate", [0.03, 2, np.float64(0.03), np.float32(0.03)], ids=repr)
@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_a_step_takes_another_rate(bk: Backend, optimizer: Any, rate: Any) -> None:
    """Bit for bit the step of an optimizer built with it; a NumPy scalar widens nothing."""
    params, state = run(bk, optimizer, steps=2)
    grads = {k: bk.asarray(g) for k, g in arrays(9).items()}
    built = replace(optimizer, learning_rate=rate)
    expected, expected_state = built.update(params, grads, state)
    actual, actual_state = optimizer.update(params, grads, state, rate)
    assert_same_bits(bk, actual, expected)
    assert_same_bits(bk, actual_state, expected_state)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_at_rate_zero_nothing_moves(bk: Backend, optimizer: Any) -> None:
    """A schedule that ends at zero leaves the parameters as they are."""
    params, state = run(bk, optimizer, steps=2)
    grads = {k: bk.asarray(g) for k, g in arrays(9).items()}
    actual, _ = optimizer.update(params, grads, state, learning_rate=0)
    assert_same_bits(bk, actual, params)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_a_rate_may_be_an_array(bk: Backend, optimizer: Any) -> None:
    """The backend's own array without axes gives the number's step, in the parameters' dtype."""
    params, state = run(bk, optimizer, steps=2)
    grads = {k: bk.asarray(g) for k, g in arrays(9).items()}
    expected, _ = optimizer.update(params, grads, state, 0.25)
    for dtype in {bk.dtype_name, "float32"}:
        actual, _ = optimizer.update(params, grads, state, bk.asarray(0.25, dtype))
        for name, w in expected.items():
            assert_close(bk, actual[name], bk.to_numpy(w), name)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_a_wider_rate_widens_no_parameter(optimizer: Any) -> None:
    """A float64 array of a rate leaves float32 parameters and state in float32."""
    params, grads = ({k: w.astype("float32") for k, w in arrays(i).items()} for i in (0, 1))
    params, state = optimizer.update(
        params, grads, optimizer.init(params), np.asarray(0.25, dtype="float64")
    )
    for part in (params, *(value for value in state.values() if isinstance(value, dict))):
        assert {w.dtype.name for w in part.values()} == {"float32"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_jax_compiles_an_update_once_for_all_rates(optimizer: Any, dtype: str) -> None:
    """Python floats as an argument of the compiled update: one trace, the uncompiled values."""
    pytest.importorskip("jax", reason="needs JAX")
    bk, traces = get_backend("jax", dtype=dtype), []

    def update(*arguments: Any) -> Any:
        traces.append(1)
        return optimizer.update(*arguments)

    compiled = bk.compile(update)
    params = expected = {k: bk.asarray(w) for k, w in arrays(0).items()}
    state = expected_state = optimizer.init(params)
    for t, rate in enumerate((0.1, 0.05, 0.0, 0.2)):
        grads = {k: bk.asarray(g) for k, g in arrays(t + 1).items()}
        params, state = compiled(params, grads, state, rate)
        expected, expected_state = optimizer.update(expected, grads, expected_state, rate)
    assert len(traces) == 1
    for name, w in expected.items():
        assert_close(bk, params[name], bk.to_numpy(w), name)


@pytest.mark.parametrize("beta2", [0.9, 0.999, 0.99999])
def test_adam_keeps_its_digits_in_float32(beta2: float) -> None:
    """1 - βᵗ is not lost to cancellation: steps in float32 are right to a few roundings."""
    grads = {k: np.abs(g) for k, g in arrays(1).items()}
    adam, steps = Adam(0.1, beta2=beta2), {}
    for dtype in ("float64", "float32"):
        params = {k: np.zeros(w.shape, dtype) for k, w in arrays(0).items()}
        state = adam.init(params)
        for _ in range(3):
            params, state = adam.update(
                params, {k: g.astype(dtype) for k, g in grads.items()}, state
            )
        steps[dtype] = params
    for name, w in steps["float64"].items():
        np.testing.assert_allclose(steps["float32"][name], w, rtol=2e-6)


@pytest.mark.parametrize("size", [1e38, 1e25, 1e15, 1.0, 1e-15, 1e-25, 1e-36])
def test_the_global_norm_neither_overflows_nor_underflows(bk: Backend, size: float) -> None:
    """Gradients whose squares do not fit float32: norm and clipped direction are right."""
    grads = {k: bk.asarray(size * g) for k, g in arrays(0).items()}
    exact = size * np.sqrt(sum(np.sum(g * g) for g in arrays(0).values()))
    assert exact < np.finfo("float32").max
    norm = global_norm(grads)
    assert norm.shape == ()
    assert norm.dtype == bk.dtype
    assert bk.to_numpy(norm) == pytest.approx(exact, rel=1e-6)
    clipped, again = clip_by_global_norm(grads, exact / 4)
    np.testing.assert_array_equal(bk.to_numpy(again), bk.to_numpy(norm))
    for name, g in arrays(0).items():
        assert_close(bk, clipped[name], size * g / 4, name)


@pytest.mark.parametrize(("entry", "isinf"), [(np.inf, True), (-np.inf, True), (np.nan, False)])
def test_the_global_norm_shows_what_is_not_finite(bk: Backend, entry: float, isinf: bool) -> None:
    """Infinity beside large entries gives infinity, NaN gives NaN; neither gives a warning."""
    norm = bk.to_numpy(global_norm({"W": bk.asarray([1e30, entry]), "b": bk.asarray([1.0])}))
    assert np.isinf(norm) == isinf
    assert np.isnan(norm) != isinf


def test_the_global_norm_takes_arrays_without_entries(bk: Backend) -> None:
    """Beside others they add nothing; alone their norm is zero."""
    empty = bk.zeros((0, 3))
    assert bk.to_numpy(global_norm({"W": bk.asarray([3.0, 4.0]), "none": empty})) == 5
    assert bk.to_numpy(global_norm({"none": empty})) == 0


def test_the_global_norm_compiles() -> None:
    """jax.jit traces it once and gives the same value; subnormal entries are NumPy's alone."""
    subnormal = global_norm({"w": np.asarray([3e-42, 4e-42], dtype="float32")})
    assert subnormal == pytest.approx(5e-42, rel=1e-3)
    pytest.importorskip("jax", reason="needs JAX")
    bk = get_backend("jax")
    grads = {"w": bk.asarray([3e25, 4e25]), "b": bk.asarray([0.0])}
    assert bk.to_numpy(bk.compile(global_norm)(grads)) == pytest.approx(5e25, rel=1e-6)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_nothing_is_changed_in_place(optimizer: Any) -> None:
    """Parameters, gradients and state that went in are as they were."""
    params, grads = arrays(0), arrays(1)
    state = optimizer.init(params)
    _, state = optimizer.update(params, grads, state)
    before = repr((params, grads, state))
    optimizer.update(params, grads, state)
    assert repr((params, grads, state)) == before


def test_clipping_bounds_the_joint_norm(bk: Backend) -> None:
    """Above the bound all gradients shrink by one factor, below it they keep every bit."""
    grads = {k: bk.asarray(g) for k, g in arrays(0).items()}
    joint = np.sqrt(sum(np.sum(g * g) for g in arrays(0).values()))
    clipped, norm = clip_by_global_norm(grads, joint / 4)
    assert bk.to_numpy(norm) == pytest.approx(joint, rel=1e-6)
    for name, g in arrays(0).items():
        assert_close(bk, clipped[name], g / 4, name)
    same, _ = clip_by_global_norm(grads, 2 * float(joint))
    zero, norm = clip_by_global_norm({"W": bk.zeros((2, 2))}, 1.0)
    assert bk.to_numpy(norm) == 0
    assert not np.any(bk.to_numpy(zero["W"]))
    for name, g in grads.items():
        np.testing.assert_array_equal(bk.to_numpy(same[name]), bk.to_numpy(g))


def at_rate(rate: Any) -> Any:
    """Return what one step at this rate gives."""
    return SGD().update(arrays(0), arrays(1), {}, rate)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-1.0), "learning_rate must be above 0 and finite, got -1.0"),
        (lambda: SGD(float("nan")), "learning_rate must be above 0"),
        (lambda: SGD(momentum=1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: Adam(beta1=1.0), r"beta1 must be in \[0, 1\)"),
        (lambda: Adam(beta2=-0.1), r"beta2 must be in \[0, 1\)"),
        (lambda: Adam(epsilon=0.0), "epsilon must be above 0"),
        (lambda: SGD(nesterov=True), "nesterov needs a momentum above 0"),
        (lambda: RMSprop(alpha=1.0), r"alpha must be in \[0, 1\)"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must be at least 0"),
        (lambda: AdamW(beta1=2), r"beta1 must be in \[0, 1\)"),
        (lambda: clip_by_global_norm(arrays(0), 0.0), "max_norm must be above 0"),
        (lambda: SGD().update(arrays(0), {"W": 1}, {}), "names .*'W', 'b'.*, got .*'W'"),
        (lambda: SGD().update({"b": np.ones((4, 1))}, {"b": np.ones(4)}, {}), "grads.'b'. must"),
        (lambda: Adam().update(arrays(0), arrays(1), {}), "state must be of Adam, with .*init"),
        (lambda: clip_by_global_norm({}, 1.0), "got an empty dict"),
        (lambda: at_rate(-0.1), "learning_rate must be at least 0 and finite, got -0.1"),
        (lambda: at_rate(np.float32("nan")), "learning_rate must be at least 0"),
        (lambda: at_rate("fast"), "learning_rate must be at least 0 .*, got 'fast'"),
        (lambda: at_rate(np.ones(1)), r"learning_rate .* have shape \(\), got \(1,\)"),
    ],
)
def test_wrong_values_are_refused(make: Any, message: str) -> None:
    """Every hyperparameter has its range."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rate_of_another_library_is_refused() -> None:
    """NumPy's parameters take no array of array-api-strict."""
    strict = pytest.importorskip("array_api_strict", reason="needs a second library")
    with pytest.raises(TypeError, match="the parameters' library, got array_api_strict"):
        at_rate(strict.asarray(0.1))
