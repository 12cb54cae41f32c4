"""A lock on a folder, so that two runs never share a checkpoint."""

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

NAME = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. The system releases it when the process ends, however it ends."""
    if fcntl is None:
        yield
        return
    path = folder / NAME
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
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(number, 500).decode(errors="replace").strip() or "another run"
            os.close(number)
            raise ValueError(
                f"{str(path.parent)!r} is in use by {holder}: wait until it ends, or give another "
                "checkpoint_dir"
            ) from None
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
