"""``rnnx predict MODEL [DATA...]``."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from rnnx import io
from rnnx.cli import options, results, tasks
from rnnx.cli.parser import Parser
from rnnx.cli.task import Answer, add_columns

EPILOG = """\
A results folder remembers the columns that the model was trained on. The options that name columns
are for files with other names, or for a model file alone. Targets are optional: if the files have
them, the score is printed on stderr.

output, as CSV, one row per
  sequence: its id (or its number, from 0), and the predicted label or values;
  step of a sequence, if trained with --per-step: id, time or step, prediction;
  step ahead of a series: id, step, time (if the file has the rows ahead), prediction.
A character model writes text, or the bits per character of each file.

examples:
  rnnx predict results new.csv --proba --out predictions.csv
  rnnx predict results X.npy
  rnnx predict book --prompt "Once upon" --length 400 --temperature 0.7 --seed 1
"""
LABELLED = ("classifier", "regressor")
FOR = {  # option -> the kinds of model that have it
    "proba": ("classifier",),
    **dict.fromkeys(("features", "target_file"), LABELLED),
    "exog": ("forecaster",),
    **dict.fromkeys(("prompt", "length", "temperature", "seed"), ("characters",)),
    **dict.fromkeys(("id", "time", "target", "delimiter"), (*LABELLED, "forecaster")),
}


def fill(leaf: Parser) -> None:
    """Add the arguments."""
    leaf.description = "Apply a trained model to new files, or let a character model write."
    leaf.epilog = EPILOG
    leaf.add_argument("model", type=Path, metavar="MODEL", help="results folder or model file")
    leaf.add_argument("files", nargs="*", type=Path, metavar="DATA", help="as for `rnnx train`")
    leaf.add_argument("--out", type=Path, metavar="FILE", help="output file (default: stdout)")
    leaf.add_argument(
        "--proba", action="store_true", help="also write the probability of each class"
    )
    place = leaf.add_argument_group("where to compute")
    place.add_argument("--backend", default="numpy", help=options.WORDS["backend"])
    place.add_argument("--device", type=options.reader("device", "Any"), metavar="NAME",
                       help=options.WORDS["device"])  # fmt: skip
    place.add_argument("--dtype", metavar="NAME", help="float32 or float64 (default: the model's)")
    columns = leaf.add_argument_group("columns of the files")
    add_columns(columns, ("features", "target", "exog"))
    columns.add_argument(
        "--target-file", type=Path, metavar="Y.npy", help="targets, to score the predictions"
    )
    text = leaf.add_argument_group("character models")
    text.add_argument("--prompt", metavar="TEXT", help="text to continue")
    text.add_argument(
        "--length", type=int, metavar="N", help="number of characters to write (default: 400)"
    )
    text.add_argument(
        "--temperature", type=float, metavar="X",
        help="below 1, likely characters become more likely (default: 1)",
    )  # fmt: skip
    text.add_argument(
        "--seed", type=int, metavar="N", help="random seed: the same seed writes the same text"
    )
    leaf.set_defaults(run=run)


def run(chosen: Namespace) -> None:
    """Load a model, predict, and write the predictions."""
    path, summary = results.find(chosen.model)
    task = tasks.of_file(path)
    for name, kinds in FOR.items():
        given = getattr(chosen, name)
        if given is not None and given is not False and task.name not in kinds:
            raise ValueError(
                f"--{name.replace('_', '-')} is for {' and '.join(kinds)}, got the model of "
                f"a {task.name}: {path}"
            )
    if task.name != "characters" and not chosen.files:
        raise ValueError("DATA must be the files to predict for, got none")
    if chosen.out is not None and chosen.out.resolve() in {
        file.resolve() for file in (path, *chosen.files)
    }:
        raise ValueError(f"--out must not be a file that is read, got {chosen.out}")
    _complete(chosen, summary.get("columns", {}))
    place: dict[str, Any] = {name: getattr(chosen, name) for name in ("backend", "device", "dtype")}
    answer = task.predict(io.load(path, **place), chosen)
    _write(answer, chosen.out)
    if answer.note:
        print(answer.note, file=sys.stderr)


def _complete(chosen: Namespace, columns: dict[str, Any]) -> None:
    """Complete the options from the training; arrays have no columns."""
    arrays = any(path.suffix.lower() in (".npy", ".npz") for path in chosen.files)
    for name, value in ({} if arrays else columns).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)


def _write(answer: Answer, path: Path | None) -> None:
    """Write to stdout, or to a file, whole or not at all."""
    if path is None:
        _put(answer, sys.stdout)
        return
    with io.replacing(path, "w", newline="", encoding="utf-8") as file:
        _put(answer, file)


def _put(answer: Answer, file: Any) -> None:
    if answer.text is not None:
        print(answer.text, file=file)
        return
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)
