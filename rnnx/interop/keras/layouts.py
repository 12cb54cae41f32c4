"""The arrays of Keras's recurrent layers, and ours, each from the other.

Keras multiplies from the right: kernel (I, G·H), recurrent_kernel (H, G·H). Its gates are in
columns, of a GRU in the order z, r, n, of an LSTM in ours, i, f, g, o. It has one bias (G·H,),
except for a GRU with ``reset_after=True``: (2, 3H), of the input and of the recurrent product.

Reference: Keras 3, ``keras/src/layers/rnn/{simple_rnn,gru,lstm}.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rnnx.io.format import Arrays

KINDS = {"SimpleRNN": "RNN", "GRU": "GRU", "LSTM": "LSTM"}  # Keras's class -> ours


def read(kind: str, arrays: Sequence[np.ndarray], reset_after: bool) -> Arrays:
    """Return our weights of a direction from Keras's arrays; `kind` is Keras's class."""
    kernel, recurrent = (np.asarray(array).T for array in arrays[:2])
    if kernel.ndim != 2 or recurrent.ndim != 2:
        raise ValueError(f"expected matrices, got the shapes {[a.shape for a in arrays]}")
    bias = np.asarray(arrays[2]) if len(arrays) > 2 else None
    if kind == "GRU":
        kernel, recurrent = (_swap(W) for W in (kernel, recurrent))
        bias = bias if bias is None else _swap(bias.T).T
    weights = {"weight_ih": kernel, "weight_hh": recurrent}
    if kind == "GRU" and not reset_after:
        rows = 2 * recurrent.shape[1]
        weights |= {"weight_hh": recurrent[:rows], "weight_hn": recurrent[rows:]}
    if bias is None:
        return weights
    if kind == "GRU" and reset_after:
        if bias.ndim != 2 or len(bias) != 2:
            raise ValueError(f"expected a bias (2, 3H) with reset_after=True, got {bias.shape}")
        return weights | {"bias_ih": bias[0], "bias_hh": bias[1]}
    return weights | {"bias_ih": bias, "bias_hh": np.zeros(len(weights["weight_hh"]), bias.dtype)}


def write(kind: str, weights: Mapping[str, np.ndarray], reset_after: bool) -> list[np.ndarray]:
    """Return Keras's arrays from our weights; `kind` is Keras's class."""
    kernel, recurrent = weights["weight_ih"], weights["weight_hh"]
    if kind == "GRU" and not reset_after:
        recurrent = np.concatenate([recurrent, weights["weight_hn"]])
    biases = [weights[name] for name in ("bias_ih", "bias_hh") if name in weights]
    if biases and not (kind == "GRU" and reset_after):
        biases[0] = biases[0].copy()
        biases[0][: len(biases[1])] += biases[1]  # a reset-before GRU has no b_hh of n
        biases = biases[:1]
    if kind == "GRU":
        kernel, recurrent, *biases = (_swap(W) for W in (kernel, recurrent, *biases))
    arrays = [kernel.T, recurrent.T]
    if biases:
        arrays.append(np.stack(biases) if len(biases) == 2 else biases[0])
    return arrays


def _swap(W: np.ndarray) -> np.ndarray:
    """Return rows z, r, n in the order r, z, n, or the other way."""
    H = len(W) // 3
    return np.concatenate([W[H : 2 * H], W[:H], W[2 * H :]])
