"""Time RNN, GRU and LSTM on the CPU against torch, JAX, Keras and ONNX Runtime.

python benchmarks/cpu.py [--seconds S] [--threads 1 2] [--quick]

Everything is float32. Each thread count runs in its own process, pinned to as many cores, with that
many threads in every library. All contenders take turns on the same data, and medians are compared.
They are first checked to compute the same numbers. A ratio is the fastest rival's time divided by
ours. `contenders.py` says what a training step is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from statistics import geometric_mean, median
from typing import Any

CELLS = ("RNN", "GRU", "LSTM")
SHAPES = [  # T, B, I, H
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
QUICK = [(256, 1, 32, 32), (100, 7, 50, 50), (256, 16, 64, 64)]
STACKS = {"two layers": {"layers": 2}, "bidirectional": {"bidirectional": True}}
STACKED = RAGGED = (256, 16, 64, 64)
STREAMED, STEPS, INPUT = (16, 64, 256), 200, 8  # H, steps in one sample, I
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
TURN, LONG = (
    4e-3,
    5e-2,
)  # seconds: shorter runs are repeated, and start with one that does not count
OURS = ("rnnx", "rnnx portable")
PACKAGES = ("rnnx", "numpy", "array-api-compat", "torch", "jax", "keras", "onnxruntime")
Row = dict[str, Any]
Run = Callable[[], Any]


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
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        end = time.perf_counter() + 60 * options.minutes
        print(json.dumps(work(options.worker, options.seconds, end, options.quick)))
        return 0
    from common import environment, write

    began, flags = time.perf_counter(), ["--quick"] if options.quick else []
    flags += ["--seconds", str(options.seconds)]
    flags += ["--minutes", str(options.minutes / len(options.threads))]
    parts = [run_worker(threads, flags) for threads in options.threads]
    keys = ("rows", "step", "ragged", "stacked")
    result: dict[str, Any] = {key: [row for part in parts for row in part[key]] for key in keys}
    result["machine"] = [part["machine"] for part in parts]
    result["means"] = means(result["rows"])
    result["minutes"] = round((time.perf_counter() - began) / 60, 1)
    if not options.quick:
        write("cpu", {"environment": environment(PACKAGES), "unit": "us per step of T"} | result)
    report(result)
    return 0


def run_worker(threads: int, flags: list[str]) -> dict[str, Any]:
    """Measure in a process that has `threads` cores and that many threads in every library."""
    count = str(threads)
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RNNX_THREADS")
    one = "--xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
    settings = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": one}
    command = [sys.executable, __file__, "--worker", count, *flags]
    cores = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(
        command,
        env=os.environ | settings | dict.fromkeys(names, count),
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def work(threads: int, seconds: float, end: float, quick: bool) -> dict[str, Any]:
    """Return the rows for one number of threads; start no point of the grid after `end`."""
    import torch
    from threadpoolctl import threadpool_info, threadpool_limits

    import rnnx

    rnnx.set_num_threads(threads)
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        rate = measure_rate()
        pools = [{k: v for k, v in p.items() if k != "filepath"} for p in threadpool_info()]
        result: dict[str, Any] = {
            "machine": {"threads": threads, "gflops": rate, "pools": pools},
            "step": list(measure_steps(seconds)) if threads == 1 else [],
            "ragged": [measure_ragged(cell, threads, seconds) for cell in CELLS],
            "stacked": list(measure_stacked(threads, seconds)),
            "rows": [],
        }
        for shape, cell in product(QUICK if quick else SHAPES, CELLS):
            if time.perf_counter() < end:
                result["rows"] += measure_point(cell, shape, threads, seconds, max(rate.values()))
            else:
                print("out of time:", cell, shape, threads, "threads", file=sys.stderr)
    return result


def measure_rate() -> dict[str, float]:
    """Return each library's best rate of float32 matrix products, in GFLOP/s."""
    import jax
    import numpy as np
    import torch

    multiply = jax.jit(jax.numpy.matmul)
    best = dict.fromkeys(("numpy", "torch", "jax"), 0.0)
    for m, k, n in ((1024, 1024, 1024), (6400, 512, 2048)):
        a, b = (np.ones(shape, "float32") for shape in ((m, k), (k, n)))
        s, t, u, v = torch.tensor(a), torch.tensor(b), jax.numpy.asarray(a), jax.numpy.asarray(b)
        runs: dict[str, Run] = {
            "numpy": lambda a=a, b=b: a @ b,
            "torch": lambda s=s, t=t: s @ t,
            "jax": lambda u=u, v=v: jax.block_until_ready(multiply(u, v)),
        }
        for name, times in samples(runs, 1.0).items():
            best[name] = max(best[name], 2e-9 * m * k * n / min(times))
    return {name: round(rate, 1) for name, rate in best.items()}


