"""Use all of rnnx on the second simulated GPU, while the first is current."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np
import pytest

import rnnx
from rnnx import core, losses, optim

NOISE = {"dropout": 0.3, "recurrent_dropout": 0.2, "weight_drop": 0.1}
X = np.random.default_rng(0).standard_normal((6, 3, 2))
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lengths": [6, 2, 0]},
    {"mask": np.random.default_rng(1).random((6, 3)) < 0.6},
    {"reset": np.random.default_rng(1).random((6, 3)) < 0.3, "lengths": [6, 1, 4]},
    {"checkpoint": 2, "lengths": [1, 6, 3]},
]
GPU = rnnx.get_backend("cupy", device=1)


def arrays(tree: Any) -> list[Any]:
    """Return all arrays in nested tuples, lists and dicts."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for branch in tree for leaf in arrays(branch)]
    return [] if tree is None else [tree]


def check(name: str, result: Any, expected: Any = None) -> None:
    """Assert that a result is on GPU 1, made without a peer or the host, and is NumPy's."""
    assert cupy.EVENTS == [], f"{name}: {cupy.EVENTS}"
    assert {x.device.id for x in arrays(result)} == {1}, name
    if expected is not None:
        for ours, exact in zip(arrays(result), arrays(expected), strict=True):
            np.testing.assert_allclose(ours.get(), exact, rtol=1e-5, atol=1e-6, err_msg=name)
    cupy.EVENTS.clear()


def layers() -> None:
    for kind in (rnnx.RNN, rnnx.GRU, rnnx.LSTM):
        ours, exact = (
            kind(2, 4, num_layers=2, bidirectional=True, backend=b, seed=0, **NOISE)
            for b in (GPU, "numpy")
        )
        for options in OPTIONS:
            results = []
            for layer in (ours, exact):
                masks = layer.draw_masks(X.shape, 0)
                y, state, cache = layer.forward(X, masks=masks, **options)
                results.append((y, state, layer.backward(y, cache, state)))
            check(f"{kind.__name__} {options}", *results)
        one = kind(2, 4, backend=GPU, seed=0)
        y, state = one.step(np.ones(2))
        check("step", one.step(GPU.asarray(np.ones(2)), state))


def cores() -> None:
    """The kernels, on a card of little shared memory; every launch is on it."""
    cupy.LAUNCHES.clear()
    for kind in (rnnx.RNN, rnnx.GRU, rnnx.LSTM):
        for name in ("fused", "persistent"):
            ours, exact = (
                kind(2, 4, num_layers=2, bidirectional=True, backend=b, seed=0, core=name)
                for b in (GPU, "numpy")
            )
            for options in OPTIONS:
                results = []
                for layer in (ours, exact):
                    y, state, cache = layer.forward(X, **options)
                    results.append((y, state, layer.backward(y, cache, state)))
                check(f"{kind.__name__} {name} {options}", *results)
            assert f"core={name}" in repr(ours.forward(X)[2])
            assert {launch[0] for launch in cupy.LAUNCHES} > {"gemm"}
    why = rnnx.LSTM(2, 512, backend=GPU, core="persistent", seed=0).cores((4, 3, 2))["persistent"]
    assert why == "has no plan for B = 3, H = 512 that fits this device", why
    why = rnnx.GRU(2, 4, backend=GPU, precision="tf32", seed=0).cores((4, 3, 2))["persistent"]
    assert why == "has no tf32 below compute capability 8.0", why


def pools() -> None:
    for how, both in (("last", False), ("last", True), ("mean", False), ("max", False)):
        for options in OPTIONS[:3]:
            results = []
            for b in (GPU, "numpy"):
                pool = rnnx.Pool(how, bidirectional=both, backend=b)
                y, _, cache = pool.forward(X, **options)
                results.append((y, pool.backward(y, cache)))
            check(f"Pool {how} {options}", *results)


