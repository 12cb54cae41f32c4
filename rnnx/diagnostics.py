"""Find out whether gradients vanish or explode: gradients by state, eigenvalues of the weights.

The gradient with respect to h_t adds what arrives from the outputs, or from the layer above, to
what arrives through the next step::

    dh_t = outer_t + dq_{t+1} W_hh + what the cell carries past the product
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.cells.base import recurrent_gates
from rnnx.core.sizes import suffixes
from rnnx.layers import forms
from rnnx.layers.base import Layer
from rnnx.layers.recurrent import Recurrent

Loss = Callable[[Any], tuple[Any, Any]]  # y -> loss, dy


def state_gradients(layer: Any, x: Any, loss: Loss, *, state: Any = None) -> dict[str, Array]:
    """Compute dL/dh_t for every step, layer and direction.

    Parameters
    ----------
    layer : Layer
        A recurrent layer, or a `Sequential` that contains one. It runs without dropout and is not
        changed. A `SimpleRNN` has its own method of this name.
    x : array
        The layer's input, a batch without padding.
    loss : callable
        ``loss(y) -> value, dy``, with dy the gradient with respect to the outputs. To see how far
        back the loss of one step reaches, set dy to zero at all other steps.
    state : optional
        The initial state; default is zero.

    Returns
    -------
    dict of arrays, shape (T, B, P)
        By name: ``h_l0``, ``h_l0_reverse``, ``h_l1``, ..., and with the layer's position in a
        `Sequential`: ``0.h_l0``. An LSTM's c_t is held constant. The first axis is always time; B
        is 1 if x has no batch axis.

    Raises
    ------
    TypeError
        If there is no recurrent layer.
    ValueError
        If x is a list of sequences, or a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru, x = rnnx.GRU(1, 4, num_layers=2, seed=0), np.ones((50, 3, 1))
    >>> found = state_gradients(gru, x, lambda y: (y.sum(), np.ones_like(y)))
    >>> {name: dh.shape for name, dh in found.items()}
    {'h_l0': (50, 3, 4), 'h_l1': (50, 3, 4)}
    """
    if not _recurrent(layer):
        raise TypeError(
            "layer must be an RNN, GRU or LSTM, or a Sequential with one in it, got "
            f"{type(layer).__name__}: a SimpleRNN has a method state_gradients"
        )
    y, _, cache = layer.forward(x, state, masks={})
    if isinstance(cache.form, forms.Listed):
        raise ValueError("x must be one array, a batch without padding, got a list of sequences")
    _, dy = loss(y)
    found: dict[str, Array] = layer.state_gradients(dy, cache)[0]
    return found


def gradient_norms(layer: Any, x: Any, loss: Loss, *, state: Any = None) -> dict[str, np.ndarray]:
    """Compute the norm of dL/dh_t over batch and units, for `rnnx.plots.gradient_norms`.

    Parameters, names and errors are those of `state_gradients`.

    Returns
    -------
    dict of numpy.ndarray, shape (T,)
        In float64. Very small and very large gradients are scaled before they are squared.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> rnn = rnnx.RNN(1, 4, seed=0)
    >>> dy = np.zeros((50, 3, 4))
    >>> dy[-1] = 1                                     # the loss is the sum of the last outputs
    >>> norms = gradient_norms(rnn, np.ones((50, 3, 1)), lambda y: (y[-1].sum(), dy))["h_l0"]
    >>> norms.shape, bool(norms[0] < 1e-6 * norms[-1])        # it vanishes
    ((50,), True)
    """
    found = state_gradients(layer, x, loss, state=state)
    return {name: _norms(layer.backend.to_numpy(dh)) for name, dh in found.items()}


def eigenvalues(layer: Any) -> dict[str, np.ndarray]:
    """Compute the eigenvalues of the recurrent weights of every layer, direction and gate.

    Parameters
    ----------
    layer : Layer or SimpleRNN
        A recurrent layer, or a `Sequential` that contains one.

    Returns
    -------
    dict of numpy.ndarray, shape (P,), complex
        By the parameter's name: ``weight_hh_l0`` or ``Whh``. If the cell has several gates, the
        gate's name follows: ``weight_hh_l0 r``. With a projection W_hr, the matrix W of a gate is
        not square; the eigenvalues are then those of W_hr W, (P, P).

    Raises
    ------
    TypeError
        If there are no recurrent weights.
    ValueError
        If a weight is not finite.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, doi:10.48550/arXiv.1211.5063. As long as tanh' is near 1, the gradient of a plain RNN
    is multiplied by W_hh at every step back: the largest eigenvalue tells whether it vanishes or
    explodes.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> rnn = rnnx.RNN(1, 8, recurrent_init="orthogonal", dtype="float64", seed=0)
    >>> bool(np.allclose(abs(eigenvalues(rnn)["weight_hh_l0"]), 1))
    True
    >>> list(eigenvalues(rnnx.GRU(1, 8)))
    ['weight_hh_l0 r', 'weight_hh_l0 z', 'weight_hh_l0 n']
    """
    if hasattr(layer, "Whh"):
        return {"Whh": spectrum("Whh", _host(layer.backend, layer.Whh))}
    named = _recurrent(layer)
    if not named:
        raise TypeError(
            f"layer must have recurrent weights, got {type(layer).__name__}: give an RNN, GRU, "
            "LSTM, SimpleRNN or a Sequential with one in it"
        )
    found = {}
    for place, recurrent in named:
        host = {k: _host(recurrent.backend, W) for k, W in recurrent.params.items()}
        gates = recurrent_gates(recurrent.cell)
        for suffix in suffixes(recurrent.sizes):
            name = f"weight_hh_{suffix}"
            W_hr = host.get(f"weight_hr_{suffix}")
            for gate, W in zip(gates, np.split(host[name], len(gates)), strict=True):
                letter = f" {gate}" if len(gates) > 1 else ""
                label = f"{place}.{name}{letter}" if place else name + letter
                found[label] = spectrum(name, W if W_hr is None else W_hr @ W)  # (P, P)
    return found


def _recurrent(layer: Any) -> list[tuple[str, Recurrent]]:
    """Return the recurrent layers in a layer, each with its dotted position."""
    if not isinstance(layer, Layer):
        return []
    return [(name, leaf) for name, leaf in layer.walk() if isinstance(leaf, Recurrent)]


def _norms(dh: np.ndarray) -> np.ndarray:
    """Return the norm of every dh_t, scaled first: its square may be out of range."""
    size = np.abs(dh.astype("float64"))
    largest = size.max(axis=(1, 2))
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return scale * np.sqrt(np.sum((size / scale[:, None, None]) ** 2, axis=(1, 2)))


def _host(backend: Backend, W: Array) -> np.ndarray:
    return backend.to_numpy(W).astype("float64")


def spectrum(name: str, W: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of a square matrix; raise if it is not finite."""
    if not np.isfinite(W).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return np.linalg.eigvals(W).astype("complex128")
