"""The command ``rnnx``: train, predict with and look at models, without writing Python.

Exit codes: 0, it is done; 1, the work failed on the way (training diverged, the disk is full); 2,
it cannot be done as asked (options, data, a package that is missing); 130, interrupted. An error is
one line.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rnnx.cli.commands import parser

_ASKED_WRONG = (
    ValueError, TypeError, RuntimeError, ImportError, FileNotFoundError, FileExistsError,
    PermissionError, IsADirectoryError, NotADirectoryError,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind ``rnnx``; by default that of this process.

    Raises
    ------
    SystemExit
        For options that cannot be read, with code 2, and after ``--help`` and ``--version``.
    """
    try:
        options = parser().parse_args(arguments)
        with _notes():
            options.run(options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt as error:
        print(": ".join(["rnnx: interrupted", *map(str, error.args)]), file=sys.stderr)
        return 130
    except (*_ASKED_WRONG, ArithmeticError, MemoryError, OSError) as error:
        print(f"rnnx: error: {_words(error)}", file=sys.stderr)
        return 2 if isinstance(error, _ASKED_WRONG) else 1


def _words(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(map(str, filter(None, [error.strerror, error.filename])))
    return " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__


@contextmanager
def _notes() -> Iterator[None]:
    """Write a warning as one line."""

    def show(message: Any, *where: Any, **options: Any) -> None:
        print(f"rnnx: note: {_words(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
