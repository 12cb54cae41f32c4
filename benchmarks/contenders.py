"""One recurrent layer in rnnx and in its rivals on the CPU, for `cpu_worker.py`.

Each function makes a problem's runs on a library: a training step, an inference call, or both, on
the same weights and the same input. A training step is the forward pass and BPTT: from x and the
gradient with respect to the outputs to the gradients with respect to x and all parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import Problem

Run = Callable[[], Any]
Runs = dict[str, Run]


def ours(problem: Problem, core: str = "auto") -> Runs:
    import rnnx

    _, _, I, H = problem.shape
    layer = getattr(rnnx, problem.cell)(
        I, H, problem.layers, bidirectional=problem.bidirectional, core=core, seed=0
    )
    layer.set_params(problem.params)
    x, dy, lengths = problem.x, problem.dy, problem.lengths

    def training() -> dict[str, Any]:
        _, _, cache = layer.forward(x, lengths=lengths)
        dx, _, grads = layer.backward(dy, cache)
        return grads | {"x": dx}

    return {"training": training, "inference": lambda: layer(x, lengths=lengths)[0]}


def portable(problem: Problem) -> Runs:
    """Return our runs on the core that every backend has, NumPy from step to step."""
    return ours(problem, "portable")


def torchs(problem: Problem) -> Runs:
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

    return {"training": training, "inference": inference}


def jaxs(problem: Problem) -> Runs:
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
        step = jax_step(problem.cell, W_hh, b_hh if gru else 0)
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
    return {
        "training": lambda: jax.block_until_ready(training(params, x, dy)),
        "inference": lambda: jax.block_until_ready(forward(params, x)),
    }


def jax_step(cell: str, W_hh: Any, b_hh: Any) -> Callable[[Any, Any], Any]:
    """Return a step of `jax.lax.scan`, from the state and p_t to the state and h_t."""
    import jax
    import jax.numpy as jnp

    def step(state: Any, p_t: Any) -> Any:
        h = state[0]
        q = h @ W_hh.T + b_hh
        if cell == "RNN":
            state = (jnp.tanh(p_t + q),)
        elif cell == "GRU":
            (p_r, p_z, p_n), (q_r, q_z, q_n) = (jnp.split(a, 3, -1) for a in (p_t, q))
            z, n = jax.nn.sigmoid(p_z + q_z), jnp.tanh(p_n + jax.nn.sigmoid(p_r + q_r) * q_n)
            state = ((1 - z) * n + z * h,)
        else:
            i, f, g, o = jnp.split(p_t + q, 4, -1)
            c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            state = (jax.nn.sigmoid(o) * jnp.tanh(c), c)
        return state, state[0]

    return step


def kerass(problem: Problem) -> Runs:
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

    return {"training": training}
