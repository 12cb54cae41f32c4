"""Compare our estimators, on their defaults, with simpler and with stronger methods.

python benchmarks/estimators.py [--only TASK ...] [--sets NAME ...] [--methods NAME ...]
                                [--part chosen|judged] [--seeds N] [--missing] [--old PATH]

Classification and regression have the archives' training and test parts. The score is the accuracy,
or the root of the mean squared error. A series is learned up to its test part, once, and forecast
from up to 30 origins in it, each from all values before; the score is the mean absolute error over
all origins and steps ahead. Our estimators get no option but the horizon. The sets and their
division are in `estimator_sets.py`, the rivals in `estimator_rivals.py` and `estimator_series.py`.

Results are added to those there are, so that a long run may be made in pieces.
Methods whose packages are missing are left out by name. `--old` measures the defaults of an older
version of rnnx, in the folder PATH, of which only the times and the spread over the seeds are kept:

python benchmarks/estimators.py --old ../rnnx-old
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from fcntl import LOCK_EX, flock
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

import estimator_rivals
import estimator_series
import numpy as np
from common import RESULTS, environment, write
from estimator_report import BEFORE, INTERVAL, OURS, goals, report
from estimator_sets import SETS, Problem, Timed, part_of

PACKAGES = (
    "rnnx", "numpy", "scipy", "scikit-learn", "sktime", "statsmodels", "torch", "numba",
    "dtaidistance", "reservoirpy",
)  # fmt: skip
NEEDS = {  # beside NumPy, SciPy, scikit-learn, sktime and statsmodels, which the data sets need
    "1-NN DTW": ("dtaidistance",), "torch GRU": ("torch",), "echo state": ("reservoirpy",),
    "MiniRocket": ("numba",),
}  # fmt: skip
RANDOM = {OURS, BEFORE, "torch GRU", "echo state", "MiniRocket"}  # one run per seed
Row = dict[str, Any]
Learn = Callable[[Any, int], Callable[..., Any]]  # from a problem and a seed to what predicts


class Job(NamedTuple):
    """One method on one set."""

    task: str
    name: str
    method: str
    learn: Learn


def ours(problem: Problem, seed: int) -> Callable[..., Any]:
    """Fit our estimator for a problem on its defaults."""
    from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor

    if isinstance(problem, Timed):
        forecaster = RNNForecaster(horizon=problem.horizon, random_state=seed)
        return forecaster.fit(problem.values[: problem.start]).predict
    kind = RNNClassifier if problem.task == "classification" else RNNRegressor
    estimator = kind(random_state=seed).fit(as_given(problem.x), problem.y)
    return lambda rows: estimator.predict(as_given(rows))


def as_given(rows: list[np.ndarray]) -> Any:
    """Return sequences as a table (n, T), an array (n, T, F) or, if ragged, a list."""
    if len({len(row) for row in rows}) > 1:
        return rows
    x = np.stack(rows)
    return x[:, :, 0] if x.shape[2] == 1 else x


def of_series(fit: Callable[..., Any]) -> Learn:
    """Give a rival of the forecaster what it is told of a problem."""

    def learn(problem: Timed, seed: int) -> Callable[..., Any]:
        return fit(problem.values[: problem.start], problem.horizon, problem.season, seed)

    return learn


def methods(task: str, *, old: bool) -> dict[str, Learn]:
    """Return the methods for a task; with `old`, only ours."""
    if old:
        return {BEFORE: ours}
    if task == "series":
        rivals = estimator_series.RIVALS
        return {OURS: ours} | {name: of_series(fit) for name, fit in rivals.items()}
    return {OURS: ours} | estimator_rivals.RIVALS


def measure(job: Job, problem: Problem, seeds: Iterable[int]) -> Row:
    """Return a method's scores on a set, their mean and spread, and the seconds it took."""
    scores, fitting, predicting, held = [], [], [], []
    for seed in list(seeds)[: None if job.method in RANDOM else 1]:
        start = time.perf_counter()
        predict = job.learn(problem, seed)
        fitted = time.perf_counter()
        scores.append(problem.score(predict))
        fitting.append(fitted - start)
        predicting.append(time.perf_counter() - fitted)
        if isinstance(problem, Timed) and job.method == OURS:
            held += coverage(problem, predict)
    row: Row = {"task": job.task, "set": job.name, "part": part_of(job.name), "method": job.method}
    if job.method != BEFORE:  # what it scored is of no use any more
        row |= {"scores": [float(f"{s:.6g}") for s in scores], "mean": float(f"{mean(scores):.6g}")}
    if held:
        row["coverage"] = round(mean(held), 4)
    return row | {
        "spread": float(f"{stdev(scores) if scores[1:] else 0.0:.4g}"),
        "seeds": len(scores),
        "fit, s": round(median(fitting), 3),
        "longest fit, s": round(max(fitting), 3),
        "predict, s": round(median(predicting), 3),
        "cores": len(os.sched_getaffinity(0)),
    }


