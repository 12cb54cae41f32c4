"""A GRU of torch, trained by a plain loop, as a rival of the estimators.

One layer of 32 units, a linear layer on the last state, standardized inputs and targets, Adam with
a learning rate of 0.005, batches of 32, 50 epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from estimator_sets import Labelled

HIDDEN, RATE, BATCH, EPOCHS = 32, 0.005, 32, 50
Rows = list[np.ndarray]


def gru(problem: Labelled, seed: int) -> Callable[[Rows], np.ndarray]:
    """Return what classifies sequences, or finds their targets."""
    import torch

    if problem.task == "classification":
        classes, labels = np.unique(problem.y, return_inverse=True)
        loss = torch.nn.functional.cross_entropy
        run = trained(problem.x, torch.tensor(labels), len(classes), loss, seed)
        return lambda rows: classes[run(rows).argmax(1)]
    mean, scale = moments(problem.y[:, None])
    target = torch.tensor((problem.y[:, None] - mean) / scale, dtype=torch.float32)
    run = trained(problem.x, target, 1, torch.nn.functional.mse_loss, seed)
    return lambda rows: (run(rows) * scale + mean)[:, 0]


def gru_ahead(
    past: np.ndarray, horizon: int, season: int, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what forecasts from a window of two seasons, two horizons or 24 steps, the longest.

    The window is half of the series at most. The outputs are the steps ahead.
    """
    import torch

    window = min(max(2 * season, 2 * horizon, 24), len(past) // 2)
    mean, scale = moments(past[:, None])
    pieces = np.lib.stride_tricks.sliding_window_view(past, window + horizon)
    target = torch.tensor((pieces[:, window:] - mean) / scale, dtype=torch.float32)
    x = list(pieces[:, :window, None])
    run = trained(x, target, horizon, torch.nn.functional.mse_loss, seed)
    return lambda past: (run([past[-window:, None]]) * scale + mean)[0]


def trained(
    x: Rows, target: Any, outputs: int, loss: Callable[..., Any], seed: int
) -> Callable[[Rows], np.ndarray]:
    """Return the network's outputs (n, outputs) as a function of sequences."""
    import torch

    torch.manual_seed(seed)
    mean, scale = moments(np.concatenate(x))
    layer = torch.nn.GRU(x[0].shape[1], HIDDEN, batch_first=True)
    linear = torch.nn.Linear(HIDDEN, outputs)
    adam = torch.optim.Adam([*layer.parameters(), *linear.parameters()], RATE)

    def tensors(rows: Rows) -> list[Any]:
        return [torch.tensor((row - mean) / scale, dtype=torch.float32) for row in rows]

    def run(rows: list[Any]) -> Any:
        last = torch.tensor([len(row) - 1 for row in rows])
        states = layer(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True))[0]
        return linear(states[torch.arange(len(rows)), last])

    known = tensors(x)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(known)).split(BATCH):
            adam.zero_grad()
            loss(run([known[i] for i in batch]), target[batch]).backward()
            adam.step()

    def outputs_of(rows: Rows) -> np.ndarray:
        asked = tensors(rows)
        with torch.inference_mode():
            parts = [run(asked[i : i + BATCH]) for i in range(0, len(asked), BATCH)]
        return torch.cat(parts).double().numpy()

    return outputs_of


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means and deviations of columns; a constant column has the deviation 1."""
    scale = values.std(0)
    return values.mean(0), np.where(scale > 0, scale, 1.0)
