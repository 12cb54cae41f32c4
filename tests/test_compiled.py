"""The compiled parts of a step: the optimizers' bits, the losses' numbers, and no other results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import TOLERANCE
from safetensors.numpy import load_file
from test_train import classifier, fit, labelled, ragged, tagger

import rnnx
from rnnx import losses, metrics, optim, train
from rnnx.data import Sequences, Stream
from rnnx.optim import SGD, Adam, AdamW, RMSprop, clip_by_global_norm, global_norm
from rnnx.train import compiled

_native = compiled._native
if _native is None:
    pytest.skip("the core was not compiled: no C compiler", allow_module_level=True)

ALL = [SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, nesterov=True), RMSprop(0.1), Adam(0.1),
       AdamW(0.1, weight_decay=0.3)]  # fmt: skip
SHAPES: dict[str, tuple[int, ...]] = {"W": (5, 7), "none": (0, 3), "b": (3,), "long": (129,)}


class Model(rnnx.Linear):
    """A model with the parameters of `SHAPES`."""

    def __init__(self, dtype: str) -> None:
        super().__init__(1, 1, dtype=dtype, seed=0)
        self._take(arrays(0, dtype))


def arrays(seed: int, dtype: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Assert that two arrays, or two nested dicts of such, do not differ."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for name, value in expected.items():
            assert_same_bits(actual[name], value)
    else:
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("clip", [None, 0.3, 1e3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_an_update_has_the_bits_of_the_optimizer(
    optimizer: Any, dtype: str, clip: float | None, instructions: str
) -> None:
    """Five steps, every rate another: parameters and state; the norm to rounding."""
    update = compiled.updater(Model(dtype), optimizer, clip)
    params = expected = arrays(0, dtype)
    state, expected_state = optimizer.init(params), optimizer.init(params)
    for t, rate in enumerate((0.1, 0.03, 0.0, 1.0, 0.1), start=1):
        grads = arrays(t, dtype)
        norm, params, state = update(params, grads, state, rate)
        exact = np.sqrt(sum(np.sum(g.astype("float64") ** 2) for g in grads.values()))
        assert norm == pytest.approx(float(exact), rel=TOLERANCE[dtype])
        if clip is not None:
            grads, _ = clip_by_global_norm(grads, clip, np.asarray(norm, dtype))
        expected, expected_state = optimizer.update(expected, grads, expected_state, rate)
        assert_same_bits(params, expected)
        assert_same_bits(state, expected_state)


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_any_layout_of_a_gradient_is_taken(optimizer: Any) -> None:
    """Transposed, strided, reversed, unaligned and read-only: the same bits, nothing written."""
    raw = np.zeros(5 * 7 * 4 + 1, "uint8")
    unaligned, locked = raw[1:].view("float32").reshape(5, 7), arrays(1, "float32")["W"]
    unaligned[...], locked.flags.writeable = locked, False
    layouts = [np.asfortranarray(locked), np.repeat(locked, 2, 1)[:, ::2], unaligned, locked,
               locked[::-1].copy()[::-1]]  # fmt: skip
    found = []
    for g in layouts:
        before = g.copy()
        update = compiled.updater(Model("float32"), optimizer, 1.0)
        params = arrays(0, "float32")
        result = update(params, arrays(1, "float32") | {"W": g}, optimizer.init(params), 0.1)
        np.testing.assert_array_equal(g, before)
        assert_same_bits(params, arrays(0, "float32"))
        found.append(result)
    for norm, new, state in found[1:]:
        assert norm == found[0][0]
        assert_same_bits(new, found[0][1])
        assert_same_bits(state, found[0][2])


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf, "large"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_where_the_norm_is_not_finite_nothing_changes(
    optimizer: Any, dtype: str, entry: Any
) -> None:
    """Neither parameters nor state; also where each entry is finite."""
    update = compiled.updater(Model(dtype), optimizer, 1.0)
    _, params, state = update(
        arrays(0, dtype), arrays(1, dtype), optimizer.init(arrays(0, dtype)), 0.1
    )
    before = repr((params, state))
    for name in ("W", "b", "long"):
        grads = arrays(2, dtype)
        grads[name].flat[-2:] = np.finfo(dtype).max if entry == "large" else entry
        assert update(params, grads, state, 0.1) is None
    assert repr((params, state)) == before


@pytest.mark.parametrize(("dtype", "scale", "served"), [
    ("float32", 1e25, True), ("float32", 1e-35, True), ("float32", 0.0, True),
    ("float64", 1e120, True), ("float64", 1e-120, True), ("float64", 1e200, False),
    ("float64", 1e-200, False), ("float64", 0.0, False),
])  # fmt: skip
def test_the_norm_is_right_or_left_to_the_definition(
    dtype: str, scale: float, served: bool
) -> None:
    """Squares in float64; where those leave its range, the pure way scales them."""
    update = compiled.updater(Model(dtype), SGD(), None)
    grads = {name: (scale * g).astype(dtype) for name, g in arrays(1, dtype).items()}
    found = update(arrays(0, dtype), grads, {}, 0.1)
    assert (found is not None) is served
    if found is not None:
        assert found[0] == pytest.approx(float(global_norm(grads)), rel=1e-6)


def test_what_is_not_the_models_is_left_to_the_definition() -> None:
    """Other names, shapes and dtypes: None, so that the pure way says what is wrong."""
    update, good = compiled.updater(Model("float32"), Adam(), None), arrays(1, "float32")
    params, state = arrays(0, "float32"), Adam().init(arrays(0, "float32"))
    wrong: list[dict[str, Any]] = [
        good | {"W": good["W"].T.copy()}, good | {"more": good["b"]}, good | {"b": [1.0, 2.0, 3.0]},
        {name: g for name, g in good.items() if name != "none"},
        {name: g.astype("float64") for name, g in good.items()},
    ]  # fmt: skip
    for grads in wrong:
        assert update(params, grads, state, 0.1) is None
        assert update(grads, good, state, 0.1) is None
    assert update(params, good, state, 0.1) is not None


def test_who_is_served() -> None:
    """NumPy and our own optimizers, unless a layer is to be portable."""

    @dataclass(frozen=True, slots=True)
    class Own(Adam):
        pass

    assert compiled.serves(classifier(), Adam())
    assert not compiled.serves(classifier(), Own())
    assert not compiled.serves(tagger(core="portable"), Adam())
    pytest.importorskip("array_api_strict", reason="needs a second library")
    assert not compiled.serves(classifier("array_api_strict"), Adam())


def stream(rng: np.random.Generator) -> Stream:
    return Stream(rng.standard_normal((23, 2, 3)), rng.integers(0, 2, size=(23, 2)), length=9)


def steps(rng: np.random.Generator) -> Sequences:
    x = ragged(rng)
    return Sequences(x, [np.arange(len(row)) % 2 for row in x], weights=rng.random(len(x)))


RUNS: dict[str, tuple[Any, Any]] = {
    "ragged": (classifier, labelled), "stream": (tagger, stream), "steps": (tagger, steps),
}  # fmt: skip


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_fit_gives_the_numbers_of_the_pure_way(
    optimizer: Any, run: str, dtype: str, clip: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler and without: histories and parameters to rounding; both ways did run."""
    model, data = RUNS[run]
    counts, served = [], compiled.updater

    def counted(*arguments: Any) -> Any:
        update = served(*arguments)
        return lambda *given: counts.append(1) or update(*given)

    monkeypatch.setattr(compiled, "updater", counted)
    found = []
    for native in (_native, None):
        monkeypatch.setattr(compiled, "_native", native)
        made = model(dtype=dtype)
        options = {"metrics": {"accuracy": metrics.accuracy}, "clip_norm": clip}
        optimizer = replace(optimizer, learning_rate=0.01)
        history = fit(made, data(np.random.default_rng(0)), optimizer=optimizer, **options)
        found.append((history, made.params))
        assert len(counts) == history["step"][-1]  # none in the second run
    (ours, params), (theirs, expected) = found
    for name in set(ours) - {"seconds"}:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=100 * TOLERANCE[dtype])
    for name, w in expected.items():
        np.testing.assert_allclose(params[name], w, rtol=0, atol=1000 * TOLERANCE[dtype])


