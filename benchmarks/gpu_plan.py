"""The points of the GPU benchmark, and the time that they may take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

CELLS = {"RNN": 1, "GRU": 3, "LSTM": 4}  # gates
SIZES = (64, 128, 256, 512, 1024, 2048)  # H, which is I too
BATCHES = (1, 16, 64, 256)
RAGGED_SIZES, RAGGED_BATCHES = (128, 512), (16, 64)
T = 256
PRECISIONS = ("float32", "tf32", "bfloat16")
KINDS = ("training", "forward")
CORES = ("fused", "persistent")
BEFORE = 512  # the portable core is timed up to this H, in float32

SECONDS = 0.25  # per point and kind of run, when three rounds take less
MINUTES = 7.5  # no point begins later, and what runs then is ended
START = 20.0  # seconds that a process may take to import its libraries and find the GPU
STALL = 45.0  # seconds without a sign of life after which a process is ended
COMPILE = 0.4  # expected seconds per point
LEAST = 3  # rounds
WARM = 2  # calls of each run before its rounds: one is checked, one warms up

# Expected on an H100 PCIe, for the dearest of three contenders: FLOP/s, and seconds per step
RATES = {"float32": 2.5e13, "tf32": 8e13, "bfloat16": 1.6e14}
STEP = {"forward": 15e-6, "training": 40e-6}
PORTABLE_STEP = {"forward": 150e-6, "training": 450e-6}


class Point(NamedTuple):
    """A layer of I = H units in one precision; with `ragged`, lengths are between T/2 and T."""

    cell: str
    T: int
    B: int
    H: int
    precision: str
    ragged: bool = False

    @property
    def before(self) -> bool:
        """Whether the portable core is timed, too."""
        return self.precision == "float32" and not self.ragged and self.H <= BEFORE

    def flops(self, kind: str) -> float:
        """Return what the matrix products of a run need."""
        forward = 4.0 * self.T * self.B * CELLS[self.cell] * self.H**2
        return forward if kind == "forward" else 3 * forward


def points(
    precision: str,
    cells: Sequence[str] = tuple(CELLS),
    sizes: Sequence[int] = SIZES,
    batches: Sequence[int] = BATCHES,
) -> list[Point]:
    """Return one precision's points: ragged batches, then the grid, the dearest points last."""
    ragged = [
        Point(cell, T, B, H, precision, True)
        for H, B, cell in product(RAGGED_SIZES, RAGGED_BATCHES, cells)
        if H in sizes and B in batches
    ]
    grid = [Point(cell, T, B, H, precision) for H, B, cell in product(sizes, batches, cells)]
    return ragged + sorted(grid, key=lambda point: point.flops("forward"))


def call_seconds(point: Point, kind: str) -> float:
    """Return what one run of the slowest contender is expected to take."""
    return point.flops(kind) / RATES[point.precision] + point.T * STEP[kind]


def point_seconds(point: Point, seconds: float) -> float:
    """Return what a point is expected to take, with three contenders."""
    found = COMPILE
    for kind in KINDS:
        round_ = 3 * call_seconds(point, kind)
        found += max(seconds, LEAST * round_) + WARM * round_
        if point.before:
            found += (LEAST + WARM) * point.T * PORTABLE_STEP[kind]
    return found


def expected(chosen: Sequence[Point], seconds: float) -> float:
    """Return what a process with these points is expected to take."""
    return START + sum(point_seconds(point, seconds) for point in chosen)


def shares(plan: Sequence[Sequence[Point]], seconds: float, left: float) -> list[float]:
    """Return how many of the seconds left each process gets, by what it is expected to take."""
    needs = [expected(chosen, seconds) for chosen in plan]
    return [left * need / sum(needs) for need in needs]
