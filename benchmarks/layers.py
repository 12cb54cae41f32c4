"""Compare RNN, GRU and LSTM with torch.nn on the CPU: long ragged batches, memory.

python benchmarks/layers.py [--seconds S] [--full]

Everything is float32 on one thread. The rivals take turns on the same data, and medians are
compared. A training step is the forward pass and BPTT: from x and the gradient with respect to the
outputs to the gradients of x and all parameters. `--full` also times torch's packed sequences at
the longest T, which takes minutes, because their time grows as T². Memory is measured with
tracemalloc.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import environment, interleaved, write
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnx

PACKAGES = ("rnnx", "numpy", "array-api-compat", "torch")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
CELLS, RIVALS, FORMS = ("RNN", "GRU", "LSTM"), ("rnnx", "torch"), ("ragged", "padded")
RAGGED, LENGTHS = (32, 32, 64), (1_000, 4_000)  # B, I, H and T
KEPT = {"RNN": 1.1, "GRU": 5.1, "LSTM": 6.1}  # goals: the state, and what the step computed
CACHE, LONG = (200, 32, 32, 64), (10_000, 160_000)  # T, B, I, H and T
Run = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="seconds per cell and kind of run"
    )
    parser.add_argument(
        "--full", action="store_true", help="time torch's packed sequences at every T"
    )
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when NumPy is imported
        env = os.environ | dict.fromkeys(THREADS, "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], env)
    torch.set_num_threads(1)
    seconds = options.seconds
    result: dict[str, Any] = {
        "ragged": [row for k in CELLS for row in measure_ragged(k, seconds, options.full)],
        "cache": [measure_cache(kind) for kind in CELLS],  # in T·B·H
        "long": measure_long() | measure_stream(),
    }
    result["goals"] = judge(result)
    write("layers", {"environment": environment(PACKAGES)} | result)
    report(result)
    return 0


def measure_ragged(kind: str, seconds: float, full: bool) -> list[dict[str, Any]]:
    """Return the seconds of training steps on ragged and padded batches, one row per T."""
    B, I, H = RAGGED
    layer, module = pair(kind, I, H)
    times: dict[str, float] = {}  # pairs take turns: after others, fresh memory costs more
    for T in LENGTHS:
        x, dy = draw(T, B, I), draw(T, B, H)
        lengths = np.random.default_rng(1).integers(T // 2, T + 1, B)
        mine = {f"rnnx ragged {T}": ours(layer, x, dy, lengths)}
        mine |= {f"rnnx padded {T}": ours(layer, x, dy)}
        theirs = {f"torch padded {T}": torchs(module, x, dy)}
        if full or LENGTHS[0] == T:
            theirs[f"torch ragged {T}"] = torchs(module, x, dy, lengths)
            error = largest_error(mine[f"rnnx ragged {T}"](), theirs[f"torch ragged {T}"]())
            assert error < 1e-3, f"gradients of {kind} differ from torch's by {error}"
        times |= interleaved(mine, seconds=seconds) | interleaved(theirs, seconds=0, least=3)
    rows = []
    for T in LENGTHS:
        rows.append({"cell": kind, "T": T})
        for who in RIVALS:
            ragged, padded = (times.get(f"{who} {form} {T}", math.nan) for form in FORMS)
            found = {"ragged, s": ragged, "padded, s": padded, "ratio": ragged / padded}
            rows[-1] |= {f"{who} {k}": round(v, 3) for k, v in found.items() if v == v}
    return rows


def measure_cache(kind: str) -> dict[str, Any]:
    """Return what is kept for BPTT, without x and the parameters, in units of T·B·H."""
    T, B, I, H = CACHE
    layer, module = pair(kind, I, H)
    kept = {id(a): a.nbytes for a in owners(layer.forward(draw(T, B, I))[2].kept)}
    x = torch.tensor(draw(T, B, I), requires_grad=True)
    given = {t.untyped_storage().data_ptr() for t in (x, *module.parameters())}
    stored: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        stored[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        _y, _ = module(x)  # held, and with it all that is saved: no address is used twice
    theirs = sum(size for address, size in stored.items() if address not in given)
    sizes = {"rnnx": sum(kept.values()), "torch": theirs}
    return {"cell": kind} | {who: round(size / (4 * T * B * H), 3) for who, size in sizes.items()}


def measure_long() -> dict[str, Any]:
    """Return the peaks of exact BPTT in chunks of √T steps, and its error at the shorter T."""
    loss = rnnx.losses.mean_squared_error
    rnnx.chunked_bptt(readout(), Chunks(4, 4), loss)  # what is made once
    peaks = {}
    for T in LONG:
        model, chunks = readout(), Chunks(T // math.isqrt(T), math.isqrt(T))
        tracemalloc.start()
        rnnx.chunked_bptt(model, chunks, loss)
        peaks[str(T)] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    errors = {dtype: chunked_error(dtype) for dtype in ("float32", "float64")}
    return {"chunked_peak": peaks, "chunked_error": errors}


def chunked_error(dtype: str) -> float:
    """Return the error of the gradients in chunks against those of the whole sequence."""
    model, loss, T = readout(dtype), rnnx.losses.mean_squared_error, LONG[0]
    chunks = Chunks(T // math.isqrt(T), math.isqrt(T), dtype)
    x, target = Chunks(1, T, dtype)[0]
    y, _, cache = model.forward(x)
    dy = loss(y, target)[1] * len(chunks)  # each chunk's loss is the mean over its own steps
    return largest_error(rnnx.chunked_bptt(model, chunks, loss)[1], model.backward(dy, cache)[2])


def measure_stream() -> dict[str, Any]:
    """Return the peak memory of truncated BPTT in the 20 chunks before the 100th and 1,000th."""
    peaks = {}
    tracemalloc.start()
    updates = rnnx.tbptt(readout(), iter(Chunks(1_000, 50)), rnnx.losses.mean_squared_error)
    for count, _ in enumerate(updates, start=1):
        if count % 20 == 0:
            if count in (100, 1_000):
                peaks[str(count)] = tracemalloc.get_traced_memory()[1]
            gc.collect()  # empties CPython's lists of freed tuples, thousands of them
            tracemalloc.reset_peak()
    tracemalloc.stop()
    return {"tbptt_peak": peaks}


@dataclass(frozen=True)
class Chunks:
    """Pieces of a long signal, made on demand: B = 4 sines, and the next value as target."""

    count: int
    steps: int
    dtype: str = "float32"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        if k >= self.count:
            raise IndexError(k)
        t = np.arange(self.steps + 1.0) + k * self.steps
        x = np.sin(t[:, None, None] * [[0.1], [0.2], [0.3], [0.5]]).astype(self.dtype)
        return x[:-1], x[1:]


def readout(dtype: str = "float32") -> Any:
    lstm, linear = rnnx.LSTM(1, 16, dtype=dtype, seed=0), rnnx.Linear(16, 1, dtype=dtype, seed=1)
    return rnnx.Sequential(lstm, linear)


def pair(kind: str, I: int, H: int) -> tuple[Any, Any]:
    """Return our layer and torch's, with the same parameters."""
    layer, module = getattr(rnnx, kind)(I, H, seed=0), getattr(torch.nn, kind)(I, H)
    module.load_state_dict({name: torch.tensor(W) for name, W in layer.params.items()})
    return layer, module


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def ours(layer: Any, x: Any, dy: Any, lengths: Any = None) -> Run:
    def training() -> dict[str, Any]:
        _, _, cache = layer.forward(x, lengths=lengths)
        dx, _, grads = layer.backward(dy, cache)
        return grads | {"x": dx}

    return training


