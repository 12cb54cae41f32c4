"""One recurrent layer in rnnx and in its rivals on the CPU, for `cpu.py`.

Each contender is a function of a problem. It returns a training step and an inference call, both
on the same weights and the same input. A training step is the forward pass and BPTT: from x and the
gradient with respect to the outputs to the gradients with respect to x and all parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import rnnx

Run = Callable[[], Any]
TOLERANCE = 1e-3  # float32 over hundreds of steps, relative to the largest entry


class Problem(NamedTuple):
    """A layer's weights by torch's names, its input, and the gradient with respect to its output.

    `shape` is (T, B, I, H). `lengths` makes the batch ragged.
    """

    cell: str
    shape: tuple[int, int, int, int]
    params: dict[str, np.ndarray]
    x: np.ndarray
    dy: np.ndarray
    threads: int
    layers: int = 1
    bidirectional: bool = False
    lengths: np.ndarray | None = None

    @property
    def suffixes(self) -> list[list[str]]:
        """The suffixes of the parameters' names, by layer and direction."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return [[f"_l{k}{d}" for d in directions] for k in range(self.layers)]


class Contender(NamedTuple):
    """What a library runs; None for what is not compared."""

    training: Run | None  # -> gradients by name, that of x among them
    inference: Run | None  # -> y


def make_problem(
    cell: str,
    shape: tuple[int, int, int, int],
    threads: int,
    *,
    layers: int = 1,
    bidirectional: bool = False,
) -> Problem:
    """Return a problem with random weights and input."""
    T, B, I, H = shape
    rng = np.random.default_rng(0)
    layer = getattr(rnnx, cell)(I, H, layers, bidirectional=bidirectional, seed=rng)
    width = H * (2 if bidirectional else 1)
    x, dy = (rng.standard_normal((T, B, n)).astype("float32") for n in (I, width))
    return Problem(cell, shape, layer.params, x, dy, threads, layers, bidirectional)


def check(runs: dict[str, Run]) -> None:
    """Assert that all contenders compute the same as the first; it also compiles them."""
    first, *others = (named(run()) for run in runs.values())
    for name, found in zip(list(runs)[1:], others, strict=True):
        for key in found.keys() & first.keys():
            a, b = np.asarray(found[key]), np.asarray(first[key])
            error = float(np.abs(a - b).max() / np.abs(b).max())
            assert error < TOLERANCE, f"{name} differs from {next(iter(runs))} in {key} by {error}"


