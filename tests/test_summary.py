"""The summary of skipped tests: one line, whatever was skipped."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import skip_summary

import rnnx

PACKAGE = Path(rnnx.__file__).parent
CONFTEST = Path(__file__).with_name("conftest.py")


def test_skips_are_counted_by_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library, an installed one without a device, and any other reason."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name == "cupy" else None)
    reasons = [
        "Skipped: backend 'torch' needs the package torch, which is not installed: pip install",
        "Skipped: torch is the oracle here",
        "Skipped: needs JAX",
        "Skipped: CuPy 14.2.0 finds no usable CUDA device: check the driver with nvidia-smi",
        "Skipped: needs make",
    ]
    assert skip_summary(reasons) == (
        "tests skipped, not installed: jax (1), torch (2); no device: cupy (1); needs make (1)"
    )
    assert skip_summary([]) == ""


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_a_run_says_it_in_one_line(tmp_path: Path, options: list[str]) -> None:
    """Skips do not hide failures: those stay in the summary."""
    (tmp_path / "conftest.py").write_text("from rnnx_conftest import pytest_terminal_summary\n")
    for name in ("cases.py", "conftest.py"):
        target = "rnnx_conftest.py" if name == "conftest.py" else name
        (tmp_path / target).write_text(CONFTEST.with_name(name).read_text())
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('i', range(5))\n"
        "def test_it(i):\n    pytest.skip('needs a chair')\n"
        "def test_fails():\n    assert False\n"
    )
    command = [sys.executable, "-m", "pytest", "-rfExX", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line for line in lines if "chair" in line] == ["tests skipped, needs a chair (5)"]
    assert any(line.startswith("FAILED test_it.py::test_fails") for line in lines), done.stdout
