"""Time RNN, GRU and LSTM on the CPU against torch, JAX, Keras and ONNX Runtime.

python benchmarks/cpu.py [--seconds S] [--threads 1 2] [--quick]

Everything is float32. Each library runs in a process of its own (`cpu_worker.py`), pinned to as
many cores as it has threads. The processes take turns on the same data; those that wait are
stopped. Medians are compared. The libraries are first checked to compute the same numbers. A ratio
is the fastest rival's time divided by ours. `contenders.py` says what a training step is.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from statistics import geometric_mean, median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from common import Process, environment, take_turns, write
from problems import GATES, Shape, check
from streams import STEPS

CELLS = ("RNN", "GRU", "LSTM")
SHAPES: list[Shape] = [  # T, B, I, H
    (256, 1, 32, 32),
    (256, 1, 64, 64),
    (256, 1, 256, 256),
    (256, 16, 64, 64),
    (256, 16, 256, 256),
    (256, 64, 128, 128),
    (256, 64, 256, 256),
    (100, 64, 512, 512),
    (100, 7, 50, 50),
    (100, 33, 200, 200),
]
QUICK: list[Shape] = [(256, 1, 32, 32), (100, 7, 50, 50), (256, 16, 64, 64)]
STACKS: dict[str, dict[str, Any]] = {
    "two layers": {"layers": 2},
    "bidirectional": {"bidirectional": True},
}
STACKED: Shape = (256, 16, 64, 64)
RAGGED: Shape = (256, 16, 64, 64)
STREAMED, INPUT = (16, 64, 256), 8  # H, I
PRODUCTS = ((1024, 1024, 1024), (6400, 512, 2048))  # (m, k) times (k, n)
OURS = ("rnnx", "rnnx portable")
LIBRARIES = (*OURS, "torch", "jax", "keras", "onnxruntime")
PACKAGES = ("rnnx", "numpy", "array-api-compat", "torch", "jax", "keras", "onnxruntime")
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.8, help="seconds per measurement")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="points that have not begun by then are left out",
    )
    parser.add_argument("--quick", action="store_true", help="measure a few points, write no file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends the processes, too
    began, share = time.perf_counter(), 60 * options.minutes / len(options.threads)
    parts = []
    for k, threads in enumerate(options.threads, 1):
        with started(threads) as team:
            parts.append(measure(team, options.seconds, began + k * share, options.quick))
    keys = ("rows", "step", "ragged", "stacked")
    result: dict[str, Any] = {key: [row for part in parts for row in part[key]] for key in keys}
    result["machine"] = [part["machine"] for part in parts]
    result["means"] = means(result["rows"])
    result["minutes"] = round((time.perf_counter() - began) / 60, 1)
    if not options.quick:
        facts = {"unit": "us per step of T", "one process per library": True}
        write("cpu", {"environment": environment(PACKAGES)} | facts | result)
    report(result)
    return 0


@contextmanager
def started(threads: int) -> Iterator[Team]:
    """Start the libraries' processes, each with this number of threads; end them afterwards."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RNNX_THREADS")
    one = "--xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
    settings = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": one}
    settings |= dict.fromkeys(names, str(threads))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        processes = {
            name: stack.enter_context(Process("cpu_worker.py", name, str(threads), **settings))
            for name in LIBRARIES
        }
        for process in processes.values():  # until all have imported their libraries
            process.ask(do="nothing")
        yield Team(threads, processes, folder)


class Team(NamedTuple):
    """The libraries' processes, and a folder for their results."""

    threads: int
    processes: dict[str, Process]
    folder: Path

    def make(self, kind: str, *names: str, label: str = "", **problem: Any) -> dict[str, list[str]]:
        """Make a problem in these processes; return the runs of each, which compute the same."""
        runs, results = {}, {}
        for name in names:
            path = self.folder / f"{name}.npz"
            request = {"kind": kind, "label": label, "path": str(path), "problem": problem}
            runs[name] = self.processes[name].ask(do="make", **request)["runs"]
            with np.load(path) as found:
                results[name] = dict(found)
        check(results)
        return runs

    def time(self, runs: dict[str, tuple[str, str, str]], seconds: float) -> dict[str, list[float]]:
        """Return the seconds of runs, each given by library, problem's label and name of run."""

        def sample(library: str, label: str, run: str) -> float:
            return float(self.processes[library].ask(do="sample", label=label, run=run)["seconds"])

        samplers = {name: partial(sample, *run) for name, run in runs.items()}
        return take_turns(samplers, seconds=seconds, least=3, warm_up=False)

    def compare(self, runs: dict[str, list[str]], run: str, seconds: float, scale: float) -> Row:
        """Return the scaled medians of those that have this run, and the fastest rival's ratio."""
        times = self.time({name: (name, "", run) for name in runs if run in runs[name]}, seconds)
        us = {name: round(scale * median(t), 3) for name, t in times.items()}
        fastest = min((name for name in us if name not in OURS), key=us.__getitem__)
        return {"us": us, "fastest rival": fastest, "ratio": round(us[fastest] / us["rnnx"], 3)}

    def pools(self) -> dict[str, Any]:
        """Return the thread pools of each process."""
        return {name: p.ask(do="pools")["pools"] for name, p in self.processes.items()}


def measure(team: Team, seconds: float, end: float, quick: bool) -> dict[str, Any]:
    """Return the rows for one number of threads; start no point of the grid after `end`."""
    rate = measure_rate(team)
    result: dict[str, Any] = {
        "machine": {"threads": team.threads, "gflops": rate},
        "step": list(measure_steps(team, seconds)) if team.threads == 1 else [],
        "ragged": [measure_ragged(team, cell, seconds) for cell in CELLS],
        "stacked": list(measure_stacked(team, seconds)),
        "rows": [],
    }
    for shape, cell in product(QUICK if quick else SHAPES, CELLS):
        if time.perf_counter() < end:
            result["rows"] += measure_point(team, cell, shape, seconds, max(rate.values()))
        else:
            print("out of time:", cell, shape, team.threads, "threads", file=sys.stderr)
    result["machine"]["pools"] = team.pools()
    return result


