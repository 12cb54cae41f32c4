"""Measure what rnnx costs beside NumPy and torch: the time to import it, and its size on disk.

python benchmarks/footprint.py [--seconds S]

Each import runs in fresh processes that take turns with `python -c pass`, whose median is
subtracted. Bytecode is cached by the first run. The installed size counts the files in a
distribution's metadata without bytecode; for rnnx, it is the content of the wheel built here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
IMPORTS = ("numpy", "rnnx", "torch")
DISTRIBUTIONS = ("rnnx", "array-api-compat", "numpy", "torch")
GOALS = {"import rnnx above numpy, ms": 60.0, "wheel, kB": 100.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=90.0, help="total seconds for all imports")
    options = parser.parse_args()
    from common import environment, write

    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        wheel_bytes = wheel.stat().st_size
        sizes = installed_sizes(wheel)
        imports = import_times(options.seconds, folder)
    measured = (imports["rnnx"] - imports["numpy"], wheel_bytes / 1e3)
    goals = {
        name: {"measured": round(value, 2), "goal": goal, "met": value <= goal}
        for (name, goal), value in zip(GOALS.items(), measured, strict=True)
    }
    result: dict[str, Any] = {
        "environment": environment(DISTRIBUTIONS),
        "import_ms": imports,
        "installed_bytes": sizes,
        "wheel_bytes": wheel_bytes,
        "goals": goals,
    }
    write("footprint", result)
    report(result)
    return 0


def build_wheel(folder: Path) -> Path:
    """Build rnnx's wheel from a copy of its sources in `folder`, and return its path."""
    source = folder / "source"
    shutil.copytree(ROOT / "rnnx", source / "rnnx", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(source)]
    for isolation in (["--no-build-isolation"], []):  # the second downloads a newer setuptools
        done = subprocess.run([*command, *isolation], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return next(folder.glob("rnnx-*.whl"))
    raise SystemExit(f"the wheel of rnnx cannot be built:\n{done.stdout}{done.stderr}")


def installed_sizes(wheel: Path) -> dict[str, int | None]:
    """Return the bytes of each distribution, or None if it is not installed."""
    with ZipFile(wheel) as archive:
        content = sum(info.file_size for info in archive.infolist())
    return {name: content if name == "rnnx" else installed_bytes(name) for name in DISTRIBUTIONS}


def installed_bytes(name: str) -> int | None:
    try:
        listed = files(name) or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in listed if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())


def import_times(seconds: float, folder: str) -> dict[str, float]:
    """Return each package's median milliseconds of import in a fresh process, above `pass`."""
    from common import interleaved

    env = os.environ | {"PYTHONPYCACHEPREFIX": folder}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    code = {"pass": "pass"} | {name: f"import {name}" for name in IMPORTS if find_spec(name)}
    runs: dict[str, Callable[[], object]] = {
        name: partial(subprocess.run, [sys.executable, "-c", line], cwd=folder, env=env, check=True)
        for name, line in code.items()
    }
    times = interleaved(runs, seconds=seconds)
    return {name: round((times[name] - times["pass"]) * 1e3, 2) for name in times if name != "pass"}


def report(result: dict[str, Any]) -> None:
    """Print a table in Markdown, and which goals are met."""
    print("| package | version | import, ms above pass | installed, MB |")
    print("|---|---|---|---|")
    versions = result["environment"]["versions"]
    for name, size in result["installed_bytes"].items():
        if size is None:
            print(f"| {name} | not installed: left out | | |")
            continue
        time = result["import_ms"].get(name)
        shown = "" if time is None else f"{time:.0f}"
        print(f"| {name} | {versions[name]} | {shown} | {size / 1e6:.2f} |")
    for name, goal in result["goals"].items():
        verdict = "met" if goal["met"] else "missed"
        print(f"{name}: {goal['measured']} (goal: at most {goal['goal']:.0f}, {verdict})")


if __name__ == "__main__":
    raise SystemExit(main())
