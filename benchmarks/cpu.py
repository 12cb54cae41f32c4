"""Time the tanh RNN on the CPU against torch.nn.RNN and JAX: forward, and the whole training step.

python benchmarks/cpu.py [--seconds S] [--threads 1 2]

Each thread count runs in its own process, pinned to as many cores. The rivals take turns on the
same data, and medians are compared. A training step is the forward pass and BPTT: from x and the
gradient with respect to the outputs to the gradients of all weights and biases, but not of x.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

SHAPES = [  # T, B, I, H
    (256, 1, 32, 32),
    (256, 1, 64, 64),
    (256, 16, 64, 64),
    (256, 16, 256, 256),
    (256, 64, 256, 256),
    (100, 64, 512, 512),
]
Runs = dict[str, Callable[[], object]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="seconds per shape and kind of run"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--flat", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run = measure_lengths if options.flat else partial(measure, options.worker)
        print(json.dumps(run(options.seconds)))
        return 0
    from common import environment, write

    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        rows += run_worker(threads, options.seconds)
    flat = run_worker(1, options.seconds, "--flat")
    packages = ["rnnx", "numpy", "array-api-compat", "torch", "jax"]
    result = {"environment": environment(packages), "unit": "us per step of T"}
    write("cpu", result | {"rows": rows, "by_length": flat})
    report(rows)
    print("forward and BPTT by length T at B = 1, I = H = 32, us per step:", *flat)
    return 0


def run_worker(threads: int, seconds: float, *flags: str) -> list[dict[str, Any]]:
    """Measure in a process that has `threads` cores and that many threads in every library."""
    count = str(threads)
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    command = [sys.executable, __file__, "--worker", count, "--seconds", str(seconds), *flags]
    cores = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(
        command,
        env=os.environ | dict.fromkeys(names, count),
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def measure(threads: int, seconds: float) -> list[dict[str, Any]]:
    """Return one row per shape: medians in microseconds per time step, and the largest error."""
    import torch
    from common import interleaved

    torch.set_num_threads(threads)
    rows = []
    for T, B, I, H in SHAPES:
        problem = make_problem(T, B, I, H)
        forward: Runs = {}
        training: Runs = {}
        for name, make in (("rnnx", ours), ("torch", torchs), ("jax", jaxs)):
            forward[name], training[name] = make(problem)
        error = compare(problem, training)
        per_step = 1e6 / T
        rows.append(
            {
                "threads": threads,
                "shape": [T, B, I, H],
                "forward": scaled(interleaved(forward, seconds=seconds), per_step),
                "training": scaled(interleaved(training, seconds=seconds), per_step),
                "largest_relative_error": error,
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def measure_lengths(seconds: float) -> list[dict[str, Any]]:
    """Return the cost of our training step per time step at growing lengths; it should be flat."""
    from common import interleaved

    runs = {str(T): ours(make_problem(T, 1, 32, 32))[1] for T in (100, 1_000, 10_000, 100_000)}
    times = interleaved(runs, seconds=4 * seconds)
    return [{"T": int(T), "training": round(1e6 * t / int(T), 2)} for T, t in times.items()]


def scaled(times: dict[str, float], factor: float) -> dict[str, float]:
    return {name: round(seconds * factor, 3) for name, seconds in times.items()}


def make_problem(T: int, B: int, I: int, H: int) -> dict[str, Any]:
    """Return weights as torch draws them, an input, and a gradient with respect to the outputs."""
    import numpy as np

    rng = np.random.default_rng(0)
    bound = H**-0.5
    shapes = {"weight_ih": (H, I), "weight_hh": (H, H), "bias_ih": (H,)}
    params = {k: rng.uniform(-bound, bound, s).astype("float32") for k, s in shapes.items()}
    x = rng.standard_normal((T, B, I)).astype("float32")
    dy = rng.standard_normal((T, B, H)).astype("float32")
    return {"params": params, "x": x, "dy": dy, "h0": np.zeros((B, H), "float32")}


def ours(problem: dict[str, Any]) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    from rnnx import get_backend

    return ours_on(get_backend("numpy"), problem)


def ours_on(
    backend: Any, problem: dict[str, Any]
) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    """Return our two runs on any backend."""
    from rnnx.cells.rnn import RNNCell
    from rnnx.core import maker, select
    from rnnx.core.contract import NONE, Arriving, Job

    cell = RNNCell("tanh")
    params = {name: backend.asarray(W) for name, W in problem["params"].items()}
    x, dy, h0 = (backend.asarray(problem[name]) for name in ("x", "dy", "h0"))

    H = dy.shape[-1]
    job = Job(backend, cell, *x.shape, H, H, True)

    def forward() -> object:
        with backend.scope():
            return select(job).forward(job, params, x, (h0,), NONE, False)

    def training() -> dict[str, Any]:
        with backend.scope():
            trace = select(job).forward(job, params, x, (h0,), NONE, True)
            core, arriving = maker(trace.saved), Arriving((dy,), (h0,))
            return core.backward(job, params, x, trace, arriving, NONE, False).params

    return forward, training


def torchs(problem: dict[str, Any]) -> tuple[Callable[[], object], Callable[[], object]]:
    import torch

    x, dy = torch.tensor(problem["x"]), torch.tensor(problem["dy"])
    rnn = torch.nn.RNN(x.shape[2], dy.shape[2])
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh"):
            getattr(rnn, f"{name}_l0").copy_(torch.tensor(problem["params"][name]))
        rnn.bias_ih_l0.copy_(torch.tensor(problem["params"]["bias_ih"]))
        rnn.bias_hh_l0.zero_()

    def forward() -> object:
        with torch.no_grad():
            return rnn(x)

    def training() -> dict[str, Any]:
        rnn.zero_grad(set_to_none=True)
        y, _ = rnn(x)
        y.backward(dy)
        grads = {name: getattr(rnn, f"{name}_l0").grad for name in ("weight_ih", "weight_hh")}
        return grads | {"bias_ih": rnn.bias_ih_l0.grad}

    return forward, training


def jaxs(problem: dict[str, Any]) -> tuple[Callable[[], object], Callable[[], object]]:
    import jax
    import jax.numpy as jnp

    params = {name: jnp.asarray(W) for name, W in problem["params"].items()}
    x, dy, h0 = (jnp.asarray(problem[name]) for name in ("x", "dy", "h0"))

    def run(params: Any, x: Any) -> Any:
        z = x @ params["weight_ih"].T + params["bias_ih"]

        def step(h: Any, z_t: Any) -> Any:
            h = jnp.tanh(z_t + h @ params["weight_hh"].T)
            return h, h

        return jax.lax.scan(step, h0, z)[1]

    def gradient(params: Any, x: Any, dy: Any) -> Any:
        return jax.vjp(lambda p: run(p, x), params)[1](dy)[0]

    forward, training = jax.jit(run), jax.jit(gradient)
    return (
        lambda: jax.block_until_ready(forward(params, x)),
        lambda: jax.block_until_ready(training(params, x, dy)),
    )


def compare(problem: dict[str, Any], training: Runs) -> dict[str, float]:
    """Return each gradient's largest error against ours in float64, relative to its largest."""
    import numpy as np

    from rnnx import get_backend

    exact: Any = ours_on(get_backend("numpy", dtype="float64"), problem)[1]()
    errors = {}
    for name, run in training.items():
        grads: Any = run()
        errors[name] = max(
            float(np.abs(np.asarray(grads[k]) - exact[k]).max() / np.abs(exact[k]).max())
            for k in exact
        )
    return errors


def report(rows: list[dict[str, Any]]) -> None:
    """Print a table in Markdown: microseconds per time step, and how many times faster we are."""
    print("| T, B, I, H | threads | run | rnnx | torch | JAX | torch / rnnx | JAX / rnnx |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        shape = ", ".join(map(str, row["shape"]))
        for run in ("forward", "training"):
            ours, torch, jax = (row[run][name] for name in ("rnnx", "torch", "jax"))
            print(
                f"| {shape} | {row['threads']} | {run} | {ours:.1f} | {torch:.1f} | {jax:.1f} | "
                f"{torch / ours:.2f} | {jax / ours:.2f} |"
            )
    worst = max(row["largest_relative_error"]["rnnx"] for row in rows)
    print(f"largest relative error of our float32 gradients against float64: {worst:.1e}")


if __name__ == "__main__":
    raise SystemExit(main())
