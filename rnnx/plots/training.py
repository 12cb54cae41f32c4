"""Plots of a training run and of forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnx import validate
from rnnx.plots.drawing import axes, documented, finish, times, vector, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes


BESIDE = ("epoch", "step", "learning_rate", "grad_norm", "seconds")  # in a history, no result
LOSSES = ("loss", "validation_loss")


@documented
def learning_curves(
    history: Mapping[str, Any], *, names: Iterable[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Plot the losses and metrics of a training, epoch by epoch, and mark the best epoch.

    Losses are on the left axis, metrics on the right one. A curve of training data is dashed where
    there is one of validation data beside it. The best epoch has the lowest ``"validation_loss"``;
    without validation none is marked. The axis of the losses is logarithmic if all values are
    positive and span more than a factor of 10. NaN, for an epoch without validation, leaves a gap.

    Parameters
    ----------
    history : mapping of str to array_like, shape (E,)
        One number per epoch under each name. ``"epoch"`` gives the x axis; default is 1, ..., E.
    names : iterable of str, optional
        The curves to plot; default is the losses, if present, and all metrics.
    {ax}

    {returns}

    Examples
    --------
    >>> history = {"loss": [2.0, 0.9, 0.1], "validation_loss": [2.1, 1.1, 1.2]}
    >>> ax = learning_curves(history)
    >>> [line.get_label() for line in ax.lines]
    ['loss', 'validation loss', 'best epoch: 2']
    """
    results = [*(name for name in LOSSES if name in history)]
    results += [name for name in history if name not in (*LOSSES, *BESIDE)]
    chosen = results if names is None else list(names)
    if not chosen or any(name not in history for name in chosen):
        raise ValueError(f"names must be some of {list(history)}, got {chosen}: give names=")
    count = vector(f"history[{chosen[0]!r}]", history[chosen[0]]).size
    wanted = [*chosen, *(name for name in LOSSES[1:] if name in history)]
    read = {name: vector(f"history[{name!r}]", history[name], count) for name in wanted}
    epoch = vector("history['epoch']", history.get("epoch", np.arange(1, count + 1)), count)

    ax = axes(ax, "learning_curves")
    left = [name for name in chosen if name in LOSSES] or chosen
    right = [name for name in chosen if name not in left]
    _curves(ax, epoch, {name: read[name] for name in left}, first=0)
    validated = read.get("validation_loss", np.zeros(0))
    if np.isfinite(validated).any():
        best = epoch[np.nanargmin(validated)]
        ax.axvline(best, color="0.5", linestyle=":", zorder=1, label=f"best epoch: {best:g}")
    drawn = np.concatenate([read[name] for name in left])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and 0 < 10 * drawn.min() < drawn.max():
        ax.set_yscale("log")
    finish(ax, "Learning curves", "epoch", ", ".join(dict.fromkeys(map(_quantity, left))))
    whole(ax.xaxis)
    if right:
        other = ax.twinx()
        _curves(
            other, epoch, {name: read[name] for name in right}, first=len({*map(_quantity, left)})
        )
        other.set_ylabel(", ".join(dict.fromkeys(map(_quantity, right))))
        handles = [*ax.lines, *other.lines]  # below: curves that rise and fall leave no free place
        ax.legend(
            handles=handles, fontsize="small", frameon=False, ncols=min(3, len(handles)),
            loc="upper center", bbox_to_anchor=(0.5, -0.13),
        )  # fmt: skip
    return ax


def _quantity(name: str) -> str:
    """Return what a curve shows, whatever it was measured on."""
    return name.removeprefix("validation_").replace("_", " ")


def _curves(ax: Axes, epoch: np.ndarray, curves: Mapping[str, np.ndarray], *, first: int) -> None:
    """Draw curves, each quantity in a colour of its own, counted from `first`."""
    colours = {
        kind: f"C{first + i}" for i, kind in enumerate(dict.fromkeys(map(_quantity, curves)))
    }
    for name, values in curves.items():
        dashed = not name.startswith("validation_") and f"validation_{name}" in curves
        ax.plot(
            epoch, values, color=colours[_quantity(name)], linestyle="--" if dashed else "-",
            marker="o", markersize=3, label=name.replace("_", " "),
        )  # fmt: skip


