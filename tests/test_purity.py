"""The rules of the house, checked on the source: pure modules, one-way imports, a light import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rnnx

PACKAGE = Path(rnnx.__file__).parent
NUMPY = {PACKAGE / "core" / f"{name}.py" for name in ("native", "numpy_step", "threads")}
PURE = [
    *sorted((PACKAGE / "cells").glob("*.py")),
    *sorted(set((PACKAGE / "core").glob("*.py")) - NUMPY),
    *sorted((PACKAGE / "optim").glob("*.py")),
    *sorted((PACKAGE / "losses").glob("*.py")),
    PACKAGE / "metrics.py",
]
LIBRARIES = {"numpy", "cupy", "torch", "jax", "array_api_strict"}
READS = {"item", "tolist", "numpy", "get", "to_numpy", "cpu"}  # methods that copy to the host
CONVERSIONS = {"float", "int", "bool", "complex"}  # of an array, they wait for the device
CREATION = {"zeros", "ones", "full", "empty", "arange", "linspace", "eye", "asarray"}


def violations(source: str) -> list[str]:
    """Return what a pure module must not do, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module] if module else [alias.name for alias in node.names]
            found += [
                f"{line}: imports {name}" for name in names if name.split(".")[0] in LIBRARIES
            ]
        elif isinstance(node, ast.AugAssign):
            found.append(f"{line}: assigns in place")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Subscript) for target in targets):
                found.append(f"{line}: writes into an array or a dict")
        elif isinstance(node, ast.Call):
            found += [f"{line}: {problem}" for problem in wrong_call(node)]
        elif isinstance(node, ast.Attribute) and node.attr in ("T", "mT", "data"):
            found.append(f"{line}: .{node.attr} is not of the standard for all shapes")
    return found


def wrong_call(node: ast.Call) -> list[str]:
    """Return what is wrong with a call in a pure module."""
    keywords = {keyword.arg for keyword in node.keywords}
    problems = ["uses out="] if "out" in keywords else []
    if isinstance(node.func, ast.Name) and node.func.id in CONVERSIONS and node.args:
        if not isinstance(node.args[0], ast.Constant):
            problems.append(f"{node.func.id}() may read a value back")
    elif isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name in READS and not (name == "get" and node.args):  # a dict's get takes a key
            problems.append(f".{name}() reads a value back")
        if name in CREATION and not {"dtype", "device"} <= keywords:
            problems.append(f"{name}() without dtype= and device=")
    return problems


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_modules_are_pure(path: Path) -> None:
    """No array library, no mutation, no read-back, no array of a default dtype or device."""
    assert violations(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["import numpy as np", "from jax import lax", "a += b", "x[0] = 1", "float(x)", "x.item()",
     "xp.tanh(x, out=y)", "xp.zeros(3, dtype=d)", "x.T", "if bool(x): pass"],
)  # fmt: skip
def test_the_rules_find_what_they_forbid(source: str) -> None:
    """Each rule has a case that breaks it."""
    assert violations(source)


ALLOWED = {  # room -> the rooms it may import, beside `backend` and itself
    "cells": set(),
    "core": {"cells", "validate"},
    "_doc": set(),
    "losses": {"_doc", "validate"},
    "metrics": {"losses"},
    "data": {"validate"},
    "parallel": set(),
    "train": {"_doc", "core", "data", "io", "losses", "optim", "parallel", "plots", "validate"},
    "cli": {"calendar", "core", "_version", "cells", "io", "layers", "parallel", "plots"},
    "characters": {
        "data", "layers", "losses", "networks", "optim", "parallel", "train", "validate",
    },
    "estimators": {
        "calendar",
        "data",
        "io",
        "layers",
        "losses",
        "metrics",
        "networks",
        "optim",
        "parallel",
        "train",
        "validate",
    },
    "networks": {"_doc", "cells", "io", "layers", "validate"},
    "optim": {"_doc", "validate"},
    "calendar": set(),
    "validate": set(),
    "io": {"layers", "models"},
    "backends": set(),
    "backend": {"backends"},
    "layers": {"_doc", "core", "cells", "validate"},
    "models": {"cells", "layers", "simple", "validate"},
    "bptt": {"validate"},
    "checks": {"backends"},
    "diagnostics": {"cells", "core", "layers"},
    "plots": {"_doc", "diagnostics", "validate"},
    "simple": {"layers", "validate"},
    "interop": {
        "_doc", "_version", "backends", "cells", "core", "io", "layers", "models", "networks",
        "validate",
    },
}  # fmt: skip


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room: str) -> None:
    """A room of the house imports only the rooms below it."""
    paths = (
        (PACKAGE / room).rglob("*.py") if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]
    )
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "rnnx":
                rooms = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rnnx."):
                rooms = {str(node.module).split(".")[1]}
            else:
                continue
            assert rooms <= ALLOWED[room] | {"backend", room}, f"{path}:{node.lineno}: {rooms}"


def test_importing_rnnx_imports_nothing_heavy() -> None:
    """A fresh interpreter that imports rnnx has NumPy and array-api-compat, no other library."""
    code = (
        "import sys, rnnx; print(*(LIBRARIES & {name.split('.')[0] for name in sys.modules}))"
    ).replace(
        "LIBRARIES", repr((LIBRARIES - {"numpy"}) | {"matplotlib", "scipy", "sklearn", "tqdm"})
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_training_alone_imports_nothing_for_several_processes() -> None:
    """Without `comm`, the packages of MPI, NCCL and Dask stay away."""
    code = (
        "import sys, numpy as np, rnnx\n"
        "model = rnnx.Sequential(rnnx.GRU(1, 2, seed=0), rnnx.Linear(2, 1, seed=1))\n"
        "x = np.ones((3, 4, 1))\n"
        "rnnx.train.fit(model, (x, x), loss='huber', optimizer='sgd', epochs=1, progress=False)\n"
        "rnnx.train.predict(model, x)\n"
        "print({'mpi4py', 'cupy', 'cupyx', 'dask', 'distributed', 'multiprocessing'}"
        " & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_importing_interop_imports_no_other_system() -> None:
    """Each package waits until a conversion needs it."""
    code = (
        "import sys, rnnx.interop; print(*({'torch', 'jax', 'keras', 'flax', 'h5py', 'onnx'} "
        "& {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_matplotlib_waits_until_something_is_drawn() -> None:
    """`import rnnx` does not import rnnx.plots, and that does not import Matplotlib."""
    code = (
        "import sys, rnnx; print('rnnx.plots' in sys.modules, 'rnnx.diagnostics' in sys.modules);"
        "import rnnx.plots, rnnx.diagnostics; print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_importing_rnnx_imports_no_more_of_numpy() -> None:
    """array_api_compat.numpy, which imports all of NumPy, waits until a backend is asked for."""
    code = (
        "import sys, rnnx; print({'numpy.f2py', 'numpy.testing', 'numpy.random'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
