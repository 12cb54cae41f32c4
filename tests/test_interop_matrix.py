"""Weights on their way through several systems: the outputs are the same at every station."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_near
from test_examples import run as run_example
from test_interop_code import in_c, needs_cc
from test_interop_keras import keras, one_seed, output
from test_interop_onnx import exported, run

import rnnx
from rnnx.interop import from_keras, from_onnx, from_torch, to_keras, to_onnx, to_torch
from rnnx.networks.fitted import softmax

torch = pytest.importorskip("torch", reason="needs torch")
__all__ = ["one_seed"]  # a fixture of every test here

X = np.random.default_rng(0).standard_normal((9, 3, 4)).astype("float32")  # (T, B, I)
ROWS = np.swapaxes(X, 0, 1)  # (B, T, I), as Keras reads it
KINDS = ["RNN", "RNN-relu", "GRU", "LSTM"]
ALL = [*itertools.product(KINDS, [1, 2], [False, True], [True, False])]
# Keras's own call of NumPy on its variables
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize(("kind", "layers", "both", "bias"), ALL)
def test_from_torch_on(kind: str, layers: int, both: bool, bias: bool) -> None:
    """torch -> rnnx -> ONNX -> ONNX Runtime and back, and torch -> rnnx -> Keras.

    torch draws every bias, b_hn of a GRU among them.
    """
    name, _, relu = kind.partition("-")
    options = {"nonlinearity": relu} if relu else {}
    torch.manual_seed(0)
    start = getattr(torch.nn, name)(4, 5, layers, bidirectional=both, bias=bias, **options)
    expected = start(torch.tensor(X))[0].detach().numpy()
    ours = from_torch(start)
    assert_near(ours(X)[0], expected, 1e-5)
    proto = exported(ours)
    assert_near(run(proto, x=X)["y"], expected, 1e-5)
    assert_near(from_onnx(proto)(X)[0], expected, 1e-5)
    assert_near(np.swapaxes(output(to_keras(ours), ROWS), 0, 1), expected, 1e-5)


@pytest.mark.parametrize(("kind", "layers", "both", "bias"), ALL)
def test_from_keras_on(kind: str, layers: int, both: bool, bias: bool) -> None:
    """Keras -> rnnx -> torch, and -> ONNX -> ONNX Runtime; every bias is drawn."""
    name, _, relu = kind.partition("-")
    start = keras.Sequential([keras.layers.Input((None, 4))])
    for _ in range(layers):
        one = getattr(keras.layers, {"RNN": "SimpleRNN"}.get(name, name))(
            5, return_sequences=True, use_bias=bias, bias_initializer="glorot_uniform",
            **({"activation": relu} if relu else {}),
        )  # fmt: skip
        start.add(keras.layers.Bidirectional(one) if both else one)
    expected = output(start, ROWS)
    ours = from_keras(start)
    assert_near(ours(ROWS)[0], expected, 1e-5)
    assert_near(to_torch(ours)(torch.tensor(ROWS))[0].detach().numpy(), expected, 1e-5)
    assert_near(run(exported(ours), x=ROWS)["y"], expected, 1e-5)


@needs_cc
def test_the_character_model_of_the_example_writes_the_same_everywhere(tmp_path: Path) -> None:
    """Trained by the example; 300 characters by us, by ONNX Runtime, and by C, of one seed."""
    done = run_example("char_rnn", tmp_path, "--epochs", 2, "--steps", 40)
    assert done.returncode == 0, done.stderr
    model = rnnx.load(tmp_path / "char_rnn.safetensors")
    proto, compiled = to_onnx(model), in_c(model, tmp_path)

    def by_us(x: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        return model.step(x, state)

    def by_onnx(x: np.ndarray, h: Any) -> tuple[np.ndarray, Any]:
        found = run(proto, x=x[None, None], **({} if h is None else {"h0": h}))
        return found["y"][0, 0], found["h_n"]

    def by_c(x: np.ndarray, begun: Any) -> tuple[np.ndarray, Any]:
        return compiled.run(x[None], reset=begun is None)[0], True

    texts = [_text(step, model.layers[0].input_size) for step in (by_us, by_onnx, by_c)]
    assert len({*texts[0]}) > 10
    assert texts[0] == texts[1] == texts[2]


def _text(step: Callable[..., Any], V: int) -> list[int]:
    """Draw characters as the example does, each from the logits after the one before."""
    ids, state, rng = [0], None, np.random.default_rng(3)
    for _ in range(300):
        logits, state = step((np.arange(V) == ids[-1]).astype("float32"), state)
        ids.append(int(rng.choice(V, p=softmax(logits.astype("float64") / 0.7))))
    return ids
