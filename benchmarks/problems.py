"""The problems that `cpu.py` gives to every library, and whether their results agree."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 1e-3  # float32 over hundreds of steps, relative to the largest entry
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
Shape = tuple[int, int, int, int]  # T, B, I, H


class Problem(NamedTuple):
    """A layer's weights by torch's names, its input, and the gradient with respect to its output.

    `shape` is (T, B, I, H). `lengths` makes the batch ragged.
    """

    cell: str
    shape: Shape
    params: dict[str, np.ndarray]
    x: np.ndarray
    dy: np.ndarray
    threads: int
    layers: int = 1
    bidirectional: bool = False
    lengths: np.ndarray | None = None

    @property
    def suffixes(self) -> list[list[str]]:
        """The suffixes of the parameters' names, by layer and direction."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return [[f"_l{k}{d}" for d in directions] for k in range(self.layers)]


def make_problem(
    cell: str,
    shape: Shape,
    threads: int,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    ragged: bool = False,
) -> Problem:
    """Return a problem with random weights and input, the same in every process.

    With `ragged`, lengths are between T/2 and T.
    """
    T, B, I, H = shape
    rng = np.random.default_rng(0)
    width = H * (2 if bidirectional else 1)
    x, dy = (rng.standard_normal((T, B, n)).astype("float32") for n in (I, width))
    lengths = rng.integers(T // 2, T + 1, B) if ragged else None
    empty = Problem(cell, (T, B, I, H), {}, x, dy, threads, layers, bidirectional, lengths)
    rows, edge = GATES[cell] * H, H**-0.5
    for k, suffixes in enumerate(empty.suffixes):
        sizes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, width if k else I), "weight_hh": (rows, H), "bias_ih": (rows,),
            "bias_hh": (rows,),
        }  # fmt: skip
        for suffix, (name, size) in product(suffixes, sizes.items()):
            empty.params[name + suffix] = rng.uniform(-edge, edge, size).astype("float32")
    return empty


def named(result: Any) -> dict[str, np.ndarray]:
    """Return a run's result as arrays by name; what is "batch first" gets the axis of time first.

    Lists, which hold gradients in a library's own layout, are left out.
    """
    found = result if isinstance(result, dict) else {"y": result}
    arrays = {name: np.asarray(a) for name, a in found.items() if not isinstance(a, list)}
    return {
        name.removesuffix(", batch first"): a.swapaxes(0, 1) if "batch first" in name else a
        for name, a in arrays.items()
    }


def check(results: dict[str, dict[str, np.ndarray]]) -> None:
    """Assert that the libraries' results agree with the first library's, where both have them."""
    (first, expected), *others = results.items()
    for name, found in others:
        assert found.keys() & expected.keys(), f"{name} has no result in common with {first}"
        for key in found.keys() & expected.keys():
            a, b = found[key], expected[key]
            assert a.shape == b.shape, f"{name}: {key} is {a.shape}, {first}'s is {b.shape}"
            error = float(np.abs(a - b).max() / np.abs(b).max())
            assert error < TOLERANCE, f"{name} differs from {first} in {key} by {error}"