def measure_point(
    cell: str, shape: tuple[int, int, int, int], threads: int, seconds: float, rate: float
) -> Iterator[Row]:
    """Yield a row of training and one of inference."""
    from contenders import CONTENDERS, make_problem

    made = {n: make(make_problem(cell, shape, threads)) for n, make in CONTENDERS.items()}
    T, B, I, H = shape
    for kind in ("training", "inference"):
        runs = {name: run for name, c in made.items() if (run := getattr(c, kind))}
        row = compare(runs, seconds, 1e6 / T)
        flops = (6 if kind == "training" else 2) * B * GATES[cell] * H * (I + H)  # per step
        row["of the product rate"] = round(flops / row["us"]["rnnx"] / 1e3 / rate, 3)
        yield show({"cell": cell, "shape": shape, "threads": threads, "run": kind} | row)


def measure_stacked(threads: int, seconds: float) -> Iterator[Row]:
    """Yield the rows of two stacked layers and of two directions."""
    from contenders import CONTENDERS, make_problem

    for (form, options), cell in product(STACKS.items(), CELLS):
        problem = make_problem(cell, STACKED, threads, **options)
        made = {n: CONTENDERS[n](problem) for n in CONTENDERS if n != "keras"}
        for kind in ("training", "inference"):
            runs = {name: run for name, c in made.items() if (run := getattr(c, kind))}
            head = {"cell": cell, "form": form, "shape": STACKED, "threads": threads, "run": kind}
            yield show(head | compare(runs, seconds, 1e6 / STACKED[0]))


def measure_ragged(cell: str, threads: int, seconds: float) -> Row:
    """Return the time of training steps on a ragged batch and on a padded one."""
    import numpy as np
    from contenders import check, make_problem, ours, torchs

    T, B, _, _ = RAGGED
    padded = make_problem(cell, RAGGED, threads)
    ragged = padded._replace(lengths=np.random.default_rng(1).integers(T // 2, T + 1, B))
    runs: dict[str, Any] = {
        "rnnx": ours(ragged).training,
        "torch packed": torchs(ragged).training,
        "rnnx padded": ours(padded).training,
        "torch padded": torchs(padded).training,
    }
    check(dict(list(runs.items())[:2]))
    us = {name: round(1e6 / T * median(t), 3) for name, t in samples(runs, 2 * seconds).items()}
    ratios = {
        "ratio": round(us["torch packed"] / us["rnnx"], 2),
        "rnnx ragged / padded": round(us["rnnx"] / us["rnnx padded"], 3),
        "torch packed / padded": round(us["torch packed"] / us["torch padded"], 3),
    }
    return show({"cell": cell, "shape": RAGGED, "threads": threads, "us": us} | ratios)


def measure_steps(seconds: float) -> Iterator[Row]:
    """Yield the microseconds of one streaming step of one row."""
    from contenders import make_problem, streams

    for cell, H in product(CELLS, STREAMED):
        runs = streams(make_problem(cell, (1, 1, INPUT, H), 1), STEPS)
        yield show({"cell": cell, "I": INPUT, "H": H} | compare(runs, seconds, 1e6 / STEPS))


def compare(runs: dict[str, Run], seconds: float, scale: float) -> Row:
    """Check that the runs agree; return their scaled medians, and the fastest rival's over ours."""
    from contenders import check

    check(runs)
    us = {name: round(scale * median(t), 3) for name, t in samples(runs, seconds).items()}
    fastest = min((name for name in us if name not in OURS), key=us.__getitem__)
    return {"us": us, "fastest rival": fastest, "ratio": round(us[fastest] / us["rnnx"], 3)}


def samples(runs: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Return each run's seconds; a short one is repeated, after a call that is not timed.

    During that call the threads that the last library left spinning come to rest.
    """
    from common import take_turns

    def sampler(run: Run) -> Run:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        count = max(1, int(TURN / seconds))

        def sample() -> float:
            if seconds < LONG:
                run()
            start = time.perf_counter()
            for _ in range(count):
                run()
            return (time.perf_counter() - start) / count

        return sample

    samplers = {name: sampler(run) for name, run in runs.items()}
    return take_turns(samplers, seconds=seconds, least=3, warm_up=False)


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
