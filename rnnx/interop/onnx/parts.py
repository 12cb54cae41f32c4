"""Layers from single nodes of a graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnx.interop.onnx.values import Values, label, options
from rnnx.interop.onnx.weights import ORDER, from_file
from rnnx.io.format import Arrays

ACTIVATIONS = {  # the first are the defaults; all others are refused
    "RNN": {"tanh": ["Tanh"], "relu": ["Relu"]},
    "GRU": {"": ["Sigmoid", "Tanh"]},
    "LSTM": {"": ["Sigmoid", "Tanh", "Tanh"]},
}
OWN: dict[str, dict[str, int]] = {
    "RNN": {}, "GRU": {"linear_before_reset": 0}, "LSTM": {"input_forget": 0},
}  # fmt: skip
PLAIN = {"activation_alpha": [], "activation_beta": [], "layout": 0, "input_forget": 0}
STATES = {"RNN": 1, "GRU": 1, "LSTM": 2}


class Part(NamedTuple):
    """A layer: its configuration, as `rnnx.build` reads it, and its parameters by name."""

    config: dict[str, Any]
    arrays: Arrays

    @property
    def width(self) -> int | None:
        """The number of features of its output; None for that of its input."""
        found = self.config
        directions = 2 if found.get("bidirectional") else 1
        if "hidden_size" in found:
            return int(directions * found["hidden_size"])
        return found.get("output_size", found.get("size"))


def recurrent(values: Values, node: Any) -> Part:
    """Return the layer of an RNN, a GRU or an LSTM node.

    Raises
    ------
    ValueError
        For what has no equal here, by name, and for weights that do not fit each other.
    """
    op, name = node.op_type, label(node)
    found = options(
        node, direction="forward", hidden_size=0, activations=[], activation_alpha=[],
        activation_beta=[], layout=0, **OWN[op],
    )  # fmt: skip
    for key, plain in PLAIN.items():
        if found.get(key, plain) != plain:
            raise ValueError(f"{name} has {key}={found[key]!r:.40}, which has no equal here")
    directions = {"forward": 1, "bidirectional": 2}.get(found["direction"])
    if directions is None:
        raise ValueError(
            f"{name} has direction={found['direction']!r:.40}, expected 'forward' or "
            "'bidirectional'"
        )
    _, W, R, B, lengths, *starts = inputs(node, 5 + STATES[op])
    _check_constants(values, name, lengths, starts)
    arrays = _weights(values, node, directions, {"W": W, "R": R, "B": B})
    I, H = arrays["W"].shape[2], arrays["R"].shape[2]
    if found["hidden_size"] not in (0, H):
        raise ValueError(f"{name} has hidden_size={found['hidden_size']}, its weights {H}")
    own = _own(name, op, found, directions)
    params: Arrays = {}
    for d, way in enumerate(["", "_reverse"][:directions]):
        one = from_file(op, {k: a[d] for k, a in arrays.items()}, own.get("reset_after", True))
        params |= {f"{k}_l0{way}": array for k, array in one.items()}
    sizes = {"input_size": I, "hidden_size": H, "num_layers": 1, **own}
    return Part({"layer": op, **sizes, "bias": bool(B), "bidirectional": directions == 2}, params)


def inputs(node: Any, most: int) -> list[str]:
    """Return the names of so many inputs, "" for one that is not there; more raise."""
    names = list(node.input)
    if any(names[most:]):
        what = "peepholes" if node.op_type == "LSTM" else f"{len(names)} inputs"
        raise ValueError(f"{label(node)} has {what}, which have no equal here")
    return (names + [""] * most)[:most]


def _check_constants(values: Values, name: str, lengths: str, starts: list[str]) -> None:
    """Raise for constant lengths, and for constant initial states that are not zero."""
    if values.is_constant(lengths):
        raise ValueError(f"{name} has constant sequence_lens: leave them to the call")
    what = f"the initial state of {name}"
    for start in starts:
        if values.is_constant(start) and not values.is_zero(start, what):
            raise ValueError(f"{what} is constant and not zero: leave it to the call")


def _weights(values: Values, node: Any, directions: int, names: dict[str, str]) -> Arrays:
    """Return W (D, G·H, I), R (D, G·H, H) and B (D, 2·G·H), of shapes that fit."""
    op, name = node.op_type, label(node)
    arrays = {
        key: values.weights(value, f"{key} of {name}", 2 if key == "B" else 3)
        for key, value in names.items()
        if value or key != "B"
    }
    H = arrays["R"].shape[2]
    rows = len(ORDER[op]) * H
    expected = {"W": (directions, rows, arrays["W"].shape[2]), "R": (directions, rows, H),
                "B": (directions, 2 * rows)}  # fmt: skip
    for key, array in arrays.items():
        if array.shape != expected[key]:
            raise ValueError(f"{key} of {name} must have shape {expected[key]}, got {array.shape}")
    return arrays


def _own(name: str, op: str, found: dict[str, Any], directions: int) -> dict[str, Any]:
    """Return the options that this kind of layer has alone."""
    known = ACTIVATIONS[op]
    given = found["activations"] or next(iter(known.values())) * directions
    kinds = [kind for kind, names in known.items() if given == names * directions]
    if not kinds:
        raise ValueError(f"{name} has activations={given!r:.80}, which have no equal here")
    if op == "GRU":
        if found["linear_before_reset"] not in (0, 1):
            raise ValueError(f"{name} has linear_before_reset={found['linear_before_reset']}")
        return {"reset_after": found["linear_before_reset"] == 1}
    return {"nonlinearity": kinds[0]} if op == "RNN" else {}


def linear(weight: np.ndarray, bias: np.ndarray | None = None) -> Part:
    """Return the layer x Wᵀ + b of W (O, I)."""
    O, I = weight.shape
    arrays = {"weight": np.ascontiguousarray(weight)} | ({} if bias is None else {"bias": bias})
    config = {"layer": "Linear", "input_size": I, "output_size": O, "bias": bias is not None}
    return Part(config, arrays)


def merged(parts: list[Part]) -> list[Part]:
    """Return the parts of a chain, consecutive recurrent layers with equal options as stacks."""
    found: list[Part] = []
    for part in parts:
        if found and _stacks(found[-1].config, part.config):
            config, arrays = found[-1]
            n = config["num_layers"]
            config["num_layers"] = n + 1
            arrays.update({k.replace("_l0", f"_l{n}"): a for k, a in part.arrays.items()})
        else:
            found.append(part)
    return found


def _stacks(below: dict[str, Any], above: dict[str, Any]) -> bool:
    own = ("input_size", "num_layers")
    rest = [{k: v for k, v in config.items() if k not in own} for config in (below, above)]
    return below["layer"] in ORDER and rest[0] == rest[1]  # widths fit in a chain
