"""What the benchmarks share: turns, processes, a description of the machine, result files."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self, TypeVar

RESULTS = Path(__file__).parent / "results"
Sample = TypeVar("Sample")


def interleaved(
    functions: Mapping[str, Callable[[], object]], *, seconds: float, least: int = 7
) -> dict[str, float]:
    """Return each function's median seconds, from the rounds of `take_turns`."""
    samplers = {name: partial(_seconds, function) for name, function in functions.items()}
    times = take_turns(samplers, seconds=seconds, least=least)
    return {name: statistics.median(values) for name, values in times.items()}


def take_turns(
    samplers: Mapping[str, Callable[[], Sample]],
    *,
    seconds: float,
    least: int = 7,
    warm_up: bool = True,
) -> dict[str, list[Sample]]:
    """Return each sampler's measurements, from rounds in which all of them take turns.

    Interleaving spreads the machine's other load evenly over all of them.
    """
    for sampler in samplers.values() if warm_up else ():  # compile, allocate, warm the caches
        sampler()
        sampler()
    samples: dict[str, list[Sample]] = {name: [] for name in samplers}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(samples.values()))) < least:
        for name, sampler in samplers.items():
            samples[name].append(sampler())
    return samples


class Process:
    """A script of this folder in a process of its own, which answers requests with `serve`.

    It is stopped from each answer to the next request. A library's threads go on spinning when
    they have nothing to do; while they are stopped, they take nothing from the process whose turn
    it is.

    Parameters
    ----------
    *command
        The script's name and its arguments.
    **variables
        What is added to the environment.
    """

    def __init__(self, *command: str, **variables: str) -> None:
        script, *arguments = command
        self.name = " ".join(command)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / script), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | variables,
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        self._process.send_signal(signal.SIGCONT)
        with suppress(BrokenPipeError):
            print(json.dumps(request), file=to, flush=True)
        answer = back.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with code {self._process.wait()}")
        self._process.send_signal(signal.SIGSTOP)
        return dict(json.loads(answer))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process; if it is still busy, it is not waited for."""
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate()


def serve(answer: Callable[..., dict[str, Any]]) -> None:
    """Answer the requests of `Process.ask`; whatever else is printed goes to standard error."""
    to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=to, flush=True)


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """Return the machine, the interpreter and the packages' versions."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "revision": _revision(),
    }


def write(name: str, result: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write a result as JSON to `NAME.json` in the folder and print the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _revision() -> str:
    if shutil.which("git") is None:  # a bare GPU machine
        return ""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parent, check=False)
    return done.stdout.strip()
