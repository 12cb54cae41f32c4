"""Files that are written whole or not at all, and files that are safe to open."""

from __future__ import annotations

import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import IO, Any

from rnnx.io.lock import hold

File = str | PathLike[str]
PART = ".part"  # the ending of a file that is being written


def regular(path: File) -> IO[bytes]:
    """Open a file to read. A device and a pipe, which may never end, raise a ValueError."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer

    if "\0" in os.fsdecode(path):
        raise damaged(path, "a file name has no null character")
    file = open(path, "rb", opener=opener)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise damaged(path, "it is a device or a pipe, expected a file")
    return file


def damaged(path: File, reason: object) -> ValueError:
    """Return the error for a file that does not hold what it should."""
    text = " ".join(str(reason).split())[:500] or type(reason).__name__
    return ValueError(f"cannot load {os.fspath(path)!r}: {text}")


@contextmanager
def replacing(path: File, mode: str, **options: Any) -> Iterator[Any]:
    """Open a file for writing that moves to `path` once it is complete.

    An existing file keeps its permissions, and after an error also its content. What a process that
    was killed left of such a file is removed. The mode is "w" or "wb"; the options are those of
    `open`.
    """
    target = Path(os.path.realpath(path))
    with ExitStack() as stack:
        try:
            kept = _permissions(target)
            # a new file never has more permissions than it ends with
            options["opener"] = partial(os.open, mode=0o666 if kept is None else kept)
            part, file = _begun(stack, target, mode.replace("w", "x"), options)
            with file:
                if kept is not None:
                    os.fchmod(file.fileno(), kept)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except OSError as error:
            if str(error.filename) == str(target) or str(error.filename).endswith(PART):
                error.filename = os.fspath(path)  # the name that the caller knows
            raise


def _begun(
    stack: ExitStack, target: Path, mode: str, options: dict[str, Any]
) -> tuple[Path, IO[Any]]:
    """Return a new part file, which the stack removes; its lock says that its writer is alive."""
    name = target.name.encode(errors="ignore")[:200].decode(errors="ignore")  # of at most 255 bytes
    for old in target.parent.glob(f"{glob.escape(name)}.{'[0-9a-f]' * 16}{PART}"):
        with suppress(OSError, ValueError), regular(old) as file:
            if hold(file.fileno()):
                old.unlink(missing_ok=True)
    while True:
        part = target.with_name(f"{name}.{secrets.token_hex(8)}{PART}")
        file = open(part, mode, **options)  # noqa: SIM115
        stack.callback(part.unlink, missing_ok=True)
        with suppress(OSError):  # a file system without locks
            if hold(file.fileno(), wait=True):
                stack.callback(os.close, os.dup(file.fileno()))  # it has the lock until it moves
        if os.fstat(file.fileno()).st_nlink:
            return part, file
        file.close()  # another process took it for an old one before it was locked


def _permissions(target: Path) -> int | None:
    """Return the permissions of the file that is replaced, None for a new one."""
    try:
        found = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        raise ValueError(f"expected the name of a file to write, got {str(target)!r}, which is "
                         "a folder or a device: give another name")  # fmt: skip
    return stat.S_IMODE(found)
