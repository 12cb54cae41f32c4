"""Pictures of what goes on in a network: its states, their gradients, its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnx import diagnostics
from rnnx.plots.drawing import axes, finish, numbers, vector, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def hidden_states(states: Any, *, row: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the states over time as a heat map, zero in the middle of the colours.

    Parameters
    ----------
    states : array_like, shape (T, B, H) or (T, H)
        The states after every step, such as one of those that `states` of a recurrent layer
        returns, copied to the host.
    row : int
        The row of the batch to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure. The colour bar takes its room from it.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        For another shape, or a row that is not there.
    ImportError
        Without Matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru = rnnx.GRU(1, 8, seed=0)
    >>> _, _, cache = gru.forward(np.ones((30, 4, 1)))
    >>> ax = hidden_states(gru.states(cache)["h_l0"], row=2)
    >>> ax.get_title()
    'Hidden states, row 2 of the batch'
    """
    h = numbers("states", states)
    if h.ndim not in (2, 3) or h.size == 0:
        raise ValueError(f"states must have shape (T, B, H) or (T, H), got {h.shape}")
    title = "Hidden states" if h.ndim == 2 else f"Hidden states, row {row} of the batch"
    h = h[:, None, :] if h.ndim == 2 else h
    if isinstance(row, bool) or row not in range(h.shape[1]):
        raise ValueError(f"row must be an integer from 0 to {h.shape[1] - 1}, got {row!r}")
    h = h[:, row, :].T  # (H, T)
    largest = np.abs(h[np.isfinite(h)]).max(initial=0) or 1.0

    ax = axes(ax, "hidden_states")
    image = ax.imshow(
        h, aspect="auto", origin="lower", interpolation="nearest", cmap="RdBu_r",
        vmin=-largest, vmax=largest,
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax, label="state")
    finish(ax, title, "time step", "hidden unit")
    ax.grid(visible=False)  # lines would hide what they cross
    whole(ax.xaxis)
    whole(ax.yaxis)
    return ax


def gradient_norms(norms: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """Draw how large the gradient by the state is at every step, to see it vanish or explode.

    The legend says by which factor it differs between the last step where it is not zero and the
    first step. First and last are in the order of reading: a name that ends in ``_reverse`` is of a
    direction that reads the last step first. Only where the loss is of one step alone does the
    factor tell how the gradient fares on its way; else each step adds its own.

    Parameters
    ----------
    norms : mapping of str to array_like, shape (T,)
        Norms of dL/dh_t by name, as `rnnx.diagnostics.gradient_norms` returns them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        For no norms, negative ones, or another shape.
    ImportError
        Without Matplotlib.

    Examples
    --------
    >>> import numpy as np
    >>> ax = gradient_norms({"h_l0": 0.5 ** np.arange(10.0, -1, -1)})
    >>> ax.lines[0].get_label()
    'h_l0: × 0.00098 from step 10 to 0'
    """
    read = {name: vector(f"norms[{name!r}]", values) for name, values in norms.items()}
    if not read:
        raise ValueError("norms must hold one line at least, got none")
    for name, values in read.items():
        if (values < 0).any():
            raise ValueError(f"norms[{name!r}] must be at least 0, got {values.min():g}")

    ax = axes(ax, "gradient_norms")
    for name, values in read.items():
        label = f"{name}: {_factor(values, name.endswith('_reverse'))}"
        ax.plot(values, marker="o", markersize=2, label=label)
    if any((values > 0).any() for values in read.values()):
        ax.set_yscale("log", nonpositive="mask")
    finish(ax, "Gradient of the loss by the state", "time step", "norm of dL/dh")
    whole(ax.xaxis)
    return ax


def eigenvalues(layer: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the eigenvalues of the recurrent weights in the complex plane, with the unit circle.

    The legend gives the spectral radius ρ, the largest absolute value, of each matrix.

    Parameters
    ----------
    layer : Layer, SimpleRNN or array_like, shape (H, H)
        What `rnnx.diagnostics.eigenvalues` takes, which says what is drawn of gates and
        projections; or a square matrix.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure. The legend stands to the right of it;
        a figure with ``layout="compressed"`` makes room.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        For a layer without recurrent weights, or a matrix that is not square and finite.
    ImportError
        Without Matplotlib.

    Examples
    --------
    >>> ax = eigenvalues([[0.0, -0.9], [0.9, 0.0]])
    >>> [line.get_label() for line in ax.lines]
    ['unit circle', 'matrix: ρ = 0.900']
    """
    found = diagnostics.eigenvalues(layer) if hasattr(layer, "params") else {"matrix": _of(layer)}
    ax = axes(ax, "eigenvalues")
    angle = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(angle), np.sin(angle), color="0.5", linewidth=1, label="unit circle")
    for i, (name, values) in enumerate(found.items()):
        label = f"{name.replace('weight_hh_', '')}: ρ = {np.abs(values).max():.3f}"
        marker = "o^svDP"[i % 6]
        ax.plot(values.real, values.imag, marker, markersize=4, alpha=0.8, label=label)
    reach = max(1.0, *(np.abs(values).max() for values in found.values()))
    ax.update_datalim([(-reach, -reach), (reach, reach)])  # a square, zero in the middle
    ax.autoscale_view()
    ax.set_aspect("equal")
    ax.locator_params(nbins=6)  # more numbers would touch each other
    finish(ax, "Eigenvalues of the recurrent weights", "real part", "imaginary part")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")  # not over the points
    return ax


def _factor(norms: np.ndarray, reverse: bool) -> str:
    """Return in words how the norm at the step read first compares with the last above zero."""
    felt = np.flatnonzero(norms)
    if felt.size == 0:
        return "zero"
    first, last = (len(norms) - 1, felt[0]) if reverse else (0, felt[-1])
    if first == last:
        return f"at step {first} only"
    return f"× {float(norms[first]) / float(norms[last]):.2g} from step {last} to {first}"


def _of(matrix: Any) -> np.ndarray:
    """Return the eigenvalues of a square matrix."""
    W = numbers("layer", matrix)
    if W.ndim != 2 or W.shape[0] != W.shape[1] or W.size == 0:
        raise ValueError(f"a matrix must be square, got shape {W.shape}")
    if not np.isfinite(W).all():
        raise ValueError("a matrix must be finite, got NaN or infinity in it")
    return np.linalg.eigvals(W)
