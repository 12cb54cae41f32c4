"""The results folder of a training: written whole, never over another model unless asked."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rnnx.cli.task import COLUMNS

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
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"--out must name a folder, existing or new, got {path}")
        if (path / MODEL).exists() and not force:
            raise FileExistsError(
                f"{path} already holds a model: give --force to replace it, or another --out"
            )
        if (path / CHECKPOINT).exists() and not force and not resume:
            raise FileExistsError(
                f"{path} holds an interrupted training: give --resume to continue it, or --force "
                "to start over"
            )
        self.path, self.force = path, force

    @contextmanager
    def open(self) -> Iterator[None]:
        """Create the folder; if the work fails, remove it again unless it holds something."""
        made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=self.path):  # fail now, not after the training
                pass
            if self.force:
                (self.path / CHECKPOINT).unlink(missing_ok=True)
            yield
        except BaseException:
            if made and not any(self.path.iterdir()):
                self.path.rmdir()
            raise

    def write(self, files: Mapping[str, Callable[[Path], None]]) -> None:
        """Write files, each by its function: all of them or, on an error, none."""
        with tempfile.TemporaryDirectory(prefix=".rnnx-", dir=self.path) as part:
            for name, write in files.items():
                write(Path(part) / name)
            for name in files:
                os.replace(Path(part) / name, self.path / name)
        for name in {*NAMES, CHECKPOINT} - {*files}:  # of another training
            (self.path / name).unlink(missing_ok=True)


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
        return path, _checked(json.loads(beside.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside} must be what `rnnx train` wrote, got {error}") from None


def _checked(summary: Any) -> dict[str, Any]:
    """Return the summary; raise ValueError if `predict` or `info` could not use it."""
    parts = ("columns", "data", "figures", "versions")
    if not isinstance(summary, dict) or not all(type(summary.get(k, {})) is dict for k in parts):
        raise ValueError("another structure")
    for name, value in {**summary.get("columns", {}), "files": summary.get("files", [])}.items():
        entries = [value or ""] if name in ("delimiter", "id", "time") else value or []
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
