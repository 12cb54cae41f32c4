"""``rnnx export MODEL --to FORM``: a trained model as plain code, or as ONNX."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

from rnnx import io
from rnnx.cli import results
from rnnx.cli.parser import Parser

EPILOG = """\
c        one header of C99 that allocates nothing: a state, and a function that takes one step
python   one file that needs NumPy alone: a step, and a whole sequence
onnx     a graph for ONNX Runtime and others, of whole sequences; needs the package onnx
The head of a file of code says how to use it. With --int8 the command also prints what that changes
in the answers, measured on 100 random steps.

examples:
  rnnx export results --to c
  rnnx export results --to c --int8 --name gesture --out src/gesture.h
  rnnx export book --to python --out book.py
"""


class Form(NamedTuple):
    """What writes a form, and the options that it takes."""

    function: str  # of rnnx.interop
    ending: str
    options: tuple[str, ...]


FORMS = {
    "c": Form("to_c", ".h", ("int8", "name")),
    "python": Form("to_python", ".py", ("int8", "name")),
    "onnx": Form("to_onnx", ".onnx", ("lengths",)),
}


def fill(leaf: Parser) -> None:
    """Add the arguments."""
    leaf.description = "Write a trained model as plain code, or as ONNX."
    leaf.epilog = EPILOG
    leaf.add_argument("model", type=Path, metavar="MODEL", help="results folder or model file")
    leaf.add_argument("--to", required=True, choices=FORMS, help="what to write")
    leaf.add_argument(
        "--out", type=Path, metavar="FILE", help="default: model.h, model.py or model.onnx here"
    )
    leaf.add_argument("--force", action="store_true", help="replace an existing FILE")
    leaf.add_argument("--int8", action="store_true", help="weights of 8 bits, for c and python")
    leaf.add_argument(
        "--name", metavar="NAME", help="what names in the code begin with (default: that of FILE)"
    )
    leaf.add_argument("--lengths", action="store_true", help="sequences of any lengths, for onnx")
    leaf.set_defaults(run=run)


def run(chosen: Namespace) -> None:
    """Load a model and write it in another form."""
    path, _ = results.find(chosen.model)
    form = FORMS[chosen.to]
    out = chosen.out or Path((chosen.name or "model") + form.ending)
    given: dict[str, Any] = {k: getattr(chosen, k) for k in ("int8", "name", "lengths")}
    given = {name: value for name, value in given.items() if value not in (None, False)}
    for name in given.keys() - {*form.options}:
        forms = " and ".join(k for k, other in FORMS.items() if name in other.options)
        raise ValueError(f"--{name} is for {forms}, got --to {chosen.to}")
    if out.exists() and not chosen.force:
        raise FileExistsError(f"{out} exists: give --force to replace it, or another --out")
    if out.resolve() == path.resolve():
        raise ValueError(f"--out must not be the model that is read, got {out}")
    write = getattr(importlib.import_module("rnnx.interop"), form.function)
    loss = write(io.load(path), out, **given)
    print(f"{out}: {out.stat().st_size:,} bytes")
    if "int8" in given:
        print(loss)
