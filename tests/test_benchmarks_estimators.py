"""The benchmark of the estimators: what is compared, how, and what the tables say of it."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarking import importable, load  # noqa: F401, a fixture

pytest.importorskip("sklearn", reason="needs scikit-learn")

TRAIN, TEST = 8, 6


def make_rows(rng: np.random.Generator, *, ragged: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """Return sequences with two channels, of which one is high in half of them, and which half."""
    y = np.arange(TRAIN + TEST) % 2
    lengths = rng.integers(9, 14, len(y)) if ragged else np.full(len(y), 10)
    x = [rng.normal([3.0 * k, 0.0], 0.3, (T, 2)) for k, T in zip(y, lengths, strict=True)]
    return x, y


def make_labelled(task: str, *, ragged: bool) -> Any:
    x, y = make_rows(np.random.default_rng(0), ragged=ragged)
    target = y.astype(str) if task == "classification" else y.astype(float)
    return load("estimator_sets").Labelled(
        task, x[:TRAIN], target[:TRAIN], x[TRAIN:], target[TRAIN:]
    )


def make_series() -> Any:
    """Return a series of 48 steps with a season of 4 and a slope; the last 12 are tested."""
    t = np.arange(48.0)
    values = 10 + 0.1 * t + np.sin(np.pi * t / 2) + np.random.default_rng(0).normal(0, 0.05, 48)
    return load("estimator_sets").Timed(values, 4, 4)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the benchmark with a set of each kind, whose results go to a folder of their own."""
    benchmark = load("estimators")
    sets = {
        "classification": {
            "GunPoint": lambda: make_labelled("classification", ragged=False),
            "other": lambda: make_labelled("classification", ragged=True),
        },
        "regression": {"Tecator": lambda: make_labelled("regression", ragged=True)},
        "series": {"Airline": make_series, "new": make_series},
    }
    monkeypatch.setattr(benchmark, "SETS", sets)
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    return benchmark


