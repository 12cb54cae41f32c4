"""Learn from a million steps in little memory: truncated BPTT, and exact BPTT in √T memory.

The task is a flip-flop: three channels have pulses of +1 or -1, on average 20 steps apart, and the
target is the sign of each channel's last pulse. The sequence is stored in a file. Truncated BPTT
reads it in chunks of 50 steps; it carries the state, but not the gradient, across chunks. Exact
BPTT computes one gradient through all steps: it keeps a state every √T steps and runs each chunk
again on the way back.

    python examples/long_sequence.py --length 100000

D. Sussillo and O. Barak, "Opening the black box", Neural Computation 25 (2013), 626-649,
doi:10.1162/NECO_a_00409.
"""

from __future__ import annotations

import math
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from tqdm import tqdm

from rnnx import RNN, Linear, Sequential, chunked_bptt, train
from rnnx.data import Stream
from rnnx.losses import mean_squared_error
from rnnx.optim import Adam

CHANNELS, GAP, HIDDEN = 3, 20, 32
STREAMS, CHUNK = 32, 50  # truncated BPTT: parallel parts of the sequence, steps per chunk
LENGTHS = 1_000, 10_000, 100_000  # where memory is traced, which makes NumPy four times slower
PER_STEP = 2 * HIDDEN + 5 * CHANNELS  # numbers: h, x, y, their gradients, and the target
Curves = list[tuple[str, str, Sequence[float], Sequence[float]]]  # label, style, steps, MB


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__, epochs=1)
    parser.add_argument(
        "--length", type=common.positive, default=10**6, help="total number of steps"
    )
    options, backend = common.read(parser, arguments)
    limit = options.steps or options.length  # chunks
    T = min(options.length, limit * STREAMS * CHUNK)
    n = min(
        T, limit * CHUNK
    )  # for the exact gradient: fewer in a short run, as one stream is slower
    if T < CHUNK * STREAMS:
        common.fail(f"a chunk of all streams has {CHUNK * STREAMS} steps: give a longer --length")

    rng = np.random.default_rng(options.seed)
    x, y = write(options.out / "long_sequence.npy", T, rng)
    new = flip_flop(rng, 1000, np.ones((20, CHANNELS)))
    model = Sequential(
        RNN(CHANNELS, HIDDEN, recurrent_init="orthogonal", backend=backend, seed=rng),
        Linear(HIDDEN, CHANNELS, backend=backend, seed=rng),
    )
    before = train.evaluate(model, new, loss=mean_squared_error)["loss"]
    usual, start = peak_of_process(), time.perf_counter()
    loss = exact(model, x[:n], y[:n], progress=True)
    middle = time.perf_counter()
    history = truncated(model, x, y, options.epochs, progress=True)
    grown, end = (peak_of_process() - usual) / 1e6, time.perf_counter()
    after = train.evaluate(model, new, loss=mean_squared_error)["loss"]
    held = T * PER_STEP * (8 if options.dtype == "float64" else 4) / 1e6

    print(f"exact gradient of a loss of {loss:.3f} over {n:,} steps: {middle - start:.1f} s")
    print(f"truncated BPTT over {options.epochs * T:,} steps: {end - middle:.1f} s")
    print(f"for both, the process grew by {grown:.1f} MB; holding all takes {held:.0f} MB")
    print(f"error on new sequences: {before:.4f} before, {after:.4f} after; always 0: 1")
    curves: Curves = [("everything held, computed", "k--", [T / 1000, T], [held / 1000, held])]
    if backend.name in ("numpy", "array_api_strict"):  # Python sees what these allocate
        lengths = [length for length in LENGTHS if length <= n] or [n]
        curves += trace(model, x, y, lengths)
    curves += [("growth of the process, both in chunks", "k*", [T], [grown])]
    figure = draw(history.steps["loss"], curves)
    common.save_figure(figure, options.out / "long_sequence.png")
    return common.verdict(before, after)


