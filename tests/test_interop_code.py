"""Exported code: C and Python compute what the model computes, alone, and hold no surprises."""

from __future__ import annotations

import ast
import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from cases import KINDS, assert_near, recurrent
from hypothesis import given
from hypothesis import strategies as st

import rnnx
from rnnx.characters import CharacterModel
from rnnx.interop import to_c, to_python
from rnnx.interop.code.c_arrays import numbers, texts
from rnnx.interop.code.quantized import answers, quantized
from rnnx.networks.deployed import deployed
from rnnx.networks.fitted import softmax

CC = shutil.which("cc")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}  # relative to the largest
HOSTILE = ['*/ \n " ??/ %s', "'''", '"""', "\\", "$real ${x}", "a\0b", "é\u202e", "\ud800", ""]
needs_cc = pytest.mark.skipif(CC is None, reason="needs a C compiler")


class Compiled(NamedTuple):
    """A header in a shared library, with one state of its own."""

    library: ctypes.CDLL
    name: str
    sizes: tuple[int, int]
    real: Any
    symbols: bool

    def run(self, x: Any, *, reset: bool = True) -> np.ndarray:
        """Return the answers of all steps (T, O)."""
        x = np.ascontiguousarray(x, np.int32 if self.symbols else self.real)
        y = np.zeros((len(x), self.sizes[1]), self.real)
        function = getattr(self.library, f"{self.name}_run")
        assert function(reset, len(x), x.ctypes.data_as(ctypes.c_void_p),
                        y.ctypes.data_as(ctypes.c_void_p)) == 0  # fmt: skip
        return y


WRAPPER = """
#include "NAME.h"
static NAME_state NAME_state_;
int NAME_run(int reset, int T, const INPUT *x, REAL *y)
{
    if (reset) NAME_reset(&NAME_state_);
    for (int t = 0; t < T; ++t, x += WIDTH, y += NAME_OUTPUT) STEP
    return 0;
}
"""


def compiled(folder: Path, *names: str, flags: tuple[str, ...] = ("-O1",)) -> list[Compiled]:
    """Compile headers into one shared library, all in one file."""
    found, source = [], ""
    for name in names:
        text = (folder / f"{name}.h").read_text()
        sizes = [int(re.search(rf"#define {name.upper()}_{k}_SIZE (\d+)", text)[1])
                 for k in ("INPUT", "OUTPUT")]  # fmt: skip
        symbols, real = "int32_t symbol" in text, "double" if "double *y" in text else "float"
        step = f"if ({name}_step(&{name}_state_, *x, y)) return -1;" if symbols else (
            f"{name}_step(&{name}_state_, x, y);"
        )  # fmt: skip
        words = {
            "STEP": step, "NAME_OUTPUT": str(sizes[1]), "WIDTH": "1" if symbols else str(sizes[0]),
            "INPUT": "int32_t" if symbols else real, "REAL": real, "NAME": name,
        }  # fmt: skip
        part = WRAPPER
        for word, value in words.items():
            part = part.replace(word, value)
        source += part
        kind = np.float64 if real == "double" else np.float32
        found.append((name, tuple(sizes), kind, symbols))
    (folder / "all.c").write_text(source)
    library = folder / f"{len([*folder.glob('*.so')])}.so"  # a name is loaded only once
    build([*STRICT, *flags, "-fPIC", "-c", "all.c", "-o", "all.o"], folder)
    # linked with -ffast-math it would switch subnormal numbers off in the whole process
    build(["-shared", "all.o", "-o", str(library), "-lm"], folder)
    loaded = ctypes.CDLL(str(library))
    return [Compiled(loaded, *rest) for rest in found]


