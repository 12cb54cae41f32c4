"""The benchmark of several processes: its model finds what is known, and its ratios are right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarking import importable, load  # noqa: F401, a fixture


def test_the_fits_find_what_is_known() -> None:
    """Latency and bandwidth from the times of an all-reduce, fixed and other time of a step."""
    model = load("parallel_model")
    link = model.Link(3e-6, 2e9)
    for ranks in (2, 8):
        times = {size: link.all_reduce(size, ranks) for size in (256, 4096, 1 << 20)}
        np.testing.assert_allclose(model.fit_link(times, ranks), link, rtol=1e-9)
    step = model.Step(2e-3, 1e-4, 1e5)
    times = {batch: step.seconds(batch) for batch in (8, 16, 32)}
    np.testing.assert_allclose(model.fit_step(times, 1e5), step, rtol=1e-9)


def test_the_all_reduce_sends_twice_the_gradient() -> None:
    """Two ranks swap halves and give them back; many send all but nothing of it twice."""
    link = load("parallel_model").Link(1.0, 1e3)
    assert link.all_reduce(1e3, 1) == 0
    assert link.all_reduce(1e3, 2) == pytest.approx(2 + 1)
    assert link.all_reduce(1e3, 1024) == pytest.approx(20 + 2, rel=1e-3)


def test_efficiencies() -> None:
    """One process has 1; twice the step, half of it communication, is one half."""
    model = load("parallel_model")
    step, link = model.Step(0.0, 1.0, 1.0), model.Link(1.0, 1e9)  # a sequence takes a second
    assert step.weak(link, 2, 1) == step.strong(link, 2, 1) == 1
    assert step.weak(link, 2, 2) == pytest.approx(0.5)
    assert step.strong(link, 4, 2) == pytest.approx(0.5)
    assert model.reaches(lambda n: step.weak(link, 2, n), 0.49) == 2
    assert model.reaches(lambda n: step.strong(link, 4096, n), 0.0) == 1024
    batch = step.enough(link, 1024, 0.9)
    assert step.weak(link, batch, 1024) == pytest.approx(0.9)


def test_flops_are_those_of_the_products() -> None:
    """Forward, and twice as much backward: 2 per weight, step and sequence each."""
    model = load("parallel_model")
    gru = 3 * 5 * (3 + 5) + 5 * 2
    assert model.flops("GRU", (7, 3, 5), 2) == 3 * 2 * 7 * gru


def rows(**seconds: float) -> list[dict[str, Any]]:
    """Return the rows of three turns; machine and all grow slower from turn to turn."""
    named = {name.replace("__", ", "): value for name, value in seconds.items()}
    return [
        {"turn": k, "mode": m, "seconds": k * s, "waited": k * s / 8, "loss": 1.0}
        for k in (1, 2, 3)
        for m, s in named.items()
    ]  # fmt: skip


TIMES = {
    "alone": 1.0, "alone__half": 0.5, "apart": 1.25, "apart__half": 0.625, "weak": 2.0,
    "strong": 1.0, "alone__quarter": 0.25, "alone__double": 2.0, "comm of one": 1.01,
}  # fmt: skip


def test_ratios_are_of_the_same_turn() -> None:
    """Each by hand, though the machine is three times as slow in the end."""
    found = load("parallel").scaling(rows(**TIMES))
    expected = {
        "weak": 0.5, "weak, machine": 0.8, "strong": 0.5, "strong, machine": 0.8, "added": 0.6,
        "added, one process": 0.01, "in the all-reduce": 0.125,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["ms"]["alone"] == pytest.approx(2000)


def test_another_loss_is_an_error() -> None:
    """Two processes must compute what one does with the whole batch."""
    parallel, found = load("parallel"), rows(**TIMES)
    next(row for row in reversed(found) if row["mode"] == "weak")["loss"] = 1.01
    with pytest.raises(AssertionError, match="weak"):
        parallel.scaling(found)


def test_the_report_has_every_row_and_network(tmp_path: Path) -> None:
    """The numbers of the table are those of the result; the picture can be drawn."""
    parallel, report, model = map(load, ("parallel", "parallel_report", "parallel_model"))
    cells = ("RNN", "GRU", "LSTM")
    answer = {
        "rows": [row | {"cell": cell} for cell in cells for row in rows(**TIMES)],
        "sums": {"256": 0.1, "65536": 1.0},
        "numbers": dict.fromkeys(cells, 1000),
    }
    environment = {"processor": "abacus", "versions": {"torch": "2"}}
    facts = {"environment": environment, "shape": [9, 8, 7, 6], "shared": 64}
    result = facts | parallel.summary({job: [answer] for job in parallel.JOBS})
    text = report.section(result)
    seconds = 0.1 + 0.9 * (4000 - 256) / (65536 - 256)  # of 4,000 bytes: two points, one line
    shares = f"50 / 80 | 50 / 80 | +60.0 | 12.5 ({100 * seconds / 4:.1f})"
    assert f"| rnnx | TCP | GRU | 2000.00 | 4000.00 | {shares} |" in text
    assert sum(line.startswith(tuple(f"| {n} |" for n in model.NETWORKS)) for line in text) == 5
    load("parallel_picture").draw(result, tmp_path / "parallel.png")
    assert (tmp_path / "parallel.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("library", ["rnnx", "torch"])
def test_two_processes_measure_every_mode(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a short turn; ours then have the loss of one process with the whole batch."""
    monkeypatch.setenv("OMPI_MCA_mpi_yield_when_idle", "1")  # on one core, waiting takes all of it
    pytest.importorskip(library)
    parallel, worker = load("parallel"), load("parallel_worker")
    try:
        parallel.mpirun(2)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    job = next(job for job in parallel.JOBS if job[0] == library)
    core = min(os.sched_getaffinity(0))
    answer = parallel.run(job, [core, core], turns=0)
    for cell in worker.CELLS:
        found = [row for row in answer["rows"] if row["cell"] == cell]
        assert [row["mode"] for row in found] == list(worker.modes(library))
        assert min(row["seconds"] for row in found) > 0
        parallel.check(found)
    assert len(answer["sums"]) == (len(worker.SIZES) if library == "rnnx" else 0)
