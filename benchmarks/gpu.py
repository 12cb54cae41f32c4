"""Time the tanh RNN on a GPU against torch.nn.RNN (cuDNN), at equal precision.

python benchmarks/gpu.py [--seconds S] [--precisions fp32 tf32]

Each precision runs in its own process: "fp32" with TF32 off in CuPy and torch, "tf32" with it on in
both. The rivals take turns on the same data and the same GPU. Device time is measured between two
CUDA events around the run; wall time is the host's, until the second event is done. A training step
is the forward pass and BPTT: from x and the gradient with respect to the outputs to the gradients
of all weights and biases. The exit code is 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

SHAPES = [  # T, B, I, H
    (256, 1, 32, 32),
    (256, 1, 64, 64),
    (256, 16, 64, 64),
    (256, 16, 256, 256),
    (256, 64, 256, 256),
    (100, 64, 512, 512),
    (256, 256, 512, 512),
    (1000, 32, 64, 64),
]
Runs = dict[str, Callable[[], object]]
PRECISIONS = ("fp32", "tf32")
CLOCKS = ("device", "wall")
MEMORY = 4 * 2**30  # bytes per library; the largest shape needs about 1 GB
NO_GPU = 2  # exit status


class Rival(NamedTuple):
    """A library's two runs, its clock, and its copy to the host."""

    forward: Callable[[], object]
    training: Callable[[], dict[str, Any]]  # gradients of weight_ih, weight_hh and bias_ih
    clock: Callable[[Callable[[], object]], tuple[float, float]]  # seconds: device, wall
    to_numpy: Callable[[Any], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="seconds per shape and kind of run"
    )
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--worker", choices=PRECISIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker, options.seconds)
    from common import environment, write

    settings: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for precision in options.precisions:
        done = run_worker(precision, options.seconds)
        if done.returncode:  # the worker has said why
            return done.returncode
        answer = json.loads(done.stdout.splitlines()[-1])
        device, settings[precision] = answer["device"], answer["settings"]
        rows += answer["rows"]
    result = {
        "environment": environment(["rnnx", "numpy", "array-api-compat", "torch"]),
        "device": device,
        "settings": settings,
        "unit": "us per step of T",
        "rows": rows,
    }
    slug = re.sub("[^a-z0-9]+", "-", device["name"].lower()).strip("-")
    write(f"gpu-{slug}", result)
    report(rows)
    return 0


def run_worker(precision: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Measure in a process whose CuPy matrix products have this precision."""
    command = [sys.executable, __file__, "--worker", precision, "--seconds", str(seconds)]
    env = os.environ | {"CUPY_TF32": str(int(precision == "tf32"))}
    env.pop("NVIDIA_TF32_OVERRIDE", None)  # it would overrule both libraries
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, check=False, text=True)


def work(precision: str, seconds: float) -> int:
    """Print the device, the settings and the rows as JSON, or why there is no GPU."""
    reason = why_not()
    if reason:
        print(reason, file=sys.stderr)
        return NO_GPU
    settings = prepare(precision)
    rows = [measure(shape, precision, seconds) for shape in SHAPES]
    print(json.dumps({"device": describe(), "settings": settings, "rows": rows}))
    return 0


def why_not() -> str:
    """Return why CuPy or torch cannot run on a GPU here, in one line, or ``""``."""
    from rnnx import BackendUnavailable, get_backend

    try:
        get_backend("cupy")
    except BackendUnavailable as error:
        return str(error)
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch cannot be imported ({error}): reinstall it, pip install torch"
    if torch.cuda.is_available() and torch.backends.cudnn.is_available():
        return ""
    return f"torch {torch.__version__} finds no usable CUDA device with cuDNN: install a CUDA build"


def prepare(precision: str) -> dict[str, Any]:
    """Set torch's precision and both memory limits; return the TF32 settings."""
    import cupy
    import torch

    tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, MEMORY / total), 0)
    cupy.get_default_memory_pool().set_limit(size=MEMORY)
    return {
        "torch.backends.cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "CUPY_TF32": os.environ.get("CUPY_TF32"),
    }


