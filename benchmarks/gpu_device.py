"""The GPU as the benchmark sees it: whether there is one, what it is, its clock and its memory.

python benchmarks/gpu_device.py

Prints a line of JSON; the exit code is 2, with one line that says why, if there is no GPU.
"""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

NO_GPU = 2  # exit status
MEMORY = 32 * 2**30  # bytes per library at most; the largest point needs about 12 GB


class Device(NamedTuple):
    """Where both libraries run, and what the benchmark needs from there.

    `array` and `tensor` hand an array from one library to the other, without a copy on a GPU.
    """

    backend: str  # rnnx's
    torch: str  # torch's name of the device
    array: Callable[[Any], Any]
    tensor: Callable[[Any], Any]
    clock: Callable[[Callable[[], object]], float]  # seconds
    check: Callable[[], object]  # raises if nothing works there any more
    free: Callable[[], object]  # what the last point left cached
    precise: bool = True  # whether layers take `precision`


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


def cuda(precision: str) -> Device:
    """Return the current GPU, with torch's precision and both memory limits set.

    CuPy's and torch's current streams are both the default stream, so one clock serves both.
    """
    import cupy
    import torch

    tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    total = torch.cuda.get_device_properties(0).total_memory
    limit = min(MEMORY, int(0.45 * total))
    torch.cuda.set_per_process_memory_fraction(limit / total, 0)
    cupy.get_default_memory_pool().set_limit(size=limit)
    gc.freeze()  # what is imported by now takes no time in `free`

    def free() -> None:
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()
        torch.cuda.empty_cache()

    return Device(
        "cupy", "cuda", cupy.from_dlpack, torch.from_dlpack, event_clock(),
        cupy.cuda.runtime.deviceSynchronize, free,
    )  # fmt: skip


def settings() -> dict[str, Any]:
    """Return what decides about TF32 in torch, read back."""
    import torch

    return {
        "torch.backends.cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def event_clock() -> Callable[[Callable[[], object]], float]:
    """Return a clock of two events on the default stream, which is idle before the first."""
    import cupy

    stream, start, end = cupy.cuda.Stream.null, cupy.cuda.Event(), cupy.cuda.Event()

    def clock(function: Callable[[], object]) -> float:
        stream.synchronize()
        start.record(stream)
        function()
        end.record(stream)
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end)) / 1e3

    return clock


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
        "cupy_nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
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


def main() -> int:
    reason = why_not()
    print(reason or json.dumps(describe()), file=sys.stderr if reason else sys.stdout)
    return NO_GPU if reason else 0


if __name__ == "__main__":
    raise SystemExit(main())
