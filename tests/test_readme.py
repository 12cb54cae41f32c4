"""README: every code block runs, every command exists."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rnnx import available_backends

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [
    line.partition("#")[0].split()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
] + [command.split() for command in re.findall(r"`(make [^`]+)`", README)]


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
