"""A `Sequential` and a `Pool` as torch modules."""

from __future__ import annotations

from typing import Any

import torch


class Chain(torch.nn.Sequential):
    """Modules one after the other, of which recurrent ones take and return states.

    Its state_dict has the names of our `Sequential`.
    """

    def forward(self, x: Any, state: Any = None) -> tuple[Any, tuple[Any, ...]]:
        """Return the outputs and the tuple of the states, None for a module without."""
        states = []
        for module, start in zip(self, state or [None] * len(self), strict=True):
            if isinstance(module, torch.nn.RNNBase | Chain):
                x, final = module(x, start)
            else:
                x, final = module(x), None
            states.append(final)
        return x, tuple(states)


class Pool(torch.nn.Module):
    """One vector per sequence: the last output, the mean or the maximum, as `rnnx.Pool`."""

    def __init__(self, how: str, batch_first: bool, bidirectional: bool) -> None:
        super().__init__()
        self.how, self.batch_first, self.bidirectional = how, batch_first, bidirectional

    def forward(self, x: Any) -> Any:
        """Return (B, F) from (T, B, F) or (B, T, F), or (F,) from (T, F)."""
        time = 1 if self.batch_first and x.ndim == 3 else 0
        if self.how == "mean":
            return x.mean(time)
        if self.how == "max":
            return x.amax(time)
        last = x.select(time, -1)
        if not self.bidirectional:
            return last
        half = x.shape[-1] // 2
        return torch.cat([last[..., :half], x.select(time, 0)[..., half:]], -1)
