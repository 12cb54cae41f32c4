"""CUDA on a CPU: what the kernels' tests rest on without a GPU, itself proven against NumPy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "simulated"


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import the imitation of CuPy, beside the real one if that is there."""
    monkeypatch.syspath_prepend(str(FOLDER))
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_cupy(name)}
    import cupy

    if cupy.kernels.compiler() is None:
        pytest.skip("kernels on the CPU need a C++ compiler")
    yield cupy
    for name in [name for name in sys.modules if _is_cupy(name)]:
        del sys.modules[name]
    sys.modules.update(real)


def _is_cupy(name: str) -> bool:
    return name == "cupy" or name.startswith("cupy.")


def launch(cupy: Any, body: str, *arrays: np.ndarray, grid: int = 1, shared: int = 0) -> None:
    """Run a kernel of 64 threads a block, of the arrays a, b and c in float32."""
    code = f'extern "C" __global__ void f(float* a, float* b, float* c) {{ {body} }}'
    values = [x.ctypes.data for x in arrays] + [0] * (3 - len(arrays))
    cupy.RawModule(code=code).get_function("f")((grid,), (64,), values, shared_mem=shared)


SUM = """
  SHARED(float, near);
  const int i = threadIdx.x;
  near[i] = a[blockIdx.x * 64 + i];
  for (int away = 32; away; away /= 2) {
    __syncthreads();
    if (i < away) near[i] += near[i + away];
  }
  if (!i) b[blockIdx.x] = near[0];
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_through_shared_memory(cupy: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right in any order of the threads; NaN, or another sum, where the barrier is left out."""
    monkeypatch.setattr(cupy.kernels, "SEED", seed)
    a = np.random.default_rng(seed).standard_normal((5, 64)).astype("float32")
    b = np.full(5, np.nan, "float32")
    launch(cupy, SUM, a, b, grid=5, shared=256)
    np.testing.assert_allclose(b, a.sum(1), rtol=1e-5, atol=1e-5)
    launch(cupy, SUM.replace("__syncthreads();", ""), a, b, grid=5, shared=256)
    assert not np.allclose(b, a.sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("if (threadIdx.x < 60) __syncthreads();", "barrier"),
        ("while (!load_acquire((unsigned*)a));", "a flag that nobody sets"),
        ("if (threadIdx.x == 3) stop();", "a trap"),
    ],
)
def test_what_would_hang_or_trap_is_an_error(cupy: Any, body: str, why: str) -> None:
    """It ends with a message, and the next launch is right."""
    a = np.zeros(64, "float32")
    with pytest.raises(RuntimeError, match=why):
        launch(cupy, body, a)
    launch(cupy, "a[threadIdx.x] = threadIdx.x;", a)
    np.testing.assert_array_equal(a, np.arange(64))


def test_blocks_meet_by_a_flag(cupy: Any) -> None:
    """What each block writes before it arrives, every other one reads after it has waited."""
    body = """
      unsigned* flag = (unsigned*)c;
      a[blockIdx.x * 64 + threadIdx.x] = blockIdx.x + 1;
      __syncthreads();
      if (!threadIdx.x) add_release(flag);
      while (load_acquire(flag) < 7);
      b[blockIdx.x * 64 + threadIdx.x] = a[(blockIdx.x + 1) % 7 * 64 + threadIdx.x];
    """
    a, b = (np.full((7, 64), np.nan, "float32") for _ in range(2))
    launch(cupy, body, a, b, np.zeros(1, "float32"), grid=7)
    np.testing.assert_array_equal(b[:, 0], [2, 3, 4, 5, 6, 7, 1])
    assert (b == b[:, :1]).all()


def rounded(x: np.ndarray, kept: int) -> np.ndarray:
    """Return float32 numbers rounded to `kept` bits after the point, ties away from zero."""
    mantissa, exponent = np.frexp(x.astype("float64"))
    scaled = np.abs(mantissa) * 2.0 ** (kept + 1)
    return (np.sign(x) * np.ldexp(np.floor(scaled + 0.5), exponent - kept - 1)).astype("float32")


def test_rounding_to_tf32_and_bfloat16(cupy: Any) -> None:
    """As NumPy rounds; NaN stays NaN, infinity and zero are kept, ties to even in bfloat16."""
    a = np.random.default_rng(0).standard_normal(64).astype("float32")
    a[:6] = [0, np.inf, -np.inf, np.nan, 1 + 2**-8, 1 + 3 * 2**-8]
    b, c = np.empty_like(a), np.empty_like(a)
    words = "((unsigned*)b)[i] = to_tf32(a[i]); ((unsigned*)c)[i] = to_bfloat16x2(0, a[i]);"
    launch(cupy, f"const int i = threadIdx.x; {words}", a, b, c)
    assert np.isnan(b[3])
    assert np.isnan(c[3])
    np.testing.assert_array_equal(b[6:], rounded(a[6:], 10))
    np.testing.assert_array_equal(c[6:], rounded(a[6:], 7))
    np.testing.assert_array_equal(b[[0, 1, 2]], a[[0, 1, 2]])
    np.testing.assert_array_equal(c[[0, 1, 2, 4, 5]], [0, np.inf, -np.inf, 1, 1 + 2**-6])