def named(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {"y": result}


def ours(problem: Problem, core: str = "auto") -> Contender:
    _, _, I, H = problem.shape
    layer = getattr(rnnx, problem.cell)(
        I, H, problem.layers, bidirectional=problem.bidirectional, core=core, seed=0
    )
    layer.params.update(problem.params)
    x, dy, lengths = problem.x, problem.dy, problem.lengths

    def training() -> dict[str, Any]:
        _, _, cache = layer.forward(x, lengths=lengths)
        dx, _, grads = layer.backward(dy, cache)
        return grads | {"x": dx}

    return Contender(training, lambda: layer(x, lengths=lengths)[0])


def portable(problem: Problem) -> Contender:
    """Return our runs on the core that every backend has, NumPy from step to step."""
    return ours(problem, "portable")


def torchs(problem: Problem) -> Contender:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    x, dy = torch.tensor(problem.x, requires_grad=True), torch.tensor(problem.dy)
    held = torch.tensor(problem.x)
    module = getattr(torch.nn, problem.cell)(
        *problem.shape[2:], problem.layers, bidirectional=problem.bidirectional
    )
    module.load_state_dict({name: torch.tensor(W) for name, W in problem.params.items()})
    lengths = None if problem.lengths is None else torch.tensor(problem.lengths)

    def outputs(x: Any) -> Any:
        if lengths is None:
            return module(x)[0]
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(module(packed)[0], total_length=len(x))[0]

    def training() -> dict[str, Any]:
        module.zero_grad(set_to_none=True)
        x.grad = None
        outputs(x).backward(dy)
        return {name: W.grad for name, W in module.named_parameters()} | {"x": x.grad}

    def inference() -> Any:
        with torch.inference_mode():
            return outputs(held)

    return Contender(training, inference)


def jaxs(problem: Problem) -> Contender:
    import jax
    import jax.numpy as jnp

    params = {name: jnp.asarray(W) for name, W in problem.params.items()}
    x, dy = jnp.asarray(problem.x), jnp.asarray(problem.dy)

    def one(params: Any, x: Any, suffix: str) -> Any:
        W, W_hh, b, b_hh = (
            params[name + suffix] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        gru = problem.cell == "GRU"
        p = x @ W.T + (b if gru else b + b_hh)
        zero = jnp.zeros((x.shape[1], W_hh.shape[1]), x.dtype)

        def step(state: Any, p_t: Any) -> Any:
            h = state[0]
            q = h @ W_hh.T + (b_hh if gru else 0)
            if problem.cell == "RNN":
                state = (jnp.tanh(p_t + q),)
            elif gru:
                (p_r, p_z, p_n), (q_r, q_z, q_n) = (jnp.split(a, 3, -1) for a in (p_t, q))
                z, n = jax.nn.sigmoid(p_z + q_z), jnp.tanh(p_n + jax.nn.sigmoid(p_r + q_r) * q_n)
                state = ((1 - z) * n + z * h,)
            else:
                i, f, g, o = jnp.split(p_t + q, 4, -1)
                c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
                state = (jax.nn.sigmoid(o) * jnp.tanh(c), c)
            return state, state[0]

        start = (zero, zero) if problem.cell == "LSTM" else (zero,)
        return jax.lax.scan(step, start, p, reverse=suffix.endswith("reverse"))[1]

    def run(params: Any, x: Any) -> Any:
        for suffixes in problem.suffixes:
            x = jnp.concatenate([one(params, x, suffix) for suffix in suffixes], -1)
        return x

    def gradient(params: Any, x: Any, dy: Any) -> Any:
        grads, dx = jax.vjp(run, params, x)[1](dy)
        return grads | {"x": dx}

    forward, training = jax.jit(run), jax.jit(gradient)
    return Contender(
        lambda: jax.block_until_ready(training(params, x, dy)),
        lambda: jax.block_until_ready(forward(params, x)),
    )


def kerass(problem: Problem) -> Contender:
    """Return Keras's training step: a jitted `jax.vjp` of the layer's own `stateless_call`."""
    import jax
    import keras

    H = problem.shape[3]
    layer = getattr(keras.layers, {"RNN": "SimpleRNN"}.get(problem.cell, problem.cell))(
        H, return_sequences=True
    )
    x, dy = (jax.numpy.asarray(a.swapaxes(0, 1)) for a in (problem.x, problem.dy))
    layer.build(x.shape)
    W, W_hh, b, b_hh = problem.params.values()
    if problem.cell == "GRU":  # Keras has z, r, n, and two rows of biases
        order = np.r_[H : 2 * H, :H, 2 * H : 3 * H]
        layer.set_weights([W[order].T, W_hh[order].T, np.stack([b[order], b_hh[order]])])
    else:
        layer.set_weights([W.T, W_hh.T, b + b_hh])
    trainable, fixed = (
        [v.value for v in vs] for vs in (layer.trainable_variables, layer.non_trainable_variables)
    )

    def gradient(params: Any, x: Any, dy: Any) -> Any:
        run = lambda params, x: layer.stateless_call(params, fixed, x)[0]  # noqa: E731
        return jax.vjp(run, params, x)[1](dy)

    compiled = jax.jit(gradient)

    def training() -> dict[str, Any]:
        grads, dx = jax.block_until_ready(compiled(trainable, x, dy))
        return {"kernels": grads, "x, batch first": dx}

    expected = torchs(problem).training
    assert expected is not None
    dx = np.asarray(expected()["x"]).swapaxes(0, 1)
    error = np.abs(np.asarray(training()["x, batch first"]) - dx).max() / np.abs(dx).max()
    assert error < TOLERANCE, f"Keras differs from torch in the gradient of x by {error}"
    return Contender(training, None)


def onnxs(problem: Problem) -> Contender:
    session, x = onnx_session(problem), problem.x
    return Contender(None, lambda: session.run(["y"], {"x": x})[0])


def onnx_session(problem: Problem, *, stream: bool = False) -> Any:
    """Return an ONNX Runtime session from x to y, or from (x, states) to states."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    _, _, _, H = problem.shape
    order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}[problem.cell]
    states = ["h", "c"] if problem.cell == "LSTM" else ["h"]
    nodes, constants, value = [], [], "x"

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(array, name))
        return name

    def gates(W: np.ndarray) -> np.ndarray:
        return np.concatenate([np.split(W, len(order))[k] for k in order])

    for k, suffixes in enumerate(problem.suffixes):
        both = [
            [gates(problem.params[n + s]) for s in suffixes] for n in ("weight_ih", "weight_hh")
        ]
        biases = [
            np.concatenate([gates(problem.params[f"bias_{n}{s}"]) for n in ("ih", "hh")])
            for s in suffixes
        ]
        inputs = [
            value, constant(f"W{k}", np.stack(both[0])), constant(f"R{k}", np.stack(both[1])),
            constant(f"B{k}", np.stack(biases)), "", *(f"{s}0" for s in states if stream),
        ]  # fmt: skip
        outputs = ["", *states] if stream else [f"Y{k}"]
        options = {"linear_before_reset": 1} if problem.cell == "GRU" else {}
        direction = "bidirectional" if problem.bidirectional else "forward"
        nodes.append(
            helper.make_node(
                problem.cell, inputs, outputs, hidden_size=H, direction=direction, **options
            )
        )
        value = "y" if k == problem.layers - 1 else f"y{k}"
        if not stream:  # (T, D, B, H) -> (T, B, D·H)
            shape = constant(f"S{k}", np.array([0, 0, len(suffixes) * H]))
            nodes.append(helper.make_node("Transpose", [f"Y{k}"], [f"t{k}"], perm=[0, 2, 1, 3]))
            nodes.append(helper.make_node("Reshape", [f"t{k}", shape], [value]))

    def info(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None])

    graph = helper.make_graph(
        nodes, "layer", [info("x"), *(info(f"{s}0") for s in states if stream)],
        [info(name) for name in (states if stream else ["y"])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = problem.threads, 1
    # its threads spin while it runs, but not into the next contender's turn
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def streams(problem: Problem, steps: int) -> dict[str, Run]:
    """Return runs that take this many streaming steps of one row, each a call from Python."""
    import torch

    layer = getattr(rnnx, problem.cell)(*problem.shape[2:], seed=0)
    layer.params.update(problem.params)
    cell = getattr(torch.nn, f"{problem.cell}Cell")(*problem.shape[2:])
    cell.load_state_dict(
        {name.removesuffix("_l0"): torch.tensor(W) for name, W in problem.params.items()}
    )
    session = onnx_session(problem, stream=True)
    names = ["h", "c"] if problem.cell == "LSTM" else ["h"]
    x, row = problem.x[0, 0], torch.tensor(problem.x[0])

    def rnnx_stream() -> Any:
        state = None
        for _ in range(steps):
            _, state = layer.step(x, state)
        return np.ravel(state[0])

    def torch_stream() -> Any:
        state = None
        with torch.inference_mode():
            for _ in range(steps):
                state = cell(row, state)
        return np.ravel(state[0])

    def onnx_stream() -> Any:
        zero = np.zeros((1, 1, problem.shape[3]), "float32")
        feed = {"x": problem.x[:1]} | {f"{name}0": zero for name in names}
        for _ in range(steps):
            for name, state in zip(names, session.run(names, feed), strict=True):
                feed[f"{name}0"] = state
        return np.ravel(feed["h0"])

    return {"rnnx": rnnx_stream, "torch": torch_stream, "onnxruntime": onnx_stream}


CONTENDERS: dict[str, Callable[[Problem], Contender]] = {
    "rnnx": ours,
    "rnnx portable": portable,
    "torch": torchs,
    "jax": jaxs,
    "keras": kerass,
    "onnxruntime": onnxs,
}
