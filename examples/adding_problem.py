"""The adding problem: remember two marked numbers over a long sequence and add them.

One channel has uniform random numbers, the other a marker, which is 1 at one step of each half. The
target, only at the last step, is the sum of the two marked numbers. Always answering 1 gives an
error of 1/6. The network has rectified linear units and starts with Whh = identity, so that it
remembers everything.

    python examples/adding_problem.py --length 100 --epochs 60

S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), 1735-1780,
doi:10.1162/neco.1997.9.8.1735. Q. V. Le, N. Jaitly and G. E. Hinton, "A simple way to initialize
recurrent networks of rectified linear units", doi:10.48550/arXiv.1504.00941.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import common
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from rnnx import SimpleRNN
from rnnx.losses import mean_squared_error
from rnnx.optim import Adam, clip_by_global_norm

HIDDEN, BATCH, STEPS = 64, 32, 100  # an epoch is 100 mini-batches of new sequences
BASELINE = 1 / 6  # the variance of the sum of two uniform numbers
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__, epochs=20)
    parser.add_argument("--length", type=common.positive, default=50, help="default: %(default)s")
    options, backend = common.read(parser, arguments)
    if options.length < 2:
        common.fail("the adding problem needs a --length of at least 2")

    rng = np.random.default_rng(options.seed)
    rnn = SimpleRNN(2, HIDDEN, 1, nonlinearity="relu", backend=backend, seed=rng)
    rnn.set_params({"Whh": np.eye(HIDDEN), "Wxh": 0.1 * rng.standard_normal((HIDDEN, 2))})
    adam = Adam(learning_rate=1e-3)
    test = draw_batch(rng, options.length, 500)
    start, error = measure(rnn, test)
    errors = [error]

    steps = min(options.steps or STEPS, STEPS)
    with backend.scope(), tqdm(total=options.epochs * steps, unit="step") as bar:
        state = adam.init(rnn.params)
        for _ in range(options.epochs):
            for _ in range(steps):
                _, doutputs = loss_of(rnn, draw_batch(rng, options.length, BATCH))
                grads, _ = clip_by_global_norm(rnn.gradients(doutputs), max_norm=1.0)
                params, state = adam.update(rnn.params, grads, state)
                rnn.set_params(params)
                bar.update()
            end, error = measure(rnn, test)
            errors.append(error)
            bar.set_postfix(test_error=f"{error:.4f}")

    print(f"mean squared error on new sequences: {errors[-1]:.4f}; always 1: {BASELINE:.4f}")
    common.save_figure(draw(errors, start, end), options.out / "adding_problem.png")
    return common.verdict(errors[0], errors[-1])


def draw_batch(rng: np.random.Generator, length: int, batch: int) -> Batch:
    """Return inputs (T, B, 2), targets (T, B, 1) and the mask of the targets that count."""
    x = np.zeros((length, batch, 2), dtype="float32")
    x[:, :, 0] = rng.random((length, batch))
    for low, high in ((0, length // 2), (length // 2, length)):
        x[rng.integers(low, high, size=batch), np.arange(batch), 1] = 1
    targets = np.zeros((length, batch, 1), dtype="float32")
    targets[-1, :, 0] = np.sum(x[:, :, 0] * x[:, :, 1], axis=0)
    mask = np.zeros(targets.shape, dtype="bool")
    mask[-1] = True
    return x, targets, mask


def loss_of(rnn: SimpleRNN, batch: Batch) -> tuple[float, np.ndarray]:
    """Return the mean squared error at the last step, and its gradient for all outputs."""
    x, targets, mask = batch
    asarray = rnn.backend.asarray
    return mean_squared_error(rnn.forward(asarray(x)), asarray(targets), asarray(mask, "bool"))


def measure(rnn: SimpleRNN, batch: Batch) -> tuple[np.ndarray, float]:
    """Return the norm of dL/dh_t for every t, and the loss."""
    with rnn.backend.scope():
        loss, doutputs = loss_of(rnn, batch)
        dh = rnn.backend.to_numpy(rnn.state_gradients(doutputs))  # (T, B, H)
    return np.linalg.norm(dh, axis=(1, 2)), float(rnn.backend.to_numpy(loss))


def draw(errors: list[float], start: np.ndarray, end: np.ndarray) -> Figure:
    """Plot the test error by epoch, and the norm of dL/dh_t before and after training."""
    figure, (left, right) = common.panels(
        ("Error on new sequences", "epoch", "mean squared error"),
        ("How far back the loss is felt", "time step $t$", "norm of $dL/dh_t$"),
    )
    left.semilogy(errors, label="SimpleRNN, relu")
    left.axhline(BASELINE, color="gray", linestyle="--", label="always 1: 1/6")
    right.plot(np.arange(1, len(start) + 1), start, label="before training")
    right.plot(np.arange(1, len(end) + 1), end, label="after training")
    right.set_ylim(bottom=0)
    left.legend()
    right.legend()
    figure.suptitle(f"The adding problem, length {len(start)}")
    return figure


if __name__ == "__main__":
    sys.exit(main())
