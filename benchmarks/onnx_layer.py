"""A recurrent layer in ONNX Runtime, for `cpu_worker.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from contenders import Runs
from problems import Problem


def onnxs(problem: Problem) -> Runs:
    session, x = onnx_session(problem), problem.x
    return {"inference": lambda: session.run(["y"], {"x": x})[0]}


def onnx_session(problem: Problem, *, stream: bool = False) -> Any:
    """Return an ONNX Runtime session from x to y, or from (x, states) to states."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    states = ["h", "c"] if problem.cell == "LSTM" else ["h"]
    inputs = ["x", *(f"{s}0" for s in states if stream)]
    nodes, constants = onnx_nodes(problem, states if stream else [])

    def infos(names: list[str]) -> list[Any]:
        shape = [None, None, None]
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names]

    outputs = infos(states if stream else ["y"])
    graph = helper.make_graph(nodes, "layer", infos(inputs), outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = problem.threads, 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def onnx_nodes(problem: Problem, states: list[str]) -> tuple[list[Any], list[Any]]:
    """Return the graph's nodes and constants; one that streams has states among its inputs."""
    from onnx import helper, numpy_helper

    H = problem.shape[3]
    options = {"linear_before_reset": 1} if problem.cell == "GRU" else {}
    direction = "bidirectional" if problem.bidirectional else "forward"
    nodes, constants, value = [], [], "x"

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(array, name))
        return name

    for k, suffixes in enumerate(problem.suffixes):
        names = [
            constant(f"{name}{k}", W)
            for name, W in zip("WRB", onnx_weights(problem, suffixes), strict=True)
        ]
        nodes.append(
            helper.make_node(
                problem.cell, [value, *names, "", *(f"{s}0" for s in states)],
                ["", *states] if states else [f"Y{k}"], hidden_size=H, direction=direction,
                **options,
            )
        )  # fmt: skip
        value = "y" if k == problem.layers - 1 else f"y{k}"
        if not states:  # (T, D, B, H) -> (T, B, D·H)
            shape = constant(f"S{k}", np.array([0, 0, len(suffixes) * H]))
            nodes.append(helper.make_node("Transpose", [f"Y{k}"], [f"t{k}"], perm=[0, 2, 1, 3]))
            nodes.append(helper.make_node("Reshape", [f"t{k}", shape], [value]))
    return nodes, constants


def onnx_weights(problem: Problem, suffixes: list[str]) -> list[np.ndarray]:
    """Return a layer's weight_ih, weight_hh and biases by direction, gates in ONNX's order."""
    order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}[problem.cell]

    def gates(name: str, suffix: str) -> np.ndarray:
        parts = np.split(problem.params[name + suffix], len(order))
        return np.concatenate([parts[k] for k in order])

    W, R, b, c = (
        np.stack([gates(name, suffix) for suffix in suffixes])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return [W, R, np.concatenate([b, c], 1)]
