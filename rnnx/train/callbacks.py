"""Callbacks: what to do at the end of each epoch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from rnnx.train.run import Run


class Callback:
    """The base class of callbacks for `rnnx.train.fit`. Override the methods you need.

    A plain function also works as a callback: it is called after each epoch. Of several processes
    that train together, each calls its own; ``run.rank`` says which it is.

    Examples
    --------
    >>> from rnnx.train import Callback
    >>> class Print(Callback):
    ...     def epoch(self, run):
    ...         print(run.epoch, run.history["loss"][-1])
    """

    def begin(self, run: Run) -> None:
        """Called before the first step, and before the first step after resuming."""

    def epoch(self, run: Run) -> None:
        """Called after each epoch; ``run.stop()`` ends the training."""

    def end(self, run: Run) -> None:
        """Called when the training ends, also if it ends with an error."""


class CSVLogger(Callback):
    """Write the training history to a CSV file after each epoch, one row per epoch.

    Parameters
    ----------
    path : path
        The file; its folder must exist.

    Examples
    --------
    >>> from rnnx.train import CSVLogger
    >>> logger = CSVLogger("history.csv")
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)

    def epoch(self, run: Run) -> None:
        """Write all rows again, in the process of rank 0."""
        if run.rank == 0:
            run.history.to_csv(self.path)

    begin = epoch  # shows that the file can be written before the work starts


class TensorBoard(Callback):
    """Write the training history for TensorBoard, with tensorboardX.

    Parameters
    ----------
    folder : path
        The log folder, for ``tensorboard --logdir``.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoard needs the package tensorboardX: pip install tensorboardX"
            ) from None
        self._open = partial(SummaryWriter, str(folder))
        self._writer: Any = None

    def begin(self, run: Run) -> None:
        """Open the log; a resumed run replaces what was logged after its checkpoint.

        Only the process of rank 0 writes one.
        """
        if run.rank:
            return
        self._writer = self._open(purge_step=run.epoch + 1)

    def epoch(self, run: Run) -> None:
        """Write this epoch."""
        if self._writer is None:
            return
        for name in run.history:
            if name != "epoch":
                self._writer.add_scalar(name, run.history[name][-1], run.epoch)
        self._writer.flush()

    def end(self, run: Run) -> None:
        """Close the log if it was opened."""
        if self._writer is not None:
            self._writer.close()


def read(callbacks: Any) -> list[Callback]:
    """Return the callbacks, with functions wrapped; raise TypeError if one is neither."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list, got {callbacks!r}: put it in a list")
    found = []
    for callback in callbacks:
        whole = callback if isinstance(callback, Callback) else Callback()
        if whole is not callback:
            if isinstance(callback, type) or not callable(callback):
                raise TypeError(
                    f"callbacks must be Callback objects or functions, got {callback!r}"
                )
            whole.epoch = callback  # type: ignore[method-assign]
        found.append(whole)
    return found
