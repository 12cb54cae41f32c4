"""How long to train where the options leave it to the data: in updates, within a bound of work.

Few sequences need as many updates as many do, so an epoch is no measure of training. The bound is
one of work and not of seconds, so that the same data gives the same network on every machine.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

LEAST_EPOCHS = 40  # passes over the data, where the bound allows
ENOUGH = 1000  # sequences, of which a tenth can be held out
NETWORKS = 5  # whose average is the answer; their spread is less than half of one network's
BOUND = 30.0  # estimated seconds of one CPU core for all networks together
FLOPS = 2e10  # per second, of one core in the products of a training step
STEP, UPDATE = 1e-5, 3e-4  # seconds of a time step and of an update, beside the products


class Work(NamedTuple):
    """The data and the network, by what one update costs."""

    sequences: int
    steps: float  # per sequence, on average
    parameters: int  # of the recurrent layers
    passes: int  # layers times directions

    def seconds(self, batch_size: int) -> float:
        """Return about how long one update takes on one CPU core."""
        products = 6 * self.steps * min(batch_size, self.sequences) * self.parameters
        return UPDATE + STEP * self.steps * self.passes + products / FLOPS


def batch_size(sequences: int) -> int:
    """Return the size of mini-batches: small where there is little data."""
    return 16 if sequences < ENOUGH else 32 if sequences < 10 * ENOUGH else 64


def epochs(work: Work, batch_size: int, min_updates: int, max_epochs: int) -> int:
    """Return the number of epochs: enough updates, and more passes where the bound allows them."""
    per_epoch = ceil(work.sequences / batch_size)
    needed = ceil(min_updates / per_epoch)
    within = int(BOUND / (work.seconds(batch_size) * per_epoch))
    return min(max_epochs, max(needed, min(LEAST_EPOCHS, within)))


def patience(epochs: int) -> int:
    """Return how many epochs to wait for a lower validation loss."""
    return max(10, epochs // 4)


def networks(work: Work, batch_size: int, epochs: int) -> int:
    """Return how many networks can be trained within the bound, at least one."""
    return max(1, min(NETWORKS, int(BOUND / seconds(work, batch_size, epochs))))


def seconds(work: Work, batch_size: int, epochs: int) -> float:
    """Return about how long the training of one network takes on one CPU core."""
    return work.seconds(batch_size) * ceil(work.sequences / batch_size) * epochs
