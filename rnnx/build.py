"""Layers from their configurations (provisional)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rnnx import simple
from rnnx.cells.gru import GRUCell
from rnnx.cells.lstm import LSTMCell
from rnnx.cells.rnn import RNNCell
from rnnx.layers import dropout, embedding, gru, linear, lstm, parameters, pool, rnn, sequential

LAYERS: dict[str, Any] = {
    "RNN": rnn.RNN, "GRU": gru.GRU, "LSTM": lstm.LSTM, "Linear": linear.Linear,
    "Embedding": embedding.Embedding, "Pool": pool.Pool, "Dropout": dropout.Dropout,
    "SimpleRNN": simple.SimpleRNN,
}  # fmt: skip
GATES = {"RNN": RNNCell, "GRU": GRUCell, "LSTM": LSTMCell}


def build(config: Mapping[str, Any], *, seed: Any = None, **place: Any) -> Any:
    """Return the layer of a configuration; raise ValueError for one that is not valid."""
    name, options = _checked(config)
    try:
        if name == "Sequential":
            return sequential.Sequential(*[build(c, seed=seed, **place) for c in options["layers"]])
        seeded = {} if name in ("Pool", "Dropout") else {"seed": seed}
        return LAYERS[name](**options, **seeded, **place)
    except (TypeError, KeyError) as error:
        raise ValueError(f"the configuration of a {name} is not valid: {error}") from None


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters by name, without allocating them."""
    name, options = _checked(config)
    try:
        return _shapes(name, options)
    except (TypeError, KeyError) as error:
        raise ValueError(f"the configuration of a {name} is not valid: {error}") from None


def _checked(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    name = config.get("layer") if isinstance(config, Mapping) else None
    if name != "Sequential" and (not isinstance(name, str) or name not in LAYERS):
        raise ValueError(f"layer must be one of Sequential, {', '.join(LAYERS)}, got {name!r:.80}")
    return name, {k: v for k, v in config.items() if k != "layer"}


def _shapes(name: str, o: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    if name == "Sequential":
        parts = enumerate(o["layers"])
        return {f"{i}.{k}": s for i, c in parts for k, s in shapes(c).items()}
    if name in GATES:
        sizes = parameters.Sizes(
            GATES[name]().gates, o["input_size"], o["hidden_size"], o.get("proj_size", 0),
            o["num_layers"], 1 + o["bidirectional"], o["bias"],
        )  # fmt: skip
        return parameters.shapes(sizes)
    if name == "Linear":
        outputs = o["output_size"]
        return {"weight": (outputs, o["input_size"])} | ({"bias": (outputs,)} if o["bias"] else {})
    if name == "Embedding":
        return {"weight": (o["num_embeddings"], o["size"])}
    if name == "SimpleRNN":
        features, hidden, out = o["input_size"], o["hidden_size"], o["output_size"]
        return {
            "Wxh": (hidden, features), "Whh": (hidden, hidden), "Why": (out, hidden),
            "bh": (hidden, 1), "by": (out, 1),
        }  # fmt: skip
    return {}


def config(layer: Any) -> dict[str, Any]:
    """Return the configuration of a layer (provisional: layers bring their own)."""
    name = type(layer).__name__
    if name == "Sequential":
        return {"layer": name, "layers": [config(part) for part in layer.layers]}
    own: dict[str, Any] = {}
    if name in GATES:
        s, rates = layer.sizes, layer.rates
        own = {
            "input_size": s.input_size, "hidden_size": s.hidden_size, "num_layers": s.num_layers,
            "bias": s.bias, "batch_first": layer.batch_first, "dropout": rates.dropout,
            "recurrent_dropout": rates.recurrent, "weight_drop": rates.weight,
            "bidirectional": s.directions == 2,
        }  # fmt: skip
        own |= {"proj_size": s.proj_size} if name == "LSTM" else {}
        own |= {"nonlinearity": layer.cell.nonlinearity} if name == "RNN" else {}
    elif name == "Linear":
        own = {"input_size": layer.input_size, "output_size": layer.output_size}
        own |= {"bias": "bias" in layer.params}
    elif name == "Embedding":
        own = {"num_embeddings": layer.num_embeddings, "size": layer.output_size}
    elif name == "Pool":
        own = {k: getattr(layer, k) for k in ("how", "batch_first", "bidirectional")}
    elif name == "Dropout":
        own = {"p": layer.p}
    elif name == "SimpleRNN":
        own = {k: getattr(layer, k) for k in ("input_size", "hidden_size", "output_size")}
        own |= {"nonlinearity": layer.cell.nonlinearity}
    assert not any(isinstance(v, float) and math.isnan(v) for v in own.values())
    return {"layer": name} | own
