"""Why a recurrent network learns or does not: gradients by its states, eigenvalues of its weights.

The whole gradient by h_t is what arrives from outside, from the outputs or from the layer above,
and what arrives through the next step::

    dh_t = outer_t + dq_{t+1} W_hh + what the cell carries past the product

The loop over time of a layer with a projection, h_t = W_hr h'_t, returns it, as dW_hr needs it. So
a layer without one is run back as if it had one, with the identity for W_hr, which changes no
number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.core import portable
from rnnx.core.layer import Params, input_gradient
from rnnx.layers import forms
from rnnx.layers.direction import Kept, read, unread
from rnnx.layers.order import Order
from rnnx.layers.parameters import select, suffixes
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.sequential import Sequential
from rnnx.layers.stack import Cache

Loss = Callable[[Any], tuple[Any, Any]]  # y -> loss, dy
GATES = {1: ("",), 3: (" r", " z", " n"), 4: (" i", " f", " g", " o")}  # RNN, GRU, LSTM


def state_gradients(layer: Any, x: Any, loss: Loss, *, state: Any = None) -> dict[str, Array]:
    """Compute dL/dh_t for every t, layer and direction: how far in time the loss is felt.

    Parameters
    ----------
    layer : Layer
        An `rnnx.RNN`, `GRU` or `LSTM`, or a `Sequential` with any of these in it; run without
        dropout, and left as it is.
    x : array
        The layer's input, a batch without padding.
    loss : callable
        ``loss(y) -> value, dy``, the gradient by the outputs in their shape. To see how far back
        one step's loss is felt, return a gradient that is zero at all other steps.
    state : optional
        The initial state; default is zero.

    Returns
    -------
    dict of arrays, shape (T, B, P)
        By name, ``h_l0``, ``h_l0_reverse``, ``h_l1``, ..., in a `Sequential` with the layer's
        position before it, ``0.h_l0``. The gradient of the loss by h_t, with an LSTM's c_t held,
        through all that is computed from h_t. In the order of time, time-major for every layout of
        x; B is 1 where x has no batch axis.

    Raises
    ------
    TypeError
        For a layer without recurrent layers; a `SimpleRNN` has a method of this name.
    ValueError
        For a list of sequences, and where a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru, x = rnnx.GRU(1, 4, num_layers=2, seed=0), np.ones((50, 3, 1))
    >>> found = state_gradients(gru, x, lambda y: (y.sum(), np.ones_like(y)))
    >>> {name: dh.shape for name, dh in found.items()}
    {'h_l0': (50, 3, 4), 'h_l1': (50, 3, 4)}
    """
    if not _is_recurrent(layer):
        raise TypeError(
            "layer must be an RNN, GRU or LSTM, or a Sequential with one in it, got "
            f"{type(layer).__name__}: a SimpleRNN has a method state_gradients"
        )
    y, _, cache = layer.forward(x, state, masks={})
    if isinstance(cache.form, forms.Listed):
        raise ValueError("x must be one array, a batch without padding, got a list of sequences")
    _, dy = loss(y)
    found, _ = _through(layer, dy, cache)
    return found


def gradient_norms(layer: Any, x: Any, loss: Loss, *, state: Any = None) -> dict[str, np.ndarray]:
    """Compute the norm of dL/dh_t over batch and units, for `rnnx.plots.gradient_norms`.

    Parameters and errors are those of `state_gradients`.

    Returns
    -------
    dict of numpy.ndarray, shape (T,)
        By the names of `state_gradients`, in float64: a gradient too small for its square to be
        held is not zero.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> rnn = rnnx.RNN(1, 4, seed=0)
    >>> dy = np.zeros((50, 3, 4))
    >>> dy[-1] = 1                                     # the gradient of the last outputs' sum
    >>> norms = gradient_norms(rnn, np.ones((50, 3, 1)), lambda y: (y[-1].sum(), dy))["h_l0"]
    >>> norms.shape, bool(norms[0] < 1e-6 * norms[-1])            # it vanishes
    ((50,), True)
    """
    found = state_gradients(layer, x, loss, state=state)
    return {name: _norms(layer.backend.to_numpy(dh)) for name, dh in found.items()}


def eigenvalues(layer: Any) -> dict[str, np.ndarray]:
    """Compute the eigenvalues of the recurrent weights of every layer, direction and gate.

    Parameters
    ----------
    layer : Layer or SimpleRNN
        Anything with recurrent weights among its parameters, a `Sequential` included.

    Returns
    -------
    dict of numpy.ndarray, shape (P,), complex
        By the parameter's name, ``weight_hh_l0`` or ``Whh``, and the letter of the gate where there
        are several, ``weight_hh_l0 r``: r, z, n of three, i, f, g, o of four. With a projection
        W_hr the matrix W of a gate is not square; the eigenvalues are those of W_hr W, (P, P).

    Raises
    ------
    TypeError
        For a layer without recurrent weights.
    ValueError
        For weights that are not finite.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, doi:10.48550/arXiv.1211.5063. Where tanh' is about 1, a plain RNN's gradient goes
    back through powers of W_hh: the largest eigenvalue says whether it vanishes or explodes.

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
    params = getattr(layer, "params", {})
    names = [name for name in params if "weight_hh_" in name or name == "Whh"]
    if not names:
        raise TypeError(
            f"layer must have recurrent weights, got {type(layer).__name__}: give an RNN, GRU, "
            "LSTM, SimpleRNN or a Sequential with one in it"
        )
    found = {}
    for name in names:
        W = _host(layer.backend, name, params[name])
        projection = params.get(name.replace("weight_hh_", "weight_hr_")) if name != "Whh" else None
        W_hr = None if projection is None else _host(layer.backend, name, projection)
        hidden = W.shape[1] if W_hr is None else W_hr.shape[1]
        blocks = W.reshape(-1, hidden, W.shape[1])  # (G, H, P)
        letters = GATES.get(len(blocks), [f" {k}" for k in range(len(blocks))])
        for letter, block in zip(letters, blocks, strict=True):
            square = block if W_hr is None else W_hr @ block  # (P, P)
            found[name + letter] = np.linalg.eigvals(square).astype("complex128")
    return found


