"""The tree of subcommands; the modules of each are imported when it is chosen."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

from rnnx._version import __version__
from rnnx.cli.parser import Parser

EPILOG = """\
examples:
  rnnx train classifier digits.csv --target digit --out results --validation-fraction 0.2
  rnnx predict results new.csv --out predictions.csv
  rnnx train characters book.txt --out book
  rnnx predict book --prompt "Once upon" --length 400 --temperature 0.7

Run `rnnx COMMAND --help` for more, or `rnnx` alone for the table of backends. An error is one line.
Exit codes: 0 for success, 2 for a usage or input error, 1 for a failure while running.
"""


def parser() -> Parser:
    """Return the parser of the command."""
    root = Parser(
        prog="rnnx",
        description="Train recurrent networks on files, predict with them, and inspect them.",
        epilog=EPILOG,
    )
    root.add_argument("--version", action="version", version=f"rnnx {__version__}")
    root.set_defaults(run=_backends)
    commands = root.add_subparsers(title="commands", metavar="COMMAND")
    train = commands.add_parser(
        "train", help="train a model on files and write a results folder",
        description="Train a model on files. Write the model, its history and plots to a folder.",
        epilog="`rnnx train KIND --help` describes the files and options of each kind.",
    )  # fmt: skip
    kinds = train.add_subparsers(title="kinds of model", metavar="KIND", required=True)
    for name, text in {
        "classifier": "one label per sequence, or per step",
        "regressor": "one or several values per sequence, or per step",
        "forecaster": "the next steps of each series",
        "characters": "the next character of a text",
    }.items():
        kinds.add_parser(name, help=text, fill=_fill("train", name))
    commands.add_parser(
        "predict",
        help="apply a trained model to new files, or let it write text",
        fill=_fill("predict"),
    )
    commands.add_parser(
        "info", help="describe a model file or a results folder", fill=_fill("info")
    )
    commands.add_parser(
        "backends", help="list the array libraries and devices that can be used here",
        description="List the array libraries that rnnx can use here; say what others need.",
        fill=lambda leaf: leaf.set_defaults(run=_backends),
    )  # fmt: skip
    return root


def _fill(module: str, *arguments: str) -> Callable[[Parser], None]:
    """Return what adds the arguments of a subcommand, by a module that is imported only then."""

    def fill(leaf: Parser) -> None:
        importlib.import_module(f"rnnx.cli.{module}").fill(leaf, *arguments)

    return fill


def _backends(options: argparse.Namespace) -> None:
    from rnnx.cli import backends

    backends.show()
