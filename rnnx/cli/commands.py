"""The tree of subcommands."""

from __future__ import annotations

from functools import partial

from rnnx._version import __version__
from rnnx.cli import backends, cores, export, info, predict, train
from rnnx.cli.parser import Parser
from rnnx.cli.tasks import TASKS

EPILOG = """\
examples:
  rnnx train classifier digits.csv --target digit --out results --validation-fraction 0.2
  rnnx predict results new.csv --out predictions.csv
  rnnx train characters book.txt --out book
  rnnx predict book --prompt "Once upon" --length 400 --temperature 0.7
  rnnx export results --to c --out digits.h

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
    root.set_defaults(run=backends.run, together=False)
    commands = root.add_subparsers(title="commands", metavar="COMMAND")
    training = commands.add_parser(
        "train", help="train a model on files and write a results folder",
        description="Train a model on files. Write the model, its history and plots to a folder.",
        epilog="`rnnx train KIND --help` describes the files and options of each kind.",
    )  # fmt: skip
    kinds = training.add_subparsers(title="kinds of model", metavar="KIND", required=True)
    for task in TASKS:
        kinds.add_parser(task.name, help=task.help, fill=partial(train.fill, task))
    for command, text in {
        predict: "apply a trained model to new files, or let it write text",
        export: "write a trained model as C, as Python or as ONNX",
        info: "describe a model file or a results folder",
        backends: "list the array libraries and devices that can be used here",
        cores: "say which implementation would run a layer, and why the others would not",
    }.items():
        name = command.__name__.rpartition(".")[2]
        commands.add_parser(name, help=text, fill=command.fill)
    return root
