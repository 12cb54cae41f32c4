"""The report on a GPU, as far as it goes without one."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarking import BENCHMARKS, importable, load  # noqa: F401, a fixture

SCRIPTS = [["gpu.py"], ["gpu_report.py"], ["latencies.py"], ["gpu_case.py", "RNN", "fused"]]


@pytest.mark.parametrize("command", SCRIPTS, ids=lambda command: command[0])
def test_without_a_gpu_there_is_one_line(command: list[str], tmp_path: Path) -> None:
    """The exit code is 2, and no file is written."""
    pytest.importorskip("torch", reason="needs torch")
    script, *arguments = command
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments], cwd=tmp_path, check=False,
        capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "cupy" in line.lower() or "CUDA" in line
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_the_report_that_fails_is_recorded(tmp_path: Path) -> None:
    """The parts after it are done, and the file is complete after each part."""
    report = load("gpu_report")
    output = tmp_path / "gpu-report.json"
    seen: list[Any] = []

    def fails() -> dict[str, Any]:
        raise OSError("no such program")

    def last() -> dict[str, Any]:
        seen.append(json.loads(output.read_text()))
        return {"ok": True}

    found: dict[str, Any] = {"parts": {}}
    chosen = {"one": lambda: {"ok": True}, "two": fails, "three": last}
    report.assemble(found, chosen, argparse.Namespace(output=output))
    written = json.loads(output.read_text())
    assert written == found
    assert written["verdict"] == "failed: two"
    assert "no such program" in written["parts"]["two"]["error"]
    assert [part["ok"] for part in written["parts"].values()] == [True, False, True]
    assert list(seen[0]["parts"]) == ["one", "two"]


def test_a_command_of_the_report_ends(tmp_path: Path) -> None:
    """In time or not, with its exit code, the end of its output, and its own variables."""
    report = load("gpu_report")
    script = "import os, sys, time; print(os.environ['A']); time.sleep(float(sys.argv[1])); exit(3)"
    command = [sys.executable, "-c", script]
    assert report.run([*command, "0"], 30, {"A": "x" * 9}, keep=5) == {"code": 3, "tail": "xxxx\n"}
    late = report.run([*command, "60"], 1, {"A": "x"})
    assert late["code"] == "did not end within 1 s"


def test_the_report_reads_what_pytest_writes(tmp_path: Path) -> None:
    """Counts, and each failure's name and message."""
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_good(): pass\ndef test_bad(): assert 1 == 2, 'so it is'\n"
        "def test_skipped(): pytest.skip('no')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    xml = tmp_path / "found.xml"
    subprocess.run([*command, f"--junitxml={xml}", str(tmp_path)], check=False, capture_output=True)
    found = load("gpu_report").read_tests(xml)
    assert found["counts"] == {"tests": 3, "failures": 1, "errors": 0, "skipped": 1}
    (failure,) = found["failures"]
    assert failure["test"].endswith("::test_bad")
    assert "so it is" in failure["message"]


def test_the_sanitizer_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On PATH and in CUDA_HOME; without it the part says so and does not fail."""
    report = load("gpu_report")
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    part = report.sanitize("memcheck")
    assert part["ok"]
    assert "neither on PATH nor in $CUDA_HOME" in part["not run"]
    program = tmp_path / "home" / "bin" / "compute-sanitizer"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho \'{"float32": "identical"}\'\necho "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    part = report.sanitize("racecheck")
    assert part["ok"]
    assert part["program"] == str(program)
    assert list(part["found"]) == [
        f"{cell}, {core}" for cell in ("RNN", "GRU", "LSTM") for core in ("fused", "persistent")
    ]
    assert "--tool racecheck" in part["found"]["GRU, fused"]["tail"]


def test_two_runs_are_compared_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal ones are identical; a difference is named; an unknown core declines."""
    case = load("gpu_case")
    shape = (5, 3, 4)
    assert case.compare("LSTM", "portable", shape, backend="numpy") == "identical"
    once = iter([[("y", np.zeros(2)), ("x", np.ones(2))], [("y", -np.zeros(2)), ("x", np.ones(2))]])
    monkeypatch.setattr(case, "run", lambda layer, shape: next(once))
    assert case.compare("LSTM", "portable", shape, backend="numpy") == ["y"]
