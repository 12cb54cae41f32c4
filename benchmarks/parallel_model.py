"""What a training step in N processes costs: flops, latency and bandwidth.

A step on B sequences takes ``fixed + flops(B)/rate``. The all-reduce of n bytes takes::

    2·log2(N)·latency + 2·(N-1)/N·n/bandwidth

This is halving and doubling (a reduce-scatter, then an allgather), which sends the fewest bytes.

References
----------
R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of collective communication operations in
MPICH", International Journal of High Performance Computing Applications 19 (2005), 49-66,
doi:10.1177/1094342005051521.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log2
from typing import NamedTuple

import numpy as np

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
MICRO, GBIT = 1e-6, 1e9 / 8
RANKS = tuple(2**k for k in range(11))  # to 1,024


class Link(NamedTuple):
    """How processes reach each other."""

    latency: float  # seconds, one way
    bandwidth: float  # bytes per second

    def all_reduce(self, size: float, ranks: int) -> float:
        """Return the seconds of the sum of `size` bytes over all ranks."""
        sent = 2 * (ranks - 1) / ranks * size
        return 2 * log2(ranks) * self.latency + sent / self.bandwidth


class Step(NamedTuple):
    """What one process computes in a step."""

    fixed: float  # seconds that do not depend on the batch
    per_sequence: float  # seconds
    size: float  # bytes of the gradient

    def seconds(self, batch: float) -> float:
        """Return the seconds of a step on a batch."""
        return self.fixed + batch * self.per_sequence

    def weak(self, link: Link, batch: float, ranks: int) -> float:
        """Return the efficiency where every rank has a batch of its own."""
        alone = self.seconds(batch)
        return alone / (alone + link.all_reduce(self.size, ranks))

    def strong(self, link: Link, batch: float, ranks: int) -> float:
        """Return the efficiency where the ranks share one batch."""
        together = self.seconds(batch / ranks) + link.all_reduce(self.size, ranks)
        return self.seconds(batch) / (ranks * together)

    def enough(self, link: Link, ranks: int, level: float) -> float:
        """Return the batch per rank that weak scaling of this efficiency needs."""
        needed = level / (1 - level) * link.all_reduce(self.size, ranks)
        return max(1.0, (needed - self.fixed) / self.per_sequence)


# Over TCP, the latency is that of the kernel, not of the wire: one figure for all three.
NETWORKS = {
    "10 GbE": Link(17.8 * MICRO, 10 * GBIT),
    "25 GbE": Link(17.8 * MICRO, 25 * GBIT),
    "100 GbE": Link(17.8 * MICRO, 40 * GBIT),  # a core copies no more than about 40 Gbit/s
    "InfiniBand HDR": Link(1.2 * MICRO, 192 * GBIT),
    "InfiniBand NDR": Link(2.0 * MICRO, 400 * GBIT),
}
SOURCES = {
    "TCP's latency, 10 Gbit/s cards, sockperf": "https://github.com/F-Stack/f-stack/issues/540",
    "what a core copies, Cai et al., 2021": "https://doi.org/10.1145/3452296.3472888",
    "HDR, Azure HBv3": "https://docs.azure.cn/en-us/virtual-machines/hbv3-performance",
    "NDR, Azure HBv4 (below 2 µs)": "https://github.com/MicrosoftDocs/azure-docs/blob/main/"
    "articles/virtual-machines/hbv4-performance.md",
}


def flops(cell: str, shape: tuple[int, int, int], classes: int) -> float:
    """Return the floating-point operations of a step on one sequence, BPTT included."""
    T, I, H = shape
    return 6.0 * T * H * (GATES[cell] * (I + H) + classes)


def fit_link(seconds: Mapping[int, float], ranks: int = 2) -> Link:
    """Return the link of the least relative error; `seconds` of an all-reduce, by bytes."""
    sizes, times = np.asarray(list(seconds)), np.asarray(list(seconds.values()))
    terms = np.stack([np.full(sizes.shape, 2 * log2(ranks)), 2 * (ranks - 1) / ranks * sizes])
    latency, per_byte = least_squares(terms, times)
    return Link(latency, 1 / per_byte)


def fit_step(seconds: Mapping[int, float], size: float) -> Step:
    """Return the step of the least relative error; `seconds` of a step, by batch."""
    batches, times = np.asarray(list(seconds)), np.asarray(list(seconds.values()))
    return Step(*least_squares(np.stack([np.ones(batches.shape), batches]), times), size)


def least_squares(terms: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return the two factors of terms (2, n) whose sum is nearest to values (n,), relatively."""
    found = np.linalg.lstsq((terms / values).T, np.ones(values.shape), rcond=None)[0]
    return float(found[0]), float(found[1])


def reaches(efficiency: Callable[[int], float], level: float) -> int:
    """Return the largest number of ranks, to 1,024, up to which the efficiency has this level."""
    held = 1
    for ranks in RANKS:
        if efficiency(ranks) < level:
            break
        held = ranks
    return held
