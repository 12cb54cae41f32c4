"""A model as a program for streams: a list of stages, which every writer of code goes through."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnx import io, validate
from rnnx.backends.base import DTYPES
from rnnx.core.sizes import layer_params, suffixes
from rnnx.interop.code.cells import written
from rnnx.layers.activation import Activation
from rnnx.layers.embedding import Embedding
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.rnn import RNN
from rnnx.networks.deployed import Deployed, Scaling, deployed

RECURRENT = (Recurrent, RNN, GRU, LSTM)  # not classes derived from them, which may do anything
C_KEYWORDS = """
auto bool break case char const continue default do double else enum extern false float for goto if
inline int long register restrict return short signed sizeof static struct switch true typedef union
unsigned void volatile while
""".split()  # noqa: SIM905


class Matrix(NamedTuple):
    """``y = W x + b``; of an embedding, its table and no b."""

    W: np.ndarray  # (N, K)
    b: np.ndarray | None = None  # (N,)


class Stage(NamedTuple):
    """One layer of the program."""

    kind: (
        str  # "embedding", "linear", of a pool or an activation, or the name of a cell's equations
    )
    input_size: int
    output_size: int
    hidden_size: int = 0  # of a cell
    matrices: Mapping[str, Matrix] = {}
    vectors: Mapping[str, np.ndarray] = {}
    states: Mapping[str, int] = {}  # widths by name
    own: tuple[str, ...] = ()  # of matrices and vectors, what the cell's equations read
    number: int = 0  # its place in the program, from 1

    @property
    def name(self) -> str:
        """What its arrays and states begin with, such as ``gru1``."""
        return f"{self.kind}{self.number}"

    def array(self, key: str) -> str:
        """Return the name of a matrix, a vector or a state."""
        return f"{self.name}_{key}" if key else self.name

    @property
    def gates(self) -> int:
        """The number of values that a cell's step is computed from; 0 without a cell."""
        return max(len(self.matrices[k].W) for k in ("ih", "hh")) if self.hidden_size else 0

    def __str__(self) -> str:
        more = f", projected from {self.hidden_size}" if "hr" in self.matrices else ""
        more = ", of all steps so far" if self.kind in ("mean", "max") else more
        return f"{self.name}: {self.input_size} -> {self.output_size}{more}"


class Program(NamedTuple):
    """All that a writer needs."""

    name: str
    dtype: str
    input_size: int  # the number of symbols where it begins with an embedding
    symbols: bool
    stages: tuple[Stage, ...]
    before: Scaling | None
    softmax: bool
    after: Scaling | None
    classes: list[Any] | None
    alphabet: str | None
    file: str = ""  # what its head calls the file; by default its name, with an ending

    @property
    def output_size(self) -> int:
        """The number of values that a step answers."""
        return self.stages[-1].output_size

    @property
    def parameters(self) -> int:
        """The number of weights."""
        arrays = [a for stage in self.stages for m in stage.matrices.values() for a in m]
        arrays += [v for stage in self.stages for v in stage.vectors.values()]
        return sum(a.size for a in arrays if a is not None)

    def words(self, int8: bool) -> Iterator[str]:
        """Yield a line for the input, every stage, the answer and the weights."""
        what = "symbols" if self.symbols else "values"
        yield f"input: {self.input_size} {what}" + ", to (x - mean) / scale" * bool(self.before)
        yield from map(str, self.stages)
        logits = "logits of the next symbol" if self.alphabet is not None else "values"
        answer = "probabilities, by softmax" if self.softmax else logits
        yield f"output: {self.output_size} {answer}" + ", to y * scale + mean" * bool(self.after)
        yield f"weights: {self.parameters:,} of {self.dtype}" + ", matrices as int8" * int8


