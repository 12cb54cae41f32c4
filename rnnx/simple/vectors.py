"""The forms in which sequences come in and go out: read to one layout (T, B, features), and back.

A form is ``"list"``, a list of T vectors, ``"rows"``, an array (T, features), or ``"batch"``, an
array (T, B, features). Outputs, and the gradients of them, have the form of the inputs; a vector of
a list of outputs is a column (features, 1). All checks of what a user passes in are made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnx.backend import Array, Backend


def read_inputs(backend: Backend, inputs: Any, size: int) -> tuple[Array, str]:
    """Return x (T, B, size) and the form of `inputs`."""
    if isinstance(inputs, list | tuple):
        return _read_columns(backend, "inputs", inputs, size), "list"
    x = backend.floating("inputs", inputs)
    if x.ndim not in (2, 3) or x.shape[-1] != size or 0 in x.shape:
        raise ValueError(
            f"inputs must have shape (T, B, {size}) or (T, {size}) to match input_size, with T and "
            f"B at least 1, got {tuple(x.shape)}"
        )
    return (x[:, None, :], "rows") if x.ndim == 2 else (x, "batch")


def read_doutputs(backend: Backend, doutputs: Any, shape: tuple[int, int, int], form: str) -> Array:
    """Return dy (T, B, O), the gradient with respect to the outputs, from their form."""
    T, B, size = shape
    if form == "list" and isinstance(doutputs, list | tuple):
        if len(doutputs) != T:
            raise ValueError(
                f"doutputs must hold one gradient for each of {T} outputs, got {len(doutputs)}"
            )
        return _read_columns(backend, "doutputs", doutputs, size)
    dy = backend.floating("doutputs", doutputs)
    expected = {"list": (T, size, 1), "rows": (T, size), "batch": (T, B, size)}[form]
    if dy.shape != expected:
        raise ValueError(f"doutputs must have the outputs' shape {expected}, got {tuple(dy.shape)}")
    return backend.xp.reshape(dy, shape)


def read_state(backend: Backend, state: Any, batch: int, hidden: int) -> Array:
    """Return the initial state h0 (B, H), zero where `state` is None."""
    if state is None:
        return backend.zeros((batch, hidden))
    h0 = backend.floating("state", state)
    single = ((hidden,), (hidden, 1)) if batch == 1 else ()
    if h0.shape not in ((batch, hidden), *single):
        raise ValueError(f"state must have shape {(batch, hidden)}, got {tuple(h0.shape)}")
    return backend.xp.reshape(h0, (batch, hidden))


def write_outputs(y: Array, form: str) -> Any:
    """Return the outputs y (T, B, O) in the form of the inputs."""
    if form == "list":
        return [y[t, 0, :, None] for t in range(y.shape[0])]
    return y[:, 0, :] if form == "rows" else y


def _read_columns(backend: Backend, name: str, vectors: Sequence[Any], size: int) -> Array:
    """Return a list of vectors of shape (size,) or (size, 1) as an array (T, 1, size)."""
    if len(vectors) == 0:
        raise ValueError(f"{name} must hold at least one vector, got an empty list")
    arrays = [vector if hasattr(vector, "shape") else np.asarray(vector) for vector in vectors]
    for t, array in enumerate(arrays):
        if tuple(array.shape) not in ((size,), (size, 1)):
            raise ValueError(
                f"{name}[{t}] must have shape ({size},) or ({size}, 1), got {tuple(array.shape)}"
            )
    if all(isinstance(array, np.ndarray) for array in arrays):
        return backend.asarray(np.stack([array.reshape(1, size) for array in arrays]))
    return backend.xp.stack(
        [backend.xp.reshape(backend.asarray(array), (1, size)) for array in arrays]
    )