class Broken(rnnx.GRU):
    """A layer whose gradient is not finite, once it has moved."""

    def backward(self, *arguments: Any) -> Any:
        dx, dstate, grads = super().backward(*arguments)
        moved = abs(arguments[1].params["bias_ih_l0"] - self.params["bias_ih_l0"]).max() > 0.02
        return dx, dstate, grads | ({"bias_hh_l0": np.full(15, np.nan, "f")} if moved else {})


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_divergence_is_the_pure_ways(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same step, culprit and words; the model keeps the parameters of before that step."""
    rng, found = np.random.default_rng(0), []
    x, y = rng.standard_normal((5, 40, 3)), rng.integers(0, 2, size=(5, 40))
    optimizer = replace(optimizer, learning_rate=0.3 if isinstance(optimizer, SGD) else 0.009)
    for native in (_native, None):
        monkeypatch.setattr(compiled, "_native", native)
        model = rnnx.Sequential(Broken(3, 5, seed=0), rnnx.Linear(5, 2, seed=1))
        with pytest.raises(train.Diverged) as caught:
            fit(model, (x, y), optimizer=optimizer, epochs=400, batch_size=8)
        error = caught.value
        found.append((error, model.params))
        assert error.parameter == "0.bias_hh_l0"
        assert error.step > 1
        assert len(error.history.steps["loss"]) == error.step - 1
    assert found[0][0].step == found[1][0].step
    for name, w in found[1][1].items():
        np.testing.assert_allclose(found[0][1][name], w, rtol=0, atol=1e-4)
        assert np.all(np.isfinite(found[0][1][name]))


def test_arrays_that_a_user_holds_stay_as_they_are() -> None:
    """Those of the model before, of every epoch, and of every step that a layer has seen."""
    held: list[tuple[np.ndarray, np.ndarray]] = []

    def hold(params: Any) -> None:
        held.extend((w, w.copy()) for w in params.values())

    class Watched(rnnx.Linear):
        def forward(self, x: Any, state: Any = None, *, params: Any = None) -> Any:
            hold(params)
            return super().forward(x, state, params=params)

    model = rnnx.Sequential(rnnx.GRU(3, 5, seed=0), rnnx.Pool(), Watched(5, 2, seed=1))
    hold(model.params)
    data = labelled(np.random.default_rng(0))
    fit(model, data, validation=data, callbacks=[lambda run: hold(run.model.params)])
    assert len(held) == 64  # four of the two steps that tell the number of outputs
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)
    assert any(np.any(a != b) for (a, _), (b, _) in zip(held[:6], held[-6:], strict=True))
    for w in model.params.values():
        with pytest.raises(ValueError, match="read-only"):
            w[...] = 0


@pytest.mark.parametrize("optimizer", ALL, ids=str)
def test_a_checkpoint_is_the_same_file_either_way(
    optimizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names, dtypes and shapes; a run may go on where there is a compiler, or none."""
    found = {}
    for before, after in ((_native, None), (None, _native)):
        folder = tmp_path / str(before is None)
        options = {"checkpoint_dir": folder, "clip_norm": 1.0, "optimizer": optimizer}
        data = labelled(np.random.default_rng(0))
        monkeypatch.setattr(compiled, "_native", before)
        fit(classifier(), data, epochs=2, **options)
        file = load_file(folder / "checkpoint.safetensors")
        found[before] = {name: (w.dtype, w.shape) for name, w in file.items()}
        monkeypatch.setattr(compiled, "_native", after)
        resumed = fit(classifier(), data, epochs=4, resume=True, **options)
        whole = fit(classifier(), data, epochs=4, clip_norm=1.0, optimizer=optimizer)
        np.testing.assert_allclose(resumed["loss"], whole["loss"], rtol=1e-3)
    assert found[_native] == found[None]


@pytest.mark.parametrize("counts", ["", "mask", "weights", "both", "nothing"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (1,), (5, 3), (4, 6, 2), (0, 3)], ids=str)
def test_the_cross_entropy_is_the_definition(
    shape: tuple[int, ...], dtype: str, counts: str
) -> None:
    """Loss and gradient to rounding: large logits, infinity, NaN, targets outside the classes."""
    rng = np.random.default_rng(0)
    for scale in (1.0, 30.0, 1e4):
        z = (scale * rng.standard_normal(shape)).astype(dtype)
        k = rng.integers(0, shape[-1], size=shape[:-1], dtype="int32")
        mask = rng.random(shape[:-1]) < 0.6 if counts in ("mask", "both") else None
        weights = rng.random(shape[:-1]).astype(dtype) if counts in ("weights", "both") else None
        if counts == "nothing":
            mask = np.zeros(shape[:-1], bool)
        given = [(z, k)]
        for wrong in (np.nan, np.inf, -np.inf):
            given.append((z.copy(), k))
            given[-1][0][..., len(given) % 2 :: 5] = wrong
        given += [(z, k + np.int32(9)), (z, k - np.int32(9))]
        for logits, targets in given:
            with np.errstate(all="ignore"):
                expected = losses.softmax_cross_entropy(logits, targets, mask, weights)
            found = compiled.cross_entropy(logits, np.asarray(targets), mask, weights)
            for ours, theirs in zip(found, expected, strict=True):
                assert ours.dtype == theirs.dtype == np.dtype(dtype)
                np.testing.assert_allclose(
                    ours, theirs, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype]
                )


