"""``rnnx predict MODEL [DATA...]``."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from rnnx import io
from rnnx.cli import arrays, options, results
from rnnx.cli.parser import Parser
from rnnx.cli.task import COLUMNS, Answer, Task
from rnnx.cli.tasks import TASKS

EPILOG = """\
A results folder remembers the columns that the model was trained on. The options that name columns
are for files with other names, or for a model file alone. Targets are optional: if the files have
them, the score is printed on stderr.

output, as CSV, one row per
  sequence: its id (or its number, from 0), and the predicted label or values;
  step of a sequence, if trained with --per-step: id, time or step, prediction;
  step ahead of a series: id, step, time (if trained with --time), prediction.
A character model writes text, or the bits per character of each file.

examples:
  rnnx predict results new.csv --proba --out predictions.csv
  rnnx predict results X.npy
  rnnx predict book --prompt "Once upon" --length 400 --temperature 0.7 --seed 1
"""
PREDICTING: dict[str, dict[str, Any]] = {  # options of some kinds of model
    "proba": {
        "action": "store_true", "default": None,
        "help": "also write the probability of each class",
    },
    "quantiles": {
        "type": options.numbers, "metavar": "Q,...",
        "help": "also write these quantiles of a forecast, such as 0.05,0.95 for a 90 %% interval",
    },
    "prompt": {"metavar": "TEXT", "help": "text to continue"},
    "length": {
        "type": int, "metavar": "N", "help": "number of characters to write (default: 400)",
    },
    "temperature": {
        "type": float, "metavar": "X",
        "help": "below 1, likely characters become more likely (default: 1)",
    },
    "seed": {
        "type": int, "metavar": "N", "help": "random seed: the same seed writes the same text",
    },
}  # fmt: skip


def fill(leaf: Parser) -> None:
    """Add the arguments."""
    leaf.description = "Apply a trained model to new files, or let a character model write."
    leaf.epilog = EPILOG
    leaf.add_argument("model", type=Path, metavar="MODEL", help="results folder or model file")
    leaf.add_argument("files", nargs="*", type=Path, metavar="DATA", help="as for `rnnx train`")
    leaf.add_argument("--out", type=Path, metavar="FILE", help="output file (default: stdout)")
    place = leaf.add_argument_group("where to compute")
    place.add_argument("--backend", default="numpy", help=options.WORDS["backend"])
    place.add_argument("--device", type=options.reader("device", "Any"), metavar="NAME",
                       help=options.WORDS["device"])  # fmt: skip
    place.add_argument("--dtype", metavar="NAME", help="float32 or float64 (default: the model's)")
    options.add_table(leaf.add_argument_group("columns of the files"), COLUMNS)
    options.add_table(leaf.add_argument_group("some kinds of model"), PREDICTING)
    leaf.set_defaults(run=run)


def run(chosen: Namespace) -> None:
    """Load a model, predict, and write the predictions."""
    path, summary = results.find(chosen.model)
    task = _task(path)
    for name in (*COLUMNS, *PREDICTING):
        kinds = [t.name for t in TASKS if name in (*t.columns, *t.predicting)]
        if getattr(chosen, name) is not None and task.name not in kinds:
            raise ValueError(
                f"{options.flag(name)} is for {' and '.join(kinds)}, got the model of "
                f"a {task.name}: {path}"
            )
    if task.columns and not chosen.files:
        raise ValueError("DATA must be the files to predict for, got none")
    if chosen.out is not None and chosen.out.resolve() in {
        file.resolve() for file in (path, *chosen.files)
    }:
        raise ValueError(f"--out must not be a file that is read, got {chosen.out}")
    for name, value in summary.get("columns", {}).items():
        if getattr(chosen, name) is None and not arrays.given(chosen):  # arrays have no columns
            setattr(chosen, name, value)
    model = io.load(path, backend=chosen.backend, device=chosen.device, dtype=chosen.dtype)
    answer = task.predict(model, chosen)
    if chosen.out is None:
        _write(answer, sys.stdout)
    else:
        with io.replacing(chosen.out, "w", newline="", encoding="utf-8") as file:
            _write(answer, file)
    if answer.note:
        print(answer.note, file=sys.stderr)


def _task(path: Path) -> Task:
    """Return the kind of the model in a file."""
    kind = io.describe(path).kind
    for task in TASKS:
        if task.model == kind:
            return task
    known = ", ".join(task.model for task in TASKS)
    raise ValueError(f"{path} must hold a model of `rnnx train`, one of {known}, got a {kind}")


def _write(answer: Answer, file: Any) -> None:
    if answer.text is not None:
        print(answer.text, file=file)
        return
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)
