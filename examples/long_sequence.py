"""Learn from a million steps without holding them: truncated BPTT, and exact BPTT in √T memory.

The task is a flip-flop: pulses of +1 or -1 come on three channels, 50 steps apart on average, and
the target is the sign of each channel's last pulse. The sequence lies in a file. Truncated BPTT
reads it in chunks of 50 steps, the state carried, the gradient cut. Exact BPTT takes one gradient
through all steps: it keeps a state every √T steps and runs each chunk again on the way back.

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

CHANNELS, GAP, HIDDEN = 3, 50, 32
STREAMS, CHUNK = 8, 50  # of truncated BPTT: eighths of the sequence side by side, steps of a chunk
LENGTHS = 1_000, 10_000, 100_000  # where memory is traced, which makes NumPy four times slower
PER_STEP = 2 * HIDDEN + 5 * CHANNELS  # numbers: h, x, y, the gradient by each, and the target


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__, epochs=1)
    parser.add_argument("--length", type=common.positive, default=10**6, help="steps in all")
    options, backend = common.read(parser, arguments)
    T = min(options.length, (options.steps or options.length) * STREAMS * CHUNK)
    if LENGTHS[0] > T:
        common.fail(f"{T} steps are no long sequence: give a --length of {LENGTHS[0]} or more")

    rng = np.random.default_rng(options.seed)
    x, y = write(options.out / "long_sequence.npy", T, rng)
    new = [part[:, None] for part in flip_flop(rng, min(T, 20_000), np.ones(CHANNELS))]
    test = Stream(*new, length=CHUNK)
    model = Sequential(
        RNN(CHANNELS, HIDDEN, recurrent_init="orthogonal", backend=backend, seed=rng),
        Linear(HIDDEN, CHANNELS, backend=backend, seed=rng),
    )

    usual = peak_of_process()
    before = train.evaluate(model, test, loss=mean_squared_error)["loss"]
    start = time.perf_counter()
    loss = exact(model, x, y, progress=True)
    middle = time.perf_counter()
    history = truncated(model, x, y, options.epochs, progress=True)
    end = time.perf_counter()
    after = train.evaluate(model, test, loss=mean_squared_error)["loss"]
    grown = (peak_of_process() - usual) / 1e6
    held = T * PER_STEP * (8 if options.dtype == "float64" else 4) / 1e6

    print(f"exact gradient of a loss of {loss:.3f} over {T:,} steps: {middle - start:.1f} s")
    print(f"truncated BPTT over {options.epochs * T:,} steps: {end - middle:.1f} s")
    print(f"error on new steps: {before:.4f} before, {after:.4f} after; always 0: 1")
    print(f"for both, the process grew by {grown:.1f} MB; holding all takes {held:.0f} MB")
    lengths = [length for length in LENGTHS if length <= T]
    ways: dict[str, Callable[..., Any]] = {
        "everything held": whole,
        "exact in chunks: rnnx.chunked_bptt": exact,
        "truncated: rnnx.train.fit": truncated,
    }
    if backend.name not in ("numpy", "array_api_strict"):
        ways = {}  # Python does not see what other libraries allocate
    traced = {
        name: [peak_of_arrays(lambda way=way, n=n: way(model, x[:n], y[:n])) for n in lengths]
        for name, way in ways.items()
    }
    figure = draw(history.steps["loss"], lengths, traced, T, grown, held)
    common.save_figure(figure, options.out / "long_sequence.png")
    return common.verdict(before, after)


def write(path: Path, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Write the sequence to a file, a block at a time; return x and y (T, C), which stay there."""
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
    """Return pulses x (T, C), from `first` on, and the last one of each channel, y (T, C)."""
    shape = (length, CHANNELS)
    x = np.where(rng.random(shape) < 1 / GAP, rng.choice([-1.0, 1.0], shape), 0.0)
    x[0] = first
    latest = np.maximum.accumulate(np.where(x == 0, 0, np.arange(length)[:, None]))
    return x, np.take_along_axis(x, latest, axis=0)


def truncated(
    model: Sequential, x: np.ndarray, y: np.ndarray, epochs: int = 1, *, progress: bool = False
) -> train.History:
    """Train by truncated BPTT, with an update every chunk."""
    return train.fit(
        model, Stream(x, y, length=CHUNK, streams=STREAMS), loss=mean_squared_error,
        optimizer=Adam(0.003), epochs=epochs, clip_norm=1.0, progress=progress,
    )  # fmt: skip


class Pieces:
    """The sequence in chunks of about √T steps, each read when it is asked for."""

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
    """Take the exact gradients of the mean squared error over all steps; return that error."""

    def loss(outputs: Any, target: Any) -> tuple[Any, Any]:
        value, dy = mean_squared_error(outputs, model.backend.asarray(target))
        share = outputs.shape[0] / len(x)
        return value * share, dy * share

    pieces = Pieces(x, y, progress)
    with model.backend.scope(), pieces.bar:
        total, _, _ = chunked_bptt(model, pieces, loss)
        return float(model.backend.to_numpy(total))


def whole(model: Sequential, x: np.ndarray, y: np.ndarray) -> None:
    """Take the same gradients with everything held."""
    outputs, _, cache = model.forward(x[:, None])
    _, dy = mean_squared_error(outputs, model.backend.asarray(y[:, None]))
    model.backward(dy, cache)


def peak_of_arrays(work: Callable[[], Any]) -> float:
    """Return the most that NumPy and Python hold of what they allocate at some work, in MB."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def peak_of_process() -> int:
    """Return the most memory that the process has had so far, in bytes."""
    from resource import RUSAGE_SELF, getrusage  # Linux and macOS have it

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def draw(
    losses: np.ndarray,
    lengths: list[int],
    traced: dict[str, list[float]],
    T: int,
    grown: float,
    held: float,
) -> Figure:
    """Draw the loss by steps read, and the memory by steps: traced, computed, of the process."""
    figure, (left, right) = common.panels(
        ("Truncated BPTT on a flip-flop", "steps read", "mean squared error of a chunk"),
        ("Memory for the gradients", "steps of the sequence", "peak memory in MB"),
    )
    left.semilogy(np.arange(1, len(losses) + 1) * CHUNK * STREAMS, losses, linewidth=0.6)
    right.loglog([T / 1000, T], [held / 1000, held], "k--", label="everything held, computed")
    for name, sizes in traced.items():
        right.loglog(lengths, sizes, "o-", label=name)
    right.loglog(T, grown, "k*", label="process, both in chunks")
    for axes in (left, right):
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    right.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    sys.exit(main())