def coverage(problem: Timed, predict: Callable[..., Any]) -> list[float]:
    """Return the coverage of our intervals; nothing if too few forecasts could be tested."""
    try:
        return [problem.coverage(lambda past: predict(past, quantiles=INTERVAL))]
    except ValueError as error:
        if "to calibrate" not in str(error):
            raise
        return []


def chosen_jobs(options: argparse.Namespace, known: set[tuple[str, str]]) -> list[Job]:
    """Return what the options ask for, method by method."""
    return [
        Job(task, name, method, learn)
        for task in options.only or SETS
        for method, learn in methods(task, old=options.old is not None).items()
        for name in SETS[task]
        if options.part in (None, part_of(name))
        and name in (options.sets or SETS[task])
        and method in (options.methods or [method])
        and not (options.missing and (name, method) in known)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    if options.old:
        sys.path.insert(0, str(options.old))
    jobs = chosen_jobs(options, set(by_key(read_results()["rows"])))
    absent = {job.method: lacking(job.method) for job in jobs}
    for method, packages in absent.items():
        if packages:
            print(f"{method} is left out: {', '.join(packages)} not installed")
    for job in jobs:
        if not absent[job.method]:
            row = measure(job, SETS[job.task][job.name](), range(options.seeds))
            print(f"{job.name}, {job.method}: {row['fit, s']} s", flush=True)
            store(row)
    report(read_results()["rows"])
    return 0


def lacking(method: str) -> list[str]:
    """Return the packages that a method needs and that are not installed."""
    return [package for package in NEEDS.get(method, ()) if find_spec(package) is None]


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [name for sets in SETS.values() for name in sets]
    known = dict.fromkeys(name for task in SETS for name in methods(task, old=False))
    parser.add_argument("--only", nargs="+", choices=SETS, help="tasks; by default all")
    parser.add_argument("--sets", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--methods", nargs="+", choices=known, metavar="NAME", help=", ".join(known)
    )
    parser.add_argument("--part", choices=("chosen", "judged"), help="of the sets; by default both")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, 0 and up")
    parser.add_argument("--missing", action="store_true", help="only what the results lack")
    parser.add_argument(
        "--old", type=Path, metavar="PATH", help="measure the rnnx in this folder, as before"
    )
    options = parser.parse_args(arguments)
    if options.old and not (options.old / "rnnx" / "__init__.py").is_file():
        parser.error(f"--old must be a folder with the package rnnx in it, got {options.old}")
    return options


def read_results() -> dict[str, Any]:
    """Return what the result file holds."""
    path = RESULTS / "estimators.json"
    return json.loads(path.read_text()) if path.exists() else {"rows": []}


def store(row: Row) -> None:
    """Put a row in its place in the results, one process at a time."""
    with Path(__file__).open() as lock:
        flock(lock, LOCK_EX)
        before, machine = read_results(), environment(PACKAGES)
        if "environment" in before:  # of packages that only an earlier piece of the run had
            versions = before["environment"]["versions"]
            machine["versions"] = versions | {k: v for k, v in machine["versions"].items() if v}
        rows = by_key(before["rows"])
        first = rows.get((row["set"], row["method"]), {}).get("first look")
        rows |= by_key([row if first is None else row | {"first look": first}])
        ordered = [rows[key] for key in places() if key in rows]
        facts = {"environment": machine, "rows": ordered, "goals": goals(ordered)}
        write("estimators", facts, RESULTS)


def by_key(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row["set"], row["method"]): row for row in rows}


def places() -> list[tuple[str, str]]:
    """Return all sets and methods in the order of the tables."""
    return [
        (name, method)
        for task, sets in SETS.items()
        for name in sets
        for method in (*methods(task, old=False), BEFORE)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
