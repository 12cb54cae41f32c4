"""Train a character-level RNN on real text, score it on held-out text, and let it write some.

Without --text it reads the Python language reference, which every CPython ships. The last tenth is
held out. BPTT is truncated: parallel streams of the training text are cut into chunks; the state is
carried from chunk to chunk, but not the gradient.

    python examples/char_rnn.py --text shakespeare.txt --backend jax
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import rnnx
from rnnx import RNN, Linear, Sequential
from rnnx.losses import softmax_cross_entropy
from rnnx.optim import Adam, clip_by_global_norm

HIDDEN = 256
STREAMS, LENGTH = 32, 25  # a mini-batch: B streams, T characters of each
TEST_STREAMS = 8  # few, because each starts without context
RATE, LATE_RATE = 2e-3, 4e-4  # learning rates: at first, and in the last quarter of the epochs
TEMPERATURE = 0.7  # of the sampled text: below 1, likely characters become more likely
Chunks = list[tuple[np.ndarray, np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> int:
    start = time.perf_counter()
    parser = common.parser(__doc__, epochs=8)
    parser.add_argument("--text", type=Path, help="UTF-8; default: Python's language reference")
    options, backend = common.read(parser, arguments)
    text = read_text(options.text)
    characters = sorted(set(text))
    index = {character: k for k, character in enumerate(characters)}
    ids = np.asarray([index[character] for character in text], dtype="int32")
    train_ids, test_ids = np.split(ids, [len(ids) - len(ids) // 10])

    rng = np.random.default_rng(options.seed)
    V = len(characters)
    model = Sequential(
        RNN(V, HIDDEN, recurrent_init="orthogonal", backend=backend, seed=rng),
        Linear(HIDDEN, V, backend=backend, seed=rng),
    )
    model.set_params({"0.weight_ih_l0": 0.5 * rng.standard_normal((HIDDEN, V))})
    chunks = cut(train_ids, STREAMS)[: options.steps]
    test = cut(test_ids, TEST_STREAMS)[: options.steps]
    train_bits, test_bits = train(model, chunks, test, options.epochs)

    print(f"--- sampled at temperature {TEMPERATURE} ---")
    print("".join(characters[k] for k in sample(model, int(test_ids[0]), 400, rng)))
    print("---")
    rnnx.save(options.out / "char_rnn.safetensors", model)
    (options.out / "char_rnn.json").write_text(json.dumps({"characters": characters}))
    common.save_figure(draw(train_bits, test_bits), options.out / "char_rnn.png")
    seconds = time.perf_counter() - start
    print(f"held out: {test_bits[-1]:.3f} bits per character; wall time: {seconds:.1f} s")
    return common.verdict(test_bits[0], test_bits[-1])


def read_text(path: Path | None) -> str:
    """Return the training text, or fail if it is too short for one chunk of every stream."""
    if path is None:
        from pydoc_data.topics import topics

        text = "\n".join(topics[name] for name in sorted(topics))
        # Topics repeat each other; the held-out text must not be a copy of the training text.
        return "\n\n".join(dict.fromkeys(text.split("\n\n")))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        common.fail(f"cannot read {path}: {error}")
    if len(text) < (least := 10 * (TEST_STREAMS * LENGTH + 1)):
        common.fail(f"{path} has {len(text)} characters, too few: give at least {least}")
    return text


def cut(ids: np.ndarray, streams: int) -> Chunks:
    """Return inputs and targets (T, B) of each chunk; an incomplete last chunk is left out."""
    count = (len(ids) - 1) // (streams * LENGTH)
    size = count * streams * LENGTH
    x, targets = (part.reshape(streams, count, LENGTH) for part in (ids[:size], ids[1 : size + 1]))
    return [(x[:, k].T, targets[:, k].T) for k in range(count)]


def compile_train_step(model: Sequential, adam: Adam) -> Callable[..., Any]:
    """Return one training step as a pure function, compiled if the library has a compiler."""

    def train_step(
        params: Any, opt_state: Any, state: Any, x: Any, targets: Any, rate: float
    ) -> tuple[Any, ...]:
        logits, state, cache = model.forward(x, state, params=params)
        loss, dlogits = softmax_cross_entropy(logits, targets)
        _, _, grads = model.backward(dlogits, cache)
        grads, _ = clip_by_global_norm(grads, max_norm=5.0)
        params, opt_state = adam.update(params, grads, opt_state, rate)
        return params, opt_state, state, loss

    return model.backend.compile(train_step)


def train(
    model: Sequential, chunks: Chunks, test: Chunks, epochs: int
) -> tuple[list[float], list[float]]:
    """Return bits per character: for every chunk, and for `test` before and after every epoch."""
    backend, params, late, adam = model.backend, model.params, epochs // 4, Adam()
    step = compile_train_step(model, adam)
    losses, scores = [], [evaluate(model, test)]
    with backend.scope(), tqdm(total=epochs * len(chunks), unit="chunk") as bar:
        opt_state = adam.init(params)
        for rate in [RATE] * (epochs - late) + [LATE_RATE] * late:
            state = (backend.zeros((1, STREAMS, HIDDEN)), None)
            for ids, targets in chunks:
                x, targets = one_hot(model, ids), backend.asarray(targets, "int32")
                params, opt_state, state, loss = step(params, opt_state, state, x, targets, rate)
                losses.append(loss)  # left on the device: reading it back would wait for it
                bar.update()
            model.set_params(params)
            scores.append(evaluate(model, test))
            bar.set_postfix(held_out_bits=f"{scores[-1]:.3f}")
    return [float(backend.to_numpy(loss)) / math.log(2) for loss in losses], scores


def evaluate(model: Sequential, chunks: Chunks) -> float:
    """Return the bits per character of consecutive chunks; the state is carried."""
    total, state = 0.0, None
    with model.backend.scope():
        for ids, targets in chunks:
            logits, state = model(one_hot(model, ids), state)
            loss, _ = softmax_cross_entropy(logits, model.backend.asarray(targets, "int32"))
            total += float(model.backend.to_numpy(loss))
    return total / len(chunks) / math.log(2)


def sample(model: Sequential, first: int, count: int, rng: np.random.Generator) -> list[int]:
    """Return `first` and `count` more characters, each drawn given all before it."""
    ids, state = [first], None
    for _ in range(count):
        logits, state = model(one_hot(model, np.asarray([ids[-1:]])), state)
        z = model.backend.to_numpy(logits)[0, 0].astype("float64") / TEMPERATURE
        p = np.exp(z - np.max(z))
        ids.append(int(rng.choice(len(p), p=p / np.sum(p))))
    return ids


def one_hot(model: Sequential, ids: np.ndarray) -> Any:
    """Return characters (T, B) as vectors (T, B, V)."""
    return model.backend.asarray(ids[..., None] == np.arange(model.layers[0].input_size))


def draw(train_bits: list[float], test_bits: list[float]) -> Figure:
    """Plot the bits per character of every chunk, and of the held-out text after every epoch."""
    figure, (axes,) = common.panels(("Character-level RNN", "epoch", "bits per character"))
    chunk = np.linspace(0, len(test_bits) - 1, len(train_bits))
    axes.plot(chunk, train_bits, linewidth=0.6, label="training text, every chunk")
    axes.plot(test_bits, "o-", label=f"held-out text, {test_bits[-1]:.2f} at the end")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


if __name__ == "__main__":
    sys.exit(main())
