"""The GPU benchmark and the report, as far as they go without a GPU."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarking import BENCHMARKS, importable, load  # noqa: F401, a fixture

WORKER = """
import json, os, sys, time
request, file = json.loads(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
note = lambda record: print(json.dumps(record), file=file, flush=True)
note({"device": {"name": "a card"}, "settings": {}})
for point, without in zip(request["points"], request["without"]):
    H = point[3]
    if "persistent" not in without and H == HOW[0]:
        note({"begin": "persistent"})
        HOW[1]()
    if H == HOW[2]:
        note({"begin": "rounds"})
        os._exit(7)
    note({"row": {"H": H, "failed": without}})
"""


def test_all_points_fit_into_eight_minutes() -> None:
    """As expected on a slow H100 they end before the deadline, and it ends before 8 minutes."""
    plan, gpu = load("gpu_plan"), load("gpu")
    points = [plan.points(precision) for precision in plan.PRECISIONS]
    assert [len(chosen) for chosen in points] == [3 * 6 * 4 + 3 * 2 * 2] * 3
    needed = plan.START + sum(plan.expected(chosen, plan.SECONDS) for chosen in points)
    assert needed < 60 * plan.MINUTES < 60 * 8 - gpu.GRACE - 10
    for chosen in points:
        assert max(plan.point_seconds(p, plan.SECONDS) for p in chosen) < plan.STALL / 2
    left = 100.0
    for k in range(3):  # what a process leaves goes to the others
        share = plan.shares(points[k:], plan.SECONDS, left)[0]
        assert 0 < share <= left
        left -= share
    assert left == pytest.approx(0)


def test_options_choose_the_points() -> None:
    """Cells, sizes and batches; the dearest points come last."""
    plan = load("gpu_plan")
    options = load("gpu").read_options(["--cells", "GRU", "--sizes", "512", "64", "--batches", "1"])
    (precision, *_) = options.precisions
    chosen = plan.points(precision, options.cells, options.sizes, options.batches)
    assert chosen == [plan.Point("GRU", 256, 1, H, "float32") for H in (64, 512)]
    assert [p.before for p in plan.points("tf32", ["RNN"], [64], [1, 16])] == [False, False]


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a device of NumPy and torch; our cores there stand in for those on a GPU."""
    torch = pytest.importorskip("torch", reason="needs torch")
    monkeypatch.setattr(load("gpu_worker"), "CORES", ("native", "persistent?"))

    def clock(function: Callable[[], object]) -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return load("gpu_device").Device(
        "numpy", "cpu", lambda tensor: tensor.numpy(), lambda a: torch.tensor(np.array(a)),
        clock, lambda: None, lambda: None, precise=False,
    )  # fmt: skip


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_a_point_of_the_gpu_benchmark(cell: str, precision: str, ragged: bool, on_cpu: Any) -> None:
    """The contenders agree with torch in float64 and are timed; a core that is absent says so."""
    point, notes = load("gpu_plan").Point(cell, 6, 3, 5, precision, ragged), []
    row = load("gpu_worker").measure(point, on_cpu, 1e-3, {}, notes.append)
    json.dumps(row, allow_nan=False)
    contenders = {"torch", row["auto"]} | ({"portable"} if point.before else set())
    assert row["failed"] == {}
    assert row["declined"]["persistent?"] == "there is no such core"
    for kind in ("training", "forward"):
        assert set(row["us"][kind]) == contenders | {"native"} - set(row["declined"])
        assert min(row["us"][kind].values()) > 0
        assert min(row["rounds"][kind].values()) >= 3
    assert row["reference"] == "torch float64"
    assert 0 < row["error"]["torch"]["outputs"] < (1e-5 if precision == "float32" else 0.05)
    assert 0 < row["error"][row["auto"]]["gradients"] < 1e-5
    assert [note["begin"] for note in notes][:2] == ["reference", "torch"]


@pytest.mark.parametrize("wrong", [1.5, np.nan])
def test_wrong_results_are_not_timed(
    wrong: float, on_cpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says by how much they differ; torch is timed all the same."""
    worker = load("gpu_worker")
    made = worker.ours

    def ours(problem: Any, device: Any, core: str) -> Any:
        runs = made(problem, device, core)
        return runs | {"forward": lambda: wrong * runs["forward"]()}

    monkeypatch.setattr(worker, "ours", ours)
    point = load("gpu_plan").Point("GRU", 6, 3, 5, "tf32")
    row = worker.measure(point, on_cpu, 1e-3, {}, lambda note: None)
    assert "differs from torch float64" in row["failed"][row["auto"]]
    assert set(row["us"]["training"]) == {"torch"}
    json.dumps(row, allow_nan=False)


def test_an_error_on_the_device_ends_the_process(on_cpu: Any) -> None:
    """Only where nothing works there any more; otherwise the other contenders go on."""
    worker, point = load("gpu_worker"), load("gpu_plan").Point("RNN", 6, 3, 5, "tf32")

    def no_memory(tensor: Any) -> Any:
        raise MemoryError("no memory")

    def broken() -> None:
        raise RuntimeError("illegal address")

    device = on_cpu._replace(array=no_memory)
    row = worker.measure(point, device, 1e-3, {}, lambda note: None)
    assert "MemoryError" in row["failed"][row["auto"]]
    assert set(row["us"]["forward"]) == {"torch"}
    with pytest.raises(worker.Broken, match="illegal address"):
        worker.measure(point, device._replace(check=broken), 1e-3, {}, lambda note: None)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("lambda: os._exit(9)", "code 9"), ("lambda: time.sleep(60)", "no sign of life for 3 s")],
)
def test_a_process_that_crashes_or_hangs_costs_little(
    how: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point is tried again without the core at fault; a point at fault is left out."""
    gpu, Point = load("gpu"), load("gpu_plan").Point
    worker = tmp_path / "gpu_worker.py"
    worker.write_text(WORKER.replace("HOW[1]", f"({how})").replace("HOW", "[2, 0, 3]"))
    monkeypatch.setattr(gpu, "FOLDER", tmp_path)
    monkeypatch.setattr(gpu.attend, "__defaults__", (3.0,))
    points = [Point("RNN", 4, 1, H, "tf32") for H in (1, 2, 3, 4)]
    done = gpu.attend_points("tf32", points, 0.1, time.time() + 60, tmp_path)
    found = {row["H"]: row["failed"] for row in done["rows"]}
    assert list(found) == [1, 2, 3, 4]
    assert found[1] == found[4] == {}
    assert reason in found[2]["persistent"]
    assert "code 7" in found[3]["rounds"]
    assert done["device"] == {"name": "a card"}
    late = gpu.attend_points("float32", points, 0.1, time.time() - 1, tmp_path)
    assert [row["failed"] for row in late["rows"]] == [{"point": "out of time"}] * 4


def made_rows() -> list[dict[str, Any]]:
    """Return a row for every point: torch takes 6 us, fused 4, persistent 2, portable 40."""
    plan, rows = load("gpu_plan"), []
    for point in (p for precision in plan.PRECISIONS for p in plan.points(precision)):
        us = {"torch": 6.0, "fused": 4.0, "persistent": 2.0}
        us |= {"portable": 40.0} if point.before else {}
        rows.append({
            **point._asdict(), "us": {kind: dict(us) for kind in plan.KINDS}, "failed": {},
            "error": {"fused": {"outputs": 1e-6, "gradients": 2e-6}}, "auto": "persistent",
            "declined": {}, "reference": "torch float64",
        })  # fmt: skip
    return rows


def test_ratios_means_and_goals() -> None:
    """Of the core that runs by default; a missing point leaves a goal open, a slow one misses."""
    s, rows = load("gpu_summary"), made_rows()
    assert s.ratio(rows[0], "training") == 3
    assert s.ratio(rows[0], "training", "fused") == 1.5
    found = s.summary(rows)
    assert {m["geometric mean"] for m in found["means"]} == {3.0}
    assert {m["geometric mean"] for m in found["over portable"]} == {20.0}
    assert [m["points"] for m in found["over portable"]] == [3 * 4 * 4] * 2
    assert all(goal["met"] for goal in found["goals"])
    (slow,) = s.pick(rows, cell="GRU", H=256, B=64, precision="tf32")
    slow["us"]["training"]["persistent"] = 12.0
    (lost,) = s.pick(rows, cell="GRU", H=2048, B=1, precision="float32")
    lost["us"], lost["failed"] = {}, {"point": "out of time"}
    found = s.summary(rows)
    (mean,) = s.pick(found["means"], precision="tf32", ragged=False, run="training")
    assert (mean["least"], mean["below 1"], mean["points"]) == (0.5, 1, 72)
    assert mean["geometric mean"] == pytest.approx(3 * 6 ** (-1 / 72), abs=1e-3)
    assert mean["geometric mean of the fastest core"] == pytest.approx(3 * 2 ** (-1 / 72), abs=1e-3)
    states = {goal["goal"]: goal["met"] for goal in found["goals"]}
    assert states.pop("tf32, training: at least 1.0 at every point") is False
    assert [name for name, met in states.items() if met is None] == [
        f"float32, training: at least {what}"
        for what in ("1.0 at every point", "2 in geometric mean")
    ]
    result = {"device": {}, "rows": rows, "summary": found, "latencies, us": {"a launch": 2.1}}
    lines = list(s.lines(result))
    assert sum(line == "| 256 | 64 | " + " | ".join(["3.00 persistent"] * 6) + " |"
               for line in lines) == 2  # fmt: skip
    assert "0.50 persistent (fused 1.50)" in "\n".join(lines)
    assert "- point: out of time (1 points, first GRU float32 H=2048 B=1)" in lines
    assert "- bfloat16, fused: outputs 1.0e-06, gradients 2.0e-06" in lines


def test_the_picture_shows_every_ratio(tmp_path: Path) -> None:
    """A panel for each precision, cell and run; a point without a time has no number."""
    pytest.importorskip("matplotlib", reason="needs Matplotlib")
    picture, rows = load("gpu_picture"), made_rows()
    rng = random.Random(0)
    for row in rows[20:]:
        row["us"]["training"]["persistent"] = rng.uniform(0.2, 20)
    rows[12]["us"] = {}
    texts: list[str] = []
    draw = picture.plt.Axes.text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            picture.plt.Axes, "text",
            lambda self, *a, **k: (texts.append(a[2]), draw(self, *a, **k))[1],
        )  # fmt: skip
        picture.draw({"rows": rows, "device": {"name": "a card"}}, tmp_path / "gpu.png")
    assert (tmp_path / "gpu.png").stat().st_size > 20000
    assert len(texts) == 3 * 6 * 24
    assert texts.count("") == 2


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


@pytest.mark.parametrize("name", ["empty", "grid", "clusters"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_the_kernels_of_the_latencies_compile(name: str, arch: str) -> None:
    """With NVRTC, as CuPy compiles them, for cards that have clusters or need none."""
    pytest.importorskip("cupy", reason="needs CuPy")
    from cupy.cuda import nvrtc

    if name == "clusters" and arch == "sm_80":
        pytest.skip("clusters need compute capability 9.0")
    try:
        nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"needs NVRTC, CuPy's extra [ctk]: {str(error).splitlines()[0]}")
    program = nvrtc.createProgram(load("latencies").SOURCES[name], "kernels.cu", [], [])
    try:
        nvrtc.compileProgram(program, (f"-arch={arch}", "--std=c++17", "-ftz=true"))
    except Exception:
        pytest.fail(nvrtc.getProgramLog(program))
    assert nvrtc.getCUBIN(program)
    nvrtc.destroyProgram(program)
