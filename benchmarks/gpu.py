"""Time RNN, GRU and LSTM on a GPU against torch (cuDNN), at equal precision.

python benchmarks/gpu.py [--cells RNN] [--precisions float32] [--sizes 64 512] [--batches 1 64]
                         [--seconds S] [--minutes M] [--folder PATH]

Precisions are strict "float32", "tf32" and "bfloat16", each in a process of its own
(`gpu_worker.py`). The contenders are torch and each of our cores that serves the point; they take
turns on the same data and the same GPU, and every round is timed between two CUDA events. Results
are checked first: one that is wrong is not timed. In float32, the portable core is timed too.
`gpu_contenders.py` says what the runs are, `gpu_plan.py` which points there are and why all of them
fit into 8 minutes. What has not begun by then is left out, and the result says so. A process that
crashes or hangs costs one contender at one point. The exit code is 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import RESULTS, environment, write
from gpu_device import NO_GPU
from gpu_plan import (
    BATCHES,
    CELLS,
    CORES,
    MINUTES,
    PRECISIONS,
    SECONDS,
    SIZES,
    STALL,
    Point,
    points,
    shares,
)  # fmt: skip
from gpu_summary import report, summary

FOLDER = Path(__file__).parent
TRIES = 6  # processes per precision
GRACE = 10.0  # seconds that a point which has begun may take beyond the deadline
PACKAGES = ("rnnx", "numpy", "array-api-compat", "cupy-cuda13x", "cupy-cuda12x", "torch")
Record = dict[str, Any]


def main() -> int:
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends the process, too
    began = time.time()
    deadline = began + 60 * options.minutes
    with TemporaryDirectory() as folder:
        result = measure(options, deadline, Path(folder))
    if isinstance(result, int):
        return result
    result["minutes"] = round((time.time() - began) / 60, 2)
    result["summary"] = summary(result["rows"])
    name = f"gpu-{slug(result['device'].get('name', 'unknown'))}"
    write(name, result, options.folder)
    draw(result, options.folder / f"{name}.png")
    report(result)
    return 0


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="H")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, help="B")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="seconds per point and kind of run"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="minutes after which all ends"
    )
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the results go")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, deadline: float, folder: Path) -> Record | int:
    """Return everything that is measured, or the exit status where there is no GPU."""
    latencies, code = measure_latencies(folder / "latencies.json", deadline)
    if code == NO_GPU:  # the process has said why
        return NO_GPU
    result: Record = {
        "environment": environment(PACKAGES),
        "device": latencies.get("device", {}),
        "settings": {},
        "unit": "us per step of T",
        "latencies, us": latencies["latencies"],
        "rows": [],
    }
    plan = [points(p, options.cells, options.sizes, options.batches) for p in options.precisions]
    for k, (precision, chosen) in enumerate(zip(options.precisions, plan, strict=True)):
        share = shares(plan[k:], options.seconds, deadline - time.time())[0]
        done = attend_points(precision, chosen, options.seconds, time.time() + share, folder)
        if done["code"] == NO_GPU:
            return NO_GPU
        result["rows"] += done["rows"]
        result["device"] = result["device"] or done["device"]
        result["settings"][precision] = done["settings"]
    return result


def measure_latencies(path: Path, deadline: float) -> tuple[Record, int | str]:
    """Return the device and its latencies, and how their process ended."""
    # it writes once, at its end
    end = attend(["latencies.py", "--json", str(path)], path, deadline, stall=60)
    if path.exists():
        return dict(json.loads(path.read_text())), end
    return {"latencies": {"failed": ended(end)}}, end


def attend_points(
    precision: str, chosen: list[Point], seconds: float, deadline: float, folder: Path
) -> Record:
    """Return the rows of one precision, from as many processes as it takes."""
    done: Record = {"code": 0, "rows": [], "device": {}, "settings": {}}
    left, without = list(chosen), [{} for _ in chosen]  # type: list[Point], list[dict[str, str]]
    for k in range(TRIES):
        if not left or time.time() > deadline:
            break
        path = folder / f"{precision}-{k}.jsonl"
        path.touch()
        request = {"precision": precision, "points": left, "without": without}
        request |= {"seconds": seconds, "deadline": deadline}
        command = ["gpu_worker.py", json.dumps(request), str(path)]
        done["code"] = attend(command, path, deadline + GRACE)
        records = read(path)
        rows = [record["row"] for record in records if "row" in record]
        done["rows"] += rows
        for record in records[:1]:
            done |= {key: record[key] for key in ("device", "settings") if key in record}
        left, without = left[len(rows) :], without[len(rows) :]
        if done["code"] in (0, NO_GPU, "out of time"):
            break
        blame(records, done, left, without)
    done["rows"] += [unmeasured(point, "point", "out of time") for point in left]
    return done


def blame(
    records: list[Record], done: Record, left: list[Point], without: list[dict[str, str]]
) -> None:
    """Leave out the contender at which a process ended, or the point."""
    last = records[-1] if records else {}
    reason = last.get("broken") or ended(done["code"])
    begun = [record["begin"] for record in records if "begin" in record]
    name = begun[-1] if begun and "row" not in last else "point"
    if not left:
        return
    if name in (*CORES, "portable", "torch") and name not in without[0]:
        without[0][name] = reason  # the point is tried again without it
    else:
        done["rows"].append(unmeasured(left.pop(0), name, reason) | {"without": without.pop(0)})


def attend(command: list[str], path: Path, deadline: float, stall: float = STALL) -> int | str:
    """Run a script of this folder; return its exit code, or why it was ended.

    It is ended at the deadline, and when the file it writes to has not grown for `stall` seconds.
    """
    env = {k: v for k, v in os.environ.items() if k not in ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE")}
    script, *arguments = command
    process = subprocess.Popen([sys.executable, str(FOLDER / script), *arguments], env=env)
    size, grew = -1, time.time()
    try:
        while True:
            try:
                return process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                pass
            now, found = time.time(), path.stat().st_size if path.exists() else 0
            size, grew = found, (now if found != size else grew)
            if now > deadline:
                return "out of time"
            if now - grew > stall:
                return f"no sign of life for {stall:.0f} s"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ended(code: int | str) -> str:
    return code if isinstance(code, str) else f"the process ended with code {code}"


def read(path: Path) -> list[Record]:
    """Return the lines that a process has completed."""
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def unmeasured(point: Point, name: str, reason: str) -> Record:
    empty: Record = {"us": {}, "rounds": {}, "error": {}, "auto": None, "declined": {}}
    return {**point._asdict(), **empty, "failed": {name: reason}}


def slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def draw(result: Record, path: Path) -> None:
    try:
        from gpu_picture import draw as save
    except ImportError as error:
        print(f"no picture: {error}", file=sys.stderr)
        return
    save(result, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    raise SystemExit(main())
