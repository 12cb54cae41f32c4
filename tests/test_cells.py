"""The contract of a cell: the registry, cells of one's own, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import KINDS, TOLERANCE, assert_near, recurrent
from test_layers import OPTIONS, assert_right

import rnnx
from rnnx import Backend
from rnnx.cells import CELLS, get_cell, register
from rnnx.cells.base import Parameter, sigmoid


@dataclass(frozen=True)
class TwoTraces(rnnx.Cell):
    """A cell with three state arrays of different widths, an own matrix, and an option.

    h_t = tanh(p_t + q_t + s_{t-1} V),  s_t = decay·s_{t-1} + mean(h_t), one number wide,
    m_t = m_{t-1} + h_{t-1}
    """

    decay: float = 0.5

    gates = ("h",)
    additive = True

    def state_sizes(self, hidden_size: int) -> dict[str, int]:
        return {"h": hidden_size, "s": 1, "m": hidden_size}

    def parameters(self, hidden_size: int) -> dict[str, Parameter]:
        return {"V": Parameter((1, hidden_size), "weight")}

    def step(self, xp: Any, p: Any, q: Any, state: Any, own: Any) -> Any:
        h, s, m = state
        new = xp.tanh(p + q + s @ own["V"])
        return (new, self.decay * s + xp.mean(new, axis=-1, keepdims=True), m + h), ()

    def linearize(self, xp: Any, steps: Any, own: Any) -> Any:
        return (1 - steps.states[0] ** 2,)

    def step_backward(self, xp: Any, dstate: Any, slopes: Any, own: Any) -> Any:
        (dh, ds, dm), (slope,) = dstate, slopes
        da = (dh + ds / dh.shape[-1]) * slope
        ds = self.decay * ds + da @ xp.matrix_transpose(own["V"])
        return da, da, (dm, ds, dm)

    def gradients(self, xp: Any, da: Any, steps: Any, own: Any) -> Any:
        s = xp.reshape(steps.before[1], (-1, 1))
        return da, da, {"V": xp.matrix_transpose(s) @ xp.reshape(da, (-1, da.shape[-1]))}


def make(backend: Any = "numpy", **options: Any) -> rnnx.Recurrent:
    """Return a layer of that cell, by default in float64 on NumPy."""
    options |= {"dtype": "float64"} if backend == "numpy" else {}
    return rnnx.Recurrent(TwoTraces(), 2, 3, backend=backend, seed=1, **options)


def draw(layer: Any) -> tuple[np.ndarray, Any]:
    """Return an input (5, 3, 2) and an initial state."""
    rng = np.random.default_rng(0)
    rows = layer.sizes.num_layers * layer.directions
    state = tuple(rng.random((rows, 3, w)) for w in layer.sizes.state_sizes.values())
    return rng.standard_normal((5, 3, 2)), state


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_cell_of_ones_own_has_every_option(option: str, both: bool) -> None:
    """Three state arrays, an own matrix, every option and dropout: gradients exact to 1e-12."""
    noise = {"dropout": 0.3, "recurrent_dropout": 0.3, "weight_drop": 0.2}
    layer = make(num_layers=2, bidirectional=both, **noise)
    x, state = draw(layer)
    assert_right(rnnx.gradcheck(layer, x, state, samples=12, **OPTIONS[option]))


def test_a_cell_of_ones_own_runs_on_every_backend(bk: Backend) -> None:
    """Outputs, states, gradients and streaming agree with NumPy in float64."""
    ours, reference = make(bk, num_layers=2), make(num_layers=2)
    x, state = draw(reference)
    tolerance = 3 * TOLERANCE[bk.dtype_name]
    y, final, cache = ours.forward(x, state, lengths=[5, 2, 4])
    dx, dstate, grads = ours.backward(y, cache, final)
    exact_y, exact_final, exact_cache = reference.forward(x, state, lengths=[5, 2, 4])
    exact = reference.backward(exact_y, exact_cache, exact_final)
    assert_near(bk.to_numpy(y), exact_y, tolerance)
    for ours_s, exact_s in zip((*final, *dstate), (*exact_final, *exact[1]), strict=True):
        assert_near(bk.to_numpy(ours_s), exact_s, tolerance)
    assert_near(bk.to_numpy(dx), exact[0], tolerance)
    for name, g in grads.items():
        assert_near(bk.to_numpy(g), exact[2][name], tolerance, name)
    whole, _ = ours(x, state)
    now: Any = tuple(bk.asarray(s) for s in state)
    for t in range(5):
        y_t, now = ours.step(bk.asarray(x[t]), now)
        assert_near(bk.to_numpy(y_t), bk.to_numpy(whole)[t], tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_the_whole_sequence(kind: str, bk: Backend) -> None:
    """`step` after `step` gives what a call gives, for every cell on every backend."""
    layer = recurrent(kind, 2, 3, num_layers=2, backend=bk, seed=4)
    x = np.random.default_rng(0).standard_normal((4, 3, 2))
    whole, final = layer(x)
    state: Any = None
    for t in range(4):
        y, state = layer.step(bk.asarray(x[t]), state)
        assert_near(bk.to_numpy(y), bk.to_numpy(whole)[t], TOLERANCE[bk.dtype_name], kind)
    pairs = zip(state, final, strict=True) if isinstance(final, tuple) else [(state, final)]
    for ours, expected in pairs:
        assert_near(bk.to_numpy(ours), bk.to_numpy(expected), TOLERANCE[bk.dtype_name], kind)


def test_the_leaky_cell_with_a_full_leak_is_the_elman_cell() -> None:
    """At α = 1 to rounding the leaky layer equals RNN, and at α = 0 its state stands still."""
    rnn = rnnx.RNN(2, 3, dtype="float64", seed=0)
    leaky = rnnx.Recurrent("leaky_rnn", 2, 3, dtype="float64", seed=0)
    x, h0 = np.random.default_rng(1).standard_normal((4, 2, 2)), np.full((1, 2, 3), 0.3)
    leaky.set_params({**rnn.params, "leak_l0": np.full(3, 40.0)})
    np.testing.assert_allclose(leaky(x, h0)[0], rnn(x, h0)[0], rtol=1e-14)
    leaky.set_params({"leak_l0": np.full(3, -745.0)})
    np.testing.assert_allclose(leaky(x, h0)[1], h0, rtol=1e-14)


def test_the_reset_before_the_product_equals_a_loop_of_its_equations() -> None:
    """GRU(reset_after=False), written out by hand."""
    gru = rnnx.GRU(2, 3, reset_after=False, dtype="float64", seed=0)
    p = {name.removesuffix("_l0"): W for name, W in gru.params.items()}
    x = np.random.default_rng(1).standard_normal((4, 2, 2))
    h = np.zeros((2, 3))
    for t in range(4):
        a, q = x[t] @ p["weight_ih"].T + p["bias_ih"], h @ p["weight_hh"].T + p["bias_hh"]
        r, z = 1 / (1 + np.exp(-a[:, :3] - q[:, :3])), 1 / (1 + np.exp(-a[:, 3:6] - q[:, 3:]))
        n = np.tanh(a[:, 6:] + (r * h) @ p["weight_hn"].T)
        h = (1 - z) * n + z * h
    np.testing.assert_allclose(gru(x)[1][0], h, rtol=1e-13)


def test_the_normalised_lstm_equals_a_loop_of_its_equations() -> None:
    """Ba et al.'s formulas, written out by hand; a shift or a scale of W_ih changes nothing."""
    lstm = rnnx.Recurrent("layer_norm_lstm", 2, 3, dtype="float64", seed=0)
    rng = np.random.default_rng(1)
    lstm.set_params({k: W + 0.3 * rng.standard_normal(W.shape) for k, W in lstm.params.items()})
    p = {name.removesuffix("_l0"): W for name, W in lstm.params.items()}

    def norm(v: np.ndarray) -> np.ndarray:
        return (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5)

    x, h, c = rng.standard_normal((4, 2, 2)), np.zeros((2, 3)), np.zeros((2, 3))
    for t in range(4):
        a = p["gain_ih"] * norm(x[t] @ p["weight_ih"].T)
        a = a + p["gain_hh"] * norm(h @ p["weight_hh"].T) + p["bias"]
        i, f, g, o = np.split(a, 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(p["gain_c"] * norm(c) + p["bias_c"])
    np.testing.assert_allclose(lstm(x)[1][0][0], h, rtol=1e-12)


def test_a_registered_cell_is_described_and_built() -> None:
    """The configuration passes through JSON; a cell that is not registered is refused by name."""
    layer = make(num_layers=2)
    with pytest.raises(ValueError, match=r"got TwoTraces: call rnnx.cells.register\(name, TwoTra"):
        layer.config()
    assert "TwoTraces" in repr(layer)
    register("two_traces", TwoTraces)
    try:
        config = json.loads(json.dumps(layer.config()))
        assert config["cell"] == {"name": "two_traces", "decay": 0.5}
        twin = rnnx.build(config, dtype="float64", seed=1)
        for name, W in layer.params.items():
            np.testing.assert_array_equal(twin.params[name], W)
        assert get_cell("two_traces") == TwoTraces()
        with pytest.raises(ValueError, match="name must be a new one, got 'gru', which is GRUCell"):
            register("gru", TwoTraces)
    finally:
        del CELLS["two_traces"]
    with pytest.raises(ValueError, match="expected a registered cell, got 'two_traces'"):
        rnnx.build(config)


def broken(**members: Any) -> Any:
    """Return a cell with some of its members replaced."""
    return type("Broken", (TwoTraces,), members)()


BROKEN: dict[str, tuple[Any, str]] = {
    "no gates": (broken(gates=()), r"Broken.gates must be a tuple of names, got \(\)"),
    "no functions": (object(), "object must have 'gates': derive it from rnnx.Cell"),
    "a state too narrow": (
        broken(step=lambda s, xp, p, q, state, own: ((p[:, :1], *state[1:]), ())),
        r"Broken.step must return state 'h' of shape \(3, 4\), got \(3, 1\)",
    ),
    "a state missing": (
        broken(step=lambda s, xp, p, q, state, own: ((p,), ())),
        r"Broken.step must return state 's' of shape \(3, 1\), got nothing",
    ),
    "no gradient of its own": (
        broken(gradients=lambda s, xp, da, *known: (da, da, {})),
        r"Broken.gradients must return V of shape \(1, 4\), got nothing",
    ),
    "None for h": (
        broken(step_backward=lambda s, xp, d, slopes, own: (d[0], d[0], (None, *d[1:]))),
        "reads_h is True, but step_backward returned None for h",
    ),
    "an error of its own": (
        broken(linearize=lambda s, xp, *known: 1 / 0),
        "Broken must run on NumPy arrays with hidden_size=4, got ZeroDivisionError",
    ),
    "a name that is taken": (
        broken(parameters=lambda s, H: {"weight_hh": Parameter((H,))}),
        "Broken.parameters must not have the name 'weight_hh': choose another",
    ),
    "no hash": (broken(__hash__=None), "Broken must be hashable: make it a frozen dataclass"),
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_cell_that_breaks_the_contract_is_refused_where_the_layer_is_made(why: str) -> None:
    """One line that names the cell, the function, what is expected and what came."""
    cell, message = BROKEN[why]
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        rnnx.Recurrent(cell, 2, 4)
    assert "\n" not in str(caught.value)


def test_options_that_a_cell_cannot_have_are_refused() -> None:
    """A projection of a cell that reads h; a mask on a product that the layer does not see."""
    with pytest.raises(ValueError, match="proj_size must be 0 for a GRUCell"):
        rnnx.Recurrent("gru", 2, 4, proj_size=2)
    with pytest.raises(ValueError, match="got ResetBeforeGRUCell"):
        rnnx.GRU(2, 4, reset_after=False, recurrent_dropout=0.1)
    with pytest.raises(
        ValueError, match=r"cell must be one of rnn, gru, .* or a Cell, got 'elman'"
    ):
        rnnx.Recurrent("elman", 2, 4)
    with pytest.raises(ValueError, match="gate_bias must be one of r, z, n, got 'f'"):
        rnnx.Recurrent("gru", 2, 4, gate_bias={"f": 1.0})
    with pytest.raises(ValueError, match="needs a layer with b_ih: give bias=True"):
        rnnx.LSTM(2, 4, bias=False, forget_bias=1.0)


def test_the_guides_cell_is_at_most_50_lines() -> None:
    """The guide's first block is the whole cell, and its title is true."""
    root = Path(__file__).parents[1]
    path = root / "docs" / "your-own-cell.md"
    if not path.exists():
        pytest.skip("the guide is part of the source tree only")
    first = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)[0]
    assert "class PeepholeCell" in first
    assert len(first.splitlines()) <= 50


def test_sigmoid_is_the_logistic_function() -> None:
    """To relative rounding in the lower tail, down to the smallest numbers; no warning."""
    a = np.asarray([-800.0, -700.0, -30.0, -3.0, 0.0, 3.0, 800.0])
    with rnnx.get_backend().scope():
        found = sigmoid(np, a)
        small = sigmoid(np, np.asarray([-100.0, -80.0, -20.0], dtype="float32"))
    exact = [0.0, 9.859676543759770e-305, 9.357622968839299e-14, 0.04742587317756678, 0.5]
    np.testing.assert_allclose(found[:5], exact, rtol=1e-15)
    np.testing.assert_allclose(found[5:], [0.9525741268224334, 1.0], rtol=1e-15)
    np.testing.assert_allclose(small, [0, 1.8048513e-35, 2.0611537e-9], rtol=1e-6)
