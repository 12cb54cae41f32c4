"""The history of a training run."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Self

import numpy as np

from rnnx import io

PER_STEP = ("loss", "grad_norm", "learning_rate")
INTEGERS = ("epoch", "step")


class History(Mapping[str, np.ndarray]):
    """The history of a training run: arrays by name, with one entry per epoch.

    ``loss`` and the metrics are means over the training batches of the epoch, while the parameters
    change. ``validation_loss`` and ``validation_*`` are measured after the epoch. ``grad_norm`` is
    the mean gradient norm before clipping, ``learning_rate`` the rate of the last step, ``step``
    the number of steps done so far, and ``seconds`` the duration of the epoch.

    Attributes
    ----------
    steps : dict of numpy.ndarray
        ``loss``, ``grad_norm`` and ``learning_rate``, with one entry per step.
    best_epoch : int or None
        The epoch, counted from 1, with the lowest validation loss; None without validation.
    stopped : str
        Why the run ended: ``"epochs"``, ``"patience"``, or ``"callback"`` or what else a callback
        gave to ``run.stop(why)``; empty until it ends.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx.train import History
    >>> history = History()
    >>> history.append({"epoch": 1, "loss": 0.5})
    >>> history.append({"epoch": 2, "loss": 0.25})
    >>> history["loss"].tolist()
    [0.5, 0.25]
    """

    def __init__(self) -> None:
        self._epochs: dict[str, list[float]] = {}
        self._steps: dict[str, list[float]] = {name: [] for name in PER_STEP}
        self.stopped = ""

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._epochs:
            raise KeyError(
                f"the history has {', '.join(self._epochs) or 'no epoch yet'}: no {name!r}"
            )
        return np.asarray(self._epochs[name], "int64" if name in INTEGERS else "float64")

    def __iter__(self) -> Iterator[str]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self._epochs.items())
        return f"History({last})"

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """The loss, gradient norm and learning rate of every step."""
        return {name: np.asarray(values) for name, values in self._steps.items()}

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the lowest validation loss."""
        losses = self._epochs.get("validation_loss", [])
        if not np.any(np.isfinite(losses)):
            return None
        return int(self._epochs["epoch"][int(np.nanargmin(losses))])

    def append(self, values: Mapping[str, float]) -> None:
        """Add an epoch."""
        for name, value in values.items():
            self._epochs.setdefault(name, []).append(value)

    def append_steps(self, *values: Sequence[float]) -> None:
        """Add steps: the loss, gradient norm and learning rate of each."""
        for name, found in zip(PER_STEP, values, strict=True):
            self._steps[name].extend(map(float, found))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write a CSV file with a header and one row per epoch, whole or not at all.

        Raises
        ------
        OSError
            If the folder is missing, not writable or full. An existing file stays as it was.
        """
        with io.replacing(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self._epochs)
            writer.writerows(zip(*self._epochs.values(), strict=True))

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curves with `rnnx.plots.learning_curves`; return the Axes."""
        from rnnx import plots

        return plots.learning_curves(self, ax=ax)

    def tables(self) -> dict[str, np.ndarray]:
        """Return tables of the epochs and the steps, for a checkpoint."""
        found = {"epochs": self._epochs, "steps": self._steps}
        return {name: np.asarray([*rows.values()], "float64").T for name, rows in found.items()}

    @classmethod
    def of(cls, columns: Sequence[str], epochs: np.ndarray, steps: np.ndarray) -> Self:
        """Return the history of these tables."""
        history = cls()
        for row in epochs.tolist():
            named = zip(columns, row, strict=True)
            history.append({k: int(v) if k in INTEGERS else v for k, v in named})
        history.append_steps(*steps.T)
        return history
