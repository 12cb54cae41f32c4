"""A model as one file of Python that needs NumPy alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from os import PathLike
from string import Template
from typing import Any

import numpy as np

from rnnx._version import __version__
from rnnx.interop.code import python_text as text
from rnnx.interop.code.cells import EQUATIONS
from rnnx.interop.code.quantized import Loss, quantized
from rnnx.interop.code.stages import Matrix, Program, Stage
from rnnx.interop.code.writing import documented, wrapped, write

ACTIVATIONS = {
    "tanh": "np.tanh(x)", "relu": "np.maximum(x, 0)", "sigmoid": "sigmoid(x)",
    "softmax": "softmax(x)",
}  # fmt: skip


@documented
def to_python(
    model: Any,
    path: str | PathLike[str],
    *,
    name: str | None = None,
    int8: bool = False,
    dtype: str | None = None,
    x: Any = None,
) -> Loss | None:
    """Write a model as one file of Python that needs NumPy alone: weights, a state, and a step.

    The module has ``initial_state()``, ``step(x, state)`` and ``run(x)`` for a sequence, which
    also take rows of a batch; that of a character model has ``sample``, too. Its docstring says how
    to use it.

    Parameters
    ----------
    model : layer, RNNClassifier, RNNRegressor or CharacterModel
        What `to_c` takes.
    path : path
        The file. An existing one is replaced once the new one is complete.
    name : str, optional
        What the file's docstring calls the module; by default as for `to_c`.
    int8 : bool
        Whether the matrices are kept as int8, with one scale per row. The module computes with
        floats, of the values that these mean.
    {options}

    {rest}

    Examples
    --------
    >>> import rnnx
    >>> from rnnx.interop import to_python
    >>> model = rnnx.Sequential(rnnx.GRU(3, 32, seed=0), rnnx.Linear(32, 2, seed=1))
    >>> to_python(model, "model.py")                                   # doctest: +SKIP
    """
    return write(_module, model, path, name, int8, dtype, x)


def _module(program: Program, int8: bool) -> str:
    """Return the text of the module."""
    parts = [
        text.HEAD + _labels(program),
        text.STATE,
        "\n".join(_step(program)) + "\n",
        text.RUN,
        *_functions(program),
        text.MATRIX,
    ]
    code = Template("\n\n".join(parts)).substitute(_fields(program, int8))
    return code + "\n\n" + "\n".join(_weights(program, int8))


def _fields(program: Program, int8: bool) -> dict[str, Any]:
    """Return what stands for each word after a ``$``."""
    name, size, symbols = program.name, program.input_size, program.symbols
    widths = {s.array(key): width for s in program.stages for key, width in s.states.items()}
    return {
        "name": name, "version": __version__, "words": "\n    ".join(program.words(int8)),
        "dtype": program.dtype, "input_size": size, "output_size": program.output_size,
        "one": "0" if symbols else f"np.ones({name}.INPUT_SIZE)",
        "many": "[0, 0, 0]" if symbols else f"np.ones((3, {name}.INPUT_SIZE))",
        "x": "(...)" if symbols else f"(..., {size})",
        "what": "symbols" if symbols else "values of a step",
        "fields": "".join(f"    {k}: np.ndarray  # (..., {n})\n" for k, n in widths.items()),
        "zeros": ", ".join(["0", *(f"np.zeros({n}, DTYPE)" for n in widths.values())]),
    }  # fmt: skip


def _labels(program: Program) -> str:
    """Return the labels of the outputs, as literals in ASCII."""
    found = {"CLASSES": program.classes, "ALPHABET": program.alphabet}
    lines = [f"{key} = {value!a}\n" for key, value in found.items() if value is not None]
    return "".join(lines).replace("$", "$$")


def _functions(program: Program) -> Iterator[str]:
    """Yield the functions that the step needs, and that draws characters."""
    kinds = dict.fromkeys(stage.kind for stage in program.stages)
    cells = [EQUATIONS[kind].python for kind in kinds if kind in EQUATIONS]
    if program.alphabet is not None:
        yield text.SAMPLE
    yield from cells
    if any("sigmoid(" in cell for cell in cells) or "sigmoid" in kinds:
        yield text.SIGMOID
    if program.softmax or "softmax" in kinds or program.alphabet is not None:
        yield text.SOFTMAX


def _step(program: Program) -> Iterator[str]:
    """Yield the lines of the step."""
    states = ["steps", *(s.array(key) for s in program.stages for key in s.states)]
    yield "def step(x, state):"
    yield f'    """Return y (..., {program.output_size}) and the state after a step, from x $x."""'
    yield f"    {', '.join(states)}{',' * (len(states) == 1)} = state"
    yield "    steps = steps + 1"
    yield from _input(program)
    for stage in program.stages:
        yield f"    # {stage}"
        yield from _stage(stage)
    if program.softmax:
        yield "    x = softmax(x)"
    if program.after:
        yield "    x = x * SCALE_AFTER + MEAN_AFTER"
    yield f"    return x, State({', '.join(states)})"


def _input(program: Program) -> Iterator[str]:
    """Yield the lines that check x and scale it."""
    if program.symbols:
        yield "    x = np.asarray(x)"
        yield '    if x.dtype.kind not in "iu" or np.any((x < 0) | (x >= INPUT_SIZE)):'
        yield '        raise ValueError(f"x must be integers below {INPUT_SIZE}, got {x}")'
        return
    yield f"    x = np.asarray(x, {'float' if program.before else 'DTYPE'})"
    yield "    if x.shape[-1:] != (INPUT_SIZE,):"
    yield '        raise ValueError(f"x must have shape (..., {INPUT_SIZE}), got {x.shape}")'
    if program.before:
        yield "    x = ((x - MEAN_BEFORE) / SCALE_BEFORE).astype(DTYPE)"


def _stage(stage: Stage) -> Iterator[str]:
    """Yield the lines that compute a stage from x, to x."""
    array = stage.name.upper()
    if stage.kind in EQUATIONS:
        yield from _recurrent(stage)
    elif stage.kind == "embedding":
        yield f"    x = {array}.W[x]"
    elif stage.kind == "linear":
        yield f"    x = affine({array}, x)"
    elif stage.kind in ACTIVATIONS:
        yield f"    x = {ACTIVATIONS[stage.kind]}"
    elif stage.kind == "mean":
        y = stage.array("y")
        yield f"    x = {y} = {y} + (x - {y}) / steps"
    elif stage.kind == "max":
        y = stage.array("y")
        yield f"    x = {y} = x if steps == 1 else np.maximum({y}, x)"


def _recurrent(stage: Stage) -> Iterator[str]:
    """Yield the lines of one step of a cell."""
    ih, hh, hr, *own = [stage.array(key).upper() for key in ("ih", "hh", "hr", *stage.own)]
    states = [stage.array(key) for key in stage.states]
    yield f"    p, q = affine({ih}, x), affine({hh}, {states[0]})"
    call = f"{stage.kind}({', '.join(['p', 'q', *own, *states])})"
    yield wrapped(f"{', '.join(states)} = {call}")
    if "hr" in stage.matrices:
        yield f"    {states[0]} = affine({hr}, {states[0]})"
    yield f"    x = {states[0]}"


def _weights(program: Program, int8: bool) -> Iterator[str]:
    """Yield the matrices and vectors of all stages, and the scaling around them."""
    for stage in program.stages:
        for key, m in stage.matrices.items():
            W = _rows(m, int8)
            b = "0" if m.b is None else _array(m.b)
            yield f"{stage.array(key).upper()} = Matrix(\n    {W},\n    {b},\n)"
        for key, vector in stage.vectors.items():
            yield f"{stage.array(key).upper()} = {_array(vector)}"
    for key, scaling in {"BEFORE": program.before, "AFTER": program.after}.items():
        for part, values in zip(("MEAN", "SCALE"), scaling or (), strict=False):
            yield f"{part}_{key} = {_array(values)}"
    yield ""


def _rows(m: Matrix, int8: bool) -> str:
    """Return the expression of W."""
    if not int8:
        return _array(m.W)
    levels, scale = quantized(m.W)
    return f"{_array(levels)} * {_array(scale[:, None])}"


def _array(values: np.ndarray) -> str:
    """Return the expression of an array, of its bytes in base64."""
    little = values.astype(values.dtype.newbyteorder("<"))
    lines = base64.encodebytes(little.tobytes()).decode()
    return f'array("{little.dtype.str}", {values.shape}, """\n{lines}""")'
