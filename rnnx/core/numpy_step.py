"""One step of a stream on NumPy: the fewest calls, on one row or a few.

The equations are those of `rnnx.cells`; the work is arranged so that a step is one product, or two,
and a few operations in place. Input and state are laid side by side, [x_t, h_{t-1}], and multiply
one matrix with the columns of all gates, those of σ negated, as σ(a) = 1 / (1 + exp(-a)). The GRU's
x and h have a product each, as its reset comes between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from rnnx.cells import Cell, GRUCell, LSTMCell, RNNCell
from rnnx.core.contract import Job, Params, Step

NAME = "numpy-step"
PADDING = False
Array = np.ndarray
_NAMES = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
_LARGEST: dict[str, Any] = {"f": np.float32(88), "d": np.float64(709)}  # exp of more overflows


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


def sequence(job: Job, params: Params) -> None:
    """Return None: this core only takes single steps."""


def _rnn(cell: Any, params: Mapping[str, Array]) -> Step:
    """h_t = φ([x_t, h_{t-1}] W + b)."""
    W, b = _side_by_side(params, [1.0])
    tanh = cell.nonlinearity == "tanh"

    def step(x: Array, h: Array) -> tuple[Array]:
        a = np.concatenate((x, h[0]), -1).dot(W)
        a += b
        return ((np.tanh(a, a) if tanh else np.maximum(a, 0, out=a))[None],)

    return step


def _gru(cell: Any, params: Mapping[str, Array]) -> Step:
    """Return the step of a GRU, with the columns r, z, n of x and of h."""
    H = params["weight_hh"].shape[1]
    W, b, U, c = (_signed(params[k], [-1.0, -1.0, 1.0]) if k in params else 0.0 for k in _NAMES)
    gates, r, z, n = (..., slice(0, 2 * H)), *_columns(3, H)

    def step(x: Array, h: Array) -> tuple[Array]:
        p, q = x.dot(W), h[0].dot(U)
        p += b
        q += c
        rz = p[gates]
        rz += q[gates]
        _sigmoid_of_negative(rz)
        new = q[n]
        new *= rz[r]
        new += p[n]
        np.tanh(new, new)
        h = h - new
        h *= rz[z]
        h += new
        return (h,)

    return step


def _lstm(cell: Any, params: Mapping[str, Array]) -> Step:
    """Return the step of an LSTM, with the columns i, f, g, o, and its projection if it has one."""
    H = params["weight_hh"].shape[0] // 4
    W, b = _side_by_side(params, [-1.0, -1.0, 1.0, -1.0])
    first, i, f, g, o = (..., slice(0, 2 * H)), *_columns(4, H)
    project = np.ascontiguousarray(params["weight_hr"].T) if "weight_hr" in params else None

    def step(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        a = np.concatenate((x, h[0]), -1).dot(W)
        a += b
        _sigmoid_of_negative(a[first])
        _sigmoid_of_negative(a[o])
        new = np.tanh(a[g])
        new *= a[i]
        c = c * a[f]
        c += new
        h = np.tanh(c)
        h *= a[o]
        return (h if project is None else h.dot(project), c)

    return step


_STEPS: dict[type[Cell], Any] = {RNNCell: _rnn, GRUCell: _gru, LSTMCell: _lstm}


def _sigmoid_of_negative(a: Array) -> None:
    """Write σ(-a) = 1 / (1 + exp(a)) over a; where exp overflows, it is 0."""
    np.minimum(a, _LARGEST[a.dtype.char], out=a)
    np.exp(a, a)
    a += 1
    np.reciprocal(a, a)


def _columns(gates: int, H: int) -> list[Any]:
    """Return the place of each gate in the last axis."""
    return [(..., slice(k * H, (k + 1) * H)) for k in range(gates)]


def _signed(rows: Array, signs: list[float]) -> Array:
    """Return the transpose of the rows of all gates, each times its sign."""
    sign = np.repeat(np.asarray(signs, rows.dtype), rows.shape[0] // len(signs))
    return np.ascontiguousarray((rows.T if rows.ndim == 2 else rows) * sign)


def _side_by_side(params: Mapping[str, Array], signs: list[float]) -> tuple[Array, Any]:
    """Return W (I + P, G·H) and b (G·H,)."""
    W = np.concatenate([_signed(params[k], signs) for k in ("weight_ih", "weight_hh")])
    biases = [_signed(params[k], signs) for k in ("bias_ih", "bias_hh") if k in params]
    return W, sum(biases) if biases else 0.0


def _steps_only(*_: Any) -> NoReturn:
    raise NotImplementedError("this core takes single steps of a stream only")


forward = backward = blocks = part = _steps_only
