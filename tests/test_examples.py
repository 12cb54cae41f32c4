"""The examples: each runs on every backend in a few steps; its exit code says whether it failed."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import Case
from conftest import make

import rnnx
from rnnx.parallel.mpirun import mpirun

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted({path.stem for path in EXAMPLES.glob("*.py")} - {"common"})
PLACES = [
    Case("numpy", "cpu", "float64"),
    Case("array_api_strict", "device1", "float64"),
    Case("torch", "cpu", "float32"),
    Case("jax", "cpu", "float32"),
    Case("cupy", "cuda:0", "float32"),
]


def run(name: str, out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    """Run an example in its own process, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), "--out", str(out)]
    return subprocess.run(
        [*command, *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_every_example_runs_everywhere(place: Case, name: str, tmp_path: Path) -> None:
    """A few steps on the chosen backend, device and dtype: a picture, and a loss that fell."""
    make(place)
    options = ("--backend", place.backend, "--device", place.device, "--dtype", place.dtype)
    steps = 40 if name == "char_rnn" else 10  # its text depends on Python's version
    done = run(name, tmp_path, *options, "--seed", 1, "--epochs", 1, "--steps", steps)
    assert done.returncode == 0, done.stderr
    (picture,) = tmp_path.glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    if name == "char_rnn":
        model = rnnx.load(tmp_path / "char_rnn.safetensors")
        assert np.any(model.params["0.weight_hh_l0"])
        assert "bits per character" in done.stdout


def test_processes_are_compared(tmp_path: Path) -> None:
    """One and two, each started by mpirun: the same losses, and one picture of both."""
    try:
        mpirun(2)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    options = ("--dtype", "float64", "--epochs", 1, "--steps", 3)
    done = run("parallel", tmp_path, "--processes", "1,2", *options)
    assert done.returncode == 0, done.stderr
    found = re.search(r"differ by at most (\S+), relatively", done.stdout)
    assert found is not None
    assert float(found[1]) < 1e-12
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["1", "2"]


@pytest.mark.parametrize("after", [1.0, 2.0, float("nan")])
def test_a_loss_that_did_not_fall_is_exit_code_1(
    after: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Equal, higher and NaN: the verdict that every example ends with says so."""
    monkeypatch.delitem(sys.modules, "common", raising=False)
    monkeypatch.syspath_prepend(EXAMPLES)
    common = importlib.import_module("common")
    assert common.verdict(1.0, 0.5) == 0
    assert common.verdict(1.0, after) == 1
    assert "the loss did not fall" in capsys.readouterr().err


def test_the_text_must_be_long_enough(tmp_path: Path) -> None:
    """A text too short for one batch: one line that says so."""
    (tmp_path / "short.txt").write_text("short")
    done = run("char_rnn", tmp_path, "--text", tmp_path / "short.txt")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "characters" in done.stderr


def test_an_unusable_backend_is_one_line(tmp_path: Path) -> None:
    """The selector's message, not a traceback."""
    done = run("quickstart", tmp_path, "--backend", "numpy", "--device", "cuda")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "device of backend 'numpy' must be" in done.stderr
