"""Plots of hidden states, their gradients, and recurrent weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnx import diagnostics
from rnnx.plots.drawing import axes, documented, finish, numbers, vector, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@documented
def hidden_states(states: Any, *, row: int = 0, ax: Axes | None = None) -> Axes:
    """Plot hidden states over time as a heat map, with zero in the middle of the colour scale.

    Parameters
    ----------
    states : array_like, shape (T, B, H) or (T, H)
        The states after every step, such as an array that the `states` method of a recurrent layer
        returns, copied to the host.
    row : int
        Which row of the batch to plot.
    {ax}

    {returns}

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


@documented
def gradient_norms(norms: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """Plot the norm of the gradient with respect to the state at every step.

    The plot shows whether the gradient vanishes or explodes. The legend gives the factor between
    the last step with a nonzero gradient and the first step, in the order of reading: a name that
    ends in ``_reverse`` belongs to a direction that reads the last step first. The factor describes
    the gradient's way back only if the loss depends on a single step; otherwise every step adds its
    own part.

    Parameters
    ----------
    norms : mapping of str to array_like, shape (T,)
        Norms of dL/dh_t by name, from `rnnx.diagnostics.gradient_norms`.
    {ax}

    {returns}

    Examples
    --------
    >>> import numpy as np
    >>> ax = gradient_norms({"h_l0": 0.5 ** np.arange(10.0, -1, -1)})
    >>> ax.lines[0].get_label()
    'h_l0: × 0.00098 from step 10 to 0'
    """
    read = {name: vector(f"norms[{name!r}]", values) for name, values in norms.items()}
    if not read:
        raise ValueError("norms must hold at least one line, got none: pass names and norms")
    for name, values in read.items():
        if (values < 0).any():
            raise ValueError(f"norms[{name!r}] must be at least 0, got {values.min():g}")

    ax = axes(ax, "gradient_norms")
    for name, values in read.items():
        label = f"{name}: {_factor(values, name.endswith('_reverse'))}"
        ax.plot(values, marker="o", markersize=2, label=label)
    if any((values > 0).any() for values in read.values()):
        ax.set_yscale("log", nonpositive="mask")
    finish(ax, "Gradient with respect to the state", "time step", "norm of dL/dh")
    whole(ax.xaxis)
    return ax


@documented
def eigenvalues(layer: Any, *, ax: Axes | None = None) -> Axes:
    """Plot the eigenvalues of the recurrent weights in the complex plane, with the unit circle.

    The legend, to the right of the Axes, gives the spectral radius ρ of each matrix, its largest
    absolute eigenvalue.

    Parameters
    ----------
    layer : Layer, SimpleRNN or array_like, shape (H, H)
        A layer that `rnnx.diagnostics.eigenvalues` accepts (gates and projections are described
        there), or a square matrix.
    {ax}

    {returns}

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
    """Describe the norm at the step read first relative to the last one above zero."""
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
        raise ValueError(f"a matrix must be square, of shape (H, H), got {W.shape}")
    return diagnostics.spectrum("a matrix", W)
