"""``rnnx train KIND DATA... --out DIR``."""

from __future__ import annotations

import platform
import sys
from argparse import Namespace
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from rnnx._version import __version__
from rnnx.backend import Backend, get_backend, library_version
from rnnx.cli import options, results, together
from rnnx.cli.parser import Parser
from rnnx.cli.task import COLUMNS, Task

WRITTEN = """\
results:
  DIR/model.safetensors, history.csv, learning_curves.png, summary.json and, for a forecaster,
  forecast.png. They are written at the end, all or none.

several processes:
  mpirun -n 4 rnnx train ... trains one model in 4 processes, which share out each mini-batch.
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
    leaf.set_defaults(run=partial(run, task), resume=False, together=True)


def run(task: Task, chosen: Namespace) -> None:
    """Train a model and write its results, in all processes that were started together."""
    with together.joined() as stages:
        together.check_alike(stages, chosen)
        backend = get_backend(chosen.backend, device=chosen.device, dtype=chosen.dtype)
        given = options.values(task.load_class(), chosen)
        own = given | {"device": together.device(backend, chosen.device)}
        model = task.load_class()(**own, verbose=not chosen.quiet and sys.stderr.isatty())
        folder = None
        if stages.leads:
            folder = results.Results(chosen.out, force=chosen.force, resume=chosen.resume)
        data, report = task.read(chosen), []
        with folder.open() if folder else nullcontext():
            with stages.together():
                task.fit(model, data, chosen, stages.comm)
            if folder:
                summary = _summary(task, model, data, chosen, given)
                summary |= {"processes": stages.size, "versions": _versions(backend)}
                files = _files(task, model, data, summary)
                folder.write(files)
                names = ", ".join(map(str, chosen.files))
                report = [f"{task.model}: {names}", *task.sentences(summary)]
                report += [f"trained by {stages.size} processes"] * (stages.size > 1)
                report += [f"{chosen.out}: {', '.join(files)}"]
    print(*report, sep="\n")


def _summary(
    task: Task, model: Any, data: Any, chosen: Namespace, given: dict[str, Any]
) -> dict[str, Any]:
    """Return what was trained on what, and how well."""
    chosen_by = getattr(model, "chosen_", {})  # all options with an "auto", given or not
    return {
        "kind": task.name,
        "model": task.model,
        "files": [str(path) for path in chosen.files],
        "columns": {k: getattr(chosen, k) for k in task.columns if k != "target_file"},
        "data": task.describe(data),
        "options": given,
        "chosen": {k: v for k, v in chosen_by.items() if given[k] == "auto"},
        "figures": task.figures(model, data),
    }


def _versions(backend: Backend) -> dict[str, str]:
    """Return the versions of what was trained with."""
    return {
        "rnnx": __version__,
        "python": platform.python_version(),
        backend.name: library_version(backend.name),
    }


def _files(task: Task, model: Any, data: Any, summary: dict[str, Any]) -> dict[str, Any]:
    """Return the functions that write each file, by its name."""
    drawn = results.pictures(task.pictures(model, data))
    files: dict[str, Any] = {results.MODEL: model.save, "history.csv": model.history_.to_csv}
    return files | drawn | {results.SUMMARY: partial(results.dump, summary)}
