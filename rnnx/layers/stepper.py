"""Inference on weights laid out once: one step at a time, or whole sequences."""

from __future__ import annotations

from typing import Any

from rnnx import core
from rnnx.backend import Array
from rnnx.cells.base import State
from rnnx.core.contract import Job, Params
from rnnx.core.direction import Plan
from rnnx.core.sizes import layer_params, suffixes
from rnnx.core.stack import of_all
from rnnx.layers import states


class Stepper:
    """Steps a stack of layers with the parameters it was made for."""

    def __init__(self, plan: Plan, params: Params) -> None:
        sizes = plan.sizes
        if sizes.directions == 2:
            raise ValueError("expected a layer that reads forward in time, got a bidirectional one:"
                             " the reverse direction needs the whole sequence")  # fmt: skip
        self.backend, self.sizes, self.params = plan.backend, sizes, params
        self._steps = []
        for layer, suffix in enumerate(suffixes(sizes)):
            job = streaming_job(plan, layer)
            chosen = core.select(job, plan.core)
            self._steps.append(chosen.step(job, layer_params(params, suffix)))
        self._single = self._steps[0] if len(self._steps) == 1 else None
        self._alone = len(sizes.state_sizes) == 1
        self._known: tuple[Any, ...] = (None, None, None, ())  # of the last x, and states' shapes

    def __call__(self, x: Any, state: Any) -> tuple[Array, Any]:
        """Return y_t and the state after the step."""
        arrays = (state,) if self._alone else state
        if not self._fits(x, arrays):
            x, state = self._check(x, state)
            arrays = (state,) if self._alone else state
        if self._single is not None:
            after = self._single(x, *arrays)
            return after[0][0, ...], after[0] if self._alone else after
        rows: list[State] = []
        for layer, step in enumerate(self._steps):
            rows.append(step(x, *[s[layer : layer + 1, ...] for s in arrays]))
            x = rows[-1][0][0, ...]
        joined = tuple([self.backend.xp.concat(list(s), axis=0) for s in zip(*rows, strict=True)])
        return x, joined[0] if self._alone else joined

    def _fits(self, x: Any, arrays: Any) -> bool:
        """Return whether x and the states are arrays like the last ones that were checked."""
        kind, shape, dtype, shapes = self._known
        if type(arrays) is not tuple or len(arrays) != len(shapes):
            return False
        if type(x) is not kind or x.shape != shape or x.dtype != dtype:
            return False
        for array, expected in zip(arrays, shapes, strict=True):
            if type(array) is not kind or array.shape != expected or array.dtype != dtype:
                return False
        return True

    def _check(self, x: Any, state: Any) -> tuple[Array, Any]:
        """Return x and the state as arrays of the backend and of fitting shapes."""
        bk, sizes = self.backend, self.sizes
        x = bk.floating("x", x)
        if x.ndim not in (1, 2) or x.shape[-1] != sizes.input_size:
            raise ValueError(
                f"x must have shape ({sizes.input_size},) or (B, {sizes.input_size}), "
                f"got {tuple(x.shape)}"
            )
        names = sizes.state_sizes
        shapes = [(sizes.num_layers, *x.shape[:-1], width) for width in names.values()]
        if state is None:
            arrays = [bk.zeros(shape) for shape in shapes]
        else:
            given = state if isinstance(state, list | tuple) else [state]
            if len(given) != len(shapes):
                raise ValueError(f"state must be {states.kind(names)}, got {len(given)}")
            arrays = [bk.floating("state", s) for s in given]
        for array, shape in zip(arrays, shapes, strict=True):
            if tuple(array.shape) != shape:
                raise ValueError(f"state must have shape {shape}, got {tuple(array.shape)}")
        self._known = (type(x), x.shape, x.dtype, tuple([a.shape for a in arrays]))
        return x, arrays[0] if len(arrays) == 1 else tuple(arrays)


class Runner:
    """Runs whole sequences through a stack of layers with the parameters it was made for."""

    def __init__(self, plan: Plan, params: Params) -> None:
        self.backend, self.sizes, self.params = plan.backend, plan.sizes, params
        jobs = [streaming_job(plan, i // plan.sizes.directions) for i in range(plan.sizes.rows)]
        cores = [core.select(job, plan.core) for job in jobs]
        self._runs = [
            chosen.sequence(job, layer_params(params, suffix))
            for chosen, job, suffix in zip(cores, jobs, suffixes(plan.sizes), strict=True)
        ]
        self.serves = None not in self._runs

    def __call__(self, x: Array, state0: State) -> tuple[Array, State]:
        """Return y (T, B, D·P) and the final state, from those before x (T, B, I)."""
        xp, D = self.backend.xp, self.sizes.directions
        finals: list[State] = []
        for layer in range(self.sizes.num_layers):
            hs = []
            for d in range(D):
                row = layer * D + d
                run = self._runs[row]
                assert run is not None
                h, final = run(x[::-1, ...] if d else x, *[s[row, ...] for s in state0])
                hs.append(h[::-1, ...] if d else h)
                finals.append(final)
            x = hs[0] if D == 1 else xp.concat(hs, axis=-1)
        return x, of_all(xp, finals)


def streaming_job(plan: Plan, layer: int) -> Job:
    """Return the job of taking single steps of one layer."""
    sizes = plan.sizes
    return Job(
        plan.backend, sizes.cell, None, None, sizes.features(layer), sizes.hidden_size,
        sizes.output_size, sizes.bias, precision=plan.precision,
    )  # fmt: skip