@documented
def forecast(
    *,
    past: Any,
    predicted: Any,
    truth: Any = None,
    baseline: Any = None,
    baseline_label: str = "baseline",
    season: int | None = None,
    interval: tuple[Any, Any] | None = None,
    interval_label: str = "interval",
    time: Any = None,
    xlabel: str | None = None,
    ylabel: str = "value",
    ax: Axes | None = None,
) -> Axes:
    """Plot a forecast and the true values, with the forecast period shaded.

    Parameters
    ----------
    past : array_like, shape (T,)
        The known values before the forecast.
    predicted : array_like, shape (h,)
        The forecast values.
    truth : array_like, shape (h,), optional
        The true values, if they are known.
    baseline : array_like, shape (h,), optional
        Another forecast to compare with.
    baseline_label : str
        The name of the baseline in the legend.
    season : int, optional
        Number of steps in a season. The baseline is then the seasonal naive forecast, which repeats
        the last season of `past`.
    interval : pair of array_like, shape (h,) each, optional
        Lower and upper ends of an interval for each step, drawn as a band, such as the quantiles
        0.05 and 0.95 of `RNNForecaster.predict`.
    interval_label : str
        The name of the interval in the legend.
    time : array_like, shape (T + h,), optional
        Times of all steps, numbers or dates; default is 0, 1, ...
    xlabel, ylabel : str
        Axis labels with units, such as ``"time (h)"`` and ``"demand (MW)"``. The default for x is
        ``"time"``, or ``"time step"`` if `time` is not given.
    {ax}

    {returns}

    Examples
    --------
    >>> past, truth, predicted = [1, 2, 3, 1, 2, 3], [1, 2], [1.1, 1.8]
    >>> ax = forecast(past=past, truth=truth, predicted=predicted, season=3, ylabel="demand (MW)")
    >>> [line.get_label() for line in ax.lines]
    ['past', 'truth', 'seasonal naive, 3 steps', 'forecast']
    """
    past, predicted = vector("past", past), vector("predicted", predicted)
    T, h = past.size, predicted.size
    truth = None if truth is None else vector("truth", truth, h)
    if season is not None:
        if baseline is not None:
            raise ValueError("expected baseline or season, got both: a season makes the baseline")
        if validate.size("season", season) > T:
            raise ValueError(f"season must be at most the length of past, {T}, got {season}")
        baseline = past[T - season + np.arange(h) % season]
        baseline_label = f"seasonal naive, {season} steps"
    baseline = None if baseline is None else vector("baseline", baseline, h)
    if interval is not None:
        if len(interval) != 2:
            raise ValueError(f"interval must be (lower, upper), got {len(interval)} of them")
        lower, upper = (vector("interval", end, h) for end in interval)
        if np.any(lower > upper):
            raise ValueError("interval must be (lower, upper), got a lower end above the upper one")
    t = np.arange(T + h) if time is None else times(time, T + h)

    ax = axes(ax, "forecast")
    ax.axvspan(t[T - 1], t[-1], color="0.94", zorder=0)
    ax.plot(t[:T], past, color="0.5", label="past")
    if truth is not None:  # the same series as the past: joined to it
        ax.plot(t[T - 1 :], np.concatenate([past[-1:], truth]), color="k", label="truth")
    if interval is not None:
        ax.fill_between(t[T:], lower, upper, color="C1", alpha=0.25, lw=0, label=interval_label)
    if baseline is not None:
        ax.plot(t[T:], baseline, "o--C0", markersize=3, label=baseline_label)
    ax.plot(t[T:], predicted, "o-C1", markersize=3, label="forecast")
    finish(ax, "Forecast", xlabel or ("time step" if time is None else "time"), ylabel)
    if time is None:
        whole(ax.xaxis)
    elif t.dtype.kind == "M":
        from matplotlib.dates import ConciseDateFormatter

        ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    return ax
