"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import rnnx

OTHERS = ("rnnx.backends.", "rnnx.core.cuda.", "rnnx.__main__")  # other libraries; a program
MODULES = [
    info.name
    for info in pkgutil.walk_packages(rnnx.__path__, "rnnx.")
    if not info.name.startswith(OTHERS)
]
PACKAGE = Path(rnnx.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_are_true(name: str) -> None:
    """doctest finds no difference."""
    if name.startswith("rnnx.interop.torch."):
        pytest.importorskip("torch", reason="needs torch")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", [name for name in rnnx.__all__ if name[0].isalpha()])
def test_the_public_names_are_documented(name: str) -> None:
    """Whatever `from rnnx import *` gives has a docstring of its own."""
    assert getattr(rnnx, name).__doc__


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_headings_stand_over_their_dashes(path: Path) -> None:
    """No section's heading, dashes and text are joined into one line."""
    assert re.findall(r"\w -{4,}", path.read_text()) == []
