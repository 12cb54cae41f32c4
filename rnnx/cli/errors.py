"""What the command says of an error, and its exit code."""

from __future__ import annotations

import errno

_ASKED_WRONG = (
    ValueError, TypeError, RuntimeError, ImportError, FileNotFoundError, FileExistsError,
    PermissionError, IsADirectoryError, NotADirectoryError,
)  # fmt: skip
KNOWN = (KeyboardInterrupt, *_ASKED_WRONG, ArithmeticError, MemoryError, OSError)


def code(error: BaseException) -> int:
    """Return the exit code for an error."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    wrong_name = getattr(error, "errno", None) in (errno.ELOOP, errno.ENAMETOOLONG)
    return 2 if wrong_name or isinstance(error, _ASKED_WRONG) else 1


def line(error: BaseException) -> str:
    """Return the line to print for an error."""
    if isinstance(error, KeyboardInterrupt):
        return ": ".join(["rnnx: interrupted", *map(str, error.args)])
    return f"rnnx: error: {words(error)}"


def words(error: BaseException) -> str:
    """Return an error, or a warning, without line breaks."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(map(str, filter(None, [error.strerror, error.filename])))
    return " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
