"""Dropout masks of a stack: their names and shapes, drawing them, checking those given.

``dropout_l{k}`` (T, B, D·P) on what layer k hands to the next, anew at every step; ``recurrent_*``
(B, P) on h in the recurrent product, one for the whole sequence; ``weight_*`` (G·H, P) on the
recurrent weights.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnx import validate
from rnnx.backend import Array, Backend
from rnnx.core.sizes import Sizes, suffixes
from rnnx.layers.base import Seed


class Rates(NamedTuple):
    """The probabilities with which an entry of each kind of mask is zero."""

    dropout: float
    recurrent: float
    weight: float

    def shapes(self, sizes: Sizes, T: int, B: int) -> dict[str, tuple[tuple[int, ...], float]]:
        """Return the shape and the probability of every mask, by name."""
        P = sizes.output_size
        found: dict[str, tuple[tuple[int, ...], float]] = {}
        for k in range(sizes.num_layers - 1):
            found[f"dropout_l{k}"] = (T, B, sizes.directions * P), self.dropout
        for suffix in suffixes(sizes):
            found[f"recurrent_{suffix}"] = (B, P), self.recurrent
            found[f"weight_{suffix}"] = (len(sizes.cell.gates) * sizes.hidden_size, P), self.weight
        return {name: (shape, p) for name, (shape, p) in found.items() if p}

    def draw(self, backend: Backend, sizes: Sizes, T: int, B: int, seed: Seed) -> dict[str, Array]:
        """Return new masks: zero with probability p, 1/(1 - p) else; drawn on the host."""
        if not any(self):
            return {}
        rng = validate.generator(seed)
        return {
            name: backend.asarray((rng.random(shape) >= p) / (1 - p))
            for name, (shape, p) in self.shapes(sizes, T, B).items()
        }

    def check(self, sizes: Sizes, T: int, B: int, masks: dict[str, Array]) -> dict[str, Array]:
        """Return masks, each of which must be one of these."""
        if not masks:
            return masks
        shapes = self.shapes(sizes, T, B)
        for name, mask in masks.items():
            if name not in shapes:
                raise ValueError(f"masks must be of {list(shapes)}, got {name!r}: use draw_masks")
            if tuple(mask.shape) != shapes[name][0]:
                raise ValueError(
                    f"masks[{name!r}] must have shape {shapes[name][0]}, got {tuple(mask.shape)}"
                )
        return masks
