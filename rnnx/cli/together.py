"""One command in several processes, such as those of ``mpirun -n 4 rnnx train ...``."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from rnnx import io
from rnnx.backend import Backend, devices
from rnnx.cli import errors
from rnnx.parallel import launched
from rnnx.parallel.launched import Launched
from rnnx.parallel.stages import Stages

PATIENCE = 10.0  # seconds to wait for the others after an error
POLITE = 3.0  # seconds for rank 0 to print first: mpirun ends all processes when one fails


@contextmanager
def one_voice() -> Iterator[None]:
    """Drop what is printed, except in the process with rank 0."""
    process = launched.here()
    if process is None or process.rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            yield
        except SystemExit as end:  # such as for options that are wrong
            if end.code:
                time.sleep(POLITE)
            raise


def spare() -> bool:
    """Return whether this process has nothing to do in a command that needs one process."""
    process = launched.here()
    return process is not None and process.rank > 0


@contextmanager
def joined() -> Iterator[Stages]:
    """Join the processes that were started together, if any; all end alike, or are ended."""
    process = launched.here()
    if process is None:
        yield Stages()
        return
    try:
        world = process.world()
    except (ImportError, RuntimeError) as error:
        if process.rank > 0:  # as a rule all have it: then rank 0 ends them before
            time.sleep(POLITE)
            _shout(process, error)
        raise
    stages, end = Stages(world), world.Dup()
    try:
        with stages.all():
            yield stages
    except BaseException as error:
        if not _arrives(end.Ibarrier()):
            _shout(process, error)
            world.Abort(errors.code(error))
        if process.rank > 0:  # rank 0 has the words and the exit code
            raise SystemExit(0) from error
        raise


def check_alike(stages: Stages, chosen: Namespace) -> None:
    """Raise ValueError unless all processes have the options and the files of rank 0."""
    if stages.size == 1:
        return
    files = [*chosen.files, *filter(None, [getattr(chosen, "target_file", None)])]
    given = {k: v for k, v in vars(chosen).items() if not callable(v)}
    digests = [_digest(path) for path in files]
    first_given, first_digests = stages.from_root((given, digests))
    if given != first_given:
        raise ValueError(
            "processes that are started together train one model: give all the options of rank 0, "
            "or start each alone"
        )
    for path, digest, first in zip(files, digests, first_digests, strict=True):
        if digest != first:
            raise ValueError(f"{path} is not the file of rank 0: copy it to all machines")


def device(backend: Backend, chosen: Any) -> Any:
    """Return the device: the chosen one, or for each process on a machine another GPU."""
    process = launched.here()
    if chosen is not None or process is None or backend.name != "cupy":
        return chosen
    return process.local % len(devices("cupy"))


def _arrives(request: Any) -> bool:
    """Return whether all processes come to a barrier in time."""
    until = time.monotonic() + PATIENCE
    while not request.Test():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _shout(process: Launched, error: BaseException) -> None:
    """Print an error, whatever the rank."""
    where = f"rank {process.rank} of {process.size}"
    print(f"{errors.line(error)} ({where})", file=sys.__stderr__, flush=True)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with io.regular(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
