"""What the pictures share: numbers read, an Axes to draw in, its labels. Matplotlib comes late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnx.backend import get_backend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

FILES_ONLY = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}  # of Matplotlib's backends


def numbers(name: str, obj: Any) -> np.ndarray:
    """Return real numbers as an array in float64; refuse an array of a device library."""
    try:
        array: np.ndarray = get_backend("numpy", dtype="float64").asarray(obj)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    return array


def vector(name: str, obj: Any, length: int | None = None) -> np.ndarray:
    """Return numbers of shape (length,), of any length but zero by default."""
    array = numbers(name, obj)
    expected = (array.size or 1,) if length is None else (length,)
    if array.shape != expected:
        text = "(n,) with n at least 1" if length is None else str(expected)
        raise ValueError(f"{name} must have shape {text}, got {array.shape}")
    return array


def times(obj: Any, length: int) -> np.ndarray:
    """Return numbers or dates of shape (length,)."""
    host = np.asarray(obj)
    if host.dtype.kind == "O":  # Python's dates
        host = host.astype("datetime64[us]")
    if host.dtype.kind != "M":
        return vector("time", obj, length)
    if host.shape != (length,):
        raise ValueError(f"time must have shape {(length,)}, got {host.shape}")
    return host


def axes(ax: Axes | None, name: str) -> Axes:
    """Return `ax`, or the Axes of a new figure; `name` is that of the function that draws."""
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError("rnnx.plots needs Matplotlib: pip install 'rnnx[plots]'") from error
    if ax is None:
        return _new_axes(f"rnnx.plots.{name}")
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be one Matplotlib Axes, got {type(ax).__name__}")
    return ax


def _new_axes(label: str) -> Axes:
    """Return the Axes of a new figure of pyplot, in place of the last where none is shown."""
    from matplotlib import pyplot

    if pyplot.get_backend().lower() not in FILES_ONLY:
        return pyplot.subplots(layout="compressed")[1]
    pyplot.close(label)
    return pyplot.subplots(num=label, layout="compressed")[1]


def finish(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set what every picture has: texts, a light grid, and a legend of what is labelled."""
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small")


def dates(axis: Axis) -> None:
    """Write dates short, what they share only once."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))


def whole(axis: Axis) -> None:
    """Put ticks at whole numbers only: epochs, steps, units."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
