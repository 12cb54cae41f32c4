"""Truncated and chunked BPTT: what they leave out, what they do not, and what they hold."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import TOLERANCE, assert_near

import rnnx
from rnnx import Backend

rng = np.random.default_rng(0)
X, TARGET = rng.standard_normal((12, 2, 1)), rng.standard_normal((12, 2, 1))


def model(backend: Any = "numpy", **options: Any) -> rnnx.Sequential:
    options = {"dtype": "float64"} | options if backend == "numpy" else options
    return rnnx.Sequential(
        rnnx.LSTM(1, 4, num_layers=2, seed=0, backend=backend, **options),
        rnnx.Linear(4, 1, seed=1, backend=backend, **options),
    )


def squares(y: Any, target: Any) -> tuple[Any, Any]:
    """Return the sum of squared errors and its gradient."""
    return ((y - target) ** 2).sum(), 2 * (y - target)


def full(layer: Any) -> dict[str, np.ndarray]:
    """Return the gradients of full BPTT."""
    y, _, cache = layer.forward(X)
    return layer.backward(squares(y, TARGET)[1], cache)[2]


def total(updates: Iterator[Any]) -> dict[str, np.ndarray]:
    """Return the sum of all updates' gradients."""
    grads: dict[str, np.ndarray] = {}
    for update in updates:
        grads = {k: grads.get(k, 0) + g for k, g in update.grads.items()}
    return grads


@pytest.mark.parametrize("k1", [1, 3, 5, 12])
@pytest.mark.parametrize("cut", [[12], [5, 7], [1] * 12, [4, 1, 7]], ids=str)
def test_k2_of_the_whole_length_is_full_bptt(k1: int, cut: list[int]) -> None:
    """However the stream is cut: the updates' gradients add up to the exact ones, losses too."""
    layer, ends = model(), np.cumsum(cut)
    chunks = [(X[e - n : e], TARGET[e - n : e]) for e, n in zip(ends, cut, strict=True)]
    updates = list(rnnx.tbptt(layer, chunks, squares, k1=k1, k2=12))
    assert len(updates) == -(-12 // k1)
    for name, g in full(layer).items():
        assert_near(total(iter(updates))[name], g, 1e-12, name)
    loss = squares(layer(X)[0], TARGET)[0]
    assert sum(u.loss for u in updates) == pytest.approx(loss, rel=1e-12)


def test_k1_is_a_chunk_with_the_gradient_cut() -> None:
    """By default each chunk stands for itself, but for the state it starts from."""
    layer, state = model(), None
    for i, update in enumerate(
        rnnx.tbptt(layer, [(X[:5], TARGET[:5]), (X[5:], TARGET[5:])], squares)
    ):
        part = slice(0, 5) if i == 0 else slice(5, 12)
        y, state, cache = layer.forward(X[part], state)
        for name, g in layer.backward(squares(y, TARGET[part])[1], cache)[2].items():
            assert_near(update.grads[name], g, 1e-12, name)


def test_k2_goes_back_as_far_as_it_says() -> None:
    """k1 = 2, k2 = 4: each loss is felt by its own piece and the one before it."""
    layer = model()
    updates = list(rnnx.tbptt(layer, [(X, TARGET)], squares, k1=2, k2=4))
    _, state = layer(X[:6])
    y, _, cache = layer.forward(X[6:10], state)
    dy = squares(y, TARGET[6:10])[1]
    dy[:2] = 0
    for name, g in layer.backward(dy, cache)[2].items():
        assert_near(updates[4].grads[name], g, 1e-12, name)


def test_chunked_bptt_is_exact(bk: Backend) -> None:
    """Loss, gradients and that by the initial state equal those of the whole sequence."""
    layer, reference = model(bk), model()
    y, _, cache = reference.forward(X)
    loss, dy = squares(y, TARGET)
    _, dstate, expected = reference.backward(dy, cache)
    x, target = bk.asarray(X), bk.asarray(TARGET)
    ends = [(0, 5), (5, 10), (10, 12)]
    chunks = [(x[a:b, ...], target[a:b, ...]) for a, b in ends]

    def summed(y: Any, target: Any) -> tuple[Any, Any]:
        return bk.xp.sum((y - target) ** 2), 2 * (y - target)

    value, grads, start = rnnx.chunked_bptt(layer, chunks, summed)
    tolerance = 3 * TOLERANCE[bk.dtype_name]
    assert_near(bk.to_numpy(value), np.asarray(loss), tolerance)
    for name, g in grads.items():
        assert_near(bk.to_numpy(g), expected[name], tolerance, name)
    for ours, exact in zip(start[0], dstate[0], strict=True):
        assert_near(bk.to_numpy(ours), exact, tolerance)


def peak(function: Any) -> int:
    """Return the most memory that a call holds, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Stream:
    """T steps in chunks of about √T, each made when it is asked for."""

    def __init__(self, T: int) -> None:
        self.length = int(T**0.5)
        self.count = -(-T // self.length)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.sin(np.arange(k * self.length, (k + 1) * self.length))[:, None, None]
        return x, x


def test_memory_of_chunked_bptt_grows_as_the_root() -> None:
    """Sixteen times the steps in at most five times the memory."""
    layer = rnnx.Sequential(
        rnnx.GRU(1, 64, dtype="float64", seed=0), rnnx.Linear(64, 1, dtype="float64")
    )
    rnnx.chunked_bptt(layer, Stream(100), squares)
    short, long = (
        peak(lambda T=T: rnnx.chunked_bptt(layer, Stream(T), squares)) for T in (1600, 25600)
    )
    assert long <= 5 * short, f"{long / short:.2f}"


def test_memory_of_a_stream_is_flat() -> None:
    """A thousand chunks hold no more than a hundred, but for Python's own free lists."""
    layer = rnnx.GRU(1, 64, dtype="float64", seed=0)
    x = np.ones((4, 16, 1))
    target = np.ones((4, 16, 64))

    def run(count: int) -> None:
        for _ in rnnx.tbptt(layer, ((x, target) for _ in range(count)), squares, k1=4, k2=8):
            pass

    run(10)
    few, many = (peak(lambda n=n: run(n)) for n in (100, 1000))
    assert many <= few + 2**19


def test_masks_are_drawn_by_the_caller_or_the_layer() -> None:
    """`masks=` is asked for each piece."""
    layer = rnnx.GRU(1, 4, num_layers=2, dropout=0.5, dtype="float64", seed=0)
    asked: list[tuple[int, ...]] = []

    def masks(x: Any) -> Any:
        asked.append(x.shape)
        return layer.draw_masks(x.shape, 0)

    target = np.ones((12, 2, 4))
    one, two = (
        total(rnnx.tbptt(layer, [(X, target)], squares, k1=5, masks=masks)) for _ in range(2)
    )
    assert asked == [(5, 2, 1), (5, 2, 1), (2, 2, 1)] * 2
    for name, g in one.items():
        np.testing.assert_array_equal(g, two[name])