def rows_of(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = json.loads((folder / "estimators.json").read_text())["rows"]
    return {(row["set"], row["method"]): row for row in rows}


@pytest.mark.parametrize("task", ["classification", "regression", "series"])
def test_every_method_that_is_installed_is_measured(
    task: str, small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each set has a row per method, good where the answer is plain; others are named."""
    if task == "series":
        pytest.importorskip("statsmodels", reason="needs statsmodels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' own, of few data
        assert small.main(["--only", task, "--seeds", "1"]) == 0
    text, rows = capsys.readouterr().out, rows_of(tmp_path)
    names = small.methods(task, old=False)
    absent = {name for name in names if small.lacking(name)}
    assert set(rows) == set(itertools.product(small.SETS[task], set(names) - absent))
    assert all(f"{name} is left out" in text for name in absent)
    for (_, method), row in rows.items():
        assert row["seeds"] == 1
        if task == "classification" and method not in ("rnnx", "torch GRU"):
            assert row["mean"] == 1.0, method
        elif method in ("linear", "1-NN", "AR", "smoothing"):
            assert row["mean"] < 0.4, method


def test_a_run_may_be_made_in_pieces(small: Any, tmp_path: Path) -> None:
    """New rows join the old ones in the tables' order; --missing measures nothing twice."""
    small.main(["--only", "classification", "--methods", "linear", "--seeds", "1"])
    small.main(["--only", "classification", "--methods", "1-NN", "--part", "judged"])
    assert list(rows_of(tmp_path)) == [
        ("GunPoint", "linear"),
        ("other", "1-NN"),
        ("other", "linear"),
    ]
    before = (tmp_path / "estimators.json").stat().st_mtime_ns
    small.main(["--only", "classification", "--methods", "linear", "--missing"])
    assert (tmp_path / "estimators.json").stat().st_mtime_ns == before


def test_of_an_older_version_only_the_spread_is_kept(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither file nor text has its scores; a folder without the package is an error."""
    monkeypatch.setattr(small, "ours", lambda problem, seed: lambda rows: np.asarray(["0"] * TEST))
    package = tmp_path / "old" / "rnnx" / "__init__.py"
    asked = ["--old", str(tmp_path / "old"), "--only", "classification", "--seeds", "2"]
    with pytest.raises(SystemExit):
        small.main(asked)
    package.parent.mkdir(parents=True)
    package.touch()
    monkeypatch.setattr(small.sys, "path", list(small.sys.path))
    small.main(asked)
    assert small.sys.path[0] == str(tmp_path / "old")
    rows = rows_of(tmp_path)
    assert set(rows) == {("GunPoint", "rnnx before"), ("other", "rnnx before")}
    for row in rows.values():
        assert row["spread"] == 0.0
        assert not {"scores", "mean"} & row.keys()
    assert "rnnx before: 0.0 s" in capsys.readouterr().out


def test_a_series_is_forecast_from_its_last_quarter() -> None:
    """Each of at most 30 origins has all values before it, and the horizon after it."""
    problem = make_series()
    assert (problem.horizon, problem.start, list(problem.origins)) == (4, 36, list(range(36, 45)))
    seen = []

    def perfect(past: np.ndarray) -> np.ndarray:
        np.testing.assert_array_equal(past, problem.values[: len(past)])
        seen.append(len(past))
        return problem.values[len(past) :][:4] + 0.5

    assert problem.score(perfect) == pytest.approx(0.5)
    assert seen == list(problem.origins)
    timed = load("estimator_sets").Timed
    assert timed(np.zeros(16), 4, 1).horizon == 2
    assert timed(np.zeros(7500), 24, 1).origins == range(5625, 7477, 62)


def test_the_seasonal_naive_repeats_the_last_season() -> None:
    """Also where the horizon is longer or shorter than the season."""
    naive, past = load("estimator_series").naive, np.arange(10.0)
    for horizon, expected in ((2, [7, 8]), (5, [7, 8, 9, 7, 8])):
        np.testing.assert_array_equal(naive(past, horizon, 3, 0)(past), expected)


def test_sequences_are_resampled_to_equal_length() -> None:
    """Ends stay, points between are interpolated; sequences of that length are unchanged."""
    even = load("estimator_rivals").even
    rows = [np.asarray([[0.0, 1.0], [2.0, 5.0]]), np.arange(6.0).reshape(3, 2)]
    expected = [[0, 1, 1, 3, 2, 5], [0, 1, 2, 3, 4, 5]]
    np.testing.assert_allclose(even(rows, 3), expected)
    np.testing.assert_array_equal(even(rows[1:], 3), expected[1:])


def warped(a: np.ndarray, b: np.ndarray) -> float:
    """Return the squared distance of dynamic time warping, by its definition."""
    least = np.full((len(a) + 1, len(b) + 1), np.inf)
    least[0, 0] = 0
    for i, j in itertools.product(range(len(a)), range(len(b))):
        before = min(least[i, j], least[i, j + 1], least[i + 1, j])
        least[i + 1, j + 1] = before + ((a[i] - b[j]) ** 2).sum()
    return float(least[-1, -1])


def test_the_nearest_by_warping_is_found() -> None:
    """Though most distances are given up early; ragged sequences of two channels."""
    pytest.importorskip("dtaidistance", reason="needs dtaidistance")
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(T, 2)) for T in rng.integers(5, 20, 40)]
    known, asked = rows[:25], rows[25:]
    problem = load("estimator_sets").Labelled("classification", known, np.arange(25), [], None)
    expected = [int(np.argmin([warped(row, other) for other in known])) for row in asked]
    assert len(set(expected)) > 3
    found = load("estimator_rivals").nearest_warped(problem, 0)(asked)
    np.testing.assert_array_equal(found, expected)


def make_row(task: str, name: str, part: str, method: str, score: float, spread: float) -> Any:
    times = {"fit, s": 1.0, "longest fit, s": 2.0, "predict, s": 0.0, "cores": 2}
    row = {"task": task, "set": name, "part": part, "method": method, "mean": score}
    return row | {"spread": spread, "seeds": 2} | times


def test_the_goals_are_judged_on_either_part() -> None:
    """Two thirds of the sets, the worst set, the spread and the time; None without our rows."""
    goals = load("estimator_report").goals
    rows = []
    for name, ours, warped in (("a", 0.9, 0.9), ("b", 0.8, 0.7), ("c", 0.66, 0.7)):
        rows += [
            make_row("classification", name, "judged", "rnnx", ours, 0.01),
            make_row("classification", name, "judged", "rnnx before", 0.0, 0.02),
            make_row("classification", name, "judged", "1-NN DTW", warped, 0.0),
        ]
    for name, ours in (("d", 0.9), ("e", 1.05)):
        scores = {"rnnx": ours, "seasonal naive": 2.0, "AR": 1.0, "smoothing": 1.5}
        rows += [make_row("series", name, "judged", m, s, 0.0) for m, s in scores.items()]
    rows[9]["coverage"], rows[13]["coverage"] = 0.86, 0.98  # of the series, ours
    verdicts = [goal["met"] for goal in goals(rows) if goal["part"] == "judged"]
    assert verdicts == [True, False, False, True, True, None, None, True, True]
    rows[9]["coverage"] = 0.99
    assert [goal["met"] for goal in goals(rows)][-2] is False
    assert {goal["met"] for goal in goals(rows) if goal["part"] == "chosen"} == {None}
    rows[0]["longest fit, s"] = 61.0
    assert [goal["met"] for goal in goals(rows)][-1] is False
    line, _ = [t for t in load("estimator_report").tables(rows) if t.startswith("| d ")]
    assert line == "| d | 0.450 ± 0.000 | 1.000 ± 0.000 | 0.500 ± 0.000 | 0.750 ± 0.000 | 2 | 99% |"


def test_ranks_and_the_critical_difference() -> None:
    """Ties share a rank; the difference is that of Demšar's example; groups are the widest."""
    picture = load("estimator_picture")
    sets = [{"a": 0.9, "b": 0.9, "c": 0.1}, {"a": 0.8, "b": 0.7, "c": 0.1}]
    assert picture.mean_ranks(sets, higher_is_better=True) == {"a": 1.25, "b": 1.75, "c": 3.0}
    assert next(iter(picture.mean_ranks(sets, higher_is_better=False))) == "c"
    assert picture.critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)
    assert list(picture.alike([1.0, 1.5, 2.2, 4.0], 1.0)) == [(1.0, 1.5), (1.5, 2.2)]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """From the judged sets that all methods have; a row of before is no method."""
    pytest.importorskip("matplotlib", reason="needs Matplotlib")
    rows = [
        make_row(task, f"{task} {k}", "judged", method, 0.5 + 0.1 * k, 0.0)
        for task in ("classification", "series")
        for k in range(3)
        for method in ("rnnx", "AR", "rnnx before")
        if (k, method) != (2, "AR")
    ]
    picture = load("estimator_picture")
    found = picture.by_set(rows, "series", "judged")
    assert [set(methods) for methods in picture.complete(found)] == [{"rnnx", "AR"}] * 2
    picture.draw(rows, tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").read_bytes().startswith(b"\x89PNG")


def test_all_sets_are_bundled() -> None:
    """Each that is named can be read, without numbers that are missing; both parts have sets."""
    pytest.importorskip("sktime", reason="needs sktime")
    pytest.importorskip("statsmodels", reason="needs statsmodels")
    sets = load("estimator_sets")
    names = [name for of_task in sets.SETS.values() for name in of_task]
    assert len(names) == len(set(names))
    assert set(names) > sets.CHOSEN
    for name, read in sets.SETS["series"].items():
        problem = read()
        assert np.isfinite(problem.values).all(), name
        assert 12 <= problem.start <= problem.origins[0] <= problem.origins[-1], name
    problem = sets.SETS["classification"]["JapaneseVowels"]()
    assert (len(problem.x), len(problem.x_test), problem.x[0].shape) == (270, 370, (20, 12))


def test_coverage_counts_values_ahead_in_their_intervals() -> None:
    """All, none, or the half that is above the last value of a rising series."""
    problem = load("estimator_sets").Timed(np.arange(40.0), 4, 1)
    for reach, share in ((9.0, 1.0), (0.5, 0.0), (2.0, 0.5)):
        held = problem.coverage(lambda past, r=reach: (past[-1] + np.zeros(4), past[-1] + r))
        assert held == share
