"""What all writers of code share: their options, and the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from textwrap import fill
from typing import Any

from rnnx import io
from rnnx._doc import shared
from rnnx.interop.code.quantized import Loss, loss
from rnnx.interop.code.stages import Program, is_name, program

documented = shared(
    options="""
dtype : {"float32", "float64"}, optional
    By default the model's own.
x : array, shape (T, I), or symbols (T,), optional
    One sequence, to measure on what `int8` changes; by default 100 random steps.
""",
    rest="""
Returns
-------
Loss or None
    With `int8`, what it changes in the answers.

Raises
------
ValueError, TypeError
    For a bidirectional layer, a layer or cell of your own, a model that is not fitted, a name that
    C or Python does not take, and parameters that are not finite.
OSError
    If the file cannot be written. An existing one stays as it was.

References
----------
`int8`: B. Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018, doi:10.1109/CVPR.2018.00286.
""",
)


def write(
    text: Callable[[Program, bool], str],
    model: Any,
    path: str | PathLike[str],
    name: str | None,
    int8: bool,
    dtype: str | None,
    x: Any,
) -> Loss | None:
    """Write the text of a model to a file, whole or not at all; measure what int8 changes."""
    if x is not None and not int8:
        raise ValueError("x is to measure what int8 changes: give int8=True, or leave x out")
    file = Path(path)
    if name is None:
        name = file.stem if is_name(file.stem) else "model"
    made, found = program(model, name, dtype)
    if re.fullmatch(r"[\w.-]+", file.name, re.ASCII):
        made = made._replace(file=file.name)
    lost = loss(made, found, x) if int8 else None
    code = text(made, int8)
    with io.replacing(path, "w", encoding="ascii", newline="\n") as file:
        file.write(code)
    return lost


def wrapped(line: str) -> str:
    """Return a line of the body of a function, broken where it is long."""
    return fill(line, 100, initial_indent=" " * 4, subsequent_indent=" " * 8)