def build(arguments: list[str], folder: Path, compiler: str | None = CC) -> None:
    done = subprocess.run(
        [str(compiler), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def in_c(model: Any, folder: Path, **options: Any) -> Compiled:
    to_c(model, folder / "model.h", **options)
    return compiled(folder, "model")[0]


def in_python(model: Any, folder: Path, **options: Any) -> ModuleType:
    to_python(model, folder / "model.py", **options)
    return module(folder / "model.py")


def module(path: Path) -> ModuleType:
    """Return the module in a file, from its text alone."""
    made = ModuleType("model")
    exec(compile(path.read_text("ascii"), str(path), "exec"), vars(made))
    return made


def steps_of(model: Any, x: Any) -> np.ndarray:
    """Return the outputs of all steps, one step at a time."""
    state, found = None, []
    for x_t in x:
        y, state = model.step(x_t, state)
        found.append(y)
    return np.stack(found)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell(tmp_path: Path, rng: np.random.Generator, kind: str, dtype: str) -> None:
    """One layer and two, with bias and without: C and Python equal the steps of the layer."""
    x = rng.standard_normal((9, 3)).astype(dtype)
    tolerance = TOLERANCE[dtype] * (10 if "norm" in kind else 1)  # dividing by √var adds to errors
    models = {
        f"m{layers}{bias:d}": recurrent(kind, 3, 5, layers, bias=bias, seed=rng, dtype=dtype)
        for layers, bias in product((1, 2), (True, False))
    }
    for model in models.values():  # gains and biases that are 0 or 1 would hide a mistake
        model.set_params({k: W + 0.1 * rng.standard_normal(W.shape)
                          for k, W in model.params.items()})  # fmt: skip
    for name, model in models.items():
        to_c(model, tmp_path / f"{name}.h", name=name)
        to_python(model, tmp_path / f"{name}.py", name=name)
        y, _ = module(tmp_path / f"{name}.py").run(x)
        assert y.dtype == dtype
        assert_near(y, steps_of(model, x), tolerance)
    if CC is not None:
        for found in compiled(tmp_path, *models):
            assert_near(found.run(x), steps_of(models[found.name], x), tolerance)


CHAINS: dict[str, Callable[[], Any]] = {
    "symbols": lambda: rnnx.Sequential(
        rnnx.Embedding(7, 3, seed=0), rnnx.GRU(3, 5, seed=1), rnnx.Dropout(0.5),
        rnnx.Linear(5, 7, seed=2),
    ),
    "last": lambda: rnnx.Sequential(
        rnnx.LSTM(3, 5, seed=0), rnnx.Pool(), rnnx.Linear(5, 2, seed=1, bias=False)
    ),
    "mean": lambda: rnnx.Sequential(
        rnnx.Linear(3, 4, seed=0), rnnx.RNN(4, 5, seed=0), rnnx.Pool("mean"), rnnx.Linear(5, 2)
    ),
    "max": lambda: rnnx.Sequential(
        rnnx.GRU(3, 5, batch_first=True, seed=0),
        rnnx.Sequential(rnnx.Pool("max", batch_first=True), rnnx.Linear(5, 2)),
    ),
    "max alone": lambda: rnnx.Sequential(rnnx.GRU(3, 5, seed=0), rnnx.Pool("max")),
    "float64": lambda: rnnx.Sequential(
        rnnx.LSTM(3, 5, seed=0, dtype="float64"), rnnx.Linear(5, 2, seed=1, dtype="float64")
    ),
    "linear": lambda: rnnx.Linear(3, 2, seed=0),
    "activations": lambda: rnnx.Sequential(
        rnnx.Activation("tanh"), rnnx.Linear(3, 4, seed=0), rnnx.Activation("relu"),
        rnnx.GRU(4, 5, seed=1), rnnx.Activation("sigmoid"), rnnx.Linear(5, 2, seed=2),
        rnnx.Activation("softmax"),
    ),
    "embedding": lambda: rnnx.Embedding(4, 3, seed=0),
}  # fmt: skip


def inputs(model: Any, rng: np.random.Generator, T: int = 12) -> np.ndarray:
    """Return a sequence that a chain reads."""
    any_size = (rnnx.Activation, rnnx.Pool)
    first = next(layer for _, layer in model.walk() if not isinstance(layer, any_size))
    if isinstance(first, rnnx.Embedding):
        return rng.integers(0, first.num_embeddings, T)
    return rng.standard_normal((T, first.input_size)).astype("float32")


@pytest.mark.parametrize("chain", CHAINS)
def test_chains(tmp_path: Path, rng: np.random.Generator, chain: str) -> None:
    """After every step the answer is that of the model to the sequence so far."""
    model = CHAINS[chain]()
    x = inputs(model, rng)
    found = [model(x[: t + 1])[0] for t in range(len(x))]
    expected = np.stack(found if model.reduces_time else [y[-1] for y in found])
    assert_near(answers(deployed(model), x), expected, 1e-6)
    assert_near(in_python(model, tmp_path).run(x)[0], expected, 1e-6)
    if CC is not None:
        assert_near(in_c(model, tmp_path).run(x), expected, 1e-6)


@pytest.mark.parametrize("chain", CHAINS)
def test_rows_of_a_batch_and_a_stream_that_goes_on(
    tmp_path: Path, rng: np.random.Generator, chain: str
) -> None:
    """In Python each row has the answers that it has alone; a state continues its stream."""
    model = CHAINS[chain]()
    rows = [inputs(model, rng) for _ in range(3)]
    found = in_python(model, tmp_path)
    y, _ = found.run(np.stack(rows, axis=1))
    begun, state = found.run(rows[0][:5])
    rest, _ = found.run(rows[0][5:], state)
    assert_near(np.concatenate([begun, rest]), y[:, 0], 1e-6)
    assert_near(y, np.stack([found.run(row)[0] for row in rows], axis=1), 1e-6)


@needs_cc
def test_a_state_that_is_zero_has_begun(tmp_path: Path, rng: np.random.Generator) -> None:
    """A static state needs no reset; without one a stream goes on; with one it begins again."""
    model = CHAINS["max"]()
    x = inputs(model, rng)
    found = in_c(model, tmp_path)
    begun, rest = found.run(x[:5], reset=False), found.run(x[5:], reset=False)
    np.testing.assert_array_equal(np.concatenate([begun, rest]), found.run(x))


@needs_cc
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_gates_far_from_zero_without_infinity(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    """With -ffast-math, which takes infinities for impossible, huge inputs give no NaN."""
    model = recurrent(kind, 3, 4, seed=0)
    to_c(model, tmp_path / "model.h")
    x = 1e6 * rng.standard_normal((9, 3))
    (library,) = compiled(tmp_path, "model", flags=("-O3", "-ffast-math"))
    assert_near(library.run(x), model(x.astype("float32"))[0], 1e-5)


@needs_cc
@pytest.mark.parametrize("chain", ["relu", "max", "mean", "last", "softmax"])
def test_a_nan_stays_one(tmp_path: Path, rng: np.random.Generator, chain: str) -> None:
    """As in the model: a value that is missing is not a zero, nor below all others."""
    layers = {"relu": rnnx.Activation("relu"), "softmax": rnnx.Activation("softmax")}
    layer = layers[chain] if chain in layers else rnnx.Pool(chain)
    model = rnnx.Sequential(rnnx.Linear(3, 3, bias=False, seed=0), layer)
    x = rng.standard_normal((6, 3)).astype("float32")
    x[2] = np.nan
    expected = answers(deployed(model), x)
    assert np.isnan(expected).any()
    for run in (in_c(model, tmp_path).run(x), in_python(model, tmp_path).run(x)[0]):
        np.testing.assert_allclose(run, expected, rtol=0, atol=1e-6)


@needs_cc
def test_a_symbol_outside_changes_nothing(tmp_path: Path) -> None:
    """C returns an error and keeps the state; Python raises."""
    model = CHAINS["symbols"]()
    found = in_c(model, tmp_path)
    expected = found.run([1, 2, 3])
    found.run([1, 2])
    for wrong in (-1, 7, 2**31 - 1, -(2**31)):
        with pytest.raises(AssertionError):
            found.run([wrong], reset=False)
    np.testing.assert_array_equal(found.run([3], reset=False), expected[2:])
    module = in_python(model, tmp_path)
    for symbol in (-1, 7, 1.5):
        with pytest.raises(ValueError, match="x must be integers below 7"):
            module.step(symbol, module.initial_state())
    module = in_python(CHAINS["last"](), tmp_path)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3\)"):
        module.step(np.ones(4), module.initial_state())


def sequences(rng: np.random.Generator, n: int = 12) -> list[np.ndarray]:
    return [rng.standard_normal((int(T), 2)) * [1, 30] + [0, 500] for T in rng.integers(3, 9, n)]


def fitted(kind: str, rng: np.random.Generator, **options: Any) -> Any:
    """Return a small estimator that was trained, and sequences."""
    estimators = pytest.importorskip("rnnx.estimators", reason="needs scikit-learn")
    X = sequences(rng)
    shapes = [(len(x),) if options.get("per_step") else () for x in X]
    if kind == "RNNClassifier":
        y = [rng.choice(["left", "right", "up"], shape) for shape in shapes]
    else:
        y = [rng.standard_normal((*shape, 2)) * [1, 90] + [3, 0] for shape in shapes]
    options = {"bidirectional": False, "n_estimators": 2} | options  # a stream; a merged network
    model = getattr(estimators, kind)(6, epochs=2, random_state=0, **options)
    return model.fit(X, y if options.get("per_step") else np.asarray(y)), X


@pytest.mark.parametrize("options", [{}, {"pool": "mean", "cell": "lstm"}, {"per_step": True}])
@pytest.mark.parametrize("kind", ["RNNClassifier", "RNNRegressor"])
def test_estimators(
    tmp_path: Path, rng: np.random.Generator, kind: str, options: dict[str, Any]
) -> None:
    """Probabilities and values in their own units: of every step, or of all steps at the last."""
    model, X = fitted(kind, rng, **options)
    expected = (model.predict_proba if kind == "RNNClassifier" else model.predict)(X)
    last = np.stack([y[-1] for y in expected]) if options.get("per_step") else expected
    found = in_python(model, tmp_path)
    assert_near(np.stack([found.run(x)[0][-1] for x in X]), last, 1e-6)
    if options.get("per_step"):
        assert_near(found.run(X[0])[0], expected[0], 1e-6)
    if kind == "RNNClassifier":
        assert model.classes_.tolist() == found.CLASSES
    if CC is not None:
        in_c_too = in_c(model, tmp_path)
        assert_near(np.stack([in_c_too.run(x)[-1] for x in X]), last, 1e-6)


@cache
def characters() -> CharacterModel:
    return CharacterModel(
        12, embedding_size=4, streams=4, epochs=4, learning_rate=0.02, seed=0
    ).fit("to be or not to be; " * 60)


def drawn(run: Callable[[list[int]], np.ndarray], prompt: str, count: int, seed: int) -> str:
    """Draw characters as `rnnx.characters.sampling` does, from the logits of a stream."""
    model, rng = characters(), np.random.default_rng(seed)
    ids = [model.characters_.index(c) for c in prompt]
    for _ in range(count):
        p = softmax(run(ids)[-1].astype("float64") / 0.9)
        ids.append(int(rng.choice(len(p), size=1, p=p)[0]))
    return "".join(model.characters_[k] for k in ids[len(prompt) :])


def test_a_character_model_writes_the_same_text(tmp_path: Path) -> None:
    """The same characters for the same seed, in C and in Python."""
    model = characters()
    for seed in range(3):
        expected = model.sample("to be", 60, temperature=0.9, seed=seed)
        found = in_python(model, tmp_path)
        assert found.sample("to be", 60, temperature=0.9, seed=seed) == expected
        if CC is not None:
            assert drawn(in_c(model, tmp_path).run, "to be", 60, seed) == expected
    assert model.characters_ == found.ALPHABET


@pytest.mark.parametrize("chain", [*CHAINS, "RNNClassifier", "characters"])
def test_int8(tmp_path: Path, rng: np.random.Generator, chain: str) -> None:
    """The report is what the code does: both exports differ from the float one by as much."""
    if chain == "RNNClassifier":
        model, X = fitted(chain, rng)
        x = np.concatenate(X)
    else:
        model = characters() if chain == "characters" else CHAINS[chain]()
        x = inputs(getattr(model, "model_", model), rng, 40)
    y, _ = in_python(model, tmp_path).run(x)
    loss = to_python(model, tmp_path / "small.py", int8=True, x=x)
    rounded, _ = module(tmp_path / "small.py").run(x)
    assert loss is not None
    assert loss.steps == len(x)
    np.testing.assert_allclose(loss.largest, np.abs(rounded - y).max(), rtol=1e-3)
    np.testing.assert_allclose(loss.rms, np.sqrt(np.mean((rounded - y) ** 2)), rtol=1e-3)
    np.testing.assert_allclose(loss.scale, np.abs(y).max(), rtol=1e-6)
    assert 0 < loss.rms < loss.largest < 0.1 * loss.scale
    same = np.mean(np.argmax(rounded, axis=1) == np.argmax(y, axis=1))
    assert loss.agreement == (None if chain in CHAINS else same)
    assert f"at most {loss.largest:.2g}, rms {loss.rms:.2g}" in str(loss)
    assert to_c(model, tmp_path / "model.h", int8=True) == to_python(
        model, tmp_path / "small.py", int8=True
    )
    if CC is not None:
        assert_near(compiled(tmp_path, "model")[0].run(x), rounded, 1e-6)
    if chain == "characters":  # not so small that the code outweighs the weights
        assert (tmp_path / "small.py").stat().st_size < (tmp_path / "model.py").stat().st_size


def test_int8_keeps_each_row_to_half_a_step(rng: np.random.Generator) -> None:
    """A row's largest is ±127; rows of zeros and of the smallest numbers stay finite."""
    W = rng.standard_normal((6, 9)).astype("float32") * np.float32(
        [[1], [50], [1e-3], [1], [0], [0]]
    )
    W[5] = 1e-45
    levels, scale = quantized(W)
    assert (levels.dtype, scale.dtype) == ("int8", "float32")
    assert (np.abs(levels[:4]).max(axis=1) == 127).all()
    assert (np.abs(levels * scale[:, None] - W) <= 0.5001 * scale[:, None]).all()
    assert not levels[4:].any()


def example(folder: Path) -> None:
    """Write the program in the header's comment to a file."""
    head = (folder / "model.h").read_text().partition("*/")[0]
    lines = [line[7:] for line in head.splitlines() if line.startswith(" *     ")]
    text = "\n".join(lines)
    (folder / "main.c").write_text(text[text.index("#include <stdio.h>") :] + "\n")


@needs_cc
@pytest.mark.parametrize("chain", ["symbols", "mean"])
@pytest.mark.parametrize("int8", [False, True])
def test_the_example_in_the_head_runs(tmp_path: Path, chain: str, int8: bool) -> None:
    """As it stands, alone, under the sanitizers of addresses and of undefined behaviour."""
    to_c(CHAINS[chain](), tmp_path / "model.h", int8=int8)
    example(tmp_path)
    build([*STRICT, "main.c", "-o", "plain", "-lm"], tmp_path)
    done = subprocess.run([tmp_path / "plain"], capture_output=True, text=True, check=True)
    assert np.isfinite([float(line) for line in done.stdout.split()]).all()
    assert len(done.stdout.split()) == 3
    try:
        sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover"]
        build([*STRICT, *sanitize, "main.c", "-o", "checked", "-lm"], tmp_path)
    except AssertionError as error:
        pytest.skip(f"the C compiler has no sanitizers: {str(error)[:80]!r}")
    checked = subprocess.run([tmp_path / "checked"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, done.stdout), checked.stderr


@needs_cc
def test_it_allocates_nothing_and_needs_libm_alone(tmp_path: Path) -> None:
    """All that the compiled object asks of others."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm")
    to_c(CHAINS["mean"](), tmp_path / "model.h")
    example(tmp_path)
    build([*STRICT, "-fno-stack-protector", "-c", "main.c"], tmp_path)
    found = subprocess.run([nm, "-u", tmp_path / "main.o"], capture_output=True, text=True)
    needed = {word.lstrip("_") for word in found.stdout.split() if len(word) > 1}
    assert {"tanhf"} <= needed <= {"tanhf", "memset", "memcpy", "printf", "GLOBAL_OFFSET_TABLE_"}


@needs_cc
def test_two_units_and_cpp(tmp_path: Path, rng: np.random.Generator) -> None:
    """Two files of one program may include a header, and C++ takes it."""
    to_c(fitted("RNNClassifier", rng)[0], tmp_path / "model.h", int8=True)
    (tmp_path / "other.c").write_text('#include "model.h"\nint other(void) { return 0; }\n')
    example(tmp_path)
    build([*STRICT, "main.c", "other.c", "-o", "two", "-lm"], tmp_path)
    if (cpp := shutil.which("c++")) is None:
        pytest.skip("needs a C++ compiler")
    (tmp_path / "main.cpp").write_text((tmp_path / "main.c").read_text())
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    build([*flags, "-c", "main.cpp"], tmp_path, cpp)


@needs_cc
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_numbers_are_the_same_bits_in_c(
    tmp_path: Path, rng: np.random.Generator, dtype: str
) -> None:
    """The smallest, the largest, -0, and any bits that are a number."""
    info = np.finfo(dtype)
    special = [0.0, -0.0, info.max, info.min, info.tiny, info.smallest_subnormal, 1 / 3]
    bits = rng.integers(0, 256, 1000 * info.bits // 8, dtype="uint8").view(dtype)
    values = np.concatenate([np.asarray(special, dtype), bits[np.isfinite(bits)]])
    kind = "float" if dtype == "float32" else "double"
    source = numbers(kind, "values", values) + f"const {kind} *all(void) {{ return values; }}\n"
    (tmp_path / "v.c").write_text(source)
    build([*STRICT, "-Wno-missing-prototypes", "-shared", "-fPIC", "v.c", "-o", "v.so"], tmp_path)
    function = ctypes.CDLL(str(tmp_path / "v.so")).all
    function.restype = ctypes.c_void_p
    size = values.nbytes
    assert ctypes.string_at(function(), size) == values.tobytes()


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_any_text_is_a_text_in_c(labels: list[str]) -> None:
    """Between the quotes are octal bytes, letters, digits and a few signs; no trigraph, no end."""
    source = texts("labels", labels)
    found = re.findall(r'"([^"\n]*)"', source)
    assert re.fullmatch(r'[^"]*("([A-Za-z0-9 _.,-]|\\[0-7]{3})*",[\s]*)+\};\n', source)
    assert [ast.literal_eval(f'b"{text}"') for text in found] == [
        label.encode("utf-8", "surrogatepass") for label in labels
    ]


def test_hostile_labels_are_labels(tmp_path: Path, rng: np.random.Generator) -> None:
    """They end no comment, no text and no template, in C and in Python."""
    model, _ = fitted("RNNClassifier", rng)
    for labels in (HOSTILE[:3], HOSTILE[3:6], HOSTILE[6:]):
        model.classes_ = np.unique(labels)
        assert model.classes_.tolist() == in_python(model, tmp_path).CLASSES
        if CC is not None:
            to_c(model, tmp_path / "model.h")
            example(tmp_path)
            text = (tmp_path / "main.c").read_text()
            show = "for (int k = 0; k < MODEL_OUTPUT_SIZE; ++k) puts(model_classes[k]);\n"
            (tmp_path / "main.c").write_text(text.replace("return 0;", f"{show}    return 0;"))
            build([*STRICT, "-trigraphs", "main.c", "-o", "show", "-lm"], tmp_path)
            shown = subprocess.run([tmp_path / "show"], capture_output=True, check=True).stdout
            for label in model.classes_.tolist():
                assert label.encode("utf-8", "surrogatepass").partition(b"\0")[0] + b"\n" in shown
    model.classes_ = np.asarray(["a" * 4096, "b", "c"])
    with pytest.raises(ValueError, match="expected labels of at most 4095 bytes, got one of 4096"):
        to_c(model, tmp_path / "long.h")
    model.classes_ = np.asarray([0.5, 1, np.inf])
    with pytest.raises(ValueError, match="expected labels that are text or finite numbers"):
        to_python(model, tmp_path / "long.py")


@given(st.text(max_size=8) | st.sampled_from(["class", "int", "_a", "a b", "a", "Model2", "ä"]))
def test_names_are_names_or_errors(name: str) -> None:
    """What is not a name in C and Python is refused before a file is written."""
    model = rnnx.Linear(1, 1, seed=0)
    if re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) and name not in ("class", "int"):
        return
    for write in (to_c, to_python):
        with pytest.raises(ValueError, match="name must be a name in C and in Python"):
            write(model, "/nowhere/model", name=name)


class Mine(rnnx.GRU):
    """A layer of one's own that is a GRU."""


REFUSED: dict[str, Callable[[], Any]] = {
    "got a bidirectional GRU: a stream has no future": lambda: rnnx.GRU(2, 3, bidirectional=True),
    "got a bidirectional Pool": lambda: rnnx.Sequential(
        rnnx.GRU(2, 4, seed=0), rnnx.Pool(bidirectional=True)
    ),
    "got a Embedding": lambda: rnnx.Sequential(rnnx.Linear(2, 3), rnnx.Embedding(4, 2)),
    "of Pool and Activation alone": lambda: rnnx.Sequential(rnnx.Pool(), rnnx.Dropout(0.5)),
    "a layer that computes": lambda: rnnx.Dropout(0.5),
    "reads 3 values, got a Linear that reads 4": lambda: rnnx.Sequential(
        rnnx.GRU(2, 3), rnnx.Linear(4, 2)
    ),
    "got a Mine": lambda: Mine(2, 3, seed=0),
    "got SubCell": lambda: rnnx.Recurrent(type("SubCell", (rnnx.cells.GRUCell,), {})(), 2, 3),
    "call fit": CharacterModel,
    "expected a layer, an RNNClassifier": lambda: rnnx.SimpleRNN(1, 2, 1),
    "finite numbers in 'weight'": lambda: spoiled(rnnx.Linear(2, 3, seed=0)),
}  # fmt: skip


def spoiled(model: Any) -> Any:
    model.set_params({"weight": np.full((3, 2), np.nan)})
    return model


@pytest.mark.parametrize("words", REFUSED)
def test_what_a_stream_cannot_compute_is_refused_by_name(tmp_path: Path, words: str) -> None:
    """An error that names it, and no file."""
    for write in (to_c, to_python):
        with pytest.raises((ValueError, TypeError), match=re.escape(words)):
            write(REFUSED[words](), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_options_outside_their_ranges_are_refused(tmp_path: Path) -> None:
    """A dtype that is none; an x of another shape, not finite, or for nothing."""
    model = rnnx.GRU(2, 3, seed=0)
    with pytest.raises(ValueError, match="dtype must be one of float32, float64, got 'float16'"):
        to_c(model, tmp_path / "model.h", dtype="float16")
    for x in (np.ones(2), np.ones((5, 3)), np.ones((0, 2))):
        with pytest.raises(ValueError, match=r"x must have shape \(T, 2\), got"):
            to_python(model, tmp_path / "model.py", int8=True, x=x)
    with pytest.raises(ValueError, match="x must hold finite numbers"):
        to_c(model, tmp_path / "model.h", int8=True, x=[[1.0, np.nan]])
    with pytest.raises(ValueError, match="give int8=True, or leave x out"):
        to_c(model, tmp_path / "model.h", x=np.ones((5, 2)))
    assert not list(tmp_path.iterdir())
    assert to_c(model, tmp_path / "model.h", int8=True, x=[[1, 2], [3, 4]]).steps == 2


def test_the_same_model_is_the_same_file_and_dtype_is_a_choice(tmp_path: Path) -> None:
    """No date and no folder in it; a float32 model in float64 is that of its `to`."""
    model = rnnx.GRU(2, 3, seed=0)
    wide = model.to("numpy", dtype="float64")
    for write in (to_c, to_python):
        for name, made, options in (
            ("a", model, {}), ("b", model.to("numpy"), {}),
            ("c", model, {"dtype": "float64"}), ("d", wide, {}),
        ):  # fmt: skip
            (tmp_path / name).mkdir(exist_ok=True)
            assert write(made, tmp_path / name / "m", **options) is None
        a, b, c, d = [(tmp_path / name / "m").read_bytes() for name in "abcd"]
        assert (a == b, c == d, a == c) == (True, True, False)


def test_names_are_those_of_the_file(tmp_path: Path) -> None:
    """Unless another is given, or the file's is no name: its own head includes it as it is."""
    for file, options, name, shown in [
        ("net.h", {}, "net", "net.h"), ("net-2.h", {}, "model", "net-2.h"),
        ("net.h", {"name": "other"}, "other", "net.h"), ("ä b.h", {}, "model", "model.h"),
    ]:  # fmt: skip
        to_c(rnnx.GRU(2, 3, seed=0), tmp_path / file, **options)
        text = (tmp_path / file).read_text()
        assert f'#include "{shown}"' in text
        assert f"void {name}_step(" in text
        assert f"#ifndef RNNX_{name}_H" in text
    to_python(rnnx.GRU(2, 3, seed=0), tmp_path / "book.py")
    assert "import book\n" in (tmp_path / "book.py").read_text()


def test_the_module_needs_numpy_alone(tmp_path: Path) -> None:
    """It is imported in a process that then has no rnnx."""
    to_python(characters(), tmp_path / "model.py")
    code = "import sys, model; print(model.sample('to', 5, seed=0), 'rnnx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True,
        check=True, env={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.stdout == f"{characters().sample('to', 5, seed=0)} False\n"
