"""Train a classifier with one library, in its own process, for `training.py`.

python benchmarks/rivals.py rnnx|torch|keras

A request has `problem`, `cell`, `form` and `seed`. The answer has the seconds before the first
epoch and for each epoch, and the accuracy after each, which is not timed. Keras reads KERAS_BACKEND
when it is imported. The process is pinned to one core, so that no library uses more than one
thread.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from common import serve

HIDDEN, BATCH = 64, 32


@dataclass(frozen=True)
class Problem:
    """Training and test sequences (T_i, F) with their classes, and how to train on them."""

    train: tuple[list[np.ndarray], np.ndarray]
    test: tuple[list[np.ndarray], np.ndarray]
    classes: int
    rate: float  # Adam's
    epochs: int

    @property
    def features(self) -> int:
        """Number of features F."""
        return int(self.train[0][0].shape[1])

    @property
    def ragged(self) -> bool:
        """Whether the lengths differ."""
        return len({len(row) for row in self.train[0]}) > 1

    def padded(self, rows: list[np.ndarray]) -> np.ndarray:
        """Return sequences as one array (N, T, F), padded with zeros."""
        T = max(len(row) for row in self.train[0] + self.test[0])
        return np.stack([np.pad(row, ((0, T - len(row)), (0, 0))) for row in rows])


def digits() -> Problem:
    """8 rows of 8 pixels, from top to bottom; 1,347 training images, 450 held out."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = (found.images[order] / 16).astype("float32"), found.target[order]
    return Problem((list(x[:1347]), y[:1347]), (list(x[1347:]), y[1347:]), 10, 5e-3, 25)


def vowels() -> Problem:
    """Japanese vowels of 9 speakers: 7 to 29 steps of 12 numbers; 270 training, 370 held out."""
    from sktime.datasets import load_japanese_vowels

    def read(split: str) -> tuple[list[np.ndarray], np.ndarray]:
        x, y = load_japanese_vowels(split=split)
        rows = [np.stack(row, axis=1).astype("float32") for row in x.to_numpy()]
        return rows, y.astype("int64") - 1

    return Problem(read("train"), read("test"), 9, 5e-3, 40)


PROBLEMS = {"digits": cache(digits), "vowels": cache(vowels)}


class Clock:
    """The seconds from each `start` to `stop`.

    Those of the processor: on one quiet core they are the wall's, and on a shared one they stay so.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.start()

    def start(self) -> None:
        """Start the clock."""
        self._since = time.process_time()

    def stop(self) -> None:
        """Record the seconds since the start."""
        self.seconds.append(time.process_time() - self._since)


Rival = Callable[[Problem, str, str, int], tuple[list[float], list[float]]]


def with_rnnx(problem: Problem, cell: str, form: str, seed: int) -> Any:
    """Train with `rnnx.train.fit` on the backend named by `form`."""
    import rnnx

    rng, accuracy = np.random.default_rng(seed), {"accuracy": rnnx.metrics.accuracy}
    loss, found = rnnx.losses.softmax_cross_entropy, []
    layer = getattr(rnnx, cell)(
        problem.features, HIDDEN, weight_init="glorot", recurrent_init="orthogonal", backend=form,
        seed=rng,
    )  # fmt: skip
    pool, linear = (
        rnnx.Pool("last", backend=form),
        rnnx.Linear(HIDDEN, problem.classes, backend=form, seed=rng),
    )
    model = rnnx.Sequential(layer, pool, linear)
    train, test = (
        (x if problem.ragged else np.stack(x, axis=1), y) for x, y in (problem.train, problem.test)
    )

    class Watch(rnnx.train.Callback):
        def begin(self, run: Any) -> None:
            clock.stop()
            clock.start()

        def epoch(self, run: Any) -> None:
            clock.stop()
            scores = rnnx.train.evaluate(model, test, loss=loss, metrics=accuracy)
            found.append(scores["accuracy"])
            clock.start()

    clock = Clock()
    rnnx.train.fit(
        model, train, loss=loss, optimizer=rnnx.optim.Adam(problem.rate), epochs=problem.epochs,
        batch_size=BATCH, callbacks=[Watch()], progress=False, seed=rng,
    )  # fmt: skip
    return clock.seconds, found


def with_torch(problem: Problem, cell: str, form: str, seed: int) -> Any:
    """Train with a plain loop; ragged sequences are "packed" or "padded", as `form` says."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    torch.manual_seed(seed)
    rnn = getattr(torch.nn, cell)(problem.features, HIDDEN)
    linear = torch.nn.Linear(HIDDEN, problem.classes)
    adam = torch.optim.Adam([*rnn.parameters(), *linear.parameters()], problem.rate)

    def read(rows: list[np.ndarray], y: np.ndarray) -> Any:
        x = torch.tensor(problem.padded(rows)).transpose(0, 1).contiguous()
        return x, torch.tensor([len(row) for row in rows]), torch.tensor(y)

    def logits(x: Any, lengths: Any) -> Any:
        if not problem.ragged:
            return linear(rnn(x)[0][-1])
        if form == "packed":
            state = rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))[1]
            return linear((state[0] if cell == "LSTM" else state)[0])
        y = rnn(x[: int(lengths.max())])[0]
        return linear(y[lengths - 1, torch.arange(len(lengths))])

    x, lengths, y = read(*problem.train)
    *held_out, expected = read(*problem.test)
    found, clock = [], Clock()
    clock.stop()
    for _ in range(problem.epochs):
        clock.start()
        for rows in torch.randperm(len(y)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(logits(x[:, rows], lengths[rows]), y[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
        clock.stop()
        with torch.inference_mode():
            found.append(float((logits(*held_out).argmax(-1) == expected).float().mean()))
    return clock.seconds, found


def with_keras(problem: Problem, cell: str, form: str, seed: int) -> Any:
    """Train with Keras's `fit`; ragged sequences go through a Masking layer."""
    import keras

    keras.utils.set_random_seed(seed)
    layers, recurrent = keras.layers, {"RNN": "SimpleRNN"}.get(cell, cell)
    model = keras.Sequential(
        [
            keras.Input((None if problem.ragged else len(problem.train[0][0]), problem.features)),
            *([layers.Masking(0.0)] if problem.ragged else []),
            getattr(layers, recurrent)(HIDDEN),
            layers.Dense(problem.classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(problem.rate), loss)
    (x, y), (x_test, expected) = (
        (problem.padded(rows), y) for rows, y in (problem.train, problem.test)
    )
    found = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                clock.stop()
            clock.start()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            clock.stop()
            found.append(float(np.mean(model.predict_on_batch(x_test).argmax(-1) == expected)))

    clock = Clock()
    model.fit(x, y, BATCH, problem.epochs, verbose=0, callbacks=[Watch()])
    return clock.seconds, found


RIVALS = {"rnnx": with_rnnx, "torch": with_torch, "keras": with_keras}


def main() -> int:
    rival: Rival = RIVALS[sys.argv[1]]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if sys.argv[1] == "torch" or os.environ.get("KERAS_BACKEND") == "torch":
        import torch

        torch.set_num_threads(1)

    def train(problem: str, cell: str, form: str, seed: int) -> dict[str, Any]:
        seconds, accuracy = rival(PROBLEMS[problem](), cell, form, seed)
        return {"before": seconds[0], "seconds": seconds[1:], "accuracy": accuracy}

    serve(train)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
