"""Every model in one kind of file: `save` and `load`.

A layer needs nothing for it but ``config()``, ``params`` and `rnnx.build`. Any other model has
these, and a line in `KINDS`::

    model._describe() -> Description, arrays         # kind: its class; arrays: dict of NumPy arrays
    Class._expect(description) -> {name: Spec}       # the arrays that this description calls for
    Class._restore(description, arrays, backend) -> model

`_expect` sees the description only, before memory is taken for any array, and raises ValueError for
a description that is not valid. `_restore` gets arrays that are as expected.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from typing import Any, Self

import numpy as np

from rnnx.backend import Backend, target_backend
from rnnx.io.format import Arrays, damaged, describe, finite, read, write
from rnnx.io.header import Description, Spec
from rnnx.layers.base import UNDRAWN
from rnnx.models import build, shapes

LAYER, RUN = "layer", "training run"
KINDS = {  # kind -> the module of the class of this name
    "RNNClassifier": "rnnx.estimators.classifier",
    "RNNRegressor": "rnnx.estimators.regressor",
    "RNNForecaster": "rnnx.estimators.forecaster",
    "CharacterModel": "rnnx.characters.model",
}


def save(path: str | PathLike[str], model: Any) -> None:
    """Write a model to a safetensors file: its configuration and its parameters, no code.

    Parameters
    ----------
    path : path
        The file. An existing one is replaced once the new one is complete.
    model : Layer, SimpleRNN, estimator or CharacterModel
        What `load` returns. The tensors of a layer's file have the names of its parameters, which
        are torch's.

    Raises
    ------
    OSError
        If the folder is missing, not writable or full. An existing file stays as it was.
    ValueError, TypeError
        If this is not a model, is not fitted, or has parameters that are not finite.

    Examples
    --------
    >>> import rnnx
    >>> model = rnnx.Sequential(rnnx.GRU(3, 8, seed=0), rnnx.Linear(8, 2, seed=1))
    >>> rnnx.save("model.safetensors", model)                          # doctest: +SKIP
    >>> model = rnnx.load("model.safetensors", backend="torch")        # doctest: +SKIP
    """
    if hasattr(model, "_describe"):
        description, arrays = model._describe()
    elif hasattr(model, "config") and hasattr(model, "params"):
        bk = model.backend
        description = Description(LAYER, model.config(), bk.dtype_name, {})
        arrays = {name: bk.to_numpy(w) for name, w in model.params.items()}
        finite(arrays)
    else:
        raise TypeError(f"expected a layer, an estimator or a CharacterModel, got {model!r:.80}")
    write(path, description, arrays)


def load(
    path: str | PathLike[str],
    *,
    backend: str | Backend = "numpy",
    device: Any = None,
    dtype: str | None = None,
) -> Any:
    """Return the model in a file that `save` wrote, on any backend.

    Parameters
    ----------
    path : path
        The file.
    backend, device
        As for `rnnx.get_backend`.
    dtype : {"float32", "float64"}, optional
        By default the file's, or that of the `Backend` given. The parameters come back bit for bit
        in the file's dtype; float64 parameters are rounded if float32 is asked for.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it is damaged, or holds anything but a model. Files from others are safe to load: they
        hold no code, and no more memory is taken than the model needs.
    """
    target = partial(target_backend, backend, device=device, dtype=dtype)
    kind = describe(path).kind
    if kind == RUN:
        raise damaged(path, "it is a checkpoint: resume it with fit(checkpoint_dir=, resume=True)")
    if kind != LAYER and kind not in KINDS:
        raise damaged(path, f"it holds a {kind!r:.80}, which this version does not know")
    model = _Layer if kind == LAYER else getattr(importlib.import_module(KINDS[kind]), kind)
    return _load(path, model, kind, target)


class Saved:
    """A model with `save` and `load` of its own class; its class is in `KINDS`."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to a file, as `rnnx.save` does."""
        save(path, self)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
    ) -> Self:
        """Return the model of this class in a file, as `rnnx.load` does."""
        target = partial(target_backend, backend, device=device, dtype=dtype)
        model: Self = _load(path, cls, cls.__name__, target)
        return model


def layer_specs(
    config: Mapping[str, Any], dtype: str, available: Iterable[str], prefix: str = ""
) -> dict[str, Spec]:
    """Return what the arrays of a layer's parameters must be in a file.

    Parameters
    ----------
    config : dict
        The layer's configuration, as `config()` returned it.
    dtype : str
        The parameters' dtype.
    available : iterable of str
        The names of the file's arrays. A configuration with more stacked layers than arrays is
        refused before its shapes are listed.
    prefix : str
        What stands before each parameter's name in the file, such as ``"model."``.
    """
    found = shapes(config, at_most=max(1, len(list(available))))
    return {prefix + name: Spec(dtype, shape) for name, shape in found.items()}


def restore_layer(config: Mapping[str, Any], arrays: Arrays, backend: Backend) -> Any:
    """Return the layer of a configuration with these parameters, on a backend.

    Raises
    ------
    ValueError
        If a parameter is not finite in the backend's dtype.
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold is found to be infinite
        own = {name: w.astype(backend.dtype_name, copy=False) for name, w in arrays.items()}
    finite(own)
    layer = build(config, backend=backend, seed=UNDRAWN)
    layer.set_params(own)
    return layer


def _load(path: Any, hooks: Any, kind: str, target: Callable[..., Backend]) -> Any:
    """Return a model of this kind from a file, on the target backend."""
    description, arrays = read(path, kind, hooks._expect)
    place = target(own_dtype=description.dtype)
    try:
        return hooks._restore(description, arrays, place)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None


class _Layer:
    """The hooks of a layer."""

    @staticmethod
    def _expect(description: Description) -> dict[str, Spec]:
        return layer_specs(description.config, description.dtype, description.specs)

    @staticmethod
    def _restore(description: Description, arrays: Arrays, backend: Backend) -> Any:
        return restore_layer(description.config, arrays, backend)
