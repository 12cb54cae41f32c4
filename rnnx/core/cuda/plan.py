"""How a persistent kernel shares a layer out: rows and units of a block, blocks of a slice.

A block keeps the weights of its units in shared memory and takes some rows of the batch; `parts`
blocks share the units of the same rows, and meet after every step where there are more than one.
Of all plans that fit the device the one with the least estimated time of a step is taken. The
estimate counts clock cycles; its constants are published figures of Hopper, not measured here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

WARPS = 8
ROWS = {False: (1, 2, 4, 8, 16, 32), True: (8, 16, 32)}  # by whether fragments are multiplied
UNITS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
SUMS = {False: 64, True: 128}  # that a thread holds at most, in registers
STAGED_ROWS = 16  # at most, of a block that stages them, in registers too
STAGED = 36  # words of a row in a warp's stage, padding included

MULTIPLIED = {"float32": 128, "tf32": 512, "bfloat16": 1024, "float64": 64}  # per cycle
SHARED_BYTES = 128  # read per cycle from shared memory
L2_BYTES = 30  # read per cycle and multiprocessor from L2
STEP = 400  # cycles of a step beside its products: two barriers, the cell
MEETING = 1800  # cycles until what a block has written is read by another


class Card(NamedTuple):
    """What a plan needs to know of a device."""

    multiprocessors: int
    shared: int  # bytes that a block can have
    capability: int  # 90 for 9.0
    cooperative: bool  # whether all blocks of a launch can be made resident


class Layer(NamedTuple):
    """What is to be shared out."""

    gates: int
    hidden_size: int
    batch: int
    numbers: str  # "float64", or the precision of products of float32

    @property
    def fragments(self) -> bool:
        """Whether tensor cores multiply."""
        return self.numbers in ("tf32", "bfloat16")

    @property
    def itemsize(self) -> int:
        """Bytes of a word."""
        return 8 if self.numbers == "float64" else 4


class Plan(NamedTuple):
    """How it is shared out."""

    units: int  # of a block
    rows: int  # of a block
    parts: int  # blocks of a slice
    slices: int
    forward: int  # bytes of shared memory
    backward: int

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        return self.parts * self.slices


@lru_cache(maxsize=256)
def best(layer: Layer, card: Card) -> Plan | None:
    """Return the plan of the least estimated time; None where nothing fits."""
    plans = list(_plans(layer, card))
    return min(plans, key=lambda plan: cycles(layer, plan, card)) if plans else None


def _plans(layer: Layer, card: Card) -> Iterator[Plan]:
    for units in UNITS:
        parts = -(-layer.hidden_size // units)
        for rows in ROWS[layer.fragments]:
            if _sums(layer, units, rows) > SUMS[layer.fragments] or (
                parts > 1 and rows > STAGED_ROWS
            ):
                continue
            slices = -(-layer.batch // rows)
            if parts > 1 and (not card.cooperative or parts * slices > card.multiprocessors):
                continue
            plan = Plan(units, rows, parts, slices, *shared(layer, units, rows, parts > 1))
            if max(plan.forward, plan.backward) <= card.shared:
                yield plan
        if parts == 1:
            return


def _sums(layer: Layer, units: int, rows: int) -> int:
    """Return how many sums a thread holds, in 4-byte registers."""
    columns = layer.gates * units
    if layer.fragments:
        return -(-columns // 16) * (rows // 8) * 4
    return -(-columns // 32) * rows * layer.itemsize // 4


def shared(layer: Layer, units: int, rows: int, split: bool) -> tuple[int, int]:
    """Return the bytes of shared memory forward and backward, as `persistent.cu` lays it out."""
    size, H, columns = (
        layer.itemsize,
        layer.hidden_size,
        layer.gates * units,
    )
    found = []
    for count, width, biases in ((H, columns, 2 * columns), (layer.gates * H, units, 0)):
        words = words_of(layer, count, width)
        near = WARPS * rows * STAGED if split else rows * (words + 4)
        sums = WARPS * rows * width + biases
        found.append(size * (words * tile_width(layer, width) + near + sums))
    return found[0], found[1]


def words_of(layer: Layer, count: int, columns: int) -> int:
    """Return the words of a sum of `count` numbers, as `tile.cuh` pads it."""
    grain = (8 if layer.fragments or columns > 8 else 16) * WARPS
    words = -(-count // 2) if layer.numbers == "bfloat16" else count
    return -(-words // grain) * grain


def tile_width(layer: Layer, columns: int) -> int:
    """Return the words between rows of a tile of weights, as `tile.cuh` pads it."""
    if layer.fragments:
        return -(-columns // 16) * 16 + 8
    lanes = 32 if columns > 16 else 16 if columns > 8 else 8
    return -(-columns // lanes) * lanes + (lanes // 4 if lanes < 32 else 0)


def cycles(layer: Layer, plan: Plan, card: Card) -> float:
    """Return the estimated cycles of a step, forward and backward together."""
    size, waves = layer.itemsize, -(-plan.blocks // card.multiprocessors)
    total = 0.0
    for count, columns in (
        (layer.hidden_size, layer.gates * plan.units), (layer.gates * layer.hidden_size, plan.units)
    ):  # fmt: skip
        words = words_of(layer, count, columns)
        numbers = words * (2 if layer.numbers == "bfloat16" else 1)
        width = tile_width(layer, columns)
        multiplying = plan.rows * numbers * width / MULTIPLIED[layer.numbers]
        total += STEP + max(multiplying, words * width * size / SHARED_BYTES)
        if plan.parts > 1:
            total += MEETING + plan.rows * count * size / L2_BYTES
    return total * waves
