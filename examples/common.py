"""What the examples share: options, the backend, figures and the exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

# Read when NumPy is imported. The products in a loop over time are small: a second thread gains
# little, and on a busy machine every product would wait for it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from matplotlib.figure import Figure

import rnnx


def parser(description: str, *, epochs: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all examples have, and a default for `epochs`."""
    options = argparse.ArgumentParser(description=description.partition("\n")[0])
    options.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
    options.add_argument("--device", type=_device, help="index or name, such as cuda:0")
    options.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    options.add_argument("--seed", type=int, default=0, help="for weights and data")
    options.add_argument("--epochs", type=positive, default=epochs, help="default: %(default)s")
    options.add_argument("--steps", type=positive, help="maximum number of steps per epoch")
    options.add_argument("--out", type=Path, default=Path("out"), help="output folder")
    return options


def read(
    options: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, rnnx.Backend]:
    """Return the parsed options and their backend; make the output folder."""
    values = options.parse_args(arguments)
    try:
        backend = rnnx.get_backend(values.backend, device=values.device, dtype=values.dtype)
        values.out.mkdir(parents=True, exist_ok=True)
    except (rnnx.BackendUnavailable, ValueError, OSError) as error:
        fail(str(error))
    return values, backend


def fail(message: str) -> NoReturn:
    """Exit with code 2 and a one-line error message."""
    print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def panels(*texts: tuple[str, str, str]) -> tuple[Figure, list[Any]]:
    """Return a figure with one Axes for each (title, xlabel, ylabel), side by side."""
    figure = Figure(figsize=(1 + 5 * len(texts), 4), layout="constrained")
    columns = list(figure.subplots(1, len(texts), squeeze=False)[0])
    for axes, (title, xlabel, ylabel) in zip(columns, texts, strict=True):
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axes.xaxis.get_major_locator().set_params(integer=True)  # epochs, steps
        axes.grid(alpha=0.3)
    return figure, columns


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file and print its path."""
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


def verdict(before: float, after: float) -> int:
    """Return the exit code: 0 if the loss fell, else 1, with a message (NaN did not fall)."""
    if after < before:
        return 0
    print(f"the loss did not fall: {before:.4g} before, {after:.4g} after", file=sys.stderr)
    return 1


def positive(text: str) -> int:
    """Return an integer of at least 1; a type for argparse."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def _device(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
