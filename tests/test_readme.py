"""README: every code block runs, every command exists."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rnnx import available_backends
from rnnx.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
LINES = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
]
MAKE = [command.split() for command in re.findall(r"`(make [^`]+)`", README)]
COMMANDS = MAKE + [line for line in LINES if line[0] != "rnnx"]
RNNX = [line[1:] for line in LINES if line[0] == "rnnx"]


def test_every_block_is_of_a_kind_that_is_run() -> None:
    """No block in a language that the tests below pass over."""
    assert {language for language, _ in BLOCKS} == {"python", "sh"}


def test_the_python_blocks_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All in order, in one namespace; without a GPU, array-api-strict stands in for CuPy."""
    monkeypatch.chdir(tmp_path)
    stand_in = "array_api_strict" if available_backends()["cupy"] else "cupy"
    namespace: dict[str, object] = {}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block.replace("cupy", stand_in), "README.md", "exec"), namespace)
    out = capsys.readouterr().out
    learned = re.search(r"mean squared error ([\d.]+), ([\d.]+) without", out)
    assert learned is not None
    assert float(learned[1]) < 0.1 * float(learned[2])


def test_the_measured_table_is_that_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """README shows the numbers of the committed result files, no others."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    assert importlib.import_module("readme").section() in README


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands_exist(command: list[str]) -> None:
    """make knows each target and would run it."""
    assert command[0] == "make"
    done = subprocess.run(
        [*command, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def write_files(rng: np.random.Generator) -> None:
    """Write small files of the names and the columns that the README's commands read."""
    pixels = [f"pixel {k}," for k in range(6)]
    for name in ("digits.csv", "new.csv"):
        rows = [f"{','.join(map(str, rng.integers(0, 9, 6)))},{k % 3}" for k in range(20)]
        Path(name).write_text("\n".join(["".join(pixels) + "digit", *rows]))
    steps = [f"u{k % 7},{t},{rng.random()},{k % 2}" for t in range(4) for k in range(7)]
    Path("vowels.csv").write_text("\n".join(["utterance,t,x,speaker", *steps]))
    months = [f"{1949 + k // 12}-{k % 12 + 1:02},{100 + k}" for k in range(60)]
    Path("airline.csv").write_text("\n".join(["month,passengers", *months]))
    Path("book.txt").write_text("Once upon a time. " * 40)


def test_the_commands_of_rnnx_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All in order, by the real parser, on small files; trainings for one epoch."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    assert {tuple(words[:2]) for words in RNNX} >= {
        ("train", "classifier"), ("train", "forecaster"), ("train", "characters"),
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_files(np.random.default_rng(0))
    for words in RNNX:
        assert main([*words, *["--epochs", "1", "--quiet"] * (words[0] == "train")]) == 0, words
    assert Path("predictions.csv").read_text().startswith("row,prediction,probability_0")
