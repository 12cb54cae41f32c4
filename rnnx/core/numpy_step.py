"""One step of a stream on NumPy: the fewest calls, on one row or a few.

The equations are those of `rnnx.cells`; the work is arranged so that a step is one product and a
few operations in place. Input and state are laid side by side, [x_t, h_{t-1}], and multiply one
matrix W with the columns of all gates; the columns of σ come first and are halved, because σ(a) =
tanh(a/2)/2 + 1/2 makes all gates one tanh. The GRU's n has two columns per unit, one of x and one
of h, as its reset comes after the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from rnnx.cells import Cell, GRUCell, LSTMCell, RNNCell
from rnnx.core.contract import Job, Params, Step

NAME = "numpy-step"
Array = np.ndarray


class Saved(NamedTuple):
    """Nothing: this core takes steps only."""


def declines(job: Job) -> str:
    """Return why this core cannot serve a job, or ``""``."""
    if job.steps is not None:
        return "takes single steps of a stream only"
    if job.backend.name != "numpy":
        return f"runs on NumPy only, not on {job.backend.name}"
    if type(job.cell) not in _STEPS:
        return f"has no {type(job.cell).__name__}"
    return ""


def step(job: Job, params: Params) -> Step:
    """Return one step on weights laid out once."""
    return _STEPS[type(job.cell)](job.cell, params)


def _rnn(cell: Any, params: Mapping[str, Array]) -> Step:
    """h_t = φ([x_t, h_{t-1}] W + b)."""
    W, b = _columns(params, _blocks(params, 1), [(0, 0)])
    tanh = cell.nonlinearity == "tanh"

    def step(x: Array, h: Array) -> tuple[Array]:
        a = np.concatenate((x, h), -1).dot(W)
        a += b
        return (np.tanh(a, a) if tanh else np.maximum(a, 0, out=a),)

    return step


def _gru(cell: Any, params: Mapping[str, Array]) -> Step:
    """Return the step of a GRU, with the columns r, z, n of x, n of h."""
    H = params["weight_hh"].shape[0] // 3
    W, b = _columns(params, _blocks(params, 3), [(0, 0), (1, 1), (2, None), (None, 2)], halved=2)
    gates, r, z = (..., slice(0, 2 * H)), (..., slice(0, H)), (..., slice(H, 2 * H))
    p_n, q_n = (..., slice(2 * H, 3 * H)), (..., slice(3 * H, 4 * H))

    def step(x: Array, h: Array) -> tuple[Array]:
        a = np.concatenate((x, h), -1).dot(W)
        a += b
        rz = np.tanh(a[gates])
        rz *= 0.5
        rz += 0.5
        n = rz[r] * a[q_n]
        n += a[p_n]
        np.tanh(n, n)
        h = h - n
        h *= rz[z]
        h += n
        return (h,)

    return step


def _lstm(cell: Any, params: Mapping[str, Array]) -> Step:
    """Return the step of an LSTM, with the columns i, f, o, g, and its projection if it has one."""
    H = params["weight_hh"].shape[0] // 4
    W, b = _columns(params, _blocks(params, 4), [(0, 0), (1, 1), (3, 3), (2, 2)], halved=3)
    sigmas, i, f = (..., slice(0, 3 * H)), (..., slice(0, H)), (..., slice(H, 2 * H))
    o, g = (..., slice(2 * H, 3 * H)), (..., slice(3 * H, 4 * H))
    project = np.ascontiguousarray(params["weight_hr"].T) if "weight_hr" in params else None

    def step(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        a = np.concatenate((x, h), -1).dot(W)
        a += b
        np.tanh(a, a)
        s = a[sigmas]
        s *= 0.5
        s += 0.5
        c = c * a[f]
        c += a[i] * a[g]
        h = np.tanh(c)
        h *= a[o]
        return (h if project is None else h.dot(project), c)

    return step


_STEPS: dict[type[Cell], Any] = {RNNCell: _rnn, GRUCell: _gru, LSTMCell: _lstm}


def _blocks(params: Mapping[str, Array], gates: int) -> list[tuple[Array, Array, Array, Array]]:
    """Return W_ihᵀ, W_hhᵀ, b_ih and b_hh of every gate."""
    zero = np.zeros(params["weight_hh"].shape[0], params["weight_hh"].dtype)
    parts = (
        params["weight_ih"], params["weight_hh"],
        params.get("bias_ih", zero), params.get("bias_hh", zero),
    )  # fmt: skip
    rows = [np.split(part, gates) for part in parts]
    return [(W.T, U.T, b, c) for W, U, b, c in zip(*rows, strict=True)]


def _columns(
    params: Mapping[str, Array],
    blocks: list[tuple[Array, Array, Array, Array]],
    order: list[tuple[int | None, int | None]],
    halved: int = 0,
) -> tuple[Array, Array]:
    """Return W (I + P, ·) and b: for each pair, the columns of gate k of x and gate l of h."""
    columns, biases = [], []
    for place, (k, l) in enumerate(order):
        W, _, b, _ = blocks[0 if k is None else k]
        _, U, _, c = blocks[0 if l is None else l]
        scale = 0.5 if place < halved else 1.0
        x_part, h_part = W * (k is not None), U * (l is not None)
        columns.append(scale * np.concatenate((x_part, h_part)))
        biases.append(scale * (b * (k is not None) + c * (l is not None)))
    dtype = params["weight_hh"].dtype
    return (
        np.ascontiguousarray(np.concatenate(columns, axis=1), dtype),
        np.concatenate(biases).astype(dtype),
    )


def _steps_only(*_: Any) -> NoReturn:
    raise NotImplementedError("this core takes single steps of a stream only")


forward = backward = blocks = part = _steps_only
