"""cuBLAS's product on NumPy, by address, as `cupy.cuda.cublas` gives it."""

from __future__ import annotations

import ctypes

import numpy as np

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F = 68, 70
CUBLAS_COMPUTE_32F_FAST_16BF, CUBLAS_COMPUTE_32F_FAST_TF32 = 75, 77
CUBLAS_GEMM_DEFAULT = -1
_CTYPES = {0: ctypes.c_float, 1: ctypes.c_double}  # CUDA_R_32F, CUDA_R_64F
_BITS = {CUBLAS_COMPUTE_32F_FAST_16BF: 16, CUBLAS_COMPUTE_32F_FAST_TF32: 13}  # that are dropped


def gemmEx(  # noqa: N802
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int, Atype: int,
    lda: int, B: int, Btype: int, ldb: int, beta: int, C: int, Ctype: int, ldc: int,
    computeType: int, algo: int,
) -> None:  # fmt: skip
    """C = alpha op(A) op(B) + beta C, column by column; C is not read where beta is 0."""
    import cupy

    cupy.cuda.get_current_stream().run()
    cupy.LAUNCHES.append(("gemm", cupy.cuda.Device().id, cupy.cuda.get_current_stream().ptr))
    if Atype != Btype or Btype != Ctype or (Ctype == 1) != (computeType == CUBLAS_COMPUTE_64F):
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
    one, two = (_read(at, Ctype, (1, 1), 1)[0, 0] for at in (alpha, beta))
    a = _read(A, Atype, (k, m) if transa else (m, k), lda)
    b = _read(B, Btype, (n, k) if transb else (k, n), ldb)
    c = _read(C, Ctype, (m, n), ldc)
    a, b = (_rounded(x.T if t else x, computeType) for x, t in ((a, transa), (b, transb)))
    found = one * (a @ b)
    c[...] = found if two == 0 else found + two * c


def _read(at: int, kind: int, shape: tuple[int, int], stride: int) -> np.ndarray:
    """Return a matrix in memory, column by column."""
    rows, columns = shape
    if stride < max(1, rows):
        raise RuntimeError(f"CUBLAS_STATUS_INVALID_VALUE: {rows} rows at a distance of {stride}")
    count = (columns - 1) * stride + rows
    flat = np.ctypeslib.as_array((_CTYPES[kind] * count).from_address(at))
    size = flat.itemsize
    return np.lib.stride_tricks.as_strided(flat, shape, (size, stride * size))


def _rounded(x: np.ndarray, compute: int) -> np.ndarray:
    """Return float32 numbers to the nearest that the tensor cores take."""
    if compute not in _BITS:
        return x
    half = np.uint32(1 << (_BITS[compute] - 1))
    words = np.ascontiguousarray(x).view(np.uint32)
    rounded = (words + half) & ~np.uint32((1 << _BITS[compute]) - 1)
    return np.where(np.isnan(x), x, rounded.view(np.float32))
