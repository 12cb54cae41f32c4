"""The cores for CuPy against the reference: on a GPU, or on the imitation of CuPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import Case, recurrent
from conftest import make

import rnnx
from rnnx import Backend

KINDS = ["RNN", "RNN-relu", "GRU", "LSTM"]
CORES = ["fused", "persistent"]
# largest error relative to the largest entry, in float64 and by what products round to
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "tf32": 5e-3, "bfloat16": 4e-2}
OPTIONS: dict[str, dict[str, Any]] = {
    "dense": {},
    "lengths": {"lengths": [5, 0, 3, 1, 5, 2, 4, 5, 1]},
    "reset": {"reset": np.random.default_rng(3).random((5, 9)) < 0.3},
    "both": {
        "lengths": [2, 5, 3, 0, 5, 2, 4, 5, 1],
        "reset": np.random.default_rng(4).random((5, 9)) < 0.3,
    },
}


@pytest.fixture(params=["float64", "float32", "tf32", "bfloat16"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gpu(precision: str) -> Backend:
    """Return CuPy in float64, or in float32 for a precision of its products."""
    return make(Case("cupy", None, "float64" if precision == "float64" else "float32"))


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, gpu: Backend) -> Callable[[int, int], None]:
    """Let the persistent core run with so many units and rows of a block, whatever is best."""
    from rnnx.core.cuda import plan

    def choose(units: int, rows: int) -> None:
        def given(layer: plan.Layer, card: plan.Card) -> plan.Plan:
            parts, slices = -(-layer.hidden_size // units), -(-layer.batch // rows)
            return plan.Plan(
                units, rows, parts, slices, *plan.shared(layer, units, rows, parts > 1)
            )

        monkeypatch.setattr(plan, "best", given)

    return choose


def build(kind: str, H: int, backend: Any, **options: Any) -> Any:
    """Return a layer whose units stay alive, so that every gradient is felt."""
    layer = recurrent(kind, 3, H, backend=backend, seed=2, **options)
    if kind.endswith("relu"):
        layer.set_params({k: 0.7 + abs(W) for k, W in layer.params.items() if "bias" in k})
    return layer


def on(gpu: Backend, kind: str, H: int, core: str, precision: str, **options: Any) -> Any:
    """Return the layer on CuPy, with the weights of the reference."""
    rounded = "float32" if precision == "float64" else precision
    return build(kind, H, gpu, core=core, precision=rounded, **options)


def results(layer: Any, T: int, B: int, **options: Any) -> dict[str, np.ndarray]:
    """Return every output and every gradient, of a loss on all outputs and on the final state."""
    rng, host = np.random.default_rng(0), layer.backend.to_numpy
    x, dy = rng.standard_normal((T, B, 3)), rng.standard_normal((T, B, layer.sizes.hidden_size))
    widths = layer.sizes.state_sizes.values()
    state, dstate = (tuple([0.5 + rng.random((1, B, width)) for width in widths]) for _ in range(2))
    if len(state) == 1:
        state, dstate = state[0], dstate[0]
    for b, length in enumerate(options.get("lengths", ())):
        x[length:, b] = dy[length:, b] = np.nan  # padding may hold anything
    y, final, cache = layer.forward(x, state, **options)
    dx, dstate0, grads = layer.backward(dy, cache, dstate)
    found = {"y": y, "dx": dx, **grads}
    for name, arrays in (("state", final), ("dstate0", dstate0)):
        arrays = arrays if isinstance(arrays, tuple) else (arrays,)
        found |= {f"{name} {k}": array for k, array in enumerate(arrays)}
    found["inference"] = layer(x, state, **options)[0]
    return {name: host(array) for name, array in found.items()}


def check(kind: str, layer: Any, precision: str, T: int, B: int, **options: Any) -> None:
    """Assert that a layer's results are the reference's."""
    H, bias = layer.sizes.hidden_size, layer.sizes.bias
    reference = build(kind, H, rnnx.get_backend(dtype="float64"), bias=bias, core="portable")
    exact, tolerance = results(reference, T, B, **options), TOLERANCE[precision]
    if kind == "RNN-relu" and precision in ("tf32", "bfloat16"):
        tolerance *= 6  # states grow, and a rounded sum can cross zero, where the slope jumps
    for name, found in results(layer, T, B, **options).items():
        expected = exact[name]
        assert found.shape == expected.shape, name
        error = np.abs(found - expected).max() / max(np.abs(expected).max(), 1.0)
        assert error <= tolerance, f"{name}: error {error:.2e} above {tolerance:.0e}"


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kind", KINDS)
def test_cupy_cores_equal_the_reference(
    gpu: Backend, precision: str, kind: str, core: str, option: str
) -> None:
    """States and gradients, ragged and with restarts, to the precision of the products."""
    layer = on(gpu, kind, 13, core, precision)
    assert layer.cores((5, 9, 3), **{k: True for k in OPTIONS[option] if k == "reset"})[core] == (
        "runs"
    )
    check(kind, layer, precision, 5, 9, **OPTIONS[option])


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 5), (2, 1, 33), (3, 2, 64)], ids=str)
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kind", KINDS)
def test_cupy_cores_take_any_shape(
    gpu: Backend, precision: str, kind: str, core: str, shape: tuple[int, int, int]
) -> None:
    """One step, one row, one unit, sizes that divide nothing; without biases, too."""
    T, B, H = shape
    check(kind, on(gpu, kind, H, core, precision, bias=H % 2 > 0), precision, T, B)


@pytest.mark.parametrize(("units", "rows"), [(8, 8), (16, 16), (24, 8), (32, 8)])
@pytest.mark.parametrize("kind", KINDS)
def test_cupy_blocks_that_share_units(
    gpu: Backend, precision: str, planned: Any, kind: str, units: int, rows: int
) -> None:
    """Blocks that meet after every step give the same numbers, whatever the plan."""
    planned(units, rows)
    check(kind, on(gpu, kind, 37, "persistent", precision), precision, 5, 9, **OPTIONS["both"])


@pytest.mark.parametrize("kind", KINDS)
def test_cupy_blocks_that_fetch_in_stages(
    gpu: Backend, precision: str, planned: Any, kind: str
) -> None:
    """A row wider than what a warp fetches at a time comes in several stages."""
    planned(16, 8)
    check(kind, on(gpu, kind, 300, "persistent", precision), precision, 2, 9)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kind", KINDS)
def test_cupy_cores_give_the_same_bits_twice(
    gpu: Backend, precision: str, planned: Any, kind: str, core: str
) -> None:
    """Two runs are equal to the last bit: sums have a fixed order."""
    planned(16, 8)
    layer = on(gpu, kind, 37, core, precision)
    first, second = (results(layer, 5, 9, **OPTIONS["both"]) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_cupy_products_are_strict_by_default(gpu: Backend, precision: str) -> None:
    """A layer that asks for no rounding gets none; float64 has none to ask for."""
    if precision == "float64":
        with pytest.raises(ValueError, match="precision 'tf32' is for layers of float32"):
            rnnx.GRU(2, 3, backend=gpu, precision="tf32")
    assert rnnx.GRU(2, 3, backend=gpu).precision == "float32"
    with pytest.raises(ValueError, match="precision must be one of float32, tf32, bfloat16"):
        rnnx.GRU(2, 3, backend=gpu, precision="half")


@pytest.mark.parametrize("core", CORES)
def test_cupy_copies_in_float64_do_not_round(gpu: Backend, precision: str, core: str) -> None:
    """A layer that may round float32 products computes in float64 where it is copied to that."""
    layer = on(gpu, "LSTM", 13, core, precision).to("cupy", dtype="float64")
    check("LSTM", layer, "float32", 3, 2)  # its weights have been rounded to float32


@pytest.fixture
def launches(gpu: Backend) -> list[Any]:
    """Return the imitation's list of launches."""
    import cupy

    if not hasattr(cupy, "LAUNCHES"):
        pytest.skip("a GPU does not count launches")
    cupy.LAUNCHES.clear()
    return cupy.LAUNCHES


