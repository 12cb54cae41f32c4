"""README and the pages in docs: every code block runs, every command and link exists."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from rnnx import available_backends
from rnnx.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}
BLOCKS = {
    name: re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    for name, text in TEXTS.items()
}
NEEDED = {"sklearn": "scikit-learn"} | {
    k: k for k in ("torch", "onnx", "onnxruntime", "pandas", "polars", "dask")
}
LINES = [
    words
    for blocks in BLOCKS.values()
    for language, block in blocks
    if language == "sh"
    for line in block.splitlines()
    if (words := shlex.split(line, comments=True))
]
LAUNCHERS = ("mpirun", "srun")  # of several processes; the tests run the command in one
RNNX = [words[words.index("rnnx") + 1 :] for words in LINES if words[0] in ("rnnx", *LAUNCHERS)]
ALL = "\n".join(TEXTS.values())
MAKE = [command.split() for command in re.findall(r"`(make [^`]+)`", ALL)]
MAKE += [words for words in LINES if words[0] == "make"]


def test_every_block_is_of_a_kind_that_is_run() -> None:
    """No block in a language, and no command, that the tests below pass over."""
    assert {language for blocks in BLOCKS.values() for language, _ in blocks} == {"python", "sh"}
    assert {words[0] for words in LINES} == {"make", "pip", "rnnx", *LAUNCHERS}


@pytest.mark.parametrize("page", [name for name, b in BLOCKS.items() if "python" in dict(b)])
def test_the_python_blocks_run(
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of a page in order, in one namespace; without a GPU, array-api-strict replaces CuPy."""
    monkeypatch.chdir(tmp_path)
    code = "".join(block for language, block in BLOCKS[page] if language == "python")
    for package, name in NEEDED.items():
        if re.search(rf"^(import|from) {package}\b", code, re.MULTILINE):
            pytest.importorskip(package, reason=f"needs {name}")
    stand_in = "array_api_strict" if available_backends()["cupy"] else "cupy"
    namespace: dict[str, object] = {"__name__": "page"}
    for language, block in BLOCKS[page]:
        if language == "python":
            exec(compile(block.replace("cupy", stand_in), page, "exec"), namespace)
    learned = re.search(r"mean squared error ([\d.]+), ([\d.]+) without", capsys.readouterr().out)
    assert (learned is None) == (page != "docs/simple-rnn.md")
    if learned is not None:
        assert float(learned[1]) < 0.1 * float(learned[2])


def test_readme_is_short() -> None:
    """A newcomer reads it in one go; the rest is in docs."""
    assert len(TEXTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    """Every picture and page that is linked is there, and every page is linked from README."""
    links = re.findall(r"\]\(([^)#:]+)\)", TEXTS[page])
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).is_file()]
    assert missing == []
    assert page == "README.md" or f"]({page})" in TEXTS["README.md"]


@pytest.mark.parametrize("page", ["README.md", "docs/measured.md"])
def test_the_measured_tables_are_those_of_the_results(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages show the numbers of the committed result files, no others."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    assert importlib.import_module("readme").sections()[page] in TEXTS[page]


def test_the_extras_exist() -> None:
    """Whatever a page says to install with rnnx is an extra of the project."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {
        name for found in re.findall(r"(?:rnnx|'\.)\[([\w,]+)\]", ALL) for name in found.split(",")
    }
    assert {"sklearn", "plots", "train", "examples", "cuda13"} <= named <= extras.keys()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("command", MAKE, ids=" ".join)
def test_the_commands_exist(command: list[str]) -> None:
    """make knows each target and would run it."""
    done = subprocess.run(
        [*command, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def write_files(rng: np.random.Generator) -> None:
    """Write small files with the names and the columns that the pages' commands read."""
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
    """All in order, by the real parser, on small files; training for one epoch."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    assert {tuple(words[:2]) for words in RNNX} >= {
        ("train", "classifier"), ("train", "forecaster"), ("train", "characters"),
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_files(np.random.default_rng(0))
    for words in RNNX:
        assert main([*words, *["--epochs", "1", "--quiet"] * (words[0] == "train")]) == 0, words
    assert Path("predictions.csv").read_text().startswith("row,prediction,probability_0")
