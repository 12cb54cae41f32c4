"""The loop of two launches a step: a product by cuBLAS and a kernel for all the rest."""

from __future__ import annotations

import cupy

from rnnx.core.contract import Job
from rnnx.core.cuda import kernels
from rnnx.core.cuda.products import Matrix, rows
from rnnx.core.cuda.whole import Returning, Sequence, two

THREADS = 256  # of a block


def declines(job: Job) -> str:
    """Return ``""``: this loop serves every shape and precision."""
    return ""


def forward(run: Sequence, keep: bool) -> None:
    """q_t = h_{t-1} W_hhᵀ, then the cell, for t = 1 ... T."""
    job, address = run.job, kernels.address
    (T, B, H), G = run.states[0].shape, job.recurrent_rows
    cell = kernels.kernel(kernels.FUSED, "cell_forward", kernels.constants(job))
    grid, q = (-(-B * H // THREADS),), cupy.empty((B, G), run.weight.dtype)
    before = [address(s) for s in two(run.state0)]
    after, biases = [address(s) for s in two(run.states)], [address(b) for b in run.biases]
    gates, lengths, reset = (address(a) for a in (run.gates, run.lengths, run.reset))
    W = rows(run.weight).T
    wide = B * H * q.itemsize  # bytes from a step's state to the next one's
    for t in range(T):
        run.products.into(rows(q), Matrix(before[0], H), W, (B, G, H))
        state = [s and s + t * wide for s in after]
        cell(grid, (THREADS,), (
            gates + t * wide * run.slots, q.data.ptr, *biases, *before, *state, lengths,
            reset and reset + t * B, t, B, H, int(keep),
        ))  # fmt: skip
        before = state


def backward(run: Sequence, back: Returning) -> None:
    """Return through the cell, then dh_{t-1} += dq_t W_hh, for t = T ... 1."""
    job, address, (dh, dc) = run.job, kernels.address, two(back.dstate)
    (T, B, H), G = run.states[0].shape, job.recurrent_rows
    cell = kernels.kernel(kernels.FUSED, "cell_backward", kernels.constants(job))
    grid, wide = (-(-B * H // THREADS),), B * H * dh.itemsize
    first, states = [address(s) for s in two(run.state0)], [address(s) for s in two(run.states)]
    outer = [address(d) for d in two(back.outer)]
    gates, da, whole, reset = (address(a) for a in (run.gates, back.da, back.whole, run.reset))
    lengths, W = address(run.lengths), rows(run.weight)
    for t in reversed(range(T)):
        dq = da + t * wide * run.slots
        before = [s and s + (t - 1) * wide for s in states] if t else first
        cell(grid, (THREADS,), (
            gates + t * wide * run.slots, *before, *(s and s + t * wide for s in states),
            *(d and d + t * wide for d in outer), address(dh), address(dc), dq,
            whole and whole + t * wide, lengths, reset and reset + t * B,
            reset + (t + 1) * B if reset and t + 1 < T else 0, t, B, H,
        ))  # fmt: skip
        run.products.into(rows(dh), Matrix(dq, run.slots * H), W, (B, H, G), add=True)
    if run.reset is not None:
        again = run.reset[0] if run.lengths is None else run.reset[0] & (run.lengths > 0)
        for d in back.dstate:
            cupy.copyto(d, cupy.zeros((), d.dtype), where=again[:, None])
