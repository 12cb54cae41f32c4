"""Read handwritten digits row by row: a real image is a sequence of eight rows of eight pixels.

The data are scikit-learn's bundled digits. A quarter is held out and used only at the end. The
settings were chosen by cross-validation on the rest, of which a tenth selects the best epoch here.

    python examples/digits.py --backend torch

E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import common
import numpy as np
from matplotlib.figure import Figure

from rnnx import GRU, Backend, Dropout, Linear, Pool, Sequential, metrics, optim, plots, train
from rnnx.losses import softmax_cross_entropy

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError:
    common.fail("this example needs scikit-learn: pip install 'rnnx[examples]'")

HIDDEN, BATCH, RATE = 64, 32, 0.01
METRICS = {"accuracy": metrics.accuracy}


def main(arguments: Sequence[str] | None = None) -> int:
    start = time.perf_counter()
    options, backend = common.read(common.parser(__doc__, epochs=30), arguments)
    images, labels = load_digits(return_X_y=True)
    rows = images.reshape(-1, 8, 8) / 8 - 1  # (N, T, F), in [-1, 1]
    x, test_x, y, test_y = train_test_split(
        rows, labels, test_size=0.25, stratify=labels, random_state=0
    )
    x, valid_x, y, valid_y = train_test_split(x, y, test_size=0.1, stratify=y, random_state=0)
    if options.steps:
        x, y = x[: options.steps * BATCH], y[: options.steps * BATCH]
    x, valid_x, test = time_major(x), time_major(valid_x), (time_major(test_x), test_y)

    model = build(backend, options.seed)
    before = train.evaluate(model, test, loss=softmax_cross_entropy)["loss"]
    steps = options.epochs * -(-len(y) // BATCH)
    history = train.fit(
        model, (x, y), validation=(valid_x, valid_y), loss=softmax_cross_entropy, metrics=METRICS,
        optimizer=optim.Adam(RATE), schedule=optim.Cosine(steps), clip_norm=1.0,
        epochs=options.epochs, batch_size=BATCH, seed=options.seed,
    )  # fmt: skip
    after = train.evaluate(model, test, loss=softmax_cross_entropy, metrics=METRICS)

    logits = train.predict(model, test[0])
    wrong = int(np.sum(np.argmax(logits, axis=-1) != test_y))
    seconds = time.perf_counter() - start
    print(
        f"held-out accuracy: {after['accuracy']:.4f}, {wrong} of {len(test_y)} wrong; "
        f"wall time: {seconds:.1f} s"
    )
    common.save_figure(draw(history, model, test_x, logits, test_y), options.out / "digits.png")
    return common.verdict(before, after["loss"])


def build(backend: Backend, seed: int) -> Sequential:
    """Return a network that reads the rows downward and upward and classifies the digit."""
    rng = np.random.default_rng(seed)
    gru = GRU(
        8, HIDDEN, bidirectional=True, recurrent_dropout=0.2, weight_init="glorot",
        recurrent_init="orthogonal", backend=backend, seed=rng,
    )  # fmt: skip
    pool = Pool("last", bidirectional=True, backend=backend)
    linear = Linear(2 * HIDDEN, 10, backend=backend, seed=rng)
    return Sequential(gru, pool, Dropout(0.5, backend=backend), linear)


def time_major(rows: np.ndarray) -> np.ndarray:
    """Return (N, T, F) as (T, N, F)."""
    return np.swapaxes(rows, 0, 1)


def draw(
    history: train.History, model: Sequential, images: np.ndarray, logits: np.ndarray, y: np.ndarray
) -> Figure:
    """Plot the learning curves, the hardest digit, and the hidden states while reading it."""
    figure, (curves, digit, states) = common.panels(
        ("", "", ""), ("", "column", "row (time step)"), ("", "", "")
    )
    plots.learning_curves(history, ax=curves)
    z = logits.astype("float64") - np.max(logits, axis=-1, keepdims=True)
    p = np.exp(z) / np.sum(np.exp(z), axis=-1, keepdims=True)
    hardest = int(np.argmin(p[np.arange(len(y)), y]))
    guess = int(np.argmax(p[hardest]))
    digit.grid(visible=False)
    digit.imshow(images[hardest], cmap="gray_r")
    digit.set_title(
        f"The hardest: a {y[hardest]}, read as {guess} ({100 * p[hardest, guess]:.0f} %)"
    )
    gru = model.layers[0]
    _, _, cache = gru.forward(images[hardest][:, None], masks={})
    forward = gru.backend.to_numpy(gru.states(cache)["h_l0"])
    plots.hidden_states(forward, ax=states)
    states.set_title("Its hidden states, read downward")
    return figure


if __name__ == "__main__":
    sys.exit(main())
