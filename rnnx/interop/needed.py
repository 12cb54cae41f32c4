"""The packages of other systems, imported when a conversion needs them."""

from __future__ import annotations

import importlib
from typing import Any


def needed(name: str) -> Any:
    """Return a package; raise an ImportError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this needs the package {name}: pip install {name}") from error
