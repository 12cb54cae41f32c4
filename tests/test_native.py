"""The compiled core: the portable core's numbers, at any shape, on any instruction set."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import assert_near, recurrent

import rnnx
from rnnx.core import native
from rnnx.core.threads import get_num_threads, set_num_threads

if native._native is None:
    if os.environ.get("RNNX_REQUIRE_NATIVE"):
        pytest.fail("RNNX_REQUIRE_NATIVE is set, but the core was not compiled")
    pytest.skip("the core was not compiled: no C compiler", allow_module_level=True)

KINDS = ["RNN", "RNN-relu", "GRU", "LSTM"]
SHAPES = [(1, 1, 1, 1), (5, 1, 3, 7), (4, 9, 2, 16), (6, 4, 3, 33), (3, 17, 5, 64), (70, 2, 1, 5)]
TOLERANCE = {"float64": 1e-13, "float32": 2e-5}
_native = native._native


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Split even the smallest batch, whatever BLAS is set to."""
    for name in ("WORTH_A_THREAD", "WORTH_MEETING"):
        monkeypatch.setattr(native, name, 0)
    monkeypatch.setattr(native, "LEAST_UNITS", 1)
    monkeypatch.delitem(sys.modules, "threadpoolctl", raising=False)
    before = get_num_threads()
    set_num_threads(2)
    yield
    set_num_threads(before)


def flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if not isinstance(tree, tuple | list):
        return [tree]
    return [leaf for branch in tree for leaf in flat(branch)]


def both_ways(kind: str, shape: tuple[int, ...], core: str, **options: Any) -> list[np.ndarray]:
    """Return outputs, states and all gradients of a layer that runs on a core."""
    T, B, I, H = shape
    layer = recurrent(kind, I, H, core=core, seed=3, **options)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((T, B, I))
    state = tuple(rng.standard_normal((1, B, H)) for _ in layer.sizes.state_sizes)
    y, final, cache = layer.forward(x, state if len(state) > 1 else state[0])
    assert f"core={core})" in repr(cache)
    np.testing.assert_array_equal(layer(x, state if len(state) > 1 else state[0])[0], y)
    return flat([y, final, *layer.backward(y, cache, final), layer.state_gradients(y, cache)])


@pytest.mark.parametrize("block", [1, 1 << 19], ids=["a step at a time", "one block"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_the_portable_cores(
    kind: str, dtype: str, bias: bool, block: int, instructions: str, two_threads: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Odd and even shapes, every instruction set, on two threads, in blocks of time or whole."""
    monkeypatch.setattr(native, "BLOCK", block)
    for shape in SHAPES:
        ours = both_ways(kind, shape, "native", dtype=dtype, bias=bias)
        theirs = both_ways(kind, shape, "portable", dtype=dtype, bias=bias)
        for a, b in zip(ours, theirs, strict=True):
            assert_near(
                a.astype("float64"), b.astype("float64"), TOLERANCE[dtype], f"{kind} {shape}"
            )


@pytest.mark.parametrize(
    "shape", [(9, 7, 3, 20), (5, 33, 8, 48), (9, 1, 3, 70), (4, 2, 5, 99)], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_do_not_depend_on_the_threads(
    kind: str, shape: tuple[int, ...], two_threads: None
) -> None:
    """The same bits on 1 to 5 threads and from run to run."""
    expected = both_ways(kind, shape, "native")
    for count in (1, 2, 3, 5, 5):
        set_num_threads(count)
        for a, b in zip(both_ways(kind, shape, "native"), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def ulps(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units of the last place, but for numbers below the smallest."""
    normal = np.abs(exact) > 2 * np.finfo(found.dtype).tiny
    spacing = np.spacing(np.abs(exact).astype(found.dtype)).astype(np.longdouble)
    error = np.abs(found.astype(np.longdouble) - exact) / spacing
    return float(error[normal].max())


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 4), ("float64", 4)])
def test_tanh_and_sigmoid_are_accurate(dtype: str, limit: float, instructions: str) -> None:
    """Within 4 units of the last place, in both tails of tanh and the lower tail of σ."""
    edge = 86 if dtype == "float32" else 700
    sizes = np.concatenate([np.linspace(0, 12, 40_000), np.geomspace(1e-30, edge, 40_000)])
    a = np.concatenate([-sizes, sizes]).astype(dtype)
    wide = a.astype(np.longdouble)
    one = {"weight_ih_l0": np.ones((1, 1), dtype), "weight_hh_l0": np.zeros((1, 1), dtype)}
    rnn = rnnx.RNN(1, 1, bias=False, dtype=dtype, core="native", seed=0)
    rnn.set_params(one)
    tanh = rnn(a[None, :, None])[0].ravel()
    assert ulps(tanh, np.tanh(wide)) <= limit
    gru = rnnx.GRU(1, 1, bias=False, dtype=dtype, core="native", seed=0)
    gru.set_params({k: np.asarray([[v] for v in (0, w, 0)], dtype) for k, w in
                    (("weight_ih_l0", 1), ("weight_hh_l0", 0))})  # fmt: skip
    _, _, cache = gru.forward(a[None, :, None])
    z = cache.kept[0][0].trace.saved.gates[0, 0, :, 2, 0]
    assert ulps(z, 1 / (1 + np.exp(-wide))) <= limit


