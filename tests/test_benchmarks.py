"""The CPU benchmark: one process at a time runs, and all libraries compute the same."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarking import BENCHMARKS, importable, load  # noqa: F401, a fixture

import rnnx

SCRIPT = """
import os, sys, threading, time
sys.path.insert(0, {folder!r})
from common import serve

def spin():
    while True:
        pass

def answer(do):
    if do == "spin":
        threading.Thread(target=spin, daemon=True).start()
    if do == "end":
        sys.exit(3)
    if do == "sleep":
        time.sleep(60)
    print("what a library prints")
    return {{"pid": os.getpid(), "got": do}}

serve(answer)
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    """Return a script that answers requests."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(folder=str(BENCHMARKS)))
    return str(path)


def test_a_process_that_waits_for_its_turn_is_stopped(script: str) -> None:
    """Not even its spinning threads run, and it still answers the next request."""
    with load("common").Process(script) as process:
        pid = process.ask(do="spin")["pid"]

        def facts() -> list[str]:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

        end = time.monotonic() + 10
        while facts()[0] != "T" and time.monotonic() < end:
            time.sleep(0.01)
        state, *_ = before = facts()
        time.sleep(0.1)
        assert state == "T"
        assert facts()[11:13] == before[11:13]  # its processor time
        assert process.ask(do="again") == {"pid": pid, "got": "again"}
    assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_ends_is_an_error(script: str) -> None:
    """The error has the process's name and exit code."""
    with (
        load("common").Process(script, "torch") as process,
        pytest.raises(RuntimeError, match=r"script.py torch ended with code 3"),
    ):
        process.ask(do="end")


def test_a_busy_process_is_not_waited_for(script: str) -> None:
    """Leaving ends it in the middle of an answer."""
    start = time.monotonic()
    with load("common").Process(script) as process:
        print(json.dumps({"do": "sleep"}), file=process._process.stdin, flush=True)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("first", "others", "expected", "calls"),
    [(0.02, 1e-3, 1e-3, 2), (2**-10, 2**-13, 2**-13, 10 + 24), (0.1, 0.05, 0.1, 1)],
)
def test_what_warms_up_does_not_count(
    first: float, others: float, expected: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow first call is left out, but for a long run, which is called once."""
    worker, times = load("cpu_worker"), [0.0]
    clock = SimpleNamespace(perf_counter=lambda: sum(times))
    monkeypatch.setattr(worker, "time", clock)
    found = worker.sample(lambda: times.append(others if times[1:] else first))
    assert found == pytest.approx(expected)
    assert len(times[1:]) == calls


def test_results_that_differ_are_found() -> None:
    """Other numbers, NaN, other shapes, and no number in common; a Keras axis order is turned."""
    problems = load("problems")
    y = np.arange(6.0).reshape(3, 2)
    turned = problems.named({"x, batch first": y.T, "kernels": [y, y]})
    assert list(turned) == ["x"]
    problems.check({"rnnx": {"x": y}, "keras": turned, "torch": problems.named({"x": y + 1e-4})})
    for wrong in (y + 1e-2, y * np.nan, y[:2]):
        with pytest.raises(AssertionError, match="torch"):
            problems.check({"rnnx": {"y": y}, "torch": problems.named(wrong)})
    with pytest.raises(AssertionError, match="torch has no result in common with rnnx"):
        problems.check({"rnnx": {"y": y}, "torch": {"x": y}})


FORMS: list[dict[str, Any]] = [
    {}, {"layers": 2}, {"bidirectional": True}, {"layers": 2, "bidirectional": True},
    {"ragged": True},
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_the_weights_are_those_of_the_problem(cell: str, form: dict[str, Any]) -> None:
    """The same in every process, by the layer's names; other weights give other outputs."""
    problems, contenders = load("problems"), load("contenders")
    problem, again = (problems.make_problem(cell, (6, 3, 4, 5), 1, **form) for _ in range(2))
    layers, both = form.get("layers", 1), form.get("bidirectional", False)
    layer = getattr(rnnx, cell)(4, 5, layers, bidirectional=both, seed=0)
    assert {k: W.shape for k, W in problem.params.items()} == {
        k: W.shape for k, W in layer.params.items()
    }
    for name, W in problem.params.items():
        np.testing.assert_array_equal(W, again.params[name])
    layer.set_params(problem.params)
    y = layer(problem.x, lengths=problem.lengths)[0]
    np.testing.assert_array_equal(contenders.ours(problem)["inference"](), y)


def save_runs(kind: str, path: Path, library: str, **problem: Any) -> dict[str, np.ndarray]:
    """Return the results of a library's runs, as a worker saves them."""
    worker = load("cpu_worker")
    answer = worker.make({}, library, 1, kind, str(path), "", problem)
    with np.load(path) as found:
        results = dict(found)
    assert {name.partition(",")[0] for name in results} == set(answer["runs"])
    return results


@pytest.mark.parametrize("library", ["rnnx portable", "torch", "jax", "onnxruntime"])
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_the_contenders_agree(cell: str, library: str, tmp_path: Path) -> None:
    """Layers of every form that is compared, and streams."""
    pytest.importorskip(library.split()[0], reason=f"needs {library}")
    for form in FORMS:
        if form.get("ragged") and library in ("jax", "onnxruntime"):
            continue
        names, given = ("rnnx", library), {"cell": cell, "shape": (6, 3, 4, 5), **form}
        found = {n: save_runs("layer", tmp_path / "found.npz", n, **given) for n in names}
        load("problems").check(found)
    if library in ("torch", "onnxruntime"):
        given = {"cell": cell, "shape": (1, 1, 4, 5)}
        found = {n: save_runs("stream", tmp_path / "found.npz", n, **given) for n in names}
        load("problems").check(found)


def test_a_point_of_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes start, agree and take turns; our portable core stands in for the rivals."""
    cpu = load("cpu")
    monkeypatch.setattr(cpu, "LIBRARIES", cpu.OURS)
    monkeypatch.setattr(cpu, "OURS", ("rnnx",))
    with cpu.started(1) as team:
        rows = list(cpu.measure_point(team, "GRU", (5, 2, 3, 4), 0.01, 100.0))
        assert set(team.pools()) == {"rnnx", "rnnx portable"}
    assert [row["run"] for row in rows] == ["training", "inference"]
    for row in rows:
        assert set(row["us"]) == {"rnnx", "rnnx portable"}
        assert min(row["us"].values()) > 0
        ratio = row["us"]["rnnx portable"] / row["us"]["rnnx"]
        assert row["ratio"] == pytest.approx(ratio, abs=1e-3)
    (mean,) = [m for m in cpu.means(rows) if m["run"] == "training"]
    assert mean["ratio"] == pytest.approx(rows[0]["ratio"], abs=1e-2)
