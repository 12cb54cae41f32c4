"""From a configuration to a model: `build`, the inverse of ``layer.config()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnx.backend import Backend, get_backend
from rnnx.cells import build_cell
from rnnx.layers.activation import Activation
from rnnx.layers.base import UNDRAWN, Seed
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.rnn import RNN
from rnnx.layers.sequential import Sequential
from rnnx.simple import SimpleRNN
from rnnx.validate import generator

DRAWN: dict[str, type] = {
    kind.__name__: kind for kind in (RNN, GRU, LSTM, Recurrent, Linear, Embedding, SimpleRNN)
}
PLAIN: dict[str, type] = {
    kind.__name__: kind for kind in (Activation, Dropout, Pool)
}  # without parameters
DEEPEST = 32  # chains within chains


def build(
    config: Mapping[str, Any],
    *,
    backend: str | Backend = "numpy",
    device: Any = None,
    dtype: str | None = None,
    seed: Seed = None,
) -> Any:
    """Return a new layer or `SimpleRNN` of a configuration, with new initial parameters.

    Parameters
    ----------
    config : mapping
        What the ``config()`` of a layer returned, as it is or by way of JSON.
    backend, device, dtype
        As for `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Seed of the initial parameters.

    Returns
    -------
    Layer or SimpleRNN

    Raises
    ------
    ValueError
        For a configuration that is not one of a layer.
    BackendUnavailable
        As `rnnx.get_backend` does.

    Examples
    --------
    >>> import rnnx
    >>> model = rnnx.Sequential(rnnx.GRU(3, 8, bidirectional=True), rnnx.Linear(16, 2))
    >>> rnnx.build(model.config()).config() == model.config()
    True
    """
    place = get_backend(backend, device=device, dtype=dtype)
    return _built(config, place, seed if seed is UNDRAWN else generator(seed), 0)


def shapes(config: Mapping[str, Any], *, at_most: int = 10_000) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of a configuration by name, without making one.

    Parameters
    ----------
    config : mapping
        As for `build`.
    at_most : int
        The largest number of stacked layers to expect.

    Raises
    ------
    ValueError
        As `build` does.
    """
    for part in _parts(config, 0):
        layers = part.get("num_layers", 1)
        if not isinstance(layers, int) or layers > at_most:
            raise ValueError(f"num_layers must be an integer of at most {at_most}, got {layers!r}")
    model = build(config, seed=UNDRAWN)
    return {name: tuple(outline.shape) for name, outline in model.params.items()}


def _built(config: Any, place: Backend, seed: Any, depth: int) -> Any:
    options = _options(config, depth)
    kind = options.pop("layer")
    if kind == "Sequential":
        return Sequential(*[_built(part, place, seed, depth + 1) for part in options["layers"]])
    if "cell" in options:
        options["cell"] = build_cell(_mapping("cell", options["cell"]))
    try:
        if kind in PLAIN:
            return PLAIN[kind](**options, backend=place)
        return DRAWN[kind](**options, backend=place, seed=seed)
    except TypeError as error:
        reason = str(error).replace(f"{kind}.__init__() ", "")
        raise ValueError(
            f"expected the options of a {kind}, got a configuration: {reason}"
        ) from None


def _parts(config: Any, depth: int) -> list[dict[str, Any]]:
    """Return the configurations of the innermost layers."""
    options = _options(config, depth)
    if options["layer"] != "Sequential":
        return [options]
    return [part for inner in options["layers"] for part in _parts(inner, depth + 1)]


def _options(config: Any, depth: int) -> dict[str, Any]:
    """Return a copy of the configuration of one layer of a known kind."""
    options = _mapping("config", config)
    kind = options.get("layer")
    known = [*DRAWN, *PLAIN, "Sequential"]
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(f"layer must be one of {', '.join(known)}, got {kind!r}")
    if kind == "Sequential":
        if options.keys() != {"layer", "layers"} or not isinstance(options["layers"], list | tuple):
            raise ValueError("expected a Sequential with a list of layers and nothing else")
        if depth >= DEEPEST:
            raise ValueError(f"expected at most {DEEPEST} chains within chains, got more")
    elif "backend" in options or "seed" in options:
        raise ValueError("config must not name a backend or a seed: give them to build")
    return options


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be a dict with names as keys, got {type(value).__name__}")
    return dict(value)
