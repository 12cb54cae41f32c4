"""A process of `gpu.py`: measures points of one precision, and writes a line of JSON for each.

python benchmarks/gpu_worker.py REQUEST PATH
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import take_turns
from gpu_contenders import Problem, Runs, cores, errors, make_problem, ours, results, torchs
from gpu_device import NO_GPU, Device, cuda, describe, settings, why_not
from gpu_plan import CORES, KINDS, LEAST, Point

BROKEN = 3  # exit status: nothing works on the GPU any more in this process
EXACT = 64 * 256  # B H up to which the reference is torch in float64, else torch's own answer
TOLERANCE = {"float32": 1e-3, "tf32": 3e-2, "bfloat16": 0.2}  # relative to the largest entry
Note = Callable[[dict[str, Any]], None]
Row = dict[str, Any]


class Broken(RuntimeError):
    """A contender left the GPU unusable for this process."""


def main() -> int:
    request, path = json.loads(sys.argv[1]), Path(sys.argv[2])
    with path.open("a", buffering=1) as file:
        return work(request, lambda record: print(json.dumps(record), file=file, flush=True))


def work(request: dict[str, Any], note: Note) -> int:
    """Measure the request's points until its deadline; note the device, what begins, the rows."""
    reason = why_not()
    if reason:
        print(reason, file=sys.stderr)
        return NO_GPU
    device = cuda(request["precision"])
    note({"device": describe(), "settings": settings()})
    for fields, without in zip(request["points"], request["without"], strict=True):
        if time.time() > request["deadline"]:
            break
        point = Point(*fields)
        try:
            row = measure(point, device, request["seconds"], without, note)
        except Broken as error:
            note({"broken": str(error)})
            return BROKEN
        note({"row": row})
    return 0


def measure(
    point: Point, device: Device, seconds: float, without: dict[str, str], note: Note
) -> Row:
    """Return a point's row: medians in microseconds per time step, errors, and what failed."""
    row: Row = {**point._asdict(), "us": {}, "rounds": {}, "error": {}, "failed": dict(without)}
    try:
        device.free()
        names = prepare(point, device, row)
        problem = make_problem(point, device)
        runs = checked(problem, device, names, row, note)
        note({"begin": "rounds"})
        timed(runs, device, seconds, row)
        if point.before and "portable" not in runs:
            note({"begin": "portable"})
            attempt(row, device, "portable", partial(before, problem, device, row))
    except Broken:
        raise
    except Exception as error:  # such as no memory for the problem itself
        row["failed"]["point"] = f"{type(error).__name__}: {error}"[:500]
        alive(device, "point", error)
    show(row)
    return row


def prepare(point: Point, device: Device, row: Row) -> list[str]:
    """Return the contenders, and add to the row what the cores say."""
    said: dict[str, str] = {}
    attempt(row, device, "cores", lambda: said.update(cores(point, device, CORES)))
    row["auto"] = said.pop("auto", None)
    row["declined"] = {k: why for k, why in said.items() if why not in ("runs", "could run")}
    names = [name for name in CORES if name in said and name not in row["declined"]]
    if row["auto"] not in (None, *names):
        names.append(row["auto"])
    return [name for name in ("torch", *names) if name not in row["failed"]]


def checked(
    problem: Problem, device: Device, names: list[str], row: Row, note: Note
) -> dict[str, Runs]:
    """Return the contenders' runs whose results are right; each has then run once."""
    point, expected, runs = problem.point, {}, {}
    dtype = "bfloat16" if point.precision == "bfloat16" else "float32"
    small = point.B * point.H <= EXACT
    row["reference"] = "torch float64" if small else "torch"

    def run(name: str) -> None:
        own = torchs(problem, device, dtype) if name == "torch" else ours(problem, device, name)
        found = results(own, (lambda a: a) if name == "torch" else device.tensor)
        if not expected and name == "torch":
            expected.update(found)
        if expected:
            row["error"][name] = error = errors(found, expected)
            if max(error.values()) > TOLERANCE[point.precision]:
                what = ", ".join(f"{part} by {e:.1e}" for part, e in error.items())
                row["error"][name] = {part: min(e, 1e9) for part, e in error.items()}
                raise ValueError(f"differs from {row['reference']}: {what}")
        runs[name] = own

    if small:
        note({"begin": "reference"})
        attempt(row, device, "reference", lambda: expected.update(exact(problem, device)))
    for name in names:
        note({"begin": name})
        attempt(row, device, name, partial(run, name))
    return runs


def exact(problem: Problem, device: Device) -> dict[str, Any]:
    return results(torchs(problem, device, "float64"), lambda a: a)


def timed(runs: dict[str, Runs], device: Device, seconds: float, row: Row) -> None:
    """Add the medians of rounds in which the contenders take turns."""
    for kind in KINDS:
        samplers = {name: partial(device.clock, own[kind]) for name, own in runs.items()}
        for sampler in samplers.values():
            sampler()
        if not samplers:
            continue
        samples = take_turns(samplers, seconds=seconds, least=LEAST, warm_up=False)
        record(row, kind, samples)


def before(problem: Problem, device: Device, row: Row) -> None:
    """Add the medians of a few rounds of the portable core."""
    own = ours(problem, device, "portable")
    for kind in KINDS:
        clock = partial(device.clock, own[kind])
        clock()
        record(row, kind, {"portable": [clock() for _ in range(LEAST)]})


def record(row: Row, kind: str, samples: dict[str, list[float]]) -> None:
    us = {name: round(1e6 / row["T"] * statistics.median(t), 4) for name, t in samples.items()}
    row["us"].setdefault(kind, {}).update(us)
    row["rounds"].setdefault(kind, {}).update({name: len(t) for name, t in samples.items()})


def attempt(row: Row, device: Device, name: str, function: Callable[[], object]) -> None:
    """Call a function; where it fails, say so in the row, if the GPU still works."""
    try:
        function()
        device.check()  # what runs in the background fails here
    except Exception as error:
        alive(device, name, error)
        row["failed"][name] = f"{type(error).__name__}: {error}"[:500]
        device.free()


def alive(device: Device, name: str, error: Exception) -> None:
    """Raise if the GPU works no more after an error."""
    try:
        device.check()
    except Exception:
        raise Broken(f"{type(error).__name__}: {error}"[:500]) from error


def show(row: Row) -> None:
    names = ("cell", "B", "H", "precision", "us", "auto", "declined", "failed")
    ragged = ["ragged"] if row["ragged"] else []
    print(*ragged, *(row[k] for k in names if row.get(k)), file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
