"""The command ``rnnx``: train models, predict with them and inspect them from the command line.

Exit codes: 0 for success; 2 for a usage or input error, or a missing package; 1 for a failure while
running, such as diverged training or a full disk; 130 if interrupted. An error is one line.
"""

from __future__ import annotations

import errno
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
        The command line after ``rnnx``; by default that of this process.

    Raises
    ------
    SystemExit
        With code 2 for options that cannot be parsed, and 0 after ``--help`` and ``--version``.
    """
    try:
        _run(arguments)
        return 0
    except BrokenPipeError:  # the reader, such as `head`, has enough
        code = 1
    except KeyboardInterrupt as error:
        print(": ".join(["rnnx: interrupted", *map(str, error.args)]), file=sys.stderr)
        code = 130
    except (*_ASKED_WRONG, ArithmeticError, MemoryError, OSError) as error:
        print(f"rnnx: error: {_words(error)}", file=sys.stderr)
        wrong_name = getattr(error, "errno", None) in (errno.ELOOP, errno.ENAMETOOLONG)
        code = 2 if wrong_name or isinstance(error, _ASKED_WRONG) else 1
    _drop_output()
    return code


def _run(arguments: Sequence[str] | None) -> None:
    """Run the command and write all of its output, that of ``--help`` too."""
    try:
        options = parser().parse_args(arguments)
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


def _words(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(map(str, filter(None, [error.strerror, error.filename])))
    return " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__


@contextmanager
def _notes() -> Iterator[None]:
    """Print each warning as one line."""

    def show(message: Any, *where: Any, **options: Any) -> None:
        print(f"rnnx: note: {_words(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
