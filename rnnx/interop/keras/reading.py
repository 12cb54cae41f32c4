"""From Keras: a layer, a model, or a `.keras` file, for which Keras is not needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from rnnx.backend import Backend
from rnnx.interop.building import embedding, linear, recurrent, target
from rnnx.interop.keras import archive, layouts
from rnnx.interop.keras.structure import entries, name_of, of_keras
from rnnx.layers.activation import FUNCTIONS, Activation
from rnnx.layers.dropout import Dropout
from rnnx.layers.pool import Pool
from rnnx.layers.sequential import Sequential

FLAGS = (True, False)
POOLS = {"GlobalAveragePooling1D": "mean", "GlobalMaxPooling1D": "max"}
CELLS: dict[str, list[tuple[str, ...]]] = {  # the parts that hold a layer's arrays
    **{kind: [("cell",)] for kind in layouts.KINDS},
    "Bidirectional": [("forward_layer", "cell"), ("backward_layer", "cell")],
    "TimeDistributed": [("layer",)],
}
KNOWN = (*layouts.KINDS, "Bidirectional", "Dense", "TimeDistributed", "Embedding", "Dropout",
         "Activation", "Softmax", "ReLU", *POOLS)  # fmt: skip


Read = Callable[..., list[np.ndarray]]  # the names of parts -> the variables of the last one


class Part(NamedTuple):
    """A layer of Keras."""

    kind: str
    config: Mapping[str, Any]
    arrays: list[list[np.ndarray]]  # of each of its parts in `CELLS`


def from_keras(
    source: Any,
    *,
    layer: str | None = None,
    backend: str | Backend = "numpy",
    device: Any = None,
    dtype: str | None = None,
) -> Any:
    """Return the layer, or the chain of layers, of a Keras layer, model or `.keras` file.

    Parameters
    ----------
    source : keras.layers.Layer, keras.Model or path
        A layer with weights; a Sequential, or a functional model that is a chain; or the name of a
        `.keras` file of one, for which h5py is needed, and neither Keras nor TensorFlow. Layers:
        SimpleRNN, GRU with either `reset_after`, LSTM, Bidirectional (``merge_mode="concat"``),
        Dense, TimeDistributed of Dense, Embedding, Dropout, Activation, Softmax, ReLU,
        GlobalAveragePooling1D and GlobalMaxPooling1D.
    layer : str, optional
        The name of one layer of the model to take alone.
    backend, device, dtype
        As for `rnnx.get_backend`. The dtype is by default that of the arrays.

    Returns
    -------
    Layer
        For several layers a `Sequential`. Recurrent layers read (B, T, I), as Keras does. One with
        ``return_sequences=False`` is followed by ``Pool("last")``. Dropout inside a recurrent
        layer, which acts in training only, is left out. Parameters are copies. A layer that
        computes in float16 becomes one that computes in float32.

    Raises
    ------
    ValueError, TypeError
        For a layer or an option that has no equal here, by its name. Nothing is approximated. A
        damaged file is an error of one line that names it.
    ImportError
        For a file without h5py.
    OSError
        If the file cannot be read.

    References
    ----------
    The file: Keras 3, ``keras/src/saving/saving_lib.py``.
    """
    if isinstance(source, str | PathLike):
        with archive.opened(source) as (config, weights):
            found = entries(config, whole=layer is None)
            groups = archive.group_names([entry["class_name"] for entry in found])
            read = [partial(archive.variables, weights, "layers", group) for group in groups]
            return _model(_parts(found, read, layer), backend, device, dtype)
    if isinstance(source, type) or not hasattr(source, "get_config"):
        raise TypeError(f"expected a Keras layer or a file name, got {source!r:.80}")
    kind = type(source)
    entry = {"class_name": kind.__name__, "module": kind.__module__, "config": source.get_config()}
    found, own = [entry], [source]
    if hasattr(source, "get_layer"):
        found = entries(entry, whole=layer is None)
        named = {inner.name: inner for inner in source.layers}  # operations are no layers
        own = [named.get(name_of(inner)) for inner in found]
    read = [partial(_variables, inner) for inner in own]
    return _model(_parts(found, read, layer), backend, device, dtype)


def _variables(layer: Any, *names: str) -> list[np.ndarray]:
    """Return the variables of a part of a layer of Keras, which must have been built."""
    if not layer.built:
        raise ValueError(
            f"the layer {layer.name!r:.80} has no weights yet: call the model or the layer once"
        )
    for name in names:
        layer = getattr(layer, name)
    return [np.asarray(variable.numpy()) for variable in layer.weights]


def _parts(chain: list[dict[str, Any]], readers: Sequence[Read], layer: str | None) -> list[Part]:
    """Return all layers but the input, or the one of this name."""
    parts = []
    for entry, read in zip(chain, readers, strict=True):
        kind, home = entry["class_name"], entry.get("module")
        if kind == "InputLayer" or layer not in (None, name_of(entry)):
            continue
        if entry.get("registered_name") or not of_keras(home) or kind not in KNOWN:
            raise ValueError(
                f"expected layers of Keras that are {', '.join(KNOWN)}, got {kind!r:.80} of "
                f"{home!r:.80}: in a model, choose another layer with layer="
            )
        arrays = [read(*names) for names in CELLS.get(kind, [()])]
        parts.append(Part(kind, entry["config"], arrays))
    if not parts:
        names = ", ".join(map(name_of, chain))
        raise ValueError(f"layer must be one of {names:.300}, got {layer!r}")
    return parts


def _model(parts: list[Part], backend: str | Backend, device: Any, dtype: str | None) -> Any:
    """Return the layer, or the chain of several."""
    arrays = [array for part in parts for cell in part.arrays for array in cell]
    place = target(arrays, backend, device, dtype)
    layers = [layer for part in parts for layer in _layers(part, place)]
    return layers[0] if len(layers) == 1 else Sequential(*layers)


def _layers(part: Part, backend: Backend) -> list[Any]:
    """Return our layers of one of Keras: one or two, none for one that does nothing."""
    kind, config = part.kind, part.config
    if kind in layouts.KINDS:
        return _recurrent(kind, [config], part, backend)
    if kind == "Bidirectional":
        return _bidirectional(part, backend)
    if kind in ("Dense", "TimeDistributed"):
        return _dense(part, backend)
    if kind == "Embedding":
        _demand(kind, config, mask_zero=(False, None))
        return [embedding(_named(kind, part.arrays[0], ("weight",)), backend)]
    if kind == "Dropout":
        _demand(kind, config, noise_shape=(None,))
        return [Dropout(config["rate"], backend=backend)] if config["rate"] else []
    if kind in POOLS:
        _demand(kind, config, data_format=("channels_last",), keepdims=(False, None))
        return [Pool(POOLS[kind], batch_first=True, backend=backend)]
    if kind == "ReLU":
        _demand(kind, config, max_value=(None,), negative_slope=(0, None), threshold=(0, None))
        return [Activation("relu", backend=backend)]
    if kind == "Softmax":
        _demand(kind, config, axis=(-1,))
        return [Activation("softmax", backend=backend)]
    return _activation(kind, config, backend)


def _bidirectional(part: Part, backend: Backend) -> list[Any]:
    """Return the layers of a Bidirectional."""
    _demand("Bidirectional", part.config, merge_mode=("concat",))
    forward, backward = (part.config[name] for name in ("layer", "backward_layer"))
    kind = forward["class_name"]
    if kind not in layouts.KINDS or backward["class_name"] != kind:
        raise ValueError(
            f"expected a Bidirectional of two of one of {', '.join(layouts.KINDS)}, got "
            f"{kind!r:.80} and {backward['class_name']!r:.80}"
        )
    return _recurrent(kind, [forward["config"], backward["config"]], part, backend)


def _recurrent(
    kind: str, configs: list[Mapping[str, Any]], part: Part, backend: Backend
) -> list[Any]:
    """Return a recurrent layer, and a Pool where Keras returns the last output only."""
    options: dict[str, Any] = {}
    for d, config in enumerate(configs):
        _demand(kind, config, go_backwards=(d == 1,), stateful=(False, None))
        if kind != "SimpleRNN":
            _demand(kind, config, activation=("tanh",), recurrent_activation=("sigmoid",))
    first, last = configs[0], configs[-1]
    _demand(kind, first, return_sequences=FLAGS, use_bias=FLAGS)
    for name in ("units", "return_sequences", "activation", "use_bias", "reset_after"):
        _demand(kind, last, **{name: (first.get(name),)})
    if kind == "SimpleRNN":
        _demand(kind, first, activation=("tanh", "relu"))
        options["nonlinearity"] = first["activation"]
    if kind == "GRU":
        _demand(kind, first, reset_after=FLAGS)
        options["reset_after"] = bool(first["reset_after"])
    rows = []
    for arrays in part.arrays:
        if len(arrays) != (3 if first["use_bias"] else 2):
            raise ValueError(f"expected the arrays of a {kind}, got {len(arrays)} of them")
        rows.append(layouts.read(kind, arrays, options.get("reset_after", True)))
    layer = recurrent(layouts.KINDS[kind], [rows], backend, batch_first=True, **options)
    _demand(kind, first, units=(layer.sizes.hidden_size,))
    if first["return_sequences"]:
        return [layer]
    return [layer, Pool("last", batch_first=True, bidirectional=len(rows) == 2, backend=backend)]


def _dense(part: Part, backend: Backend) -> list[Any]:
    """Return a Linear and its activation."""
    kind, config = part.kind, part.config
    if kind == "TimeDistributed":
        kind, config = config["layer"]["class_name"], config["layer"]["config"]
        if kind != "Dense":
            raise ValueError(f"expected a TimeDistributed of a Dense, got one of a {kind!r:.80}")
    _demand(kind, config, use_bias=FLAGS, quantization_config=(None,), lora_rank=(None,))
    arrays = _named(kind, part.arrays[0], ("weight", "bias")[: 2 if config["use_bias"] else 1])
    arrays["weight"] = arrays["weight"].T
    _demand(kind, config, units=(len(arrays["weight"]),))
    return [linear(arrays, backend), *_activation(kind, config, backend)]


def _activation(kind: str, config: Mapping[str, Any], backend: Backend) -> list[Any]:
    """Return the layer of an activation, none for the identity."""
    _demand(kind, config, activation=("linear", None, *FUNCTIONS))
    name = config["activation"]
    return [] if name in ("linear", None) else [Activation(name, backend=backend)]


def _named(kind: str, arrays: list[np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return a layer's arrays by our names."""
    if len(arrays) != len(names):
        raise ValueError(f"expected {len(names)} arrays for {kind}, got {len(arrays)}")
    return dict(zip(names, arrays, strict=True))


def _demand(kind: str, config: Mapping[str, Any], **known: tuple[Any, ...]) -> None:
    """Raise for an option with a value that has no equal here; a missing one is None."""
    for name, values in known.items():
        found = config.get(name)
        if not any(found is value or found == value for value in values):
            raise ValueError(
                f"expected {kind} with {name}={' or '.join(map(repr, values))}, got {found!r:.80}"
            )
