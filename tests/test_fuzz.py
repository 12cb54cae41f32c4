"""Files from anybody: the right object or one line, nothing else. ``make fuzz`` reads 25,000."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from fuzz import bar, data, kinds
from fuzz.kinds import Good

import rnnx


def test_two_thousand_hostile_files() -> None:
    """Of each kind some are read, which are whole or equal to what they say; all others refused."""
    found = bar.run(1600, 400)
    assert sum(counts.total() for counts in found.values()) == 2000
    for counts in found.values():
        assert {*counts} == {bar.RIGHT, bar.REFUSED}, bar.table(found)


def test_small_files_that_unpack_to_much(tmp_path: Path) -> None:
    """Zeros, headers that announce gigabytes, thousands of members: no memory is taken for them."""
    good = kinds.good_archives()[1]
    ends = [bar._end(tmp_path, good, raw, True) for raw in data._bombs()]
    assert {*ends} == {bar.RIGHT, bar.REFUSED}  # members that are not read do no harm
    assert ends.count(bar.RIGHT) == 1


@pytest.mark.parametrize("make", [rnnx.Linear, rnnx.GRU])
def test_a_load_takes_the_size_of_its_file(make: Any, tmp_path: Path) -> None:
    """And a few kB: parameters are read once, and not copied."""
    rnnx.save(tmp_path / "model", make(600, 600, seed=0))
    rnnx.load(tmp_path / "model")
    tracemalloc.start()
    try:
        rnnx.load(tmp_path / "model")
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < (tmp_path / "model").stat().st_size + (1 << 17)


def _changed(path: Path) -> Any:
    return {"arrays": {"x": np.asarray([1.0, 2.0 if path.read_bytes() == b"good" else 3.0])}}


def _missing(path: Path) -> Any:
    return {}["arrays"]


def _two_lines(path: Path) -> Any:
    raise ValueError(f"{path}:\nwrong")


def _nameless(path: Path) -> Any:
    raise ValueError("wrong")


def _warned(path: Path) -> Any:
    warnings.warn("odd", RuntimeWarning, stacklevel=1)


def _greedy(path: Path) -> Any:
    np.zeros(1 << 20)
    raise ValueError(f"{path}: wrong")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (_changed, "another object than the file holds: .arrays.x"),
        (_missing, "KeyError"),
        (_two_lines, "does not name the file in one line"),
        (_nameless, "does not name the file in one line"),
        (_warned, "RuntimeWarning: odd"),
        (_greedy, "bytes for a file of 3"),
    ],
)
def test_the_bar_sees_what_is_wrong(load: Any, words: str, tmp_path: Path) -> None:
    """A changed value, any other exception, a warning, memory: each is counted as such."""
    (tmp_path / "good").write_bytes(b"good")
    expected = _changed(tmp_path / "good")
    good = Good("file", b"good", load, lambda raw: expected, True)
    assert words in bar._end(tmp_path, good, b"bad", False)
    assert bar._end(tmp_path, good._replace(load=_changed), b"good", False) == bar.RIGHT