def torchs(module: Any, x: Any, dy: Any, lengths: Any = None) -> Run:
    x, dy = torch.tensor(x, requires_grad=True), torch.tensor(dy)

    def training() -> dict[str, Any]:
        module.zero_grad(set_to_none=True)
        x.grad = None
        if lengths is None:
            y = module(x)[0]
        else:
            packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
            y = pad_packed_sequence(module(packed)[0], total_length=len(x))[0]
        y.backward(dy)
        return {name: W.grad for name, W in module.named_parameters()} | {"x": x.grad}

    return training


def largest_error(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Return the largest error of a gradient, relative to its largest entry."""
    pairs = [(np.asarray(found[name]), np.asarray(W)) for name, W in expected.items()]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def owners(tree: Any) -> Iterator[np.ndarray]:
    """Yield the array that owns the memory of each array in nested tuples."""
    if isinstance(tree, np.ndarray):
        yield tree if tree.base is None else tree.base
    else:
        for branch in tree:
            yield from owners(branch)


def judge(result: dict[str, Any]) -> dict[str, Any]:
    """Return the worst measurement for every goal, and whether the goal is met."""
    peaks, stream = result["long"]["chunked_peak"], result["long"]["tbptt_peak"]
    ragged = [row["rnnx ragged, s"] for row in result["ragged"]]  # by cell and T
    growth = max(long / short for short, long in zip(ragged[::2], ragged[1::2], strict=True))
    goals = {
        "time, ragged / padded": (max(row["rnnx ratio"] for row in result["ragged"]), 1.3),
        "time, T = 4,000 / T = 1,000": (growth, 4.4),  # linear is 4
        **{f"kept by {r['cell']}, T·B·H": (r["rnnx"], KEPT[r["cell"]]) for r in result["cache"]},
        "peak of chunked_bptt, T = 160,000 / T = 10,000": (peaks["160000"] / peaks["10000"], 5),
        "error of chunked_bptt, float64": (result["long"]["chunked_error"]["float64"], 1e-10),
        "peak of tbptt, 1,000 chunks / 100 chunks": (stream["1000"] / stream["100"], 1.1),
    }
    return {
        name: {"measured": float(f"{value:.3g}"), "goal": goal, "met": value <= goal}
        for name, (value, goal) in goals.items()
    }


def report(result: dict[str, Any]) -> None:
    """Print the tables in Markdown, and which goals are met."""
    for name in ("ragged", "cache"):
        head = list(result[name][0])
        print(f"{name}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in result[name]:
            print(f"| {' | '.join(str(row.get(key, '')) for key in head)} |")
        print()
    for name, found in result["long"].items():
        print(f"{name}, {'relative' if 'error' in name else 'bytes'}: {found}")
    for name, goal in result["goals"].items():
        verdict = "" if goal["met"] else ": missed"
        print(f"{name}: {goal['measured']} (goal: at most {goal['goal']:g}{verdict})")


if __name__ == "__main__":
    raise SystemExit(main())