def program(model: Any, name: str, dtype: str | None) -> tuple[Program, Deployed]:
    """Return a model as a program, and what it computes as layers.

    Raises
    ------
    ValueError, TypeError
        For what is not a fitted model, what a stream cannot compute, labels or parameters that
        are not finite, and a name that is not one in C and in Python.
    """
    if not is_name(name):
        raise ValueError(
            f"name must be a name in C and in Python, such as model, got {name!r:.80}: use "
            "letters, digits and _"
        )
    found = deployed(model)
    if not found.layers:
        raise ValueError("expected a model with a layer that computes, got one without")
    if dtype is None:
        dtype = found.layers[0].backend.dtype_name
    dtype = validate.one_of("dtype", dtype, DTYPES)
    found = found._replace(layers=tuple(x.to("numpy", dtype=dtype) for x in found.layers))
    stages = tuple(_stages(found.layers))
    first = found.layers[0]
    classes = found.about.get("classes")
    if any(isinstance(label, float) and not math.isfinite(label) for label in classes or ()):
        raise ValueError(f"expected labels that are text or finite numbers, got {classes!r:.80}")
    made = Program(
        name, dtype, stages[0].input_size, isinstance(first, Embedding), stages, found.before,
        found.softmax, found.after, classes, found.about.get("alphabet"),
    )  # fmt: skip
    return made, found


def _stages(layers: tuple[Any, ...]) -> Iterator[Stage]:
    """Yield the stages of the layers, whose sizes must fit."""
    size, count = _first_size(layers), 0
    for i, layer in enumerate(layers):
        for stage in _read(layer, size, i):
            if stage.input_size != size:
                raise ValueError(
                    f"expected a layer that reads {size} values, got a {type(layer).__name__} that "
                    f"reads {stage.input_size}"
                )
            count, size = count + 1, stage.output_size
            yield stage._replace(number=count)


def _first_size(layers: tuple[Any, ...]) -> int:
    """Return the size of the input, which a `Pool` does not know."""
    for layer in layers:
        if not isinstance(layer, Pool | Activation):
            return int(getattr(layer, "num_embeddings", 0) or getattr(layer, "input_size", 0))
    raise ValueError(
        "expected a model that knows the size of its input, got one of Pool and Activation alone"
    )


def _read(layer: Any, size: int, position: int) -> Iterator[Stage]:
    """Yield the stages of one layer, named by their kinds."""
    host = {name: layer.backend.to_numpy(w) for name, w in layer.params.items()}
    io.finite(host)
    kind, both = type(layer), layer.directions == 2 or getattr(layer, "bidirectional", False)
    if kind is Embedding and position == 0:
        V, E = host["weight"].shape
        yield Stage("embedding", V, E, matrices={"": Matrix(host["weight"])})
    elif kind is Linear:
        matrix = Matrix(host["weight"], host.get("bias"))
        yield Stage("linear", layer.input_size, layer.output_size, matrices={"": matrix})
    elif kind is Pool and not both:
        yield Stage(layer.how, size, size, states={} if layer.how == "last" else {"y": size})
    elif kind is Activation:
        yield Stage(layer.function, size, size)
    elif kind in RECURRENT and not both:
        yield from _recurrent(layer, host)
    else:
        why = ": a stream has no future; estimators take bidirectional=False" if both else ""
        raise ValueError(
            f"expected a model that reads a stream, got a {'bidirectional ' if both else ''}"
            f"{kind.__name__}{why}"
        )


def _recurrent(layer: Recurrent, host: dict[str, np.ndarray]) -> Iterator[Stage]:
    """Yield a stage for every layer of a stack."""
    sizes, kind = layer.sizes, written(layer.cell)
    own = tuple(layer.cell.parameters(sizes.hidden_size))
    for k, suffix in enumerate(suffixes(sizes)):
        part = layer_params(host, suffix)
        matrices = {
            "ih": Matrix(part["weight_ih"], part.get("bias_ih")),
            "hh": Matrix(part["weight_hh"], part.get("bias_hh")),
        }
        if "weight_hr" in part:
            matrices["hr"] = Matrix(part["weight_hr"])
        matrices |= {name: Matrix(part[name]) for name in own if part[name].ndim == 2}
        vectors = {name: part[name] for name in own if part[name].ndim == 1}
        yield Stage(
            kind, sizes.features(k), sizes.output_size, sizes.hidden_size, matrices, vectors,
            sizes.state_sizes, own,
        )  # fmt: skip


def is_name(name: Any) -> bool:
    """Return whether C and Python take a text as a name."""
    plain = isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
    return bool(plain) and not keyword.iskeyword(name) and name not in C_KEYWORDS
