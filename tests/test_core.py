"""The core and the layer above it: gradients against the oracle, all backends against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from cases import assert_close

from rnnx import get_backend
from rnnx.cells.rnn import RNNCell
from rnnx.core import CORES, portable, select
from rnnx.core.contract import NONE, Arriving, Job
from rnnx.core.products import affine, bias_gradient, product, weight_gradient

REFERENCE = get_backend("numpy", dtype="float64")
SHAPES = [(1, 2, 3, 4), (2, 3, 2, 3), (5, 1, 3, 2), (4, 2, 1, 1), (6, 3, 2, 5)]  # T, B, I, H
NONLINEARITIES = ["tanh", "relu"]


def problem(shape: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Return the arguments of a layer, of which every one has a gradient that is not zero."""
    T, B, I, H = shape
    rng = np.random.default_rng(seed)
    return {
        "weight_ih": rng.standard_normal((H, I)),
        "weight_hh": rng.standard_normal((H, H)) / np.sqrt(H),
        "bias_ih": 0.5 + np.abs(rng.standard_normal(H)),
        "x": rng.standard_normal((T, B, I)),
        "h0": 0.5 + np.abs(rng.standard_normal((B, H))),
    }


def run(backend: Any, cell: RNNCell, a: dict[str, Any], core: Any = portable) -> Any:
    """Return all states of a layer; the portable core takes complex numbers, too."""
    return trace(backend, cell, a, core).states[0]


def job(backend: Any, cell: RNNCell, a: dict[str, Any]) -> Job:
    """Return what a core is asked to do."""
    H = a["weight_hh"].shape[0]
    return Job(backend, cell, *a["x"].shape, H, H, True)


