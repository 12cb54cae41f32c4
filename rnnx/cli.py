"""The command ``rnnx``: which backends work here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import rnnx
from rnnx.backend import available_backends, devices, library_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the backends: usable or why not, library version, devices."""
    parser = argparse.ArgumentParser(
        prog="rnnx", description="Show which array libraries rnnx can use here."
    )
    parser.add_argument("--version", action="version", version=f"rnnx {rnnx.__version__}")
    parser.parse_args(arguments)
    rows = [("backend", "usable", "version", "devices, or what to do")]
    for name, reason in available_backends().items():
        if reason:
            rows.append((name, "no", "-", reason))
        else:
            rows.append((name, "yes", library_version(name), ", ".join(devices(name))))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    print(f"rnnx {rnnx.__version__}")
    for *cells, last in rows:
        fixed = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print("  ".join([*fixed, last]))
    return 0
