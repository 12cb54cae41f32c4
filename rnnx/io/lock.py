"""Locks, so that two processes never write the same files."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]


def hold(number: int, *, wait: bool = False) -> bool:
    """Lock an open file until it is closed, or its process ends; return whether that worked.

    It does not where another process has the lock, unless this one waits, or where there are none.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(folder: Path, name: str = "lock") -> Iterator[None]:
    """Hold the lock of a folder, a file of this name, by default ``lock``.

    It ends with the process, however that ends.
    """
    if fcntl is None:
        yield
        return
    path = folder / name
    number = _taken(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(number)


def _taken(path: Path) -> int:
    """Return the locked file, open."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not hold(number):
                holder = os.read(number, 500).decode(errors="replace").strip() or "another run"
                os.close(number)
                raise ValueError(
                    f"{str(path.parent)!r} is in use by {holder}: wait until it ends, or give "
                    "another folder"
                )
        except OSError as error:
            warnings.warn(
                f"{str(path.parent)!r} cannot be locked ({error.strerror}): make sure that no "
                "other run uses it",
                stacklevel=2,
            )
        with suppress(FileNotFoundError):  # its holder may have removed it after it was opened
            if os.path.samestat(os.fstat(number), os.stat(path)):
                os.ftruncate(number, 0)
                os.write(number, f"process {os.getpid()} on {platform.node()}\n".encode())
                return number
        os.close(number)
