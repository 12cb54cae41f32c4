"""The loop of one launch: a whole sequence, with the recurrent weights in shared memory.

Where the weights fit on one multiprocessor, a block takes some rows of the batch and needs no
other; beyond that, several blocks share the units of the same rows and meet after every step.

References
----------
G. Diamos et al., "Persistent RNNs: stashing recurrent weights on-chip", ICML 2016,
proceedings.mlr.press/v48/diamos16.html.
"""

from __future__ import annotations

import cupy

from rnnx.core.contract import Job
from rnnx.core.cuda import kernels, plan
from rnnx.core.cuda.plan import Plan
from rnnx.core.cuda.whole import Returning, Sequence, two

PRECISIONS = {"float64": 0, "float32": 0, "tf32": 1, "bfloat16": 2}


def declines(job: Job) -> str:
    """Return why this loop cannot serve a job, or ``""``."""
    card = kernels.card(job.backend.device.id)
    if _numbers(job) in ("tf32", "bfloat16") and card.capability < 80:
        return f"has no {job.precision} below compute capability 8.0"
    if _plan(job) is None:
        return f"has no plan for B = {job.batch}, H = {job.hidden_size} that fits this device"
    return ""


def _numbers(job: Job) -> str:
    """Return what products multiply."""
    return "float64" if job.backend.dtype_name == "float64" else job.precision


def _plan(job: Job) -> Plan | None:
    gates = job.rows // job.hidden_size
    layer = plan.Layer(gates, job.hidden_size, job.batch or 1, _numbers(job))
    return plan.best(layer, kernels.card(job.backend.device.id))


def forward(run: Sequence, keep: bool) -> None:
    """Run all steps; p lies in the gates already."""
    addresses = (
        run.gates, run.weight, *run.biases, *two(run.state0), *two(run.states), run.lengths,
        run.reset,
    )  # fmt: skip
    _launch(run, "sequence_forward", [kernels.address(a) for a in addresses], [int(keep)])


def backward(run: Sequence, back: Returning) -> None:
    """Go back through all steps."""
    addresses = (
        run.gates, run.weight, *two(run.state0), *two(run.states), *two(back.outer),
        *two(back.dstate), back.da, back.whole, run.lengths, run.reset,
    )  # fmt: skip
    _launch(run, "sequence_backward", [kernels.address(a) for a in addresses], [])


def _launch(run: Sequence, name: str, addresses: list[int], last: list[int]) -> None:
    """Launch a kernel by the plan of its job; refuse a grid whose blocks would not all be resident.

    CuPy would shrink such a grid, and the blocks that run would wait for those that do not.
    """
    found, job, (T, B, H) = _plan(run.job), run.job, run.states[0].shape
    assert found is not None  # `declines` has seen to that
    split = found.parts > 1
    values = kernels.constants(job) | {
        "PRECISION": PRECISIONS[_numbers(job)], "UNITS": found.units, "ROWS": found.rows,
        "WARPS": plan.WARPS, "SPLIT": int(split),
    }  # fmt: skip
    kernel = kernels.kernel(kernels.PERSISTENT, name, values, together=split)
    size = found.forward if name == "sequence_forward" else found.backward
    card = kernels.card(job.backend.device.id)
    kernel.max_dynamic_shared_size_bytes = card.shared  # the same for every thread and every H
    if split:
        fit = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            kernel.kernel.ptr, 32 * plan.WARPS, size
        )
        room = fit * card.multiprocessors
        if found.blocks > room:
            raise RuntimeError(
                f"{name} needs {found.blocks} resident blocks, and this device has room for {room}:"
                " use core='fused'"
            )
    arrived = cupy.zeros(found.slices, "uint32")
    kernel(
        (found.blocks,), (32 * plan.WARPS,),
        (*addresses, arrived.data.ptr, T, B, H, found.parts, *last), shared_mem=size,
    )  # fmt: skip
