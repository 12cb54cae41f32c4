"""A model as one header of C99, which computes a stream without allocating memory."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from string import Template
from typing import Any

from rnnx._version import __version__
from rnnx.interop.code import c_text
from rnnx.interop.code.c_arrays import code_points, numbers, texts
from rnnx.interop.code.cells import EQUATIONS
from rnnx.interop.code.quantized import Loss, quantized
from rnnx.interop.code.stages import Matrix, Program, Stage
from rnnx.interop.code.writing import documented, wrapped, write

ACTIVATIONS = {
    "tanh": "$tanh({x})",
    "relu": "{x} < 0 ? 0 : {x}",  # a NaN stays one
    "sigmoid": "${{name}}_sigmoid({x})",
}
TYPES = {"float32": ("float", "f"), "float64": ("double", "")}  # and how its functions end


@documented
def to_c(
    model: Any,
    path: str | PathLike[str],
    *,
    name: str | None = None,
    int8: bool = False,
    dtype: str | None = None,
    x: Any = None,
) -> Loss | None:
    """Write a model as one header of C99: weights, a state, and a function of one step.

    The header has ``<name>_state``, ``<name>_reset``, ``<name>_step`` and its sizes as macros. It
    allocates nothing, needs the standard headers and libm alone, compiles as C99 and as C++11
    without warnings, and may be included in several files. Its head says how to use it.

    Parameters
    ----------
    model : layer, RNNClassifier, RNNRegressor or CharacterModel
        What a stream can compute: recurrent layers of the cells of `rnnx.cells`, `Linear`,
        `Embedding`, `Pool` as the answer so far, scaling and softmax. Dropout is left out.
    path : path
        The header. An existing one is replaced once the new one is complete.
    name : str, optional
        What all names in the header begin with; macros have it in capital letters. By default the
        name of the file without its ending, or ``"model"`` where that is no name.
    int8 : bool
        Whether the matrices are of int8, with one scale per row. All else stays in `dtype`.
    {options}

    {rest}

    Examples
    --------
    >>> import rnnx
    >>> from rnnx.interop import to_c
    >>> model = rnnx.Sequential(rnnx.GRU(3, 32, seed=0), rnnx.Linear(32, 2, seed=1))
    >>> to_c(model, "model.h")                                         # doctest: +SKIP
    """
    return write(_header, model, path, name, int8, dtype, x)


def _header(program: Program, int8: bool) -> str:
    """Return the text of the header."""
    parts = [
        c_text.HEAD + c_text.GATES * any(stage.gates for stage in program.stages),
        c_text.STATE,
        c_text.SYMBOL_STEP if program.symbols else c_text.STEP,
        *_labels(program),
        c_text.MATRIX,
        *_weights(program, int8),
        *_functions(program),
        c_text.RESET,
        "\n".join(["$head", "{", *_step(program), "}\n"]),
        c_text.END,
    ]
    return Template("\n".join(parts)).substitute(_fields(program, int8))


def _fields(program: Program, int8: bool) -> dict[str, Any]:
    """Return what stands for each word after a ``$``; no array and no text has one."""
    (real, ending), name, symbols = TYPES[program.dtype], program.name, program.symbols
    size = f"{name.upper()}_INPUT_SIZE"
    step, x = ("int", "int32_t symbol") if symbols else ("void", f"const {real} *x")
    return {
        "name": name, "NAME": name.upper(), "file": program.file or f"{name}.h",
        "version": __version__,
        "real": real, **{f: f"{f}{ending}" for f in ("exp", "fabs", "sqrt", "tanh")},
        "weight": "int8_t" if int8 else real,
        "scales": f"    const {real} *scale; /* of each row */\n" if int8 else "",
        "rescaled": " * m->scale[i]" if int8 else "",
        "words": "\n *     ".join(program.words(int8)),
        "what": "symbols" if symbols else "values of a step",
        "input_size": program.input_size, "output_size": program.output_size,
        "gates": max(stage.gates for stage in program.stages),
        "states": "\n".join(_states(program, real)),
        "example": "" if symbols else f"x[{size}], ",
        "given": f"t % {size}" if symbols else "x",
        "head": f"static inline {step} {name}_step({name}_state *state, {x}, {real} *y)",
    }  # fmt: skip


def _states(program: Program, real: str) -> Iterator[str]:
    """Yield the fields of the state."""
    for stage in program.stages:
        for name, width in stage.states.items():
            yield f"    {real} {stage.array(name)}[{width}];"


def _labels(program: Program) -> Iterator[str]:
    """Yield the labels of the outputs."""
    if program.classes is not None:
        yield "/* What the outputs are the probabilities of. */"
        yield texts("${name}_classes", map(str, program.classes))
    if program.alphabet is not None:
        yield "/* The character that each symbol and each output stands for, as its code point. */"
        yield code_points("${name}_alphabet", program.alphabet)


def _weights(program: Program, int8: bool) -> Iterator[str]:
    """Yield the arrays of all stages, and of the scaling around them."""
    for stage in program.stages:
        if stage.matrices:
            yield f"/* {stage} */"
        for key, m in stage.matrices.items():
            by_rows = stage.kind == "embedding"
            yield _matrix(f"${{name}}_{stage.array(key)}", m, int8, by_rows)
        for key, vector in stage.vectors.items():
            yield numbers("$real", f"${{name}}_{stage.array(key)}", vector)
    for key, scaling in {"before": program.before, "after": program.after}.items():
        for part, values in zip(("mean", "scale"), scaling or (), strict=False):
            yield numbers("double", f"${{name}}_{part}_{key}", values)


def _matrix(name: str, m: Matrix, int8: bool, by_rows: bool) -> str:
    """Return a matrix and its arrays."""
    W, scale = quantized(m.W) if int8 else (m.W, None)
    arrays = {
        "W": ("$weight", W if by_rows else W.T),
        "scale": ("$real", scale),
        "b": ("$real", m.b),
    }
    parts = {f"{name}_{k}": (kind, a) for k, (kind, a) in arrays.items() if a is not None}
    fields = [*map(str, W.shape), *parts, *["NULL"] * (m.b is None)]
    lines = [numbers(kind, part, a) for part, (kind, a) in parts.items()]
    lines.append(f"static const ${{name}}_matrix {name} = {{{', '.join(fields)}}};\n")
    return "".join(lines)


def _functions(program: Program) -> Iterator[str]:
    """Yield the functions that the stages need."""
    kinds = dict.fromkeys(stage.kind for stage in program.stages)
    cells = [EQUATIONS[kind].c for kind in kinds if kind in EQUATIONS]
    yield c_text.AFFINE
    if program.symbols:
        yield c_text.ROW
    if any("_sigmoid(" in text for text in cells) or "sigmoid" in kinds:
        yield c_text.SIGMOID
    yield from cells
    if program.softmax or "softmax" in kinds:
        yield c_text.SOFTMAX


def _step(program: Program) -> Iterator[str]:
    """Yield the lines of the body of the step."""
    x = "x"
    if program.symbols:
        yield "    if (symbol < 0 || symbol >= ${NAME}_INPUT_SIZE) {\n        return -1;\n    }"
    if any(stage.gates for stage in program.stages):
        yield "    $real p[${NAME}_GATES], q[${NAME}_GATES];"
    yield "    state->steps += state->steps < UINT32_MAX;"
    if program.before:
        x = "scaled"
        yield f"\n    $real scaled[{program.input_size}];"
        yield from _each(
            program.input_size,
            "scaled[i] = ($real)((x[i] - ${name}_mean_before[i]) / ${name}_scale_before[i]);",
        )
    for stage in program.stages:
        yield f"\n    /* {stage} */"
        lines, x = _stage(stage, x, stage is program.stages[-1])
        yield from lines
    if x != "y":
        yield f"\n    memcpy(y, {x}, {program.output_size} * sizeof *y);"
    if program.softmax:
        yield f"\n    ${{name}}_softmax({program.output_size}, y);"
    if program.after:
        yield from _each(
            program.output_size,
            "y[i] = ($real)(y[i] * ${name}_scale_after[i] + ${name}_mean_after[i]);",
        )
    if program.symbols:
        yield "    return 0;"


def _stage(stage: Stage, x: str, last: bool) -> tuple[list[str], str]:
    """Return the lines that compute a stage from x, and where its output then is."""
    W = f"&${{name}}_{stage.name}"
    if stage.kind in EQUATIONS:
        return _recurrent(stage, x)
    if stage.kind == "last":
        return [], x
    if stage.kind in ("mean", "max"):
        y = f"state->{stage.array('y')}"
        update = {
            "mean": f"{y}[i] += ({x}[i] - {y}[i]) / ($real)state->steps;",
            "max": f"if (state->steps == 1 || {x}[i] > {y}[i] || {x}[i] != {x}[i]) {{\n"
            f"            {y}[i] = {x}[i];\n        }}",
        }[stage.kind]
        return [*_each(stage.output_size, update)], y
    y = "y" if last else stage.name
    lines = [] if last else [f"    $real {y}[{stage.output_size}];"]
    if stage.kind == "softmax":
        copied = f"    memcpy({y}, {x}, {stage.output_size} * sizeof *{y});"
        return [*lines, copied, f"    ${{name}}_softmax({stage.output_size}, {y});"], y
    if stage.kind in ACTIVATIONS:
        value = ACTIVATIONS[stage.kind].format(x=f"{x}[i]")
        return [*lines, *_each(stage.output_size, f"{y}[i] = {value};")], y
    if stage.kind == "embedding":
        return [*lines, f"    ${{name}}_row({W}, symbol, {y});"], y
    return [*lines, f"    ${{name}}_affine({W}, {x}, {y});"], y


def _recurrent(stage: Stage, x: str) -> tuple[list[str], str]:
    """Return the lines of one step of a cell, and where h then is."""
    array = f"${{name}}_{stage.name}_"
    h, *others = [f"state->{stage.array(key)}" for key in stage.states]
    own = [f"{'&' * (key in stage.matrices)}{array}{key}" for key in stage.own]
    lines = [
        f"    ${{name}}_affine(&{array}ih, {x}, p); /* p = W_ih x + b_ih */",
        f"    ${{name}}_affine(&{array}hh, {h}, q); /* q = W_hh h + b_hh */",
    ]
    m = f"{stage.name}_m" if "hr" in stage.matrices else h
    arguments = ", ".join([str(stage.hidden_size), "p", "q", *own, m, *others])
    call = wrapped(f"${{name}}_{stage.kind}({arguments});")
    if m == h:
        return [*lines, call], h
    project = f"    ${{name}}_affine(&{array}hr, {m}, {h}); /* h = W_hr m */"
    return [*lines, f"    $real {m}[{stage.hidden_size}];", call, project], h


def _each(size: int, statement: str) -> Iterator[str]:
    """Yield a loop over the entries of an array."""
    yield f"    for (int i = 0; i < {size}; ++i) {{"
    yield f"        {statement}"
    yield "    }"
