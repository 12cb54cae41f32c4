"""Names, shapes and first values of a recurrent layer's parameters.

Names and shapes are those of torch.nn.RNN, GRU and LSTM, in the order of their state_dict, with `k`
the layer, ``_reverse`` the second direction, D directions and P the size of h::

    weight_ih_l{k}  (G·H, I) for k = 0, else (G·H, D·P)
    weight_hh_l{k}  (G·H, P)
    bias_ih_l{k}, bias_hh_l{k}  (G·H,)
    weight_hr_l{k}  (P, H)      only with a projection
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Initializer: TypeAlias = "Callable[[np.random.Generator, tuple[int, ...], int], np.ndarray]"
Shapes = dict[str, tuple[int, ...]]
Seed: TypeAlias = "int | np.random.Generator | None"  # what numpy.random.default_rng takes


class Sizes(NamedTuple):
    """What decides the shapes."""

    gates: int
    input_size: int
    hidden_size: int
    proj_size: int
    num_layers: int
    directions: int
    bias: bool

    @property
    def output_size(self) -> int:
        """The size P of h."""
        return self.proj_size or self.hidden_size


def suffixes(sizes: Sizes) -> list[str]:
    """Return the suffix of every layer and direction, layers first: ``l0``, ``l0_reverse``, ..."""
    ways = ["", "_reverse"][: sizes.directions]
    return [f"l{layer}{way}" for layer in range(sizes.num_layers) for way in ways]


def shapes(sizes: Sizes) -> Shapes:
    """Return the shape of every parameter by its name."""
    rows, P = sizes.gates * sizes.hidden_size, sizes.output_size
    found: Shapes = {}
    for suffix in suffixes(sizes):
        features = sizes.input_size if suffix.startswith("l0") else sizes.directions * P
        found |= {f"weight_ih_{suffix}": (rows, features), f"weight_hh_{suffix}": (rows, P)}
        if sizes.bias:
            found |= {f"bias_ih_{suffix}": (rows,), f"bias_hh_{suffix}": (rows,)}
        if sizes.proj_size:
            found |= {f"weight_hr_{suffix}": (P, sizes.hidden_size)}
    return found


def select(params: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """Return the parameters of one layer and direction, without the suffix in their names."""
    end = f"_{suffix}"
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return {name: params[name + end] for name in names if name + end in params}


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], hidden: int) -> np.ndarray:
    """U(-1/√H, 1/√H), torch's."""
    bound = hidden**-0.5
    return rng.uniform(-bound, bound, shape)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], hidden: int) -> np.ndarray:
    """N(0, 1/fan-in)."""
    return rng.standard_normal(shape) / shape[-1] ** 0.5


def _glorot(rng: np.random.Generator, shape: tuple[int, ...], hidden: int) -> np.ndarray:
    """U(-a, a), a = √(6 / (fan-in + fan-out)), for the matrix of each gate."""
    fan_out = min(shape[0], hidden)
    bound = (6 / (shape[-1] + fan_out)) ** 0.5
    return rng.uniform(-bound, bound, shape)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...], hidden: int) -> np.ndarray:
    """A matrix with orthonormal rows or columns, for each gate: Haar-distributed, by QR."""
    rows = min(shape[0], hidden)
    blocks = [_orthonormal(rng, rows, shape[1]) for _ in range(shape[0] // rows)]
    return np.concatenate(blocks)


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diagonal(r))
    return q if rows >= columns else q.T


INITIALIZERS: dict[str, Initializer] = {
    "uniform": _uniform,
    "normal": _normal,
    "glorot": _glorot,
    "orthogonal": _orthogonal,
}


def draw(
    sizes: Sizes, rng: np.random.Generator, weight_init: str, recurrent_init: str,
    forget_bias: float | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return first values, drawn in the order of the names.

    Biases are torch's U(±1/√H) under the initializer "uniform" and zero under all others; where
    `forget_bias` is given, b_ih of the LSTM's forget gate is that number and b_hh of it is zero.
    """
    values = {}
    for name, shape in shapes(sizes).items():
        how = recurrent_init if name.startswith("weight_hh") else weight_init
        if name.startswith("bias") and weight_init != "uniform":
            values[name] = np.zeros(shape)
        else:
            values[name] = INITIALIZERS[how](rng, shape, sizes.hidden_size)
        if name.startswith("bias") and forget_bias is not None:
            forget = slice(sizes.hidden_size, 2 * sizes.hidden_size)
            values[name][forget] = forget_bias if name.startswith("bias_ih") else 0.0
    return values
