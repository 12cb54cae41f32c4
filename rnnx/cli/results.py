"""The results folder of a training: written whole, never over another model unless asked."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rnnx import io
from rnnx.cli.task import COLUMNS, FORM
from rnnx.io.header import HEADER_LIMIT, check_size

MODEL, SUMMARY = "model.safetensors", "summary.json"
CHECKPOINT = "checkpoint.safetensors"  # as `rnnx.train.fit` names it
NAMES = (MODEL, "history.csv", SUMMARY, "learning_curves.png", "forecast.png")


class Results:
    """A folder to write results in, created if missing.

    It is refused if it holds results, unless `force` replaces them, or an interrupted training,
    unless `resume` continues it.
    """

    def __init__(self, path: Path, *, force: bool, resume: bool) -> None:
        if force and resume:
            raise ValueError("--force starts over, --resume continues: give one of them")
        self.path, self.force, self.resume = path, force, resume
        self.part = path / ".rnnx-part"  # what is written so far; whoever has the lock owns it
        self._check()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Create and lock the folder; if the work fails, remove it unless it holds something."""
        made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with io.locked(self.path, ".rnnx-lock"):
                self._check()  # again: a run that had the lock may have written here
                shutil.rmtree(self.part, ignore_errors=True)  # of a command that was killed
                try:
                    self.part.mkdir()  # fail now, not after the training
                    if self.force:
                        (self.path / CHECKPOINT).unlink(missing_ok=True)
                    yield
                finally:
                    shutil.rmtree(self.part, ignore_errors=True)
        except BaseException:
            if made and not any(self.path.iterdir()):
                self.path.rmdir()
            raise

    def write(self, files: Mapping[str, Callable[[Path], None]]) -> None:
        """Write files, each by its function: all of them or, on an error, none.

        The checkpoint goes last: a command that is killed before can be resumed.
        """
        for name, write in files.items():
            write(self.part / name)
        (self.path / SUMMARY).unlink(missing_ok=True)  # it belongs to the model that goes now
        for name in files:
            os.replace(self.part / name, self.path / name)
        for name in {*NAMES} - {*files}:  # of another training
            (self.path / name).unlink(missing_ok=True)
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def _check(self) -> None:
        """Raise FileExistsError if the folder must not be written."""
        path, interrupted = self.path, (self.path / CHECKPOINT).exists()
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"--out must name a folder, existing or new, got {path}")
        if self.force or (interrupted and self.resume):
            return
        if interrupted:
            raise FileExistsError(
                f"{path} holds an interrupted training: give --resume to continue it, or --force "
                "to start over"
            )
        if (path / MODEL).exists():
            raise FileExistsError(
                f"{path} already holds a model: give --force to replace it, or another --out"
            )


def pictures(drawings: Mapping[str, Callable[[Any], None]]) -> dict[str, Callable[[Path], None]]:
    """Return the functions that write the plots; none, with a note, without Matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        print("rnnx: note: no plots without Matplotlib: pip install 'rnnx[plots]'",
              file=sys.stderr)  # fmt: skip
        return {}
    return {name: partial(_paint, draw) for name, draw in drawings.items()}


def dump(summary: Mapping[str, Any], path: Path) -> None:
    """Write the summary."""
    path.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def find(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the model file at a path, or in the folder there, and the summary beside it."""
    if path.is_dir():
        path = path / MODEL
    if not path.exists():
        raise FileNotFoundError(f"there is no model {path}: give a results folder or a model file")
    beside = path.with_name(SUMMARY)
    if path.name != MODEL or not beside.exists():
        return path, {}
    try:
        with io.regular(beside) as file:
            raw = file.read(HEADER_LIMIT + 1)
        check_size(raw)
        return path, _checked(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside} must be what `rnnx train` wrote, got {error}") from None


def _checked(summary: Any) -> dict[str, Any]:
    """Return the summary; raise ValueError if `predict` or `info` could not use it."""
    parts = ("columns", "data", "chosen", "figures", "versions")
    if not isinstance(summary, dict) or not all(type(summary.get(k, {})) is dict for k in parts):
        raise ValueError("another structure")
    for name, value in {**summary.get("columns", {}), "files": summary.get("files", [])}.items():
        entries = [value or ""] if name in (*FORM, "id", "time") else value or []
        known = name in (*COLUMNS, "files") and isinstance(entries, list)
        if not known or not all(isinstance(entry, str) for entry in entries):
            raise ValueError(f"{name}: {value!r:.80}")
    return summary


def _paint(draw: Callable[[Any], None], path: Path) -> None:
    """Write a plot."""
    from matplotlib.figure import Figure  # without pyplot: no window, no display

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    draw(figure.subplots())
    figure.savefig(path, dpi=150)
