"""Docstrings name every default: readers of a page do not see the signature beside each word."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import rnnx
from rnnx._doc import _written, defaults_of, shared

pytest.importorskip("sklearn", reason="needs scikit-learn")

ROOMS = [
    info.name
    for info in pkgutil.iter_modules(rnnx.__path__, "rnnx.")
    if not info.name.startswith("rnnx._") and info.name not in ("rnnx.cli", "rnnx.backends")
]


def named(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a module gives: functions, classes and their methods, with their names."""
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if inspect.isclass(thing):
            yield f"{module.__name__}.{name}", thing
            for method, function in vars(thing).items():
                if method[0] != "_" and inspect.isfunction(function):
                    yield f"{module.__name__}.{name}.{method}", function
        elif inspect.isfunction(thing):
            yield f"{module.__name__}.{name}", thing


def public() -> dict[str, Any]:
    """Return all that the package gives, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for room in ["rnnx", *ROOMS]:
        for name, thing in named(importlib.import_module(room)):
            found.setdefault(id(thing), (name, thing))
    return dict(found.values())


PUBLIC = public()


def unsaid(thing: Any) -> list[str]:
    """Return the defaults that a docstring does not name where it describes the parameter."""
    doc, found = inspect.getdoc(thing) or "", []
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", doc, re.M | re.S)
    entries = re.findall(r"^(\S.*\n)((?:    .*\n|\n)*)", f"{section[1]}\n" if section else "", re.M)
    defaults = defaults_of(thing)
    own = inspect.signature(thing).parameters if defaults else {}
    for name, default in defaults.items():
        about = [head + text for head, text in entries if name in re.findall(r"\w+", head)]
        if default is None or default is False or default in ("numpy", "", ()):
            continue
        if about or name in own:  # else an option of the base that is not one of this class
            text = "".join(about) if section else doc
            value = re.escape(_written(default).strip('"'))
            if not re.search(
                rf'default.{{0,60}}?{value}(?!\w)|{value}"``, the default', text, re.DOTALL
            ):
                found.append(f"{name}: {default!r}")
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_every_default_is_said(name: str) -> None:
    """Unless it is None, False or NumPy: by the type of the parameter, or in its text."""
    assert unsaid(PUBLIC[name]) == []


def test_the_rooms_are_all_there() -> None:
    """The layers, training and what needs other packages are among what is looked at."""
    names = {name.rpartition(".")[2] for name in PUBLIC}
    assert {"GRU", "fit", "Adam", "huber", "RNNForecaster", "to_c", "learning_curves", "save",
            "sample", "Cosine", "Stream", "gradcheck"} <= names  # fmt: skip


def test_defaults_come_from_the_signature() -> None:
    """One for all names of an entry, several, or of some of them; what is said stays."""

    @shared()
    def f(a: int, b: int = 2, c: int = 2, d: float = 0.5, e: str = "x", g: Any = None) -> None:
        """Do nothing.

        Parameters
        ----------
        a : int
            1 : one.
        b, c : int
            Two.
        c, d : float
            Both.
        a, e : str
            One of two.
        g : int or None
            Any.
        d : float, default of the house
            Said.
        g : array, optional
            Said, too.

        Returns
        -------
        e : str
            Not a parameter.
        """

    assert re.findall(r"^\S.* : .*", f.__doc__ or "", re.M) == [
        "a : int", "b, c : int, default 2", "c, d : float, default 2 and 0.5",
        'a, e : str, default "x" for e', "g : int or None, default None",
        "d : float, default of the house", "g : array, optional", "e : str",
    ]  # fmt: skip
