"""``rnnx train KIND DATA... --out DIR``."""

from __future__ import annotations

import platform
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from rnnx._version import __version__
from rnnx.backend import get_backend, library_version
from rnnx.cli import options, results
from rnnx.cli.parser import Parser
from rnnx.cli.task import COLUMNS, Task

WRITTEN = """\
results:
  DIR/model.safetensors, history.csv, learning_curves.png, summary.json and, for a forecaster,
  forecast.png. They are written at the end, all or none.
"""


def fill(task: Task, leaf: Parser) -> None:
    """Add the arguments for a kind of model."""
    cls = task.load_class()
    leaf.description = (cls.__doc__ or "").partition("\n")[0]
    leaf.epilog = f"{task.forms}\n{WRITTEN}\n{task.examples}"
    leaf.add_argument("files", nargs="+", type=Path, metavar="DATA", help="see below")
    leaf.add_argument("--out", required=True, type=Path, metavar="DIR", help="results folder")
    leaf.add_argument("--force", action="store_true", help="replace existing results in DIR")
    if task.name == "characters":
        leaf.add_argument("--resume", action="store_true", help="continue an interrupted training")
    leaf.add_argument("--quiet", action="store_true", help="show no progress bar")
    columns = leaf.add_argument_group("columns of the files")
    options.add_table(columns, {name: COLUMNS[name] for name in task.columns})
    options.add(leaf.add_argument_group("model and training"), cls)
    leaf.set_defaults(run=partial(run, task), resume=False)


def run(task: Task, chosen: Namespace) -> None:
    """Train a model and write its results."""
    cls = task.load_class()
    given = options.values(cls, chosen)
    model = cls(**given, verbose=not chosen.quiet and sys.stderr.isatty())
    backend = get_backend(chosen.backend, device=chosen.device, dtype=chosen.dtype)
    folder = results.Results(chosen.out, force=chosen.force, resume=chosen.resume)
    data = task.read(chosen)
    with folder.open():
        task.fit(model, data, chosen)
        chosen_by = getattr(model, "chosen_", {})  # all options with an "auto", given or not
        summary = {
            "kind": task.name,
            "model": task.model,
            "files": [str(path) for path in chosen.files],
            "columns": {k: getattr(chosen, k) for k in task.columns if k != "target_file"},
            "data": task.describe(data),
            "options": given,
            "chosen": {k: v for k, v in chosen_by.items() if given[k] == "auto"},
            "figures": task.figures(model, data),
            "versions": {
                "rnnx": __version__,
                "python": platform.python_version(),
                backend.name: library_version(backend.name),
            },
        }
        drawn = results.pictures(task.pictures(model, data))
        files: dict[str, Any] = {results.MODEL: model.save, "history.csv": model.history_.to_csv}
        files |= drawn | {results.SUMMARY: partial(results.dump, summary)}
        folder.write(files)
    print(f"{task.model}: {', '.join(map(str, chosen.files))}", *task.sentences(summary), sep="\n")
    print(f"{chosen.out}: {', '.join(files)}")