@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_go_where_the_mathematics_sends_them(kind: str, instructions: str) -> None:
    """NaN stays in its row; infinite inputs saturate the gates, as on the portable core."""
    x = np.random.default_rng(0).standard_normal((4, 3, 2))
    x[1, 0], x[2, 1, 0] = np.nan, np.inf
    found = []
    for core in ("native", "portable"):
        layer = recurrent(kind, 2, 5, dtype="float64", core=core, seed=0)
        with np.errstate(all="ignore"):
            found.append(layer(x)[0])
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-300)
    assert np.all(np.isnan(found[0][1:, 0]))
    assert not np.any(np.isnan(found[0][:, 2]))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_any_layout_is_taken_and_inputs_are_not_written_to(kind: str) -> None:
    """Transposed, strided, reversed, unaligned and read-only arrays give the same numbers."""
    layer = recurrent(kind, 4, 5, num_layers=2, seed=0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 3, 4)).astype("float32")
    state = tuple(rng.standard_normal((2, 3, 5)).astype("float32") for _ in layer.sizes.state_sizes)
    raw = np.zeros(x.nbytes + 1, "uint8")
    unaligned = raw[1:].view("float32").reshape(x.shape)
    unaligned[...] = x
    locked = x.copy()
    locked.flags.writeable = False

    def call(x: Any, state: Any) -> list[Any]:
        y, final, cache = layer.forward(x, state if len(state) > 1 else state[0])
        return flat([y, final, *layer.backward(y[::-1][::-1], cache, final)])

    def infer(x: Any, state: Any) -> list[Any]:
        return flat(layer(x, state if len(state) > 1 else state[0]))

    expected = call(x, state)
    strided = np.repeat(x, 2, 2)[..., ::2]
    layouts = [np.asfortranarray(x), x[::-1].copy()[::-1], unaligned, locked, strided]
    for given, swapped in itertools.product(layouts, [False, True]):
        s = tuple(np.asfortranarray(a) for a in state) if swapped else state
        for a, b in zip(call(given, s), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(infer(given, s), expected, strict=False):
            np.testing.assert_array_equal(a, b)
    for t in range(6):
        one = layer.step(unaligned[t], state if len(state) > 1 else state[0])
        two = layer.step(x[t], state if len(state) > 1 else state[0])
        three = layer.step(strided[t], tuple(map(np.asfortranarray, state)) if len(state) > 1
                           else np.asfortranarray(state[0]))  # fmt: skip
        for a, b, c in zip(flat(one), flat(two), flat(three), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("shape", [(9, 5, 3, 20), (6, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_ragged_rows_end_by_themselves(
    kind: str, shape: tuple[int, ...], two_threads: None, instructions: str
) -> None:
    """The portable core's numbers for any lengths, 0 included, with NaN in the padding."""
    T, B, I, H = shape
    rng = np.random.default_rng(0)
    lengths = np.asarray([T, 0, 3, 1, T - 1][-B:])
    x, dy = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
    beyond = np.arange(T)[:, None] >= lengths
    x[beyond] = dy[beyond] = np.nan
    found = []
    for core in ("native", "portable"):
        layer = recurrent(kind, I, H, core=core, dtype="float64", seed=3)
        widths = layer.sizes.state_sizes
        state, dstate = (
            tuple(np.random.default_rng(seed).standard_normal((1, B, H)) for _ in widths)
            for seed in (1, 2)
        )
        pair = (state, dstate) if len(widths) > 1 else (state[0], dstate[0])
        for checkpoint in (None, 2):
            options = {"lengths": lengths, "checkpoint": checkpoint}
            y, final, cache = layer.forward(x, pair[0], **options)
            found.append(flat([y, final, *layer.backward(dy, cache, pair[1])]))
            found[-1] += flat(layer.state_gradients(dy, cache))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert_near(a, b, 1e-13, f"{kind} {shape}")


@pytest.mark.parametrize("kind", KINDS)
def test_inference_is_the_forward_pass(kind: str, two_threads: None) -> None:
    """The same bits on weights laid out once, in every form, after new weights, and in copies."""
    layer = recurrent(kind, 3, 20, num_layers=2, bidirectional=True, core="native", seed=0)
    x = np.random.default_rng(0).standard_normal((7, 5, 3)).astype("float32")
    for given in (x, x[:, :1], x[:1], x[:, 0], np.asfortranarray(x), list(x)):
        for a, b in zip(flat(layer(given)), flat(layer.forward(given)[:2]), strict=True):
            np.testing.assert_array_equal(a, b)
    before = layer(x)[0]
    layer.set_params({k: 2 * W for k, W in layer.params.items()})
    assert not np.array_equal(layer(x)[0], before)
    for other in (layer, layer.to("numpy"), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(x)[0], layer.forward(x)[0])


def test_a_cache_of_another_instruction_set_is_refused(instructions: str) -> None:
    """Its gates lie in another order: the gradients would be wrong."""
    _, _, cache = rnnx.GRU(3, 16, seed=0).forward(np.ones((4, 2, 3), "float32"))
    other = "base" if instructions != "base" else "avx2"
    try:
        _native.instructions(other)
    except ValueError as error:
        pytest.skip(str(error))
    with pytest.raises(ValueError, match="call forward again"):
        rnnx.GRU(3, 16, seed=0).backward(np.ones((4, 2, 16), "float32"), cache)


def test_every_step_of_a_stream_is_checked() -> None:
    """A wrong shape raises, and another dtype or layout is converted, at any step."""
    layer, x = rnnx.GRU(3, 5, seed=0), np.ones((3, 3), "float32")
    _, h = layer.step(x)
    expected = layer.step(x, h)[0]
    for wrong in (h[0], h.reshape(3, 1, 5), h.reshape(15), h[:, :2]):
        with pytest.raises(ValueError, match="state must have shape"):
            layer.step(x, wrong)
    for good in (h.astype("float64"), np.asfortranarray(h)):
        np.testing.assert_array_equal(layer.step(x, good)[0], expected)
    with pytest.raises(TypeError, match="masked"):
        layer.step(x, np.ma.array(h, mask=True))


def test_arrays_own_their_memory() -> None:
    """Large arrays outlive what made them, and memory that is used again is never still in use."""
    layer, rng = rnnx.LSTM(8, 64, seed=0), np.random.default_rng(0)
    xs = [rng.standard_normal((60, 40, 8)).astype("float32") for _ in range(4)]
    kept = [layer.forward(x) for x in xs]
    copies = [[np.array(a) for a in flat([y, state])] for y, state, _ in kept]
    for x in xs * 3:
        layer(x)
    for (y, state, cache), copy in zip(kept, copies, strict=True):
        for a, b in zip(flat([y, state]), copy, strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.isfinite(layer.backward(y, cache)[0]).all()
    with pytest.raises(ValueError, match="at least 0"):
        _native.Room(-1)


def test_buffers_are_checked() -> None:
    """Wrong sizes, dtypes, kinds and missing buffers raise; nothing is read or written outside."""
    f = np.zeros
    good: dict[str, Any] = {
        "x": f((2, 3, 5)), "weight_ih": f((4, 5)), "weight_hh": f((4, 4)), "h0": f((3, 4)),
        "h": f((2, 3, 4)),
    }  # fmt: skip
    back = {"dx": f((2, 3, 5)), "dh": f((3, 4)), "dW_ih": f((4, 5)), "dW_hh": f((4, 4))}

    def run(cell: int = 0, T: int = 2, B: int = 3, block: int = 1, **changed: Any) -> None:
        given = map((good | changed).get, native.BUFFERS)
        _native.run(cell, 0, T, B, 5, 4, block, 1, *given)

    run()
    run(**back)
    wrong: list[dict[str, Any]] = [
        {"x": f((2, 3, 4))}, {"x": f((2, 3, 5), "f")}, {"x": f((2, 3, 5), "i8")}, {"h0": None},
        {"h": b"x" * 192}, {"weight_hh": f((4, 5))}, {"cell": 7}, {"T": -1}, {"T": 3}, {"cell": 2},
        {"x": f((2, 3, 10))[..., ::2]}, {"dx": f((2, 3, 5))}, {"x": "text"}, {"bias_ih": f(5)},
        {"gates": f(1)}, {"lengths": f(3)}, {"block": 0}, {"block": 3}, back | {"dW_hh": f((4, 5))},
        back | {"db": f(3)}, back | {"dh": b"x" * 96},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises((TypeError, ValueError, BufferError)):
            run(**change)
    with pytest.raises(TypeError, match="arguments"):
        _native.run(0, 0)
    made = _native.Stepper(0, 0, 5, 4, f((4, 5)), f((4, 4)), None, None, np.empty_like)
    fits = [f((2, 3, 5)), f((3, 4)), f((2, 3, 4)), f((3, 4))]
    made.sequence(1, 1, *fits)
    for place, other in (
        (0, f((2, 3, 4))), (0, f((6, 5))), (0, f((2, 3, 5), "f")), (1, f(3)), (2, f((3, 3, 4))),
        (2, b"x" * 192), (3, f((2, 4))), (1, f((3, 8))[:, ::2]),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError, BufferError)):
            made.sequence(1, 1, *fits[:place], other, *fits[place + 1 :])
    for how in ((0, 1), (3, 1), ("", 1), (1,)):
        with pytest.raises((TypeError, ValueError)):
            made.sequence(*how, *fits)
    for I, new in ((0, np.empty_like), (5, lambda like: f(1))):
        broken = _native.Stepper(0, 0, I, 4, f((4, I)), f((4, 4)), None, None, new)
        with pytest.raises(ValueError, match="size"):
            broken(f(I + 1 if I == 0 else I), f((1, 4)))
    with pytest.raises(TypeError):
        _native.lanes("x")
    with pytest.raises(ValueError, match="range"):
        run(cell=1 << 32)
    with pytest.raises(ValueError, match="sizes"):
        _native.Stepper(0, 0, 5, 4, f((4, 5)), f((4, 5)), None, None, np.empty_like)
    step = rnnx.GRU(2, 3, dtype="float64", seed=0)
    _, h = step.step(f(2))
    with pytest.raises(ValueError, match="state must have shape"):
        step.step(f((4, 2)), h)
    run(T=0, x=f((0, 3, 5)), h=f((0, 3, 4)))
    run(B=0, x=f((2, 0, 5)), h0=f((0, 4)), h=f((2, 0, 4)))
