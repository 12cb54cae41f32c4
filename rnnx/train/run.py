"""The state of a training run, as its callbacks see it and a checkpoint holds it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from rnnx.backend import Array
from rnnx.train.history import History
from rnnx.train.step import Carry


class Diverged(FloatingPointError):
    """The loss or a gradient is no longer finite; the model has the last good parameters.

    Attributes
    ----------
    step : int
        The first step, from 1, whose loss or gradient was not finite.
    parameter : str
        Whose gradient was the first that was not, on the way back from the loss; empty where only
        the loss was not.
    history : History
        The figures until then.
    """

    def __init__(self, message: str, step: int, parameter: str, history: History) -> None:
        super().__init__(message)
        self.step, self.parameter, self.history = step, parameter, history

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.step, self.parameter, self.history)


class Run:
    """A training run: what a callback may read, and `stop`.

    Attributes
    ----------
    model : Layer
        What is trained; its parameters are current at the end of each epoch.
    history : History
        The figures so far.
    epoch, step : int
        Epochs and steps done.
    """

    def __init__(self, model: Any, carry: Carry, rng: np.random.Generator) -> None:
        self.model, self.carry, self.rng = model, carry, rng
        self.history = History()
        self.epoch = self.step = 0
        self.position = 0  # batches done of the epoch that is under way
        self.epoch_rng: Any = rng.bit_generator.state  # before its order was drawn
        self.rows: list[list[float]] = []  # the figures of its steps, then its counts
        self.unread: list[tuple[Array, float, float]] = []  # figures, count, rate, on the device
        self.best_params: dict[str, Array] | None = None
        self.seconds = 0.0  # of the epoch that is under way
        self._since = time.perf_counter()

    def stop(self) -> None:
        """End the training after this epoch."""
        self.history.stopped = "callback"

    def finished(self, carry: Carry, figures: Array, count: float, rate: float) -> None:
        """Take note of a step."""
        self.carry = carry
        self.unread.append((figures, count, rate))
        self.position += 1
        self.step += 1

    def read(self) -> None:
        """Read the figures of the steps since the last reading; raise where one diverged."""
        if not self.unread:
            return
        bk = self.model.backend
        figures, counts, rates = zip(*self.unread, strict=True)
        first = self.step - len(self.unread)
        self.unread = []
        table = bk.to_numpy(bk.xp.stack(figures)).astype("float64")
        dead = np.flatnonzero(table[:, 2] == 0)
        good = int(dead[0]) if len(dead) else len(table)
        rows = [[*row, count] for row, count in zip(table.tolist(), counts, strict=True)][:good]
        self.rows += rows
        self.history.append_steps(
            loss=[row[0] for row in rows],
            grad_norm=[row[1] for row in rows],
            learning_rate=list(rates[:good]),
        )
        if len(dead):
            raise self._diverged(first + good + 1, float(table[good, 0]))

    def clock(self) -> float:
        """Return the seconds of this epoch until now, and go on counting."""
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
        return Diverged(
            f"training diverged at step {step}, in epoch {self.epoch + 1}: {what}. The model keeps "
            "the parameters of before that step. Lower the learning rate, give clip_norm, or look "
            "at the data",
            step,
            parameter,
            self.history,
        )

    def _layer(self, parameter: str) -> str:
        """Return which layer a parameter is of, in words."""
        layer, number = self.model, ""
        while hasattr(layer, "layers"):
            index, _, parameter = parameter.partition(".")
            number += f"{'.' if number else ' '}{index}"
            layer = layer.layers[int(index)]
        return f"layer{number}, {type(layer).__name__}"