def write(path: Path, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Write the sequence to a file, block by block; return x and y (T, C) as memory maps."""
    data = np.lib.format.open_memmap(path, "w+", dtype="float32", shape=(length, 2, CHANNELS))
    last = np.ones(CHANNELS)
    for start in range(0, length, 10_000):
        block = data[start : start + 10_000]
        block[:, 0], block[:, 1] = flip_flop(rng, len(block), last)
        last = block[-1, 1]
    print(f"wrote {path}, {data.nbytes / 1e6:.0f} MB")
    return data[:, 0], data[:, 1]


def flip_flop(
    rng: np.random.Generator, length: int, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return pulses x (T, ..., C), starting with `first`, and y, the last pulse at each step."""
    shape = (length, *first.shape)
    x = np.where(rng.random(shape) < 1 / GAP, rng.choice([-1.0, 1.0], shape), 0.0)
    x[0] = first
    steps = np.arange(length).reshape(-1, *[1] * first.ndim)
    latest = np.maximum.accumulate(np.where(x == 0, 0, steps))
    return x, np.take_along_axis(x, latest, axis=0)


def truncated(
    model: Sequential, x: np.ndarray, y: np.ndarray, epochs: int = 1, *, progress: bool = False
) -> train.History:
    """Train by truncated BPTT, with one update per chunk."""
    return train.fit(
        model, Stream(x, y, length=CHUNK, streams=STREAMS), loss=mean_squared_error,
        optimizer=Adam(0.01), epochs=epochs, clip_norm=1.0, progress=progress,
    )  # fmt: skip


class Pieces:
    """The sequence in chunks of about √T steps, each read on demand."""

    def __init__(self, x: np.ndarray, y: np.ndarray, progress: bool) -> None:
        self.x, self.y, self.length = x, y, math.isqrt(len(x))
        self.bar = tqdm(total=2 * len(self) - 1, unit="chunk", disable=not progress)

    def __len__(self) -> int:
        return -(-len(self.x) // self.length)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        self.bar.update()
        part = slice(k * self.length, (k + 1) * self.length)
        return self.x[part, None], self.y[part, None]  # (about √T, 1, C)


def exact(model: Sequential, x: np.ndarray, y: np.ndarray, *, progress: bool = False) -> float:
    """Compute the exact gradients of the mean squared error over all steps; return the error."""

    def loss(outputs: Any, target: Any) -> tuple[Any, Any]:
        value, dy = mean_squared_error(outputs, model.backend.asarray(target))
        share = outputs.shape[0] / len(x)
        return value * share, dy * share

    pieces = Pieces(x, y, progress)
    with model.backend.scope(), pieces.bar:
        total, _, _ = chunked_bptt(model, pieces, loss)
        return float(model.backend.to_numpy(total))


def whole(model: Sequential, x: np.ndarray, y: np.ndarray) -> None:
    """Compute the same gradients with everything in memory."""
    outputs, _, cache = model.forward(x[:, None])
    _, dy = mean_squared_error(outputs, model.backend.asarray(y[:, None]))
    model.backward(dy, cache)


def trace(model: Sequential, x: np.ndarray, y: np.ndarray, lengths: list[int]) -> Curves:
    """Return the peak memory that NumPy and Python allocate, for each method and length."""
    ways: dict[str, Callable[..., Any]] = {
        "everything held": whole,
        "exact in chunks: rnnx.chunked_bptt": exact,
        "truncated: rnnx.train.fit": truncated,
    }
    curves: Curves = []
    for i, (name, way) in enumerate(ways.items()):
        peaks = []
        for length in lengths:
            tracemalloc.start()
            way(model, x[:length], y[:length])
            peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
        curves.append((name, f"C{i}o-", lengths, peaks))
    return curves


def peak_of_process() -> int:
    """Return the peak memory of the process so far, in bytes."""
    from resource import RUSAGE_SELF, getrusage  # Linux and macOS have it

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def draw(losses: np.ndarray, curves: Curves) -> Figure:
    """Plot the loss against the steps read, and the memory against the sequence length."""
    figure, (left, right) = common.panels(
        ("Truncated BPTT on a flip-flop", "steps read", "mean squared error of a chunk"),
        ("Memory for the gradients", "steps of the sequence", "peak memory in MB"),
    )
    left.semilogy(np.arange(1, len(losses) + 1) * CHUNK * STREAMS, losses, linewidth=0.8)
    for name, style, lengths, sizes in curves:
        right.loglog(lengths, sizes, style, label=name)
    for axes in (left, right):
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_formatter("{x:g}")
    right.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    sys.exit(main())
