"""What a GPU takes to hand over, to launch and to multiply: the floors below any recurrent kernel.

python benchmarks/latencies.py [--json PATH]

Kernels wait with bounded spins: where a block never arrives, they end and say so. The exit code is
2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gpu_device import NO_GPU, describe, why_not

ROUNDS, NODES, PRODUCTS = 1000, 512, 256
CLUSTER = 8  # blocks
SAMPLES = 15

EMPTY = r"""
extern "C" __global__ void empty() {}
"""

# One counter for the whole grid, which only grows: round k is over at k times the number of blocks.
GRID = r"""
#define SPINS 2000000u

extern "C" __global__ void grid_barrier(unsigned* count, unsigned* failed, int rounds) {
  __shared__ unsigned late;
  if (threadIdx.x == 0) late = 0;
  for (int k = 1; k <= rounds; ++k) {
    __syncthreads();
    if (threadIdx.x == 0) {
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" :: "l"(count) : "memory");
      unsigned seen = 0, spins = 0, goal = gridDim.x * (unsigned)k;
      while (seen < goal && spins++ < SPINS)
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(count) : "memory");
      if (seen < goal) late = *failed = 1;
    }
    __syncthreads();
    if (late) return;
  }
}
"""

# The barrier of the cluster; and pushes: every block stores a word into every block's shared
# memory, and waits for the words of all. Two boxes take turns, for no block is two rounds ahead.
CLUSTERS = r"""
#define SPINS 4000000u

__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n\t"
               "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

extern "C" __global__ void __cluster_dims__(8, 1, 1) cluster_barrier(unsigned* failed, int rounds) {
  for (int k = 0; k < rounds; ++k) cluster_wait();
}

__device__ __forceinline__ unsigned in_block(unsigned address, unsigned rank) {
  unsigned there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
  return there;
}

extern "C" __global__ void __cluster_dims__(8, 1, 1) cluster_push(unsigned* failed, int rounds) {
  __shared__ alignas(8) unsigned long long barriers[2];
  __shared__ volatile unsigned boxes[2][8];
  const unsigned lane = threadIdx.x, peer = lane & 7;  // one warp
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  const unsigned bar = (unsigned)__cvta_generic_to_shared(barriers);
  const unsigned box = (unsigned)__cvta_generic_to_shared((const void*)boxes);
  if (lane == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(bar) : "memory");
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(bar + 8) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncwarp();
  cluster_wait();
  const unsigned bar_there = in_block(bar, peer), box_there = in_block(box + 4 * rank, peer);
  for (int k = 0; k < rounds; ++k) {
    const unsigned half = k & 1, parity = (k >> 1) & 1;
    if (lane == 0)
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 32;"
                   :: "r"(bar + 8 * half) : "memory");
    if (lane < 8)
      asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];"
                   :: "r"(box_there + 32 * half), "r"((unsigned)k), "r"(bar_there + 8 * half)
                   : "memory");
    unsigned there = 0, spins = 0;
    while (!there && spins++ < SPINS)
      asm volatile("{\n\t.reg .pred p;\n\t"
                   "mbarrier.test_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n\t"
                   "selp.u32 %0, 1, 0, p;\n\t}"
                   : "=r"(there) : "r"(bar + 8 * half), "r"(parity) : "memory");
    if (!__all_sync(~0u, there && boxes[half][peer] == (unsigned)k)) {
      if (lane == 0) *failed = 1;
      break;
    }
  }
  __syncwarp();
  cluster_wait();
}
"""
SOURCES = {"empty": EMPTY, "grid": GRID, "clusters": CLUSTERS}


def measure() -> dict[str, Any]:
    """Return every latency in microseconds; where one cannot be had, why."""
    import cupy

    device = cupy.cuda.Device()
    found: dict[str, Any] = {}
    runtime = cupy.cuda.runtime
    blocks = runtime.deviceGetAttribute(runtime.cudaDevAttrMultiProcessorCount, device.id)
    for n in sorted({n for n in (8, 32) if n < blocks} | {blocks}):
        note(found, f"grid barrier, {n} blocks", partial(grid_barrier, n))
    for name in ("barrier", "push"):
        what = f"cluster of {CLUSTER}, {name}"
        if int(device.compute_capability) < 90:
            found[what] = f"needs compute capability 9.0, this is {device.compute_capability}"
        else:
            note(found, what, partial(cluster, f"cluster_{name}"))
    note(found, "kernel in a graph", graph_node)
    note(found, "kernel launched eagerly, on the GPU", lambda: eager_launch()[0])
    note(found, "kernel launched eagerly, on the CPU", lambda: eager_launch()[1])
    for precision in ("float32", "tf32"):
        what = f"product of 64x512 and 512x512, {precision}"
        note(found, what, partial(product, precision))
    return found


def note(found: dict[str, Any], what: str, function: Callable[[], float]) -> None:
    """Add a latency, or the error, and print it."""
    try:
        found[what] = round(function(), 4)
    except Exception as error:  # another one may work
        found[what] = f"{type(error).__name__}: {error}"
    print(f"{what}: {found[what]}", file=sys.stderr, flush=True)


def grid_barrier(blocks: int) -> float:
    import cupy

    kernel = cupy.RawKernel(GRID, "grid_barrier", enable_cooperative_groups=True)
    count, failed = cupy.zeros(1, "uint32"), cupy.zeros(1, "uint32")

    def launch() -> None:
        kernel((blocks,), (256,), (count, failed, cupy.int32(ROUNDS)))

    return bounded(launch, failed, before=lambda: count.fill(0))


def cluster(name: str) -> float:
    import cupy

    kernel = cupy.RawKernel(CLUSTERS, name)
    failed = cupy.zeros(1, "uint32")
    return bounded(lambda: kernel((CLUSTER,), (32,), (failed, cupy.int32(ROUNDS))), failed)


def bounded(
    launch: Callable[[], None], failed: Any, before: Callable[[], object] = lambda: None
) -> float:
    """Return microseconds per round of a kernel that sets `failed` where a block is not there."""
    before()
    launch()
    if int(failed[0]):
        raise RuntimeError("a block did not arrive in time")
    us = events(launch, before=before) / ROUNDS
    if int(failed[0]):
        raise RuntimeError("a block did not arrive in time")
    return us


def graph_node() -> float:
    import cupy

    kernel, stream = cupy.RawKernel(EMPTY, "empty"), cupy.cuda.Stream(non_blocking=True)
    with stream:
        kernel((1,), (32,), ())  # nothing may be compiled or loaded in a capture
        stream.synchronize()
        stream.begin_capture()
        for _ in range(NODES):
            kernel((1,), (32,), ())
        graph = stream.end_capture()
        return events(graph.launch) / NODES


def eager_launch() -> tuple[float, float]:
    """Return the time between two kernels on the GPU, and the CPU's for a launch."""
    import cupy

    kernel, stream = cupy.RawKernel(EMPTY, "empty"), cupy.cuda.Stream(non_blocking=True)
    spent = []

    def launches() -> None:
        start = time.perf_counter()
        for _ in range(NODES):
            kernel((1,), (32,), ())
        spent.append(time.perf_counter() - start)

    with stream:
        on_gpu = events(launches) / NODES
    return on_gpu, 1e6 * statistics.median(spent) / NODES


