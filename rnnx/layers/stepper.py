"""Streaming: one step at a time through all layers, on weights laid out once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnx.backend import Array, Backend
from rnnx.core import numpy_step
from rnnx.core.layer import Params
from rnnx.forms import read_floating
from rnnx.layers.parameters import Sizes, select, suffixes

Step = Callable[..., tuple[Array, ...]]  # (x, *state) -> state, of one layer


class Stepper:
    """Steps a stack of layers with the parameters it was made for."""

    def __init__(self, backend: Backend, cell: Any, sizes: Sizes, params: Params) -> None:
        if sizes.directions == 2:
            raise ValueError("expected a layer that reads forward in time, got a bidirectional one:"
                             " the reverse direction needs the whole sequence")  # fmt: skip
        self.backend, self.cell, self.sizes, self.params = backend, cell, sizes, params
        self._widths = (sizes.output_size, sizes.hidden_size)[: cell.state_size]
        make = self._numpy if backend.name == "numpy" else self._portable
        self._layers = [make(select(params, suffix)) for suffix in suffixes(sizes)]
        self._known: tuple[Any, ...] = (None, None, None)  # type, shape, dtype of the last x

    def __call__(self, x: Any, state: Any) -> tuple[Array, Any]:
        """Return y_t and the state after the step."""
        if (
            state is None
            or type(x) is not self._known[0]
            or x.shape != self._known[1]
            or x.dtype != self._known[2]
        ):
            x, state = self._check(x, state)
        if self.cell.state_size == 1:
            if len(self._layers) == 1:
                (h,) = self._layers[0](x, state[0, ...])
                return h, h[None, ...]
            hs = []
            for layer, step in enumerate(self._layers):
                (x,) = step(x, state[layer, ...])
                hs.append(x)
            return x, self.backend.xp.stack(hs)
        h_all, c_all = state
        if len(self._layers) == 1:
            h, c = self._layers[0](x, h_all[0, ...], c_all[0, ...])
            return h, (h[None, ...], c[None, ...])
        hs, cs = [], []
        for layer, step in enumerate(self._layers):
            x, c = step(x, h_all[layer, ...], c_all[layer, ...])
            hs.append(x)
            cs.append(c)
        return x, (self.backend.xp.stack(hs), self.backend.xp.stack(cs))

    def _check(self, x: Any, state: Any) -> tuple[Array, Any]:
        """Return x and the state as arrays of the backend and of fitting shapes."""
        bk, sizes = self.backend, self.sizes
        x = read_floating(bk, "x", x)
        if x.ndim not in (1, 2) or x.shape[-1] != sizes.input_size:
            raise ValueError(
                f"x must have shape ({sizes.input_size},) or (B, {sizes.input_size}), "
                f"got {tuple(x.shape)}"
            )
        shapes = [(sizes.num_layers, *x.shape[:-1], width) for width in self._widths]
        if state is None:
            arrays = [bk.zeros(shape) for shape in shapes]
        else:
            given = state if isinstance(state, list | tuple) else [state]
            if len(given) != len(shapes):
                raise ValueError("state must be a pair (h, c), got one array")
            arrays = [read_floating(bk, "state", s) for s in given]
        for array, shape in zip(arrays, shapes, strict=True):
            if tuple(array.shape) != shape:
                raise ValueError(f"state must have shape {shape}, got {tuple(array.shape)}")
        self._known = (type(x), x.shape, x.dtype)
        return x, arrays[0] if len(arrays) == 1 else tuple(arrays)

    def _numpy(self, params: dict[str, np.ndarray]) -> Step:
        return numpy_step.STEPS[type(self.cell).__name__](self.cell, params)

    def _portable(self, params: Params) -> Step:
        """Return a layer's step in the cell's own words, compiled where the backend compiles."""
        bk, cell, xp = self.backend, self.cell, self.backend.xp
        W, U = xp.matrix_transpose(params["weight_ih"]), xp.matrix_transpose(params["weight_hh"])
        b, c, W_hr = params.get("bias_ih"), params.get("bias_hh"), params.get("weight_hr")

        def run(x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            z, q = x @ W, state[0] @ U
            z, q = (z, q) if b is None or c is None else (z + b, q + c)
            state, _ = cell.step(xp, z, q, state)
            return state if W_hr is None else (state[0] @ xp.matrix_transpose(W_hr), *state[1:])

        compiled = bk.compile(run)

        def step(x: Array, *state: Array) -> tuple[Array, ...]:
            with bk.scope():
                if x.ndim == 2:
                    return tuple(compiled(x, state))
                rows = compiled(x[None, :], tuple(s[None, :] for s in state))
                return tuple(row[0, :] for row in rows)

        return step
