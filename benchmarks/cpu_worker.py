"""Run one library in a process of its own, for `cpu.py`.

python benchmarks/cpu_worker.py LIBRARY THREADS

`make` builds a problem's runs, saves their results and returns their names. `sample` times one of
them. `pools` returns the thread pools in this process. `nothing` answers when the library is
imported.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

WARM, TURN = 2e-3, 5e-3  # seconds of a turn that do not count, and that do
LONG = 5e-2  # seconds of a run beside which it does not matter what it finds in the caches
Run = Callable[[], Any]


def main() -> int:
    library, threads = sys.argv[1], int(sys.argv[2])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    from common import serve

    imported = import_module(library.split()[0])
    if library == "torch":
        imported.set_num_threads(threads)
    made: dict[str, dict[str, Run]] = {}
    requests: dict[str, Callable[..., dict[str, Any]]] = {
        "make": partial(make, made, library, threads),
        "sample": lambda label, run: {"seconds": sample(made[label][run])},
        "pools": pools,
        "nothing": dict,
    }
    serve(lambda do, **request: requests[do](**request))
    return 0


def make(
    made: dict[str, dict[str, Run]],
    library: str,
    threads: int,
    kind: str,
    path: str,
    label: str,
    problem: dict[str, Any],
) -> dict[str, Any]:
    """Make the runs of a kind of problem, and run each once: that compiles it."""
    import numpy as np
    from problems import make_problem, named

    build = makers()[library][kind]
    given = problem if kind == "product" else {"problem": make_problem(threads=threads, **problem)}
    made[label] = build(**given)
    results = {
        f"{run}, {key}": array
        for run, call in made[label].items()
        for key, array in named(call()).items()
    }
    np.savez(path, **results)
    return {"runs": list(made[label])}


def makers() -> dict[str, dict[str, Callable[..., dict[str, Run]]]]:
    """Return what builds each library's runs, by kind of problem."""
    import contenders
    import streams
    from onnx_layer import onnxs

    return {
        "rnnx": {"layer": contenders.ours, "stream": streams.our_stream, "product": numpy_product},
        "rnnx portable": {"layer": contenders.portable},
        "torch": {
            "layer": contenders.torchs, "stream": streams.torch_stream, "product": torch_product
        },
        "jax": {"layer": contenders.jaxs, "product": jax_product},
        "keras": {"layer": contenders.kerass},
        "onnxruntime": {"layer": onnxs, "stream": streams.onnx_stream},
    }  # fmt: skip


def numpy_product(m: int, k: int, n: int) -> dict[str, Run]:
    """Return NumPy's product of (m, k) and (k, n)."""
    import numpy as np

    a, b = np.ones((m, k), "float32"), np.ones((k, n), "float32")
    return {"product": lambda: a @ b}


def torch_product(m: int, k: int, n: int) -> dict[str, Run]:
    import torch

    a, b = torch.ones(m, k), torch.ones(k, n)
    return {"product": lambda: a @ b}


def jax_product(m: int, k: int, n: int) -> dict[str, Run]:
    import jax

    a, b = jax.numpy.ones((m, k), "float32"), jax.numpy.ones((k, n), "float32")
    multiply = jax.jit(jax.numpy.matmul)
    return {"product": lambda: jax.block_until_ready(multiply(a, b))}


def sample(run: Run) -> float:
    """Return a run's seconds; what warms the caches and wakes the threads does not count.

    Of a long run, the first one counts: this keeps the benchmark below ten minutes.
    """
    start, count = time.perf_counter(), 0
    while (warm := time.perf_counter() - start) < WARM:
        run()
        count += 1
    if warm > LONG * count:
        return warm / count
    repeats = max(1, round(TURN * count / warm))
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def pools() -> dict[str, Any]:
    from threadpoolctl import threadpool_info

    return {"pools": [{k: v for k, v in p.items() if k != "filepath"} for p in threadpool_info()]}


if __name__ == "__main__":
    raise SystemExit(main())
