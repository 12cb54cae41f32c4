"""The command ``rnnx``: train models, predict with them and inspect them from the command line.

Exit codes: 0 for success; 2 for a usage or input error, or a missing package; 1 for a failure while
running, such as diverged training or a full disk; 130 if interrupted. An error is one line.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rnnx.cli import errors, together
from rnnx.cli.commands import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line after ``rnnx``; by default that of this process.

    Raises
    ------
    SystemExit
        With code 2 for options that cannot be parsed, and 0 after ``--help`` and ``--version``.
    """
    with together.one_voice():
        try:
            _run(arguments)
            return 0
        except BrokenPipeError:  # the reader, such as `head`, has enough
            code = 1
        except errors.KNOWN as error:
            print(errors.line(error), file=sys.stderr)
            code = errors.code(error)
        _drop_output()
        return code


def _run(arguments: Sequence[str] | None) -> None:
    """Run the command and write all of its output, that of ``--help`` too."""
    try:
        options = parser().parse_args(arguments)
        if together.spare() and not options.together:
            return
        with _notes():
            options.run(options)
    finally:
        sys.stdout.flush()


def _drop_output() -> None:
    """Drop output that cannot be written: Python flushes stdout again at exit, and would fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _notes() -> Iterator[None]:
    """Print each warning as one line."""

    def show(message: Any, *where: Any, **options: Any) -> None:
        print(f"rnnx: note: {errors.words(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