def describe() -> dict[str, Any]:
    """Return the GPU, its driver, and the libraries that ran on it."""
    import cupy
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "driver": driver(),
        "driver_cuda": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
        "cupy_cuda_runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def driver() -> str | None:
    """Return the driver version that nvidia-smi reports."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].strip() or None


def measure(shape: tuple[int, ...], precision: str, seconds: float) -> dict[str, Any]:
    """Return one shape's row: medians in microseconds per time step, and the largest errors."""
    import cupy
    import torch
    from common import take_turns

    cupy.get_default_memory_pool().free_all_blocks()  # what the last shape left cached
    torch.cuda.empty_cache()
    problem = make_problem(*shape)
    rivals = {"rnnx": ours(problem), "torch": torchs(problem)}
    row: dict[str, Any] = {"precision": precision, "shape": list(shape)}
    for run in ("forward", "training"):
        clocks = {n: partial(rival.clock, getattr(rival, run)) for n, rival in rivals.items()}
        samples = take_turns(clocks, seconds=seconds)
        row[run] = {"rounds": len(samples["rnnx"])}
        for i, clock in enumerate(CLOCKS):
            times = {n: statistics.median(pair[i] for pair in samples[n]) for n in samples}
            row[run][clock] = scaled(times, 1e6 / shape[0])
    grads: Runs = {name: partial(host_gradients, rival) for name, rival in rivals.items()}
    row["largest_relative_error"] = compare(problem, grads)
    print(row, file=sys.stderr, flush=True)
    return row


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


def host_gradients(rival: Rival) -> dict[str, Any]:
    return {name: rival.to_numpy(dW) for name, dW in rival.training().items()}


def event_clock(
    start: Any, end: Any, elapsed: Callable[[], float], stream: Any
) -> Callable[[Callable[[], object]], tuple[float, float]]:
    """Return a clock of two events on `stream`; `elapsed` gives the milliseconds between them."""

    def clock(function: Callable[[], object]) -> tuple[float, float]:
        stream.synchronize()
        began = time.perf_counter()
        start.record(stream)
        function()
        end.record(stream)
        end.synchronize()
        wall = time.perf_counter() - began
        return elapsed() / 1e3, wall

    return clock


def ours(problem: dict[str, Any]) -> Rival:
    import cupy

    from rnnx import get_backend

    backend = get_backend("cupy")
    forward, training = ours_on(backend, problem)
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    elapsed = partial(cupy.cuda.get_elapsed_time, start, end)
    clock = event_clock(start, end, elapsed, cupy.cuda.get_current_stream())
    return Rival(forward, training, clock, backend.to_numpy)


def torchs(problem: dict[str, Any]) -> Rival:
    import torch

    x, dy = (torch.tensor(problem[name], device="cuda") for name in ("x", "dy"))

    def make() -> Any:
        rnn = torch.nn.RNN(x.shape[2], dy.shape[2], device="cuda")
        with torch.no_grad():
            for name in ("weight_ih", "weight_hh"):
                getattr(rnn, f"{name}_l0").copy_(torch.tensor(problem["params"][name]))
            rnn.bias_ih_l0.copy_(torch.tensor(problem["params"]["bias_ih"]))
            rnn.bias_hh_l0.zero_()
        return rnn

    rnn, inference = make(), make().eval()  # in eval mode cuDNN keeps nothing for a backward

    def forward() -> object:
        with torch.no_grad():
            return inference(x)

    def training() -> dict[str, Any]:
        rnn.zero_grad(set_to_none=True)
        y, _ = rnn(x)
        y.backward(dy)
        grads = {name: getattr(rnn, f"{name}_l0").grad for name in ("weight_ih", "weight_hh")}
        return grads | {"bias_ih": rnn.bias_ih_l0.grad}

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    clock = event_clock(start, end, partial(start.elapsed_time, end), torch.cuda.current_stream())
    return Rival(forward, training, clock, lambda dW: dW.cpu().numpy())


def report(rows: list[dict[str, Any]]) -> None:
    """Print a table in Markdown: microseconds per time step, and how many times faster we are."""
    columns = " | ".join(f"{clock}: rnnx | torch | torch / rnnx" for clock in CLOCKS)
    print(f"| T, B, I, H | precision | run | {columns} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        shape = ", ".join(map(str, row["shape"]))
        for run in ("forward", "training"):
            cells = []
            for clock in CLOCKS:
                ours, torch = (row[run][clock][name] for name in ("rnnx", "torch"))
                cells.append(f"{ours:.2f} | {torch:.2f} | {torch / ours:.2f}")
            print(f"| {shape} | {row['precision']} | {run} | {' | '.join(cells)} |")
    for precision in PRECISIONS:
        errors = [r["largest_relative_error"] for r in rows if r["precision"] == precision]
        for name in ("rnnx", "torch") if errors else ():
            worst = max(error[name] for error in errors)
            print(f"largest relative error of {name}'s {precision} gradients: {worst:.1e}")


if __name__ == "__main__":
    raise SystemExit(main())
