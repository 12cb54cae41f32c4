"""Matrix products by cuBLAS at a chosen precision, into given memory, on CuPy's current stream.

CuPy's own product takes its precision from the environment and makes a new array, which is not what
a loop over time needs. cuBLAS reads matrices by columns: row by row, C = A B is Cᵀ = Bᵀ Aᵀ.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cupy
import numpy as np
from cupy.cuda import device, runtime

_ONE = {name: np.ones(1, name) for name in ("float32", "float64")}
_ZERO = {name: np.zeros(1, name) for name in ("float32", "float64")}


class Matrix(NamedTuple):
    """A matrix in memory, row by row."""

    at: int  # its address
    stride: int  # numbers from row to row
    transposed: bool = False  # take it so

    @property
    def T(self) -> Matrix:  # noqa: N802
        """Its transpose."""
        return self._replace(transposed=not self.transposed)


def rows(x: cupy.ndarray) -> Matrix:
    """Return an array that is laid out in rows as a matrix, its last axis the columns."""
    return Matrix(x.data.ptr, x.shape[-1])


@lru_cache(maxsize=16)
def _types(dtype: str, precision: str) -> tuple[int, int]:
    """Return cuBLAS's names of the dtype and of what the products are computed in."""
    cublas = cupy.cuda.cublas  # loads the library, which `import cupy` does not
    if dtype == "float64":
        return runtime.CUDA_R_64F, cublas.CUBLAS_COMPUTE_64F
    return runtime.CUDA_R_32F, {
        "float32": cublas.CUBLAS_COMPUTE_32F,
        "tf32": cublas.CUBLAS_COMPUTE_32F_FAST_TF32,
        "bfloat16": cublas.CUBLAS_COMPUTE_32F_FAST_16BF,
    }[precision]


class Products:
    """Products of matrices of one dtype, whose operands are rounded to `precision`."""

    def __init__(self, dtype: str, precision: str) -> None:
        self._handle = device.get_cublas_handle()  # of this thread and the current device
        self._cublas = cupy.cuda.cublas
        self._type, self._compute = _types(dtype, precision)
        self._factors = [scalar[dtype].ctypes.data for scalar in (_ZERO, _ONE)]

    def into(
        self, C: Matrix, A: Matrix, B: Matrix, sizes: tuple[int, int, int], add: bool = False
    ) -> None:
        """C (M, N) = A B, or C += A B with `add`; A (M, K), B (K, N), sizes M, N, K."""
        M, N, K = sizes
        self._cublas.gemmEx(
            self._handle, int(B.transposed), int(A.transposed), N, M, K, self._factors[1],
            B.at, self._type, B.stride, A.at, self._type, A.stride, self._factors[add],
            C.at, self._type, C.stride, self._compute, self._cublas.CUBLAS_GEMM_DEFAULT,
        )  # fmt: skip