def test_the_cross_entropy_refuses_what_the_definition_refuses() -> None:
    """Other shapes and dtypes go to it; views of any layout are taken."""
    z, k = np.ones((4, 3), "f"), np.zeros(4, "int32")
    for arguments in ((z, k[:3]), (z, k, np.ones(3, bool)), (z, k, None, np.ones(4, "i4")),
                      (z.astype("i4"), k), (z, z[:, 0])):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match="must have"):
            compiled.cross_entropy(*arguments)
    wide = compiled.cross_entropy(z, k.astype("int64"))
    mask = np.broadcast_to(np.asarray([True]), (4,))
    narrow = compiled.cross_entropy(np.asfortranarray(z), k, mask)
    assert narrow[0] == pytest.approx(wide[0], rel=1e-6) == np.log(3)


def test_buffers_are_checked() -> None:
    """Wrong sizes, dtypes, kinds and numbers raise; nothing is read or written outside."""
    f = np.zeros
    good: tuple[Any, ...] = (4, 1.0, (0.1,) * 8, (f(2), f(3)), f(5), f(5), f(5), f(5))
    assert _native.update(*good) is None  # squares of zero may have been lost
    locked = f(5)
    locked.flags.writeable = False
    wrong = [
        (0, 5), (0, -1), (1, 0.0), (1, np.nan), (2, ()), (2, (0.1,) * 9), (2, ("x",)), (2, 0.1),
        (3, (f(2), f(2))), (3, (f(2), f(3, "f"))), (3, (f(5, "i8"),)), (3, f(5)),
        (3, (f(10)[::2],)), (4, f(4)), (4, "text"), (5, f(4)), (5, locked), (5, f(5, "f")),
        (6, f(4)), (7, f(6)), (7, locked), (4, None), (7, None),
    ]  # fmt: skip
    for place, value in wrong:
        with pytest.raises((TypeError, ValueError, BufferError)):
            _native.update(*good[:place], value, *good[place + 1 :])
    for rule in (1, 2, 3, 4):
        with pytest.raises(TypeError, match="a buffer is missing"):
            _native.update(rule, *good[1 : 7 if rule == 4 else 6])
    z, k, dz = f((4, 3)), f(4, "i4"), f((4, 3))
    for arguments in ((z, k[:3], dz), (z, k, f((4, 2))), (z, k, dz, f(4)), (z, k, dz, None, f(3)),
                      (z, k, b"x" * 96), (z, f(4, "i8"), dz), (f(()), k, dz), (f((4, 0)), k, dz),
                      (z, k, dz, f(3, "?")), (z, k, dz, None, f(4, "f"))):  # fmt: skip
        with pytest.raises((TypeError, ValueError, BufferError)):
            _native.cross_entropy(*arguments)
    assert _native.cross_entropy(z, k, dz) == pytest.approx(np.log(3))


def test_a_schedule_and_decay_reach_the_update() -> None:
    """AdamW's decay is of the rate of the step: the run by hand, bit for bit but for the loss."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 8, 3)), rng.integers(0, 2, size=(6, 8))
    adamw, schedule = AdamW(0.05, weight_decay=0.5), optim.Cosine(4)
    model, other = tagger(dtype="float64"), tagger(dtype="float64")
    params, state = other.params, adamw.init(other.params)
    for t in range(5):
        logits, _, cache = other.forward(x, params=params)
        _, dlogits = losses.softmax_cross_entropy(logits, y)
        _, _, grads = other.backward(dlogits, cache)
        params, state = adamw.update(params, grads, state, 0.05 * schedule(t))
    fit(model, (x, y), optimizer=adamw, schedule=schedule, epochs=5, batch_size=8, shuffle=False)
    for name, w in params.items():
        np.testing.assert_allclose(model.params[name], w, rtol=1e-12, atol=1e-15)