def _is_recurrent(layer: Any) -> bool:
    """Return whether a layer is a recurrent one, or a chain with one in it."""
    if isinstance(layer, Sequential):
        return any(map(_is_recurrent, layer.layers))
    return isinstance(layer, Recurrent)


def _through(layer: Any, dy: Any, cache: Any) -> tuple[dict[str, Array], Any]:
    """Return the gradients by a layer's states, by name, and by its input."""
    if isinstance(layer, Recurrent):
        return _through_stack(layer, dy, cache)
    if not isinstance(layer, Sequential):
        return {}, layer.backward(dy, cache)[0]
    found: dict[str, Array] = {}
    for i, inner in reversed(list(enumerate(layer.layers))):
        part, dy = _through(inner, dy, cache.caches[i])
        found = {f"{i}.{name}": dh for name, dh in part.items()} | found
    return found, dy


def _through_stack(layer: Recurrent, dy: Any, cache: Cache) -> tuple[dict[str, Array], Any]:
    """Return the gradients by the states of every layer and direction, and by the input."""
    bk, D, P = layer.backend, layer.sizes.directions, layer.sizes.output_size
    names = suffixes(layer.sizes)
    found: dict[str, Array] = {}
    with bk.scope():
        dy = forms.read_like(bk, "dy", dy, (*cache.x.shape[:2], D * P), cache.form)
        for k in reversed(range(layer.sizes.num_layers)):
            part, dx = {}, None
            for d, way in enumerate(cache.settings):
                name, kept = names[k * D + d], cache.kept[k][d]
                dh, below = _through_direction(
                    bk, layer.cell, select(cache.params, name), kept, way.order,
                    dy[..., d * P : (d + 1) * P],
                )  # fmt: skip
                part[f"h_{name}"] = dh
                dx = below if dx is None else dx + below
            found, dy = part | found, dx
        return found, forms.write(bk, dy, cache.form)


def _through_direction(
    backend: Backend, cell: Any, params: Params, kept: Kept, order: Order, dh: Array
) -> tuple[Array, Array]:
    """Return the whole gradient by every h_t, given that from outside, and the gradient by x."""
    xp, P = backend.xp, dh.shape[-1]
    W_hr = params.get("weight_hr")
    if W_hr is None:
        W_hr = xp.eye(P, dtype=backend.dtype, device=backend.device)
    outer = (read(xp, order, dh), *[None] * (len(kept.state0) - 1))
    d = portable.backward(
        backend, cell, outer, tuple([xp.zeros_like(s) for s in kept.state0]),
        portable.previous(xp, kept.state0, kept.states), kept.states, kept.saved,
        params["weight_hh"], portable.Extras(weight_hr=W_hr),
    )  # fmt: skip
    dx = input_gradient(xp, d.dz, params["weight_ih"])
    return unread(xp, order, d.dh), unread(xp, order, dx)


def _norms(dh: np.ndarray) -> np.ndarray:
    """Return the norm of every dh_t, scaled first: its square may be out of range."""
    size = np.abs(dh.astype("float64"))
    largest = size.max(axis=(1, 2))
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return scale * np.sqrt(np.sum((size / scale[:, None, None]) ** 2, axis=(1, 2)))


def _host(backend: Backend, name: str, W: Array) -> np.ndarray:
    """Return finite weights on the host, in float64."""
    host = backend.to_numpy(W).astype("float64")
    if not np.isfinite(host).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return host
