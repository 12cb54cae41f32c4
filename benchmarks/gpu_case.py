"""One small training step on the GPU, for `gpu_report.py`: twice, bit for bit, or once for tools.

python benchmarks/gpu_case.py CELL CORE [--precisions P ...] [--shape T B H] [--no-pool]

Prints a line of JSON: by precision, "identical", the results that differ between two runs, or why
the core declines. `--no-pool` gives each array memory of its own, so that a tool such as
compute-sanitizer sees where it ends. The exit code is 1 if results differ, and 2 without a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_device import NO_GPU
from gpu_plan import PRECISIONS

SHAPE = (64, 16, 128)  # T, B, H


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cell")
    parser.add_argument("core")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--shape", nargs=3, type=int, default=SHAPE, metavar=("T", "B", "H"))
    parser.add_argument("--no-pool", action="store_true")
    options = parser.parse_args()

    from rnnx import BackendUnavailable, get_backend

    try:
        get_backend("cupy")
    except BackendUnavailable as error:
        print(error, file=sys.stderr)
        return NO_GPU
    if options.no_pool:
        import cupy

        cupy.cuda.set_allocator(None)
    found = {
        precision: compare(options.cell, options.core, options.shape, precision=precision)
        for precision in options.precisions
    }
    print(json.dumps(found))
    return int(any(isinstance(answer, list) for answer in found.values()))


def compare(
    cell: str, core: str, shape: tuple[int, int, int], backend: str = "cupy", **options: Any
) -> str | list[str]:
    """Return "identical", the names of what differs between two runs, or why the core declines."""
    import rnnx

    H = shape[2]
    layer = getattr(rnnx, cell)(
        H, H, core=core, backend=backend, dtype="float32", seed=0, **options
    )
    said = layer.cores(shape).get(core, "there is no such core")
    if said != "runs":
        return f"declines: {said}"
    first, second = ({name: a.tobytes() for name, a in run(layer, shape)} for _ in range(2))
    return [name for name in first if first[name] != second[name]] or "identical"


def run(layer: Any, shape: tuple[int, int, int]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the outputs and the gradients of a batch, and of the same with lengths, on the host."""
    T, B, H = shape
    bk, rng = layer.backend, np.random.default_rng(0)
    x, dy = (bk.asarray(rng.standard_normal((T, B, H)).astype("float32")) for _ in range(2))
    lengths = rng.integers(T // 2, T + 1, B)
    yield "y of inference", bk.to_numpy(layer(x)[0])
    for form, options in {"": {}, ", ragged": {"lengths": lengths}}.items():
        y, _, cache = layer.forward(x, **options)
        dx, _, grads = layer.backward(dy, cache)
        for name, a in {"y": y, "x": dx, **grads}.items():
            yield name + form, bk.to_numpy(a)


if __name__ == "__main__":
    raise SystemExit(main())