def product(precision: str) -> float:
    """Return the time of one cuBLAS product in a chain, as the step of a loop has it."""
    import cupy
    import numpy as np
    from cupy.cuda import cublas

    rng = np.random.default_rng(0)
    W = cupy.asarray(rng.standard_normal((512, 512)).astype("float32") / np.float32(512**0.5))
    h = [cupy.asarray(rng.standard_normal((64, 512)).astype("float32")) for _ in range(2)]
    one, zero = np.ones(1, "float32"), np.zeros(1, "float32")
    handle, real = cupy.cuda.get_cublas_handle(), cupy.cuda.runtime.CUDA_R_32F
    how = {
        "float32": cublas.CUBLAS_COMPUTE_32F,
        "tf32": cublas.CUBLAS_COMPUTE_32F_FAST_TF32,
    }[precision]

    def chain() -> None:  # row-major h W is column-major Wᵀ hᵀ
        for k in range(PRODUCTS):
            cublas.gemmEx(
                handle, cublas.CUBLAS_OP_N, cublas.CUBLAS_OP_N, 512, 64, 512,
                one.ctypes.data, W.data.ptr, real, 512, h[k % 2].data.ptr, real, 512,
                zero.ctypes.data, h[1 - k % 2].data.ptr, real, 512, how,
                cublas.CUBLAS_GEMM_DEFAULT,
            )  # fmt: skip

    return events(chain) / PRODUCTS


def events(function: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Return the median microseconds of a function between two events on the current stream."""
    import cupy

    stream = cupy.cuda.get_current_stream()
    start, end, times = cupy.cuda.Event(), cupy.cuda.Event(), []
    for _ in range(2 + SAMPLES):
        before()
        stream.synchronize()
        start.record(stream)
        function()
        end.record(stream)
        end.synchronize()
        times.append(1e3 * cupy.cuda.get_elapsed_time(start, end))
    return statistics.median(times[2:])


def main() -> int:

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers and the device there, too")
    path = parser.parse_args().json
    reason = why_not()
    if reason:
        print(reason, file=sys.stderr)
        return NO_GPU
    result = {"device": describe(), "latencies": measure()}
    if path:
        path.write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
