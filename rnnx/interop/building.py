"""From the arrays of another system to a layer: the sizes from the shapes, then every array."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rnnx import io
from rnnx.backend import Backend, target_backend
from rnnx.models import shapes

Weights = Mapping[str, Any]  # of one layer and direction, by torch's names without a suffix


def target(
    arrays: Iterable[Any], backend: str | Backend, device: Any, dtype: str | None
) -> Backend:
    """Return where a model with these arrays goes; in float64 by default if one of them is."""
    doubles = any(str(getattr(array, "dtype", "")).endswith("float64") for array in arrays)
    own = "float64" if doubles else "float32"
    return target_backend(backend, device=device, dtype=dtype, own_dtype=own)


def recurrent(
    kind: str, rows: Sequence[Sequence[Weights]], backend: Backend, **options: Any
) -> Any:
    """Return an RNN, a GRU or an LSTM with the weights of ``rows[layer][direction]``."""
    first = rows[0][0]
    projection = matrix(first, "weight_hr") if "weight_hr" in first else None
    config = {
        "layer": kind,
        "input_size": matrix(first, "weight_ih")[1],
        "hidden_size": projection[1] if projection else matrix(first, "weight_hh")[1],
        "num_layers": len(rows),
        "bias": "bias_ih" in first,
        "bidirectional": len(rows[0]) == 2,
        **({"proj_size": projection[0]} if projection else {}),
        **options,
    }
    ways = ["", "_reverse"]
    arrays = {
        f"{name}_l{k}{ways[d]}": array
        for k, row in enumerate(rows)
        for d, weights in enumerate(row)
        for name, array in weights.items()
    }
    return restored(config, arrays, backend)


def linear(weights: Weights, backend: Backend) -> Any:
    """Return a Linear with a weight (O, I) and perhaps a bias (O,)."""
    O, I = matrix(weights, "weight")
    config = {"layer": "Linear", "input_size": I, "output_size": O, "bias": "bias" in weights}
    return restored(config, weights, backend)


def embedding(weights: Weights, backend: Backend) -> Any:
    """Return an Embedding with a weight (V, E)."""
    V, E = matrix(weights, "weight")
    return restored({"layer": "Embedding", "num_embeddings": V, "size": E}, weights, backend)


def restored(config: Mapping[str, Any], arrays: Weights, backend: Backend) -> Any:
    """Return the layer of this configuration with these parameters, copied.

    Raises
    ------
    ValueError, TypeError
        Where a name, a shape or a dtype does not fit, or a number is not finite.
    """
    expected = shapes(config, at_most=len(arrays))
    for name in {**expected, **arrays}:
        found = tuple(np.shape(arrays[name])) if name in arrays else "none"
        if expected.get(name, "none") != found:
            raise ValueError(
                f"{name} must have shape {expected.get(name, 'none')} in this "
                f"{config['layer']}, got {found}"
            )
    return io.restore_layer(config, {k: _plain(k, array) for k, array in arrays.items()}, backend)


def matrix(weights: Weights, name: str) -> tuple[int, int]:
    """Return the shape of an array that must be a matrix."""
    if name not in weights:
        raise ValueError(f"expected the parameter {name}, got {', '.join(weights) or 'none'}")
    shape = tuple(np.shape(weights[name]))
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{name} must be a matrix, got shape {shape}")
    return shape


def _plain(name: str, array: Any) -> np.ndarray:
    """Return an array as a copy of its own, in float32 or float64."""
    if hasattr(array, "detach"):  # of torch
        if array.is_meta:
            raise ValueError(f"{name} has no values, as it is on torch's device meta")
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    host = np.asarray(array)
    if host.dtype.name == "bfloat16":
        host = host.astype("float32")
    if host.dtype.kind != "f":
        raise TypeError(f"{name} must be a floating array, got dtype {host.dtype}")
    return np.array(host, "float64" if host.dtype.itemsize > 4 else "float32", order="C")
