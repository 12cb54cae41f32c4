"""``rnnx info MODEL``: what a file is, read with NumPy alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnx import io
from rnnx.cli import results
from rnnx.cli.commands import Parser

EPILOG = """\
examples:
  rnnx info results
  rnnx info model.rnnx
"""


def fill(leaf: Parser) -> None:
    """Add the arguments."""
    leaf.description = "Say what a model file or a results folder is."
    leaf.epilog = EPILOG
    leaf.add_argument("model", type=Path, metavar="MODEL", help="a results folder or a model file")
    leaf.set_defaults(run=run)


def run(chosen: Namespace) -> None:
    """Print what a model is, and what is known of its training."""
    path, summary = results.find(chosen.model)
    model, header, arrays = io.read(path)
    lines = {"model": model} | _model(header, arrays) | _training(summary)
    width = max(map(len, lines))
    print(path)
    for name, text in lines.items():
        print(f"  {name.ljust(width)}  {text}")


def _model(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return what the file says, in words."""
    own = {k: a for k, a in arrays.items() if k.startswith(("model/", "params/"))} or arrays
    count = sum(array.size for array in own.values())
    lines = {"parameters": f"{count:,} in {len(own)} arrays, {header.get('dtype', 'no dtype')}"}
    if "fitted/classes_" in arrays:
        lines["classes"] = _brief(arrays["fitted/classes_"].tolist())
    fitted = {k.strip("_"): v for k, v in header.get("fitted", {}).items() if k[0] != "_"}
    if fitted:
        lines["fitted"] = _pairs(fitted)
    if "characters" in header:
        lines["alphabet"] = f"{len(header['characters'])} characters, {header['characters']!r}"
    plain = {k: v for k, v in header.items() if k in ("sizes", "nonlinearity", "epoch", "step")}
    options = plain | {k: v for k, v in header.get("options", {}).items() if k != "verbose"}
    return lines | ({"options": _pairs(options)} if options else {})


def _training(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return what the summary beside the file says, in words."""
    lines = {}
    if "files" in summary:
        lines["learned"] = ", ".join(summary["files"])
    for name in ("columns", "data", "figures", "versions"):
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