@pytest.mark.parametrize(("pack", "name"), [(1, "mma_tf32"), (2, "mma_bfloat16")])
def test_fragments_of_a_product(cupy: Any, pack: int, name: str) -> None:
    """C += A B over the lanes of each warp, in the layout that the PTX manual gives."""
    K = 8 * pack
    rng = np.random.default_rng(1)
    a, b, c = (rng.integers(-8, 9, s).astype("float32") for s in ((16, K), (K, 8), (16, 8)))
    expected = c + a @ b
    words = {1: "to_tf32({m}[{k} * {s} + {r}])", 2: "to_bfloat16x2({m}[{k2} * {s} + {r}], "
             "{m}[({k2} + 1) * {s} + {r}])"}[pack]  # fmt: skip
    at = "a[({r}) * {K} + {k}]"
    A = [
        f"to_tf32({at.format(r=r, K=K, k=k)})" if pack == 1 else
        f"to_bfloat16x2({at.format(r=r, K=K, k=f'2 * ({k})')}, "
        f"{at.format(r=r, K=K, k=f'2 * ({k}) + 1')})"
        for k in ("q", "q + 4") for r in ("g", "g + 8")
    ]  # fmt: skip
    B = [words.format(m="b", k=f"({k})", k2=f"2 * ({k})", s=8, r="g") for k in ("q", "q + 4")]
    body = f"""
      const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
      float d[4] = {{c[g * 8 + 2 * q], c[g * 8 + 2 * q + 1], c[g * 8 + 64 + 2 * q],
                     c[g * 8 + 65 + 2 * q]}};
      {name}(d, {", ".join(A + B)});
      __syncthreads();
      c[g * 8 + 2 * q] = d[0], c[g * 8 + 2 * q + 1] = d[1];
      c[g * 8 + 64 + 2 * q] = d[2], c[g * 8 + 65 + 2 * q] = d[3];
    """
    launch(cupy, body, a, b, c)
    np.testing.assert_array_equal(c, expected)


def test_limits_of_both_cards(cupy: Any) -> None:
    """Shared memory that was not asked for, or is not there, and blocks that do not fit."""
    code = 'extern "C" __global__ void f(float* a) {}'
    alone = cupy.RawModule(code=code).get_function("f")
    together = cupy.RawModule(code=code, enable_cooperative_groups=True).get_function("f")
    with pytest.raises(RuntimeError, match="invalid argument"):
        alone((1,), (64,), (0,), shared_mem=60_000)
    alone.max_dynamic_shared_size_bytes = together.max_dynamic_shared_size_bytes = 232_448
    alone((1,), (64,), (0,), shared_mem=60_000)
    together((132,), (64,), (0,), shared_mem=200_000)
    with pytest.raises(RuntimeError, match="133 blocks are not resident together"):
        together((133,), (64,), (0,), shared_mem=200_000)
    with cupy.cuda.Device(1):
        with pytest.raises(RuntimeError, match="invalid argument"):
            alone((1,), (64,), (0,), shared_mem=60_000)
        with pytest.raises(RuntimeError, match="31 blocks are not resident together"):
            together((31,), (64,), (0,), shared_mem=40_000)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_product_by_address(
    cupy: Any, dtype: str, beta: float, transposed: tuple[int, int]
) -> None:
    """C = op(A) op(B) + beta C by columns, at any distance; C is not read where beta is 0."""
    rng, (m, n, k), blas = np.random.default_rng(2), (3, 4, 5), cupy.cuda.cublas
    shapes = [(k, m) if transposed[0] else (m, k), (n, k) if transposed[1] else (k, n)]
    a, b = (np.asfortranarray(rng.standard_normal((r + 2, c)).astype(dtype)) for r, c in shapes)
    c = np.asfortranarray(np.full((m + 1, n), 3.0 if beta else np.nan, dtype))
    A, B = (x[:-2].T if t else x[:-2] for x, t in zip((a, b), transposed, strict=True))
    one, scale = np.ones(1, dtype), np.full(1, beta, dtype)
    kind, compute = (0, blas.CUBLAS_COMPUTE_32F), (1, blas.CUBLAS_COMPUTE_64F)
    kind, compute = kind if dtype == "float32" else compute

    def run(lda: int) -> None:
        blas.gemmEx(1, *transposed, m, n, k, one.ctypes.data, a.ctypes.data, kind, lda,
                    b.ctypes.data, kind, b.shape[0], scale.ctypes.data, c.ctypes.data, kind,
                    c.shape[0], compute, blas.CUBLAS_GEMM_DEFAULT)  # fmt: skip

    run(a.shape[0])
    np.testing.assert_allclose(c[:m], A @ B + 3 * beta, rtol=1e-5, atol=1e-5)
    assert (c[m:] == 3.0).all() if beta else np.isnan(c[m:]).all()
    with pytest.raises(RuntimeError, match="INVALID_VALUE"):
        run(1)
