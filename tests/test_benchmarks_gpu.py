"""The GPU benchmark, as far as it goes without a GPU."""

from __future__ import annotations

import json
import random
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
    assert ("- MISSED: tf32, training: at least 1.0 at every point "
            "(default core 0.5, fastest core 1.5)") in lines  # fmt: skip
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


def test_a_run_of_the_gpu_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its processes' answers become a result, a picture and tables; without a GPU it is 2."""
    pytest.importorskip("matplotlib", reason="needs Matplotlib")
    gpu, result = load("gpu"), tmp_path / "found"
    given = {"device": {"name": "A Card (80GB)"}, "latencies": {"a launch": 2.5}}
    (tmp_path / "latencies.py").write_text(
        f"import sys; open(sys.argv[2], 'w').write({json.dumps(given)!r})"
    )
    (tmp_path / "rows.json").write_text(json.dumps(made_rows()))
    (tmp_path / "gpu_worker.py").write_text(
        "import json, sys\nrequest, file = json.loads(sys.argv[1]), open(sys.argv[2], 'a')\n"
        f"for row in json.load(open({str(tmp_path / 'rows.json')!r})):\n"
        "    if list(row.values())[:6] in request['points']:\n"
        "        print(json.dumps({'row': row}), file=file)\n"
    )
    monkeypatch.setattr(gpu, "FOLDER", tmp_path)
    options = ["--folder", str(result), "--sizes", "64", "128", "--precisions", "tf32", "float32"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    assert gpu.main() == 0
    assert {file.name for file in result.iterdir()} == {
        "gpu-a-card-80gb.json",
        "gpu-a-card-80gb.png",
    }
    written = json.loads((result / "gpu-a-card-80gb.json").read_text())
    assert len(written["rows"]) == 2 * (3 * 2 * 4 + 3 * 2)
    assert written["latencies, us"] == given["latencies"]
    assert "- a launch: 2.5" in capsys.readouterr().out
    (tmp_path / "latencies.py").write_text("exit(2)")
    assert gpu.main() == 2


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
