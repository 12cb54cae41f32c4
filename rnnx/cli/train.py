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
from rnnx.cli import options, results, tasks
from rnnx.cli.commands import Parser
from rnnx.cli.tasks import Task

WRITTEN = """\
results:
  DIR/model.rnnx, history.csv, learning_curves.png, summary.json; a forecaster's forecast.png.
  They are written at the end, all or none.
"""


def fill(leaf: Parser, name: str) -> None:
    """Add the arguments of a kind of model."""
    task = tasks.get(name)
    cls = task.load_class()
    leaf.description = (cls.__doc__ or "").partition("\n")[0]
    leaf.epilog = f"{task.forms}\n{WRITTEN}\n{task.examples}"
    leaf.add_argument("files", nargs="+", type=Path, metavar="DATA", help="see below")
    leaf.add_argument("--out", required=True, type=Path, metavar="DIR", help="the results folder")
    leaf.add_argument("--force", action="store_true", help="replace the results that are in DIR")
    if name == "characters":
        leaf.add_argument(
            "--resume", action="store_true", help="go on with a training that was interrupted"
        )
    leaf.add_argument(
        "--quiet", action="store_true", help="no progress bar, which a terminal shows by tqdm"
    )
    task.add_options(leaf.add_argument_group("columns of the files"))
    group = leaf.add_argument_group("model and training")
    options.add(group, cls, ("verbose",), task.relatives())
    leaf.set_defaults(run=partial(run, task), resume=False)


def run(task: Task, chosen: Namespace) -> None:
    """Train a model and write its results."""
    cls = task.load_class()
    given = options.values(cls, chosen)
    bar = not chosen.quiet and sys.stderr.isatty()
    model = cls(**given, verbose=bar)
    backend = get_backend(chosen.backend, device=chosen.device, dtype=chosen.dtype)
    folder = results.Results(chosen.out, force=chosen.force, resume=chosen.resume)
    data = task.read(model, chosen)
    with folder.open():
        task.fit(model, data, chosen)
        summary = {
            "kind": task.name,
            "model": task.model,
            "files": [str(path) for path in chosen.files],
            "columns": task.columns(data, chosen),
            "data": task.describe(model, data),
            "options": given,
            "figures": task.figures(model, data),
            "versions": {
                "rnnx": __version__,
                "python": platform.python_version(),
                backend.name: library_version(backend.name),
            },
        }
        drawn = results.pictures(task.pictures(model, data))
        files: dict[str, Any] = {results.MODEL: model.save, "history.csv": model.history_.to_csv}
        folder.write(files | drawn | {results.SUMMARY: results.dump(summary)})
    print(
        "\n".join([f"{task.model}: {', '.join(map(str, chosen.files))}", *task.sentences(summary)])
    )
    print(f"{chosen.out}: {', '.join([*files, *drawn, results.SUMMARY])}")
