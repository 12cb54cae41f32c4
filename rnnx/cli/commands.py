"""The tree of commands; what a command needs is imported when it is chosen."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from rnnx._version import __version__

EPILOG = """\
examples:
  rnnx train classifier digits.csv --target digit --out results --validation-fraction 0.2
  rnnx predict results new.csv --out predictions.csv
  rnnx train characters book.txt --out book
  rnnx predict book --prompt "Once upon" --length 400 --temperature 0.7

`rnnx COMMAND --help` says more. Without a command: the table of backends. An error is one line, and
the exit code is 2 where it cannot be done as asked, 1 where the work failed on the way.
"""


class Parser(argparse.ArgumentParser):
    """A parser that is filled when it is used, takes options anywhere, and fails in one line.

    Parameters
    ----------
    fill : callable, optional
        Adds the arguments; called once, before the first reading.
    """

    def __init__(self, *, fill: Callable[[Parser], None] | None = None, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self._fill, self._between = fill, fill is not None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments that are known."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        if self._between:  # a leaf of the tree: files may stand before, between, behind options
            self._between = False
            try:
                return self.parse_known_intermixed_args(args, namespace)
            finally:
                self._between = True
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        text = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {text} (see {self.prog} --help)\n")


def parser() -> Parser:
    """Return the parser of the whole command."""
    root = Parser(
        prog="rnnx",
        description="Train recurrent networks on files, predict with them, look at them.",
        epilog=EPILOG,
    )
    root.add_argument("--version", action="version", version=f"rnnx {__version__}")
    root.set_defaults(run=_backends)
    commands = root.add_subparsers(title="commands", metavar="COMMAND")
    train = commands.add_parser(
        "train", help="learn from files and write a results folder",
        description="Learn from files; write a results folder: the model, its history, pictures.",
        epilog="`rnnx train KIND --help` says which files and options each kind takes.",
    )  # fmt: skip
    kinds = train.add_subparsers(title="kinds of model", metavar="KIND", required=True)
    for name, text in {
        "classifier": "a label of each sequence, or of each step",
        "regressor": "one value or several of each sequence, or of each step",
        "forecaster": "several steps ahead of each series",
        "characters": "the next character of a text",
    }.items():
        kinds.add_parser(name, help=text, fill=_train(name))
    commands.add_parser(
        "predict", help="use a trained model on new files, or let it write", fill=_predict
    )
    commands.add_parser("info", help="say what a model file or a results folder is", fill=_info)
    commands.add_parser(
        "backends", help="show which array libraries can be used here", fill=_no_arguments,
        description="Show which array libraries rnnx can use here, or what to install.",
    )  # fmt: skip
    return root


def _train(name: str) -> Callable[[Parser], None]:
    def fill(leaf: Parser) -> None:
        from rnnx.cli import train

        train.fill(leaf, name)

    return fill


def _predict(leaf: Parser) -> None:
    from rnnx.cli import predict

    predict.fill(leaf)


def _info(leaf: Parser) -> None:
    from rnnx.cli import info

    info.fill(leaf)


def _no_arguments(leaf: Parser) -> None:
    leaf.set_defaults(run=_backends)


def _backends(options: argparse.Namespace) -> None:
    from rnnx.cli import backends

    backends.show()
