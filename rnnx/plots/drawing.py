"""What the plots share: reading numbers, making an Axes, labels. Matplotlib is imported late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnx._doc import shared
from rnnx.backend import get_backend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

documented = shared(
    ax="""
    ax : matplotlib.axes.Axes, optional
        Where to draw; default is a new figure.
    """,
    returns="""
    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        If a value, shape or name does not fit.
    ImportError
        If Matplotlib is not installed.
    """,
)
FILES_ONLY = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}  # Matplotlib backends


def numbers(name: str, obj: Any) -> np.ndarray:
    """Return real numbers as a float64 array; refuse arrays of device libraries."""
    try:
        array: np.ndarray = get_backend("numpy", dtype="float64").asarray(obj)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    return array


def vector(name: str, obj: Any, length: int | None = None) -> np.ndarray:
    """Return numbers of shape (length,); default is any length above zero."""
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
    """Return `ax`, or the Axes of a new figure for the function called `name`."""
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError("rnnx.plots needs Matplotlib: pip install 'rnnx[plots]'") from error
    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise TypeError(f"ax must be one Matplotlib Axes, got {type(ax).__name__}")
    from matplotlib import pyplot

    label = None
    if pyplot.get_backend().lower() in FILES_ONLY:  # nobody sees or closes the last figure
        label = f"rnnx.plots.{name}"
        pyplot.close(label)
    return pyplot.subplots(num=label, layout="compressed")[1]


def finish(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set the texts, a light grid, and a legend for whatever has a label."""
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.3)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small")


def whole(axis: Axis) -> None:
    """Put ticks only at whole numbers, such as epochs, steps or units."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
