"""Weights from Flax: the parameters of a cell, an RNN or a Bidirectional, of linen or of nnx.

Flax multiplies from the right, ``x @ kernel``. linen keeps one kernel for each gate, as does the
nnx.LSTMCell; the other cells of nnx keep one for all, with the gates side by side. Both are in our
order: r, z, n and i, f, g, o. A GRU of linen has biases of the input and b_hn; one of nnx has those
of the input. An LSTM has one bias, in the recurrent product.

Reference: ``flax/linen/recurrent.py`` and ``flax/nnx/nn/recurrent.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnx.backend import Backend
from rnnx.interop.building import recurrent, target

GATES = {"RNN": ("",), "GRU": ("r", "z", "n"), "LSTM": ("i", "f", "g", "o")}
DIRECTIONS = ("forward_rnn", "backward_rnn")


def from_flax(
    params: Mapping[str, Any],
    *,
    nonlinearity: str = "tanh",
    batch_first: bool = True,
    backend: str | Backend = "numpy",
    device: Any = None,
    dtype: str | None = None,
) -> Any:
    """Return the layer with the parameters of a SimpleCell, a GRUCell or an LSTMCell of Flax.

    Parameters
    ----------
    params : mapping
        Of linen, what ``init`` returned or its ``"params"``; of nnx, ``nnx.state(module)``, or a
        pure dictionary of it. Of a cell (OptimizedLSTMCell too), of an RNN of
        one, or of a Bidirectional of two RNNs.
    nonlinearity : {"tanh", "relu"}, default "tanh"
        That of a SimpleCell, which its parameters don't say; tanh is Flax's default. They don't say
        of ``residual=True``, other activations, ``reverse=True`` or another ``merge_fn`` either,
        which have no equal here.
    batch_first : bool, default True
        Whether the layer reads (B, T, I), as Flax does by default.
    backend, device, dtype
        As for `rnnx.get_backend`. The dtype is by default that of the arrays.

    Returns
    -------
    RNN, GRU or LSTM
        Its parameters are copies.

    Raises
    ------
    ValueError, TypeError
        For parameters of anything else, such as an MGUCell or a ConvLSTMCell.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> dense = {"dense_i": {"kernel": np.ones((2, 12)), "bias": np.zeros(12)}}
    >>> dense["dense_h"] = {"kernel": np.ones((3, 12))}
    >>> rnnx.interop.from_flax({"cell": dense}).cell
    LSTMCell()
    """
    found = _entered(params, "params")
    cells = [found]
    if set(DIRECTIONS) <= set(found):
        cells = [_named(found[name]) for name in DIRECTIONS]
    kinds, rows = zip(*[_read(_entered(cell, "cell")) for cell in cells], strict=True)
    if len(set(kinds)) > 1:
        raise ValueError(f"expected both directions of one kind, got {' and '.join(kinds)}")
    options: dict[str, Any] = {"batch_first": batch_first}
    if kinds[0] == "RNN":
        options |= {"nonlinearity": nonlinearity}
    place = target([array for row in rows for array in row.values()], backend, device, dtype)
    return recurrent(kinds[0], [rows], place, **options)


def _entered(params: Any, name: str) -> Mapping[str, Any]:
    """Return the entry of this name if it is the only one, else all, without random states."""
    named = _named(params)
    return _named(named[name]) if set(named) == {name} else named


def _named(params: Any) -> dict[str, Any]:
    """Return the entries of a dictionary by name, without random states."""
    if not isinstance(params, Mapping) or not all(isinstance(key, str) for key in params):
        raise TypeError(
            f"expected a dictionary of parameters by name, got a {type(params).__name__}: give "
            "what init returned, or nnx.state(module)"
        )
    return {key: value for key, value in params.items() if key != "rngs"}


def _read(cell: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    """Return the kind of layer, and the weights by our names, of a cell."""
    named = {name.removesuffix("_"): dense for name, dense in cell.items()}  # nnx writes if_
    if set(named) == {"dense_i", "dense_h"}:
        H, width = _kernel(named["dense_h"]).shape
        kind = {1: "RNN", 3: "GRU", 4: "LSTM"}.get(width / H)
        if kind is not None:
            return kind, _joined([named["dense_i"]], [named["dense_h"]])
    for kind, gates in GATES.items():
        parts = [[f"{side}{gate}" for gate in gates] for side in "ih"]
        if set(named) == {*parts[0], *parts[1]}:
            return kind, _joined(*([named[name] for name in names] for names in parts))
    raise ValueError(
        "expected the parameters of a SimpleCell, GRUCell, LSTMCell or OptimizedLSTMCell, got "
        f"{', '.join(cell) or 'none'!s:.200}: give those of one cell, RNN or Bidirectional"
    )


def _joined(
    inputs: Sequence[Mapping[str, Any]], hidden: Sequence[Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Return the weights of the gates one below the other, and zeros for a bias that is missing."""
    weights = {}
    for name, parts in (("ih", inputs), ("hh", hidden)):
        kernels = [_kernel(dense) for dense in parts]
        biases = [
            np.asarray(dense["bias"]) if "bias" in dense else np.zeros(W.shape[1], W.dtype)
            for dense, W in zip(parts, kernels, strict=True)
        ]
        found = [(W.shape, b.shape) for W, b in zip(kernels, biases, strict=True)]
        if set(found) != {(kernels[0].shape, kernels[0].shape[1:])}:
            raise ValueError(
                f"expected kernels and biases of one shape for all gates, got {found!r:.200}"
            )
        weights[f"weight_{name}"] = np.concatenate(kernels, axis=1).T
        weights[f"bias_{name}"] = np.concatenate(biases)
    return weights


def _kernel(dense: Any) -> np.ndarray:
    """Return a kernel, which must be a matrix beside a bias or nothing."""
    if not isinstance(dense, Mapping) or not {"kernel"} <= set(dense) <= {"kernel", "bias"}:
        raise ValueError(f"expected a kernel and perhaps a bias, got {dense!r:.80}")
    kernel = np.asarray(dense["kernel"])
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise ValueError(f"kernel must be a matrix, got shape {kernel.shape}")
    return kernel
