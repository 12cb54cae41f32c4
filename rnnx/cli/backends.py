"""``rnnx backends``: which array libraries can be used here."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from rnnx._version import __version__
from rnnx.backend import available_backends, devices, library_version
from rnnx.cli.parser import Parser


def fill(leaf: Parser) -> None:
    """Add the arguments: none."""
    leaf.description = "List the array libraries that rnnx can use here; say what others need."
    leaf.set_defaults(run=run)


def run(chosen: Namespace) -> None:
    """Print a table of the backends: usable or why not, version, devices."""
    rows = [("backend", "usable", "version", "devices, or what to do")]
    for name, reason in available_backends().items():
        if reason:
            rows.append((name, "no", "-", reason))
        else:
            rows.append((name, "yes", library_version(name), ", ".join(devices(name))))
    print(f"rnnx {__version__}\n{table(rows)}")


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as lines with aligned columns; the last column is as it is."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join("  ".join([*map(str.ljust, cells, widths), last]) for *cells, last in rows)