def hidden(a: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters among the arguments."""
    return {name: value for name, value in a.items() if name not in ("x", "h0")}


def trace(backend: Any, cell: RNNCell, a: dict[str, Any], core: Any) -> Any:
    """Return what a forward pass leaves."""
    what = job(backend, cell, a)
    return core.forward(what, hidden(a), a["x"], (a["h0"],), NONE, True)


def backward(
    backend: Any, cell: RNNCell, a: dict[str, Any], dy: Any, dhT: Any, core: Any = portable
) -> dict[str, Any]:
    """Return the gradients with respect to every argument of `problem`."""
    what, found = job(backend, cell, a), trace(backend, cell, a, core)
    arriving = Arriving((dy,), (dhT,))
    d = core.backward(what, hidden(a), a["x"], found, arriving, NONE, False)
    return {**d.params, "x": d.x, "h0": d.state0[0]}


def name_of(core: Any) -> str:
    return str(core.NAME)


def outer_gradients(where: str, shape: tuple[int, ...]) -> tuple[np.ndarray | None, np.ndarray]:
    """Return dy (T, B, H) or None, and dhT (B, H), of a loss felt only at some of the steps."""
    T, B, _, H = shape
    rng = np.random.default_rng(7)
    dy, dhT = rng.standard_normal((T, B, H)), rng.standard_normal((B, H))
    steps = {
        "all": slice(None),
        "first": slice(1),
        "last": slice(-1, None),
        "final state": slice(0),
    }
    felt = np.zeros((T, 1, 1))
    felt[steps[where]] = 1
    return (None if where == "final state" else dy * felt), dhT * (where in ("all", "final state"))


@pytest.mark.parametrize("where", ["all", "last", "final state"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("core", [core for core in CORES if core.NAME != "numpy-step"], ids=name_of)
def test_gradients_equal_the_oracle(
    core: Any, nonlinearity: str, shape: tuple[int, ...], where: str
) -> None:
    """Every gradient is exact to 1e-12, for a loss at every step, the last one, the final state."""
    why = core.declines(job(REFERENCE, RNNCell(nonlinearity), problem(shape)))
    if why:
        pytest.skip(f"the core {core.NAME} {why}")
    check_against_oracle(nonlinearity, shape, where, core)


def check_against_oracle(
    nonlinearity: str, shape: tuple[int, ...], where: str, core: Any = portable
) -> None:
    cell, a = RNNCell(nonlinearity), problem(shape)
    dy, dhT = outer_gradients(where, shape)

    def loss(arguments: dict[str, Any]) -> Any:
        h = run(REFERENCE, cell, arguments)
        return (0 if dy is None else np.sum(dy * h)) + np.sum(dhT * h[-1])

    oracle.check(loss, a, backward(REFERENCE, cell, a, dy, dhT, core))


def test_a_loss_at_the_first_step_reaches_what_comes_before_it() -> None:
    """With a loss at t = 1 alone, later inputs get exactly zero and all else is exact."""
    shape, cell = (4, 2, 3, 3), RNNCell()
    a = problem(shape)
    dy, dhT = outer_gradients("first", shape)
    grads = backward(REFERENCE, cell, a, dy, dhT)
    assert not np.any(grads["x"][1:])
    exact = oracle.complex_step(lambda b: np.sum(dy * run(REFERENCE, cell, b)), a)
    for name in a:
        np.testing.assert_allclose(grads[name], exact[name], rtol=1e-12, atol=1e-13)


def drop_first_step(self: RNNCell, xp: Any, da: Any, *known: Any) -> Any:
    da = np.concatenate([np.zeros_like(da[:1]), da[1:]])
    return da, da, {}


def tanh_twice(self: RNNCell, xp: Any, steps: Any, own: Any) -> Any:
    return (1 - np.tanh(steps.states[0]) ** 2,)


def state_after(xp: Any, trace: Any, reset: Any = None) -> Any:
    return trace.states


BUGS = {
    "the first step dropped": (RNNCell, "gradients", drop_first_step),
    "h_t in place of h_{t-1}": (portable, "previous", state_after),
    "tanh applied twice": (RNNCell, "linearize", tanh_twice),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_oracle_finds_a_seeded_bug(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the mistakes that others have shipped makes the oracle fail."""
    monkeypatch.setattr(*BUGS[bug])
    with pytest.raises(AssertionError, match="relative error"):
        check_against_oracle("tanh", (3, 2, 3, 4), "all")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_every_backend_equals_the_reference(
    bk: Any, nonlinearity: str, shape: tuple[int, ...]
) -> None:
    """States and gradients agree with NumPy in float64: to 1e-12, or 1e-5 in float32."""
    cell, a = RNNCell(nonlinearity), problem(shape)
    outer = outer_gradients("all", shape)
    ours = {name: bk.asarray(value) for name, value in a.items()}
    core = select(job(bk, cell, ours))
    assert_close(bk, run(bk, cell, ours, core), run(REFERENCE, cell, a), "h")
    grads = backward(bk, cell, ours, *map(bk.asarray, outer), core)
    for name, exact in backward(REFERENCE, cell, a, *outer).items():
        assert_close(bk, grads[name], exact, f"d{name}")


def test_a_missing_gradient_is_a_zero_gradient(bk: Any) -> None:
    """dy = None gives what dy = 0 gives, to the last bit."""
    a = {name: bk.asarray(value) for name, value in problem((3, 2, 2, 4)).items()}
    dhT = bk.asarray(np.ones((2, 4)))
    without = backward(bk, RNNCell(), a, None, dhT)
    for name, zero in backward(bk, RNNCell(), a, bk.zeros((3, 2, 4)), dhT).items():
        np.testing.assert_array_equal(bk.to_numpy(without[name]), bk.to_numpy(zero))


def test_products_equal_the_oracle() -> None:
    """An affine map's gradients are exact."""
    rng = np.random.default_rng(0)
    a = {name: rng.standard_normal(s) for name, s in {"x": (3, 2, 4), "W": (5, 4), "b": 5}.items()}
    dy = rng.standard_normal((3, 2, 5))
    grads = {
        "x": product(np, dy, a["W"]),
        "W": weight_gradient(np, dy, a["x"]),
        "b": bias_gradient(np, dy),
    }
    oracle.check(lambda p: np.sum(dy * affine(np, p["x"], p["W"], p["b"])), a, grads)


def test_an_unknown_nonlinearity_is_refused() -> None:
    """The error names what is expected and what came."""
    with pytest.raises(ValueError, match="must be 'tanh' or 'relu', got 'sigmoid'"):
        RNNCell("sigmoid")


def test_a_long_sequence_costs_no_recursion_and_stays_exact() -> None:
    """T = 20,000 runs, and chunks with the state carried give the same states to the last bit."""
    rng = np.random.default_rng(3)
    a = problem((1, 1, 2, 3)) | {"x": rng.standard_normal((20_000, 1, 2))}
    whole = run(REFERENCE, RNNCell(), a)
    first = run(REFERENCE, RNNCell(), a | {"x": a["x"][:9_999]})
    second = run(REFERENCE, RNNCell(), a | {"x": a["x"][9_999:], "h0": first[-1]})
    np.testing.assert_array_equal(whole, np.concatenate([first, second]))
