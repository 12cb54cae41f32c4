"""The state of a training run, as callbacks see it and checkpoints keep it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from rnnx.backend import Array
from rnnx.train.history import History
from rnnx.train.step import Carry


class Diverged(FloatingPointError):
    """The loss or a gradient is no longer finite; the model keeps the last good parameters.

    Attributes
    ----------
    step : int
        The first step, counted from 1, whose loss or gradient is not finite.
    parameter : str
        The parameter whose gradient is not finite, the first one that BPTT reaches; empty if only
        the loss is not finite.
    history : History
        The training history until then.
    """

    step: int
    parameter: str
    history: History


class Run:
    """A training run: what a callback can read, and `stop`.

    Attributes
    ----------
    model : Layer
        The model; its parameters are up to date at the end of each epoch.
    history : History
        The training history so far.
    epoch, step : int
        The number of epochs and steps done.
    rank : int
        Which of the processes that train together this is, from 0; see `comm` of `fit`.
    """

    def __init__(self, model: Any, carry: Carry, rng: np.random.Generator, rank: int) -> None:
        self.model, self.carry, self.rng, self.rank = model, carry, rng, rank
        self.history = History()
        self.epoch = self.step = 0
        self.position = 0  # batches done in the current epoch
        self.epoch_rng: Any = rng.bit_generator.state  # before the epoch's order was drawn
        self.rows: list[list[float]] = []  # the loss, norm, metrics and count of its steps
        self.unread: list[tuple[Array, float, float]] = []  # record, count, rate
        self.best_params: dict[str, Array] | None = None
        self.seconds = 0.0  # of the current epoch
        self._since = time.perf_counter()

    def stop(self, why: str = "callback") -> None:
        """End the training after this epoch.

        Parameters
        ----------
        why : str, default "callback"
            What the history will say.
        """
        self.history.stopped = why

    def finished(self, carry: Carry, record: Array, count: float, rate: float) -> None:
        """Note that a step is done."""
        self.carry = carry
        self.unread.append((record, count, rate))
        self.position += 1
        self.step += 1

    def read(self) -> None:
        """Read the records of the latest steps from the device; raise if one diverged."""
        if not self.unread:
            return
        bk = self.model.backend
        records, counts, rates = zip(*self.unread, strict=True)
        first = self.step - len(self.unread)
        self.unread = []
        table = bk.to_numpy(bk.xp.stack(records)).astype("float64")
        good = int(np.sum(table[:, -1]))  # after a step that diverged, none is alive
        table[:, -1] = counts
        self.rows += table[:good].tolist()
        self.history.append_steps(table[:good, 0], table[:good, 1], rates[:good])
        if good < len(table):
            raise self._diverged(first + good + 1, float(table[good, 0]))

    def clock(self) -> float:
        """Return the seconds of this epoch so far."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        return self.seconds

    def _diverged(self, step: int, loss: float) -> Diverged:
        flags = self.model.backend.to_numpy(self.carry.culprits)
        names = [name for name, bad in zip(self.model.params, flags, strict=True) if bad]
        parameter = names[-1] if names else ""
        what = f"the loss is {loss:.4g}"
        if parameter:
            what += f", and the gradient of {parameter!r} ({self._layer(parameter)}) is not finite"
        elif np.isfinite(loss):
            what += ", and the norm of the gradient is not finite"
        error = Diverged(
            f"training diverged at step {step}, in epoch {self.epoch + 1}: {what}. The model keeps "
            "the parameters from before that step. Lower the learning rate, set clip_norm, or "
            "check the data"
        )
        error.step, error.parameter, error.history = step, parameter, self.history
        return error

    def _layer(self, parameter: str) -> str:
        """Return which layer a parameter belongs to, in words."""
        for name, layer in self.model.walk():
            if not name or parameter.startswith(f"{name}."):
                return f"layer {name}".rstrip() + f", {type(layer).__name__}"
        raise KeyError(parameter)
