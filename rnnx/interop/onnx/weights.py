"""The weights of a recurrent node in ONNX's layout and in ours, for one direction.

With G gates, ONNX has W (G·H, I), R (G·H, H) and B (2·G·H,), which is Wb, then Rb; each in blocks
of H rows, a block for each gate::

    node    ours          ONNX's
    RNN     h             i
    GRU     r, z, n       z, r, h
    LSTM    i, f, g, o    i, o, f, c

A GRU with ``linear_before_reset=0`` adds both biases of h outside the reset, where we have one.

References
----------
https://onnx.ai/onnx/operators/onnx__GRU.html, and RNN and LSTM beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnx.io.format import Arrays

ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # which of our gates ONNX's k-th is


def to_file(op: str, params: Mapping[str, np.ndarray]) -> Arrays:
    """Return W, R and, for a layer with biases, B of a direction's parameters."""
    W, R = params["weight_ih"], params["weight_hh"]
    if "weight_hn" in params:  # the reset comes before the product
        R = np.concatenate([R, params["weight_hn"]])
    found = {"W": _rows(W, ORDER[op]), "R": _rows(R, ORDER[op])}
    if "bias_ih" not in params:
        return found
    Wb, Rb = params["bias_ih"], params["bias_hh"]
    Rb = np.concatenate([Rb, np.zeros(len(Wb) - len(Rb), Rb.dtype)])
    return found | {"B": np.concatenate([_rows(Wb, ORDER[op]), _rows(Rb, ORDER[op])])}


def from_file(op: str, found: Mapping[str, np.ndarray], reset_after: bool = True) -> Arrays:
    """Return a direction's parameters, the inverse of `to_file`."""
    order, H = np.argsort(ORDER[op]), found["R"].shape[1]
    params = {"weight_ih": _rows(found["W"], order), "weight_hh": _rows(found["R"], order)}
    if "B" in found:
        Wb, Rb = np.split(found["B"], 2)
        params |= {"bias_ih": _rows(Wb, order), "bias_hh": _rows(Rb, order)}
    if reset_after:
        return params
    params["weight_hh"], params["weight_hn"] = np.split(params["weight_hh"], [2 * H])
    if "B" in found:
        params["bias_hh"], outside = np.split(params["bias_hh"], [2 * H])
        params["bias_ih"][2 * H :] += outside
    return params


def _rows(array: np.ndarray, order: Any) -> np.ndarray:
    """Return a copy with its blocks of rows in this order."""
    blocks = array.reshape(len(order), -1, *array.shape[1:])
    return blocks[list(order)].reshape(array.shape)