def measure_rate(team: Team) -> dict[str, float]:
    """Return each library's best rate of float32 matrix products, in GFLOP/s; ours is NumPy's."""
    names = {"rnnx": "numpy", "torch": "torch", "jax": "jax"}
    best = dict.fromkeys(names.values(), 0.0)
    for m, k, n in PRODUCTS:
        runs = {name: (name, "", "product") for name in team.make("product", *names, m=m, k=k, n=n)}
        for name, times in team.time(runs, 1.0).items():
            best[names[name]] = max(best[names[name]], 2e-9 * m * k * n / min(times))
    return {name: round(rate, 1) for name, rate in best.items()}


def measure_point(
    team: Team, cell: str, shape: Shape, seconds: float, rate: float
) -> Iterator[Row]:
    """Yield a row of training and one of inference."""
    T, B, I, H = shape
    runs = team.make("layer", *LIBRARIES, cell=cell, shape=shape)
    for kind in ("training", "inference"):
        row = team.compare(runs, kind, seconds, 1e6 / T)
        flops = (6 if kind == "training" else 2) * B * GATES[cell] * H * (I + H)  # per step
        row["of the product rate"] = round(flops / row["us"]["rnnx"] / 1e3 / rate, 3)
        yield show({"cell": cell, "shape": shape, "threads": team.threads, "run": kind} | row)


def measure_stacked(team: Team, seconds: float) -> Iterator[Row]:
    """Yield the rows of two stacked layers and of two directions."""
    names = [name for name in LIBRARIES if name != "keras"]
    for (form, options), cell in product(STACKS.items(), CELLS):
        runs = team.make("layer", *names, cell=cell, shape=STACKED, **options)
        head = {"cell": cell, "form": form, "shape": STACKED, "threads": team.threads}
        for kind in ("training", "inference"):
            row = team.compare(runs, kind, seconds, 1e6 / STACKED[0])
            yield show(head | {"run": kind} | row)


def measure_ragged(team: Team, cell: str, seconds: float) -> Row:
    """Return the time of training steps on a ragged batch and on a padded one."""
    for label in ("ragged", "padded"):
        options = {"cell": cell, "shape": RAGGED, "ragged": label == "ragged"}
        team.make("layer", "rnnx", "torch", label=label, **options)
    times = team.time(
        {
            "rnnx": ("rnnx", "ragged", "training"),
            "torch packed": ("torch", "ragged", "training"),
            "rnnx padded": ("rnnx", "padded", "training"),
            "torch padded": ("torch", "padded", "training"),
        },
        2 * seconds,
    )
    us = {name: round(1e6 / RAGGED[0] * median(t), 3) for name, t in times.items()}
    ratios = {
        "ratio": round(us["torch packed"] / us["rnnx"], 2),
        "rnnx ragged / padded": round(us["rnnx"] / us["rnnx padded"], 3),
        "torch packed / padded": round(us["torch packed"] / us["torch padded"], 3),
    }
    return show({"cell": cell, "shape": RAGGED, "threads": team.threads, "us": us} | ratios)


def measure_steps(team: Team, seconds: float) -> Iterator[Row]:
    """Yield the microseconds of one streaming step of one row."""
    for cell, H in product(CELLS, STREAMED):
        names = ("rnnx", "torch", "onnxruntime")
        runs = team.make("stream", *names, cell=cell, shape=(1, 1, INPUT, H))
        row = team.compare(runs, "stream", seconds, 1e6 / STEPS)
        yield show({"cell": cell, "I": INPUT, "H": H} | row)


def means(rows: list[Row]) -> list[Row]:
    """Return geometric means over the shapes, by cell, kind of run and threads."""
    found = []
    for threads, kind, cell in product(
        sorted({row["threads"] for row in rows}), ("training", "inference"), CELLS
    ):
        part = [r for r in rows if (r["threads"], r["run"], r["cell"]) == (threads, kind, cell)]
        if not part:
            continue
        ratios = {
            f"{name} / rnnx": round(
                geometric_mean(r["us"][name] / r["us"]["rnnx"] for r in part), 2
            )
            for name in part[0]["us"]
            if name != "rnnx"
        }
        head = {"threads": threads, "run": kind, "cell": cell}
        fastest = round(geometric_mean(r["ratio"] for r in part), 2)
        found.append(head | {"ratio": fastest, "least": min(r["ratio"] for r in part)} | ratios)
    return found


def show(row: Row) -> Row:
    print(*(v for v in row.values() if not isinstance(v, dict)), row["us"], file=sys.stderr)
    return row


def report(result: dict[str, Any]) -> None:
    """Print the ratios in Markdown, one table per kind of rows, and every point below 1."""
    for name in ("rows", "stacked", "ragged", "step", "means"):
        head = list(dict.fromkeys(key for row in result[name] for key in row if key != "us"))
        print(f"\n{name}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in result[name]:
            print(f"| {' | '.join(str(row.get(key, '')) for key in head)} |")
    below = [r for key in ("rows", "stacked", "step") for r in result[key] if r["ratio"] < 1]
    print(f"\n{len(below)} points where a rival is faster:")
    for row in below:
        print(*(v for v in row.values() if not isinstance(v, dict)))
    print(f"{result['minutes']} minutes, products in GFLOP/s:", result["machine"][0]["gflops"])


if __name__ == "__main__":
    raise SystemExit(main())
