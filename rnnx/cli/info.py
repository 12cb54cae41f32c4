"""``rnnx info MODEL``: what a model file holds, read with NumPy alone."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnx import io
from rnnx.cli import results
from rnnx.cli.parser import Parser, sizes
from rnnx.core import native

EPILOG = """\
examples:
  rnnx info results
  rnnx info model.safetensors
  rnnx info model.safetensors --shape 256,16 --backend cupy
"""


def fill(leaf: Parser) -> None:
    """Add the arguments."""
    leaf.description = "Describe a model file or a results folder."
    leaf.epilog = EPILOG
    leaf.add_argument("model", type=Path, metavar="MODEL", help="results folder or model file")
    leaf.add_argument(
        "--shape", metavar="T,B", help="say which core would run each layer on such a batch"
    )
    leaf.add_argument("--backend", default="numpy", help="library for --shape (default: numpy)")
    leaf.set_defaults(run=run)


def run(chosen: Namespace) -> None:
    """Print what a model is, how it was trained, and which core would run it on NumPy here."""
    path, summary = results.find(chosen.model)
    description = io.describe(path)
    lines = {"model": description.kind} | _model(description) | _training(summary)
    lines["on NumPy"] = native.installed()
    if chosen.shape is not None:
        lines |= _cores(path, sizes(chosen.shape, "T,B"), chosen.backend)
    width = max(map(len, lines))
    print(path)
    for name, text in lines.items():
        print(f"  {name.ljust(width)}  {text}")


def _cores(path: Path, shape: tuple[int, ...], backend: str) -> dict[str, str]:
    """Return which core would run each recurrent layer on a batch of T steps and B rows."""
    from rnnx.layers.recurrent import Recurrent  # more than a description needs

    T, B = shape
    model = io.load(path, backend=backend)
    network, found = getattr(model, "model_", model), {}
    for name, layer in network.walk() if hasattr(network, "walk") else ():
        if isinstance(layer, Recurrent):
            order = (B, T) if layer.batch_first else (T, B)
            cores = layer.cores((*order, layer.input_size))
            runs = next(core for core, words in cores.items() if words == "runs")
            found[f"layer {name}".strip()] = f"{runs} core, for T = {T}, B = {B} on {backend}"
    return found


def _model(description: io.Description) -> dict[str, str]:
    """Return what the file holds, in words."""
    own = io.part(description.specs, "model") or description.specs
    count = sum(math.prod(spec.shape) for spec in own.values())
    lines = {"parameters": f"{count:,} in {len(own)} arrays, {description.dtype}"}
    extra = {k: v for k, v in description.extra.items() if v is not None}
    if "_labels" in extra:
        lines["classes"] = _brief(extra["_labels"][1])
    if "characters_" in extra:
        characters = extra.pop("characters_")
        lines["alphabet"] = f"{len(characters)} characters, {characters!r}"
    fitted = {k.strip("_"): v for k, v in extra.items() if k[0] != "_"}
    if fitted:
        lines["fitted"] = _pairs(fitted)
    return lines | {"options": _pairs(description.config)}


def _training(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return what the summary beside the file says, in words."""
    lines = {}
    if "files" in summary:
        lines["trained on"] = ", ".join(summary["files"])
    for name in ("columns", "data", "chosen", "figures", "versions"):
        known = {k: v for k, v in summary.get(name, {}).items() if v is not None}
        if known:
            lines[name] = _pairs(known)
    return lines


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_word(value)}" for name, value in values.items())


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return f"({_pairs(value)})"
    return _brief(value) if isinstance(value, list) else str(value)


def _brief(values: list[Any]) -> str:
    shown = " ".join(map(_word, values[:20]))
    return f"[{shown}]" if len(values) <= 20 else f"[{shown} ...] of {len(values)}"
