"""Initial values of a recurrent layer's parameters, drawn on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnnx import validate
from rnnx.core.sizes import Sizes, shapes

Initializer: TypeAlias = "Callable[[np.random.Generator, tuple[int, ...], int], np.ndarray]"


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


class Initial(NamedTuple):
    """How initial values are chosen."""

    weight_init: str
    recurrent_init: str
    gate_bias: Mapping[str, float]  # initial b_ih of a gate by name; its b_hh is then zero

    @classmethod
    def read(cls, weight_init: Any, recurrent_init: Any, gate_bias: Mapping[str, Any]) -> Initial:
        """Return the checked options."""
        for name, value in (("weight_init", weight_init), ("recurrent_init", recurrent_init)):
            validate.one_of(name, value, INITIALIZERS)
        return cls(weight_init, recurrent_init, gate_bias)

    def draw(self, sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return initial values, drawn in the order of the names.

        Biases are torch's U(±1/√H) under the initializer "uniform" and zero under all others. A
        cell's own parameters are what the cell says.
        """
        H, own = sizes.hidden_size, sizes.cell.parameters(sizes.hidden_size)
        values = {}
        for name, shape in shapes(sizes).items():
            plain = name[: name.rindex("_l")]
            kind = own[plain].initial if plain in own else plain
            if not isinstance(kind, str):
                values[name] = np.full(shape, float(kind))
            elif kind.startswith("bias") and self.weight_init != "uniform":
                values[name] = np.zeros(shape)
            else:
                how = self.recurrent_init if kind in ("weight_hh", "recurrent") else None
                values[name] = INITIALIZERS[how or self.weight_init](rng, shape, H)
            for gate, value in self.gate_bias.items() if plain.startswith("bias_") else ():
                k = sizes.cell.gates.index(gate)
                values[name][k * H : (k + 1) * H] = value if plain == "bias_ih" else 0.0
        return values