@pytest.mark.parametrize("kind", KINDS)
def test_cupy_launches_of_a_step(gpu: Backend, precision: str, launches: Any, kind: str) -> None:
    """The fused core launches twice a step, the persistent one once a sequence."""
    counts: dict[str, list[int]] = {}
    for core in ("portable", *CORES):
        layer = on(gpu, kind, 8, core, precision)
        counts[core] = []
        for T in (10, 20):
            x = gpu.asarray(np.ones((T, 2, 3)))
            launches.clear()
            y, _, cache = layer.forward(x)
            between = len(launches)
            layer.backward(y, cache)
            counts[core] += [between, len(launches) - between]
    steps = {core: ((c[2] - c[0]) / 10, (c[3] - c[1]) / 10) for core, c in counts.items()}
    assert steps["fused"] == (2, 2)
    assert steps["persistent"] == (0, 0)
    assert min(steps["portable"]) > 2
    assert max(counts["persistent"]) <= 30


@pytest.mark.parametrize("core", CORES)
def test_cupy_work_goes_to_the_current_stream(
    gpu: Backend, precision: str, launches: Any, core: str
) -> None:
    """Every launch within a stream's context is the stream's."""
    import cupy

    layer, x = on(gpu, "LSTM", 8, core, precision), gpu.asarray(np.ones((3, 2, 3)))
    stream = cupy.cuda.Stream()
    launches.clear()
    with stream:
        y, _, cache = layer.forward(x, lengths=[2, 3])
        layer.backward(y, cache)
    assert launches
    assert {launch[2] for launch in launches} == {stream.ptr}
