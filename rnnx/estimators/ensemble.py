"""Networks from different seeds, merged to one network that computes their average.

Units of different members never meet: with members k of H units, gates g and inputs of C parts of H
units (the directions of the layer below)::

    W[g, k, :, c, k', :] = W_k[g, :, c, :] if k = k' else 0        recurrent and upper layers
    y = Σ_k (W_k h_k + b_k) / K                                    the linear layer

The result is a network as any other: it is saved, exported and trained further as one.

References
----------
L. K. Hansen and P. Salamon, "Neural network ensembles", IEEE TPAMI 12 (1990), 993-1001,
doi:10.1109/34.58871.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MERGED = ("rnn", "gru", "gru_reset_before", "lstm", "leaky_rnn")  # cells that work unit by unit


def merged(members: Sequence[Mapping[str, np.ndarray]], units: int) -> dict[str, np.ndarray]:
    """Return the parameters of the network that averages members of so many units per layer.

    Each member has recurrent layers, then a linear layer whose parameters come last.
    """
    *recurrent, weight, bias = members[0]
    found = {name: _layer(name, [member[name] for member in members], units) for name in recurrent}
    outputs = [member[weight] for member in members]
    found[weight] = _rows([w.T for w in outputs], units).T / len(members)
    found[bias] = np.mean([member[bias] for member in members], axis=0)
    return found


def _layer(name: str, parts: list[np.ndarray], units: int) -> np.ndarray:
    """Return a parameter of a merged recurrent layer."""
    if parts[0].ndim == 1 or "weight_ih_l0" in name:  # all members read the same features
        return _rows(parts, units)
    K, (rows, columns) = len(parts), parts[0].shape
    G, C = rows // units, columns // units
    blocks = np.zeros((G, K, units, C, K, units), parts[0].dtype)
    for k, part in enumerate(parts):
        blocks[:, k, :, :, k, :] = part.reshape(G, units, C, units)
    return blocks.reshape(K * rows, K * columns)


def _rows(parts: list[np.ndarray], units: int) -> np.ndarray:
    """Return blocks of rows (G·H, ...) of each member as rows (G·K·H, ...)."""
    blocks = np.stack([part.reshape(-1, units, *part.shape[1:]) for part in parts], axis=1)
    return blocks.reshape(-1, *parts[0].shape[1:])
