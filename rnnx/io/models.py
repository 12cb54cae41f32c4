"""Every model in one kind of file: `save` and `load`.

A layer needs ``config()`` and ``params``. Any other model has a line in `KINDS` and three hooks:
``_describe() -> Description, arrays``, ``_expect(description) -> {name: Spec}``, which is called
before memory is taken for any array, and ``_restore(description, arrays, backend) -> model``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from os import PathLike
from typing import Any, Self

import numpy as np

from rnnx.backend import Backend, target_backend
from rnnx.io.files import damaged
from rnnx.io.format import Arrays, describe, finite, read, write
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
    kind = describe(path).kind
    if kind == RUN:
        raise damaged(path, "it is a checkpoint: resume it with fit(checkpoint_dir=, resume=True)")
    if kind != LAYER and kind not in KINDS:
        raise damaged(path, f"it holds a {kind!r:.80}, which this version does not know")
    model = _Layer if kind == LAYER else getattr(importlib.import_module(KINDS[kind]), kind)
    return _load(path, model, kind, backend, device, dtype)


class Saved:
    """A model with `save` and `load` of its own class."""

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
        model: Self = _load(path, cls, cls.__name__, backend, device, dtype)
        return model


def layer_specs(description: Description, prefix: str = "") -> dict[str, Spec]:
    """Return what the arrays of the layer of this configuration must be; names get the prefix."""
    found = shapes(description.config, at_most=max(1, len(description.specs)))
    return {prefix + name: Spec(description.dtype, shape) for name, shape in found.items()}


def restore_layer(config: Mapping[str, Any], arrays: Arrays, backend: Backend) -> Any:
    """Return the layer of this configuration with these parameters, if they are finite there."""
    with np.errstate(over="ignore"):  # what float32 cannot hold is found to be infinite
        own = {name: w.astype(backend.dtype_name, copy=False) for name, w in arrays.items()}
    finite(own)
    layer = build(config, backend=backend, seed=UNDRAWN)
    _check_built("config", config, layer.config())
    if {k: tuple(w.shape) for k, w in layer.params.items()} != {k: w.shape for k, w in own.items()}:
        raise ValueError("its arrays are not those of the layer")
    layer._take({name: backend.asarray(own[name]) for name in layer.params})  # nobody else has them
    return layer


def _check_built(name: str, given: Any, built: Any) -> None:
    """Raise ValueError if a configuration was read as another one, such as [] as False."""
    if isinstance(given, Mapping) and isinstance(built, Mapping):
        for key, value in given.items():
            _check_built(key, value, built.get(key))
    elif isinstance(given, list | tuple) and isinstance(built, list | tuple):
        for i, (value, own) in enumerate(zip(given, built, strict=True)):
            _check_built(f"{name}[{i}]", value, own)
    elif given != built or isinstance(given, bool) != isinstance(built, bool):
        raise ValueError(f"{name!r:.80} cannot be {given!r:.80}")


def _load(path: Any, hooks: Any, kind: str, backend: Any, device: Any, dtype: Any) -> Any:
    """Return a model of this kind from a file, by the hooks of its class."""
    description, arrays = read(path, kind, hooks._expect)
    place = target_backend(backend, device=device, dtype=dtype, own_dtype=description.dtype)
    try:
        return hooks._restore(description, arrays, place)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None


class _Layer:
    """The hooks of a layer."""

    @staticmethod
    def _expect(description: Description) -> dict[str, Spec]:
        if description.extra:
            raise ValueError(f"a layer has nothing extra, got {list(description.extra)!r:.80}")
        return layer_specs(description)

    @staticmethod
    def _restore(description: Description, arrays: Arrays, backend: Backend) -> Any:
        return restore_layer(description.config, arrays, backend)
