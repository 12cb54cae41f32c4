"""The figures of a training run."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

import numpy as np

from rnnx import io

PER_STEP = ("loss", "grad_norm", "learning_rate")


class History(Mapping[str, np.ndarray]):
    """The figures of a training run, one entry an epoch, by name.

    ``loss`` and the metrics are means over an epoch's training batches, as the parameters changed;
    ``validation_loss`` and ``validation_*`` are of the parameters after the epoch. ``grad_norm`` is
    the mean norm of the gradient before clipping, ``learning_rate`` that of the last step,
    ``step`` the number of steps done, ``seconds`` the time that the epoch took.

    Attributes
    ----------
    steps : dict of numpy.ndarray
        ``loss``, ``grad_norm`` and ``learning_rate`` of every step.
    best_epoch : int or None
        The epoch, from 1, of the lowest validation loss; None without validation.
    stopped : str
        Why the run ended: ``"epochs"``, ``"patience"`` or ``"callback"``; empty while it goes on.

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
        dtype = "int64" if name in ("epoch", "step") else "float64"
        return np.asarray(self._epochs[name], dtype=dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self._epochs.items())
        return f"History({last})"

    @property
    def steps(self) -> dict[str, np.ndarray]:
        """The figures of every step, by name."""
        return {name: np.asarray(values) for name, values in self._steps.items()}

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest validation loss."""
        losses = self._epochs.get("validation_loss", [])
        if not np.any(np.isfinite(losses)):
            return None
        return int(self._epochs["epoch"][int(np.nanargmin(losses))])

    def append(self, figures: Mapping[str, float]) -> None:
        """Add an epoch's figures."""
        for name, value in figures.items():
            self._epochs.setdefault(name, []).append(value)

    def append_steps(self, **figures: list[float]) -> None:
        """Add figures of steps."""
        for name, values in figures.items():
            self._steps[name].extend(values)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row an epoch, with a header; whole or not at all.

        Raises
        ------
        OSError
            Where the folder is missing, not writable or full; an older file stays as it was.
        """
        with io.replacing(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self._epochs)
            writer.writerows(zip(*self._epochs.values(), strict=True))

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curves: `rnnx.plots.learning_curves`; return the Axes."""
        from rnnx import plots

        return plots.learning_curves(self, ax=ax)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all figures, for a checkpoint."""
        epochs = {f"epochs/{name}": self[name] for name in self}
        return epochs | {f"steps/{name}": values for name, values in self.steps.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> History:
        """Return the history that `to_arrays` wrote."""
        history = cls()
        for path, values in arrays.items():
            kind, _, name = path.partition("/")
            (history._epochs if kind == "epochs" else history._steps)[name] = values.tolist()
        return history
