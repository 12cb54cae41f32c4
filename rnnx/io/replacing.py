"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

PART = ".part"  # the ending of a file that is being written


@contextmanager
def replacing(path: str | PathLike[str], mode: str, **options: Any) -> Iterator[Any]:
    """Open a file for writing that moves to `path` once it is complete.

    An existing file keeps its permissions, and after an error also its content. The mode is "w" or
    "wb"; the options are those of `open`.
    """
    target = Path(os.path.realpath(path))
    name = target.name.encode(errors="ignore")[:200].decode(errors="ignore")  # of at most 255 bytes
    part = target.with_name(f"{name}.{secrets.token_hex(8)}{PART}")
    try:
        kept = _permissions(target)
        # a new file never has more permissions than it ends with
        opener = partial(os.open, mode=0o666 if kept is None else kept)
        with open(part, mode.replace("w", "x"), opener=opener, **options) as file:
            if kept is not None:
                os.fchmod(file.fileno(), kept)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (str(part), str(target)):
            error.filename = os.fspath(path)  # the name that the caller knows
        raise


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
