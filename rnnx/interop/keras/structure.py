"""The structure of a model of Keras: its layers in order, which must be a chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def entries(config: Mapping[str, Any], *, whole: bool) -> list[dict[str, Any]]:
    """Return the configurations of a model's layers in order; of a `whole` one, a chain."""
    kind, home, inner = config["class_name"], config.get("module"), config["config"]
    if kind not in ("Sequential", "Functional", "Model") or not of_keras(home):
        raise ValueError(
            f"expected a Sequential or a functional model of Keras, got a {kind!r:.80} of "
            f"{home!r:.80}"
        )
    found = list(inner["layers"])
    if kind == "Sequential":
        return [entry for entry in found if entry["class_name"] != "InputLayer"]
    if whole:
        names = [name_of(entry) for entry in found]
        before = [[], *[[[name, 0, 0]] for name in names[:-1]]]
        after = list(_leaves(inner["output_layers"]))
        if [_given(entry) for entry in found] != before or after != [names[-1], 0, 0]:
            raise ValueError(
                "expected a chain of layers, got a model of another structure: choose one with "
                "layer="
            )
    return found


def of_keras(home: Any) -> bool:
    """Return whether a module is one of Keras's own."""
    return str(home).partition(".")[0] == "keras"


def _given(entry: Mapping[str, Any]) -> list[Any]:
    """Return what the calls of a layer are given but for None and False, which change nothing.

    An output of another layer is ``[name, call, output]``, with 0 for the first of each; whatever
    else there is, such as a constant mask or state, is as it is written.
    """
    found: list[Any] = []
    for call in entry["inbound_nodes"]:
        if not isinstance(call, Mapping):  # of Keras 2
            found.append(call)
            continue
        for value in (*call["args"], *call["kwargs"].values()):
            if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
                found.append(list(value["config"]["keras_history"]))
            elif value is not None and value is not False:
                found.append(value)
    return found


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the entries of nested lists."""
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def name_of(entry: Mapping[str, Any]) -> str:
    """Return the name of a layer."""
    return str(entry["config"]["name"])
