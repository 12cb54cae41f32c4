"""Callbacks: what is done at the end of each epoch beside the training."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from rnnx.train.run import Run


class Callback:
    """What `rnnx.train.fit` calls; a base for those of your own, each method may stay as it is.

    A plain function in place of a callback is called as `epoch`.

    Examples
    --------
    >>> from rnnx.train import Callback
    >>> class Print(Callback):
    ...     def epoch(self, run):
    ...         print(run.epoch, run.history["loss"][-1])
    """

    def begin(self, run: Run) -> None:
        """Be called before the first step, or the first after resuming."""

    def epoch(self, run: Run) -> None:
        """Be called after each epoch; ``run.stop()`` makes it the last."""

    def end(self, run: Run) -> None:
        """Be called when the training ends, also by an error."""


class CSVLogger(Callback):
    """Write the history so far to a CSV file after each epoch, one row an epoch.

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

    def begin(self, run: Run) -> None:
        """Find out now whether the file can be written."""
        run.history.to_csv(self.path)

    def epoch(self, run: Run) -> None:
        """Write all rows anew."""
        run.history.to_csv(self.path)


class TensorBoard(Callback):
    """Write each epoch's figures for TensorBoard, by tensorboardX.

    Parameters
    ----------
    folder : path
        The log folder, as of ``tensorboard --logdir``.

    Raises
    ------
    ImportError
        Where tensorboardX is not installed.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise ImportError(
                "TensorBoard needs the package tensorboardX: pip install tensorboardX"
            ) from None
        self.folder = Path(folder)
        self._writer: Any = None

    def begin(self, run: Run) -> None:
        """Open the log; what a resumed run does again replaces what was logged after its step."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(self.folder), purge_step=run.epoch + 1)

    def epoch(self, run: Run) -> None:
        """Write the figures of this epoch."""
        for name in run.history:
            if name != "epoch":
                self._writer.add_scalar(name, run.history[name][-1], run.epoch)
        self._writer.flush()

    def end(self, run: Run) -> None:
        """Close the log, if it could be opened."""
        if self._writer is not None:
            self._writer.close()


class Function(Callback):
    """A user's function as a callback."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def epoch(self, run: Run) -> None:
        """Call it."""
        self.function(run)


def read(callbacks: Any) -> list[Callback]:
    """Return callbacks, functions among them wrapped.

    Raises
    ------
    TypeError
        For what is neither a `Callback` nor a function.
    """
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of them, got {callbacks!r}: put it in a list")
    found = []
    for callback in callbacks:
        if not isinstance(callback, Callback) and (
            isinstance(callback, type) or not callable(callback)
        ):
            raise TypeError(f"callbacks must be Callbacks or functions of a run, got {callback!r}")
        found.append(callback if isinstance(callback, Callback) else Function(callback))
    return found