def training() -> None:
    ids = np.asarray([[0, 1], [2, 3], [4, 0]])
    results = []
    for b in (GPU, rnnx.get_backend()):
        model = rnnx.Sequential(
            rnnx.Embedding(5, 2, backend=b, seed=0),
            rnnx.LSTM(2, 3, backend=b, seed=1),
            rnnx.Dropout(0.2, backend=b),
            rnnx.Linear(3, 5, backend=b, seed=2),
        )
        y, _, cache = model.forward(ids, masks=model.draw_masks(ids.shape, 0))
        counts = b.asarray([[True, False]] * 3, dtype="bool")
        loss, dy = losses.softmax_cross_entropy(y, b.asarray(ids, "int32"), counts)
        _, _, grads = model.backward(dy, cache)
        grads, norm = optim.clip_by_global_norm(grads, 0.1)
        adam, sgd = optim.Adam(0.1), optim.SGD(0.1, momentum=0.9)
        params, state = adam.update(model.params, grads, adam.init(model.params))
        model.set_params(params)
        params, velocity = sgd.update(
            model.params, grads, sgd.init(params), learning_rate=b.asarray(0.05)
        )
        results.append((loss, norm, grads, state, params, velocity))
    check("training", *results)


def fitting() -> None:
    """A whole `fit` reads from the device only once per epoch for each table of metrics."""
    rng, results = np.random.default_rng(2), []
    x = [rng.standard_normal((T, 2)) for T in (6, 2, 4, 1, 5)]
    y = np.asarray([0, 1, 1, 0, 1])
    for b in (GPU, rnnx.get_backend()):
        model = rnnx.Sequential(
            rnnx.GRU(2, 4, 2, backend=b, seed=0, **NOISE),
            rnnx.Pool("last", backend=b),
            rnnx.Linear(4, 2, backend=b, seed=1),
        )
        cupy.EVENTS.clear()
        history = rnnx.train.fit(
            model, (x, y), validation=(x, y), loss=losses.softmax_cross_entropy, batch_size=2,
            optimizer=optim.AdamW(0.01), epochs=3, clip_norm=0.1, progress=False, seed=0,
            metrics={"accuracy": rnnx.metrics.accuracy},
        )  # fmt: skip
        assert ["read"] * (6 if b is GPU else 0) == cupy.EVENTS, cupy.EVENTS
        cupy.EVENTS.clear()
        results.append((history["validation_loss"], model.params))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    check("fit", results[0][1], results[1][1])
    rows = GPU.asarray(rng.standard_normal((9, 5, 2)))  # data that lie on the device
    stream = rnnx.data.Stream(rows, rows, length=4)
    tagger = rnnx.Sequential(rnnx.LSTM(2, 3, backend=GPU), rnnx.Linear(3, 2, backend=GPU))
    rnnx.train.fit(tagger, stream, loss=losses.mean_squared_error, optimizer=optim.SGD(0.1),
                   epochs=1, progress=False)  # fmt: skip
    cupy.EVENTS.clear()
    check("a stream", tagger.params)


def simple() -> None:
    results = []
    for b in (GPU, rnnx.get_backend()):
        rnn = rnnx.SimpleRNN(2, 4, 2, backend=b, seed=0)
        y = rnn.forward(X)
        y = rnn.forward(X, state=rnn.final_state)
        loss, dy = losses.mean_squared_error(y, b.zeros((6, 3, 2)))
        felt = rnn.state_gradients(dy)
        grads = rnn.backward(dy, learning_rate=0.1)
        columns = rnn.forward([np.ones(2), np.ones((2, 1))])
        results.append((y, loss, felt, grads, rnn.params, columns))
    check("SimpleRNN", *results)
    x = GPU.asarray(X)
    target = GPU.zeros((6, 3, 4))
    gru = rnnx.GRU(2, 4, backend=GPU)
    for update in rnnx.tbptt(gru, [(x, target)] * 2, losses.mean_squared_error, k1=4, k2=8):
        check("tbptt", update)
    check("chunked", rnnx.chunked_bptt(gru, [(x, target)] * 2, losses.mean_squared_error))


def main() -> None:
    if cupy.kernels.compiler() is None:  # the portable core serves everything
        core.CORES[:] = [c for c in core.CORES if c.NAME not in ("fused", "persistent")]
    assert GPU == rnnx.get_backend("cupy", device="cuda:1") == rnnx.get_backend("cupy", device="1")
    assert rnnx.get_backend("auto").name == "cupy"
    for wrong in (2, -1, "cuda:2", "warp", "1:7", True):
        with pytest.raises(ValueError, match="must be None, an index below 2"):
            rnnx.get_backend("cupy", device=wrong)
    layers()
    if cupy.kernels.compiler() is not None:
        cores()
    pools()
    training()
    fitting()
    simple()
    assert rnnx.gradcheck(rnnx.GRU(2, 3, backend=GPU, seed=0), X, samples=3)
    assert cupy.cuda.Device().id == 0
    print("all on GPU 1")


if __name__ == "__main__":
    main()
