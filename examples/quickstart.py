"""Meet SimpleRNN: one forward and one backward pass, then gradient descent on a small task.

The task: read one of three symbols at every step and answer with the previous one.

    python examples/quickstart.py --backend torch
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import common
import numpy as np
from tqdm import tqdm

from rnnx import Backend, SimpleRNN
from rnnx.losses import mean_squared_error

STEPS = 100  # of gradient descent per epoch


def main(arguments: Sequence[str] | None = None) -> int:
    options, backend = common.read(common.parser(__doc__, epochs=5), arguments)
    first_pass(backend, options.seed)

    rng = np.random.default_rng(options.seed)
    x, targets = remember_one_step(rng, length=10, batch=16)
    x, targets = backend.asarray(x), backend.asarray(targets)
    rnn = SimpleRNN(input_size=3, hidden_size=16, output_size=3, backend=backend, seed=rng)

    losses = []
    steps = options.epochs * min(options.steps or STEPS, STEPS)
    with backend.scope(), tqdm(range(steps), unit="step") as bar:
        for _ in bar:
            loss, doutputs = mean_squared_error(rnn.forward(x), targets)
            rnn.backward(doutputs, learning_rate=0.5)
            losses.append(float(backend.to_numpy(loss)))
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
        loss, _ = mean_squared_error(rnn.forward(x), targets)
        losses.append(float(backend.to_numpy(loss)))

    print(f"mean squared error: {losses[0]:.4f} before, {losses[-1]:.4f} after {steps} steps")
    texts = ("SimpleRNN learns to remember one step", "step of descent", "mean squared error")
    figure, (axes,) = common.panels(texts)
    axes.semilogy(losses)
    common.save_figure(figure, options.out / "quickstart.png")
    return common.verdict(losses[0], losses[-1])


def first_pass(backend: Backend, seed: int) -> None:
    """Run the original listing: a list of vectors in, a list of columns out."""
    sequence = [
        np.array([1, 0, 0]),
        np.array([0, 1, 0]),
        np.array([0, 0, 1]),
    ]
    rnn = SimpleRNN(input_size=3, hidden_size=5, output_size=2, backend=backend, seed=seed)
    outputs = rnn.forward(sequence)
    doutputs = [np.ones((2, 1)) for _ in outputs]
    grads = rnn.backward(doutputs)
    print(rnn)
    print(f"{len(outputs)} outputs of shape {tuple(outputs[0].shape)}")
    print("gradients:", ", ".join(f"d{name} {tuple(dW.shape)}" for name, dW in grads.items()))


def remember_one_step(
    rng: np.random.Generator, *, length: int, batch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return one-hot symbols (T, B, 3) and the same one step later, starting with 1/3 each."""
    x = np.eye(3)[rng.integers(3, size=(length, batch))]
    return x, np.concatenate([np.full((1, batch, 3), 1 / 3), x[:-1]])


if __name__ == "__main__":
    sys.exit(main())
