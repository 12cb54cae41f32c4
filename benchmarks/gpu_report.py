"""Prove and measure rnnx on this machine's GPU, and write one file about it: `gpu-report.json`.

python benchmarks/gpu_report.py [--output PATH] [--skip PART ...] [--benchmark OPTIONS]

`make gpu-report` installs what this needs and runs it. The parts are the tests on CuPy with each
choice of cores, two runs that must be equal bit for bit, compute-sanitizer where it is found, and
`gpu.py`. A part that fails is recorded, and the others go on. The file is written after each part.
The exit code is 1 if a part failed, and 2 with one line if there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import environment
from gpu_device import NO_GPU
from gpu_plan import CELLS, CORES

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
SMALL = ("--shape", "4", "9", "64", "--no-pool")  # for the sanitizer, which is slow
TOOLS = ("memcheck", "racecheck")
PACKAGES = ("rnnx", "numpy", "array-api-compat", "cupy-cuda13x", "cupy-cuda12x", "torch", "pytest")
Part = dict[str, Any]  # "ok", and what was found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("gpu-report.json"))
    parser.add_argument("--skip", nargs="+", default=[], choices=parts(Path()), metavar="PART")
    parser.add_argument("--benchmark", default="", help="options for gpu.py, in one string")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    device = run([sys.executable, str(FOLDER / "gpu_device.py")], 300)
    if device["code"]:
        print(device["tail"].strip().rpartition("\n")[2], file=sys.stderr)
        return NO_GPU if device["code"] == NO_GPU else 1
    report: Part = {"environment": environment(PACKAGES), "parts": {}}
    report["device"] = json.loads(device["tail"].strip().rpartition("\n")[2])
    with tempfile.TemporaryDirectory() as folder:
        chosen = parts(Path(folder), shlex.split(options.benchmark))
        assemble(report, {k: do for k, do in chosen.items() if k not in options.skip}, options)
    print(f"wrote {options.output}: {report['verdict']}")
    return int(report["verdict"] != "all passed")


def parts(folder: Path, benchmark: list[str] | None = None) -> dict[str, Callable[[], Part]]:
    """Return what is to be done, by name."""
    return {
        "tests": partial(run_tests, folder / "tests.xml", {}),
        "tests-persistent": partial(
            run_tests, folder / "tests-persistent.xml", {"RNNX_CORE": "persistent"}
        ),
        "twice": run_twice,
        **{tool: partial(sanitize, tool) for tool in TOOLS},
        "benchmark": partial(run_benchmark, folder, benchmark or []),
    }


def assemble(
    report: Part, chosen: dict[str, Callable[[], Part]], options: argparse.Namespace
) -> None:
    """Do each part, and write the report after each; what one raises is its result."""
    for name, do in chosen.items():
        print(f"== {name}", file=sys.stderr, flush=True)
        began = time.time()
        try:
            found = do()
        except Exception:
            found = {"ok": False, "error": traceback.format_exc()[-4000:]}
        report["parts"][name] = {**found, "seconds": round(time.time() - began, 1)}
        failed = [name for name, part in report["parts"].items() if not part["ok"]]
        report["verdict"] = f"failed: {', '.join(failed)}" if failed else "all passed"
        options.output.write_text(json.dumps(report, indent=1) + "\n")
        print(f"== {name}: {'ok' if found['ok'] else 'FAILED'}", file=sys.stderr, flush=True)


def run_tests(path: Path, variables: dict[str, str]) -> Part:
    """Run the tests that name CuPy, none of which may skip for want of a GPU."""
    command = ["-m", "pytest", "tests", "-q", "-k", "cupy", f"--junitxml={path}"]
    variables = {"RNNX_REQUIRE": "cupy"} | variables
    done = run([sys.executable, *command], 2400, variables)
    found = read_tests(path) if path.exists() else {"counts": {}, "failures": []}
    ran = found["counts"].get("tests", 0) - found["counts"].get("skipped", 0)
    return {"ok": done["code"] == 0 and ran > 0, "variables": variables, **found, **done}


def read_tests(path: Path) -> Part:
    """Return pytest's counts, and the name and message of each test that failed."""
    suites = list(ElementTree.parse(path).getroot().iter("testsuite"))
    keys = ("tests", "failures", "errors", "skipped")
    failures = [
        {"test": f"{case.get('classname')}::{case.get('name')}", "message": message(problem)}
        for suite in suites
        for case in suite.iter("testcase")
        for problem in case
        if problem.tag in ("failure", "error")
    ]
    counts = {key: sum(int(suite.get(key, 0)) for suite in suites) for key in keys}
    return {"counts": counts, "failures": failures[:100]}


def message(problem: ElementTree.Element) -> str:
    return f"{problem.get('message', '')[:1000]}\n...\n{(problem.text or '')[-1500:]}"


def run_twice() -> Part:
    """Compare two training steps bit for bit, for each cell, core and precision."""
    found: dict[str, Any] = {}
    ok = True
    for cell in CELLS:
        for core in CORES:
            done = run([sys.executable, str(FOLDER / "gpu_case.py"), cell, core], 300)
            ok &= done["code"] == 0
            answer = done["tail"].strip().rpartition("\n")[2]
            found[f"{cell}, {core}"] = json.loads(answer) if answer.startswith("{") else done
    return {"ok": ok and "identical" in json.dumps(found), "found": found}


def sanitize(tool: str) -> Part:
    """Run a small case for each cell and core under a tool of compute-sanitizer."""
    program = find_sanitizer()
    if program is None:
        why = "compute-sanitizer is neither on PATH nor in $CUDA_HOME"
        return {"ok": True, "not run": why}
    found = {}
    for cell in CELLS:
        for core in CORES:
            command = [program, "--tool", tool, "--error-exitcode", "99", sys.executable]
            command += [str(FOLDER / "gpu_case.py"), cell, core, *SMALL]
            found[f"{cell}, {core}"] = run(command, 600, keep=2500)
    ran = any("identical" in done["tail"] for done in found.values())
    ok = ran and all(done["code"] == 0 for done in found.values())
    return {"ok": ok, "program": program, "found": found}


def find_sanitizer() -> str | None:
    """Return the path of compute-sanitizer."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    folders = [f"{home}/{folder}" for home in homes for folder in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(folders) or "/nowhere"
    )


def run_benchmark(folder: Path, options: list[str]) -> Part:
    """Run `gpu.py`; return its result and what it printed."""
    command = [sys.executable, str(FOLDER / "gpu.py"), "--folder", str(folder), *options]
    done = run(command, 900, keep=60000)
    files = list(folder.glob("gpu-*.json"))
    result = json.loads(files[0].read_text()) if files else None
    wrong = [row for row in (result or {}).get("rows", []) if "differs" in str(row["failed"])]
    return {
        "ok": done["code"] == 0 and result is not None and not wrong,
        "wrong": wrong,
        "result": result,
        **done,
    }


def run(
    command: list[str], limit: float, variables: dict[str, str] | None = None, keep: int = 4000
) -> Part:
    """Run a command for at most so many seconds; return its exit code and the end of its output.

    It runs in a group of its own, which is ended with it.
    """
    env = os.environ | {"PYTHONUNBUFFERED": "1"} | (variables or {})
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        code: int | str
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = f"did not end within {limit:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return {"code": code, "tail": output.read()[-keep:]}


if __name__ == "__main__":
    raise SystemExit(main())
