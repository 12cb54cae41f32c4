"""The libraries that have a backend: which package each needs, whether it works here.

A new backend is a file in this folder and a line in `LIBRARIES`.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

# name of the file here -> the package it needs, how to install it
LIBRARIES = {
    "numpy": ("numpy", "pip install numpy"),
    "cupy": ("cupy", "pip install 'rnnx[cuda13]' (or 'rnnx[cuda12]')"),
    "torch": ("torch", "pip install 'rnnx[torch]'"),
    "jax": ("jax", "pip install 'rnnx[jax]'"),
    "array_api_strict": ("array_api_strict", "pip install array-api-strict"),
}


class BackendUnavailable(RuntimeError):
    """The library is missing, or has no usable device; the message says what to do."""


def available_backends() -> dict[str, str]:
    """Return ``""`` for each backend that can be used here, otherwise one line saying why not.

    Every installed library is imported and its devices are probed, so this can take seconds.
    """
    return {name: why_not(name) for name in LIBRARIES}


def why_not(name: str) -> str:
    """Return ``""`` if the backend can be used, else the reason and what to do, in one line."""
    package, install = LIBRARIES[name]
    if importlib.util.find_spec(package) is None:
        return f"backend {name!r} needs the package {package}, which is not installed: {install}"
    try:
        probe = getattr(module(name), "probe", str)  # str() is "": no reason against it
        reason: str = probe()
    except Exception as error:  # a broken installation of somebody else's library can raise any
        reason = f"backend {name!r} cannot be imported ({error}): reinstall it, {install}"
    return reason.replace("\n", " ")


def module(name: str) -> ModuleType:
    """Return the module of a backend; importing it imports the library."""
    return importlib.import_module(f"rnnx.backends.{name}")


def make(name: str, device: Any, dtype: str) -> Any:
    """Return a backend by its name; raise if it cannot be used."""
    if reason := why_not(name):
        raise BackendUnavailable(reason)
    return module(name).make(device, dtype)


def library_version(name: str) -> str:
    """Return the version of the library behind a backend."""
    return str(importlib.import_module(LIBRARIES[name][0]).__version__)


def devices(name: str) -> list[str]:
    """Return the names of the devices of a usable backend."""
    found: list[str] = module(name).devices()
    return found
