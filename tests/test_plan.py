"""How a persistent kernel is shared out among multiprocessors: arithmetic alone, without a GPU."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import Any

import pytest

from rnnx.core.cuda import plan
from rnnx.core.cuda.plan import Card, Layer

H200 = Card(132, 232_448, 90, True)
SMALL = Card(30, 47_104, 75, False)
SIZES, BATCHES = (64, 128, 256, 512, 1024, 2048), (1, 16, 64, 256)
NUMBERS = ("float32", "tf32", "bfloat16", "float64")
LAYERS = [Layer(*sizes) for sizes in itertools.product((1, 3, 4), SIZES, BATCHES, NUMBERS)]


@pytest.mark.parametrize("card", [H200, SMALL], ids=["H200", "small"])
def test_a_plan_covers_the_layer_and_fits_the_card(card: Card) -> None:
    """Every row and unit has a block; shared memory suffices; blocks that meet are all resident."""
    for layer in LAYERS:
        found = plan.best(layer, card)
        if found is None:
            continue
        assert found.units * found.parts >= layer.hidden_size
        assert found.rows * found.slices >= layer.batch
        assert max(found.forward, found.backward) <= card.shared
        assert found.parts == 1 or found.blocks <= card.multiprocessors
        assert found.parts == 1 or card.cooperative


@pytest.mark.parametrize(
    ("gates", "numbers", "alone", "fits"),
    [(1, "float32", 192, 2048), (1, "bfloat16", 256, 2048), (4, "float32", 64, 1024),
     (4, "bfloat16", 96, 1024), (3, "tf32", 96, 512)],
)  # fmt: skip
def test_what_fits_an_h200(gates: int, numbers: str, alone: int, fits: int) -> None:
    """One row: up to `alone` units on one multiprocessor, at least to `fits` on all of them."""
    plans = {H: list(plan._plans(Layer(gates, H, 1, numbers), H200)) for H in (alone, fits)}
    assert any(p.parts == 1 for p in plans[alone])
    assert not any(p.parts == 1 for p in plan._plans(Layer(gates, 2 * alone, 1, numbers), H200))
    assert plans[fits]


def test_shared_memory_by_hand() -> None:
    """H = 64, tanh, float32: the tile, h and its padding, the sums of 8 warps, both biases."""
    forward, backward = plan.shared(Layer(1, 64, 8, "float32"), 64, 8, split=False)
    assert forward == 4 * (64 * 64 + 8 * 68 + 8 * 8 * 64 + 2 * 64)
    assert backward == forward - 4 * 2 * 64


def test_more_rows_cost_more() -> None:
    """The estimate grows with the batch, and with units that must be shared."""
    for gates, numbers in itertools.product((1, 3, 4), NUMBERS):
        costs = []
        for B in BATCHES:
            layer = Layer(gates, 256, B, numbers)
            found = plan.best(layer, H200)
            costs.append(float("inf") if found is None else plan.cycles(layer, found, H200))
        assert costs == sorted(costs)


def chosen(double: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return the constants of every kernel that an H200 would run on the benchmark's grid."""
    found = set()
    reals = {"float64": "double"}
    for layer in LAYERS:
        best = plan.best(layer, H200) if double or layer.numbers != "float64" else None
        for cell in {1: (0, 1), 3: (2,), 4: (3,)}[layer.gates] if best else ():
            precision = {"tf32": 1, "bfloat16": 2}.get(layer.numbers, 0)
            values = (cell, reals.get(layer.numbers, "float"), precision)
            found.add((*values, best.units, best.rows, int(best.parts > 1)))
    names = ("CELL", "REAL", "PRECISION", "UNITS", "ROWS", "SPLIT")
    persistent = [dict(zip(names, values, strict=True)) for values in sorted(found)]
    fused = [{"CELL": c, "REAL": r} for c in range(4) for r in ("float", "double")]
    return [("fused.cu", v) for v in fused] + [
        ("persistent.cu", v | {"WARPS": plan.WARPS}) for v in persistent
    ]


REGISTERS = {"fused.cu": 48, "persistent.cu": 255}  # of a thread, at most


@pytest.mark.skipif(find_spec("nvidia") is None, reason="NVRTC is missing: install cupy's [ctk]")
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles_without_spills(arch: str) -> None:
    """NVRTC compiles all that the benchmark's grid needs; no thread spills a register."""
    pytest.importorskip("cupy", exc_type=ImportError)
    from cupy_backends.cuda.libs import nvrtc

    from rnnx.core.cuda import kernels

    for name, values in chosen(double=arch == "sm_90"):
        parts = kernels.FUSED if name == "fused.cu" else kernels.PERSISTENT
        program = nvrtc.createProgram(kernels.source(parts), name, [], [])
        options = (f"-arch={arch}", "-ftz=true", "--ptxas-options=-v", *kernels.options(values))
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError:
            pytest.fail(f"{values}: {nvrtc.getProgramLog(program)}")
        log = nvrtc.getProgramLog(program).splitlines()
        spills = [line for line in log if "spill" in line and " 0 bytes spill stores" not in line]
        assert not spills, f"{values}: {spills}"
        used = [int(line.partition("Used ")[2].split()[0]) for line in log if "Used " in line]
        assert len(used) == 2, f"{values}: {log}"
        assert max(used) <= REGISTERS[name], f"{values}: {used} registers"
