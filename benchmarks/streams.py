"""Streams of single steps from Python, for `cpu_worker.py`: `STEPS` calls, each of one row."""

from __future__ import annotations

from typing import Any

import numpy as np
from contenders import Runs
from onnx_layer import onnx_session
from problems import Problem

STEPS = 200


def our_stream(problem: Problem) -> Runs:
    import rnnx

    layer = getattr(rnnx, problem.cell)(*problem.shape[2:], seed=0)
    layer.set_params(problem.params)
    x = problem.x[0, 0]

    def stream() -> Any:
        state: Any = None
        for _ in range(STEPS):
            _, state = layer.step(x, state)
        return np.ravel(state[0])

    return {"stream": stream}


def torch_stream(problem: Problem) -> Runs:
    import torch

    cell = getattr(torch.nn, f"{problem.cell}Cell")(*problem.shape[2:])
    cell.load_state_dict(
        {name.removesuffix("_l0"): torch.tensor(W) for name, W in problem.params.items()}
    )
    row = torch.tensor(problem.x[0])

    def stream() -> Any:
        state: Any = None
        with torch.inference_mode():
            for _ in range(STEPS):
                state = cell(row, state)
        return np.ravel(state[0])

    return {"stream": stream}


def onnx_stream(problem: Problem) -> Runs:
    session = onnx_session(problem, stream=True)
    names = ["h", "c"] if problem.cell == "LSTM" else ["h"]

    def stream() -> Any:
        zero = np.zeros((1, 1, problem.shape[3]), "float32")
        feed = {"x": problem.x[:1]} | {f"{name}0": zero for name in names}
        for _ in range(STEPS):
            for name, state in zip(names, session.run(names, feed), strict=True):
                feed[f"{name}0"] = state
        return np.ravel(feed["h0"])

    return {"stream": stream}
