"""One recurrent layer in rnnx and in torch on the same device and the same data, for `gpu_worker`.

A forward run is inference: the outputs alone. A training run is the forward pass and BPTT: from x
and the gradient with respect to the outputs to the gradients with respect to x and all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gpu_device import Device
from gpu_plan import CELLS, Point

Runs = dict[str, Callable[[], Any]]  # "forward" -> y, "training" -> results by name


class Problem(NamedTuple):
    """Tensors on the device, in float32; in bfloat16, of numbers that it can hold."""

    point: Point
    params: dict[str, Any]
    x: Any  # (T, B, I)
    dy: Any  # (T, B, H)
    lengths: np.ndarray | None


def make_problem(point: Point, device: Device) -> Problem:
    """Return weights in the range in which torch draws them, an input, and a gradient."""
    import torch

    generator = torch.Generator(device.torch).manual_seed(0)
    options = {"device": device.torch, "generator": generator}

    def held(a: Any) -> Any:
        return a.bfloat16().float() if point.precision == "bfloat16" else a

    cell, T, B, H = point[:4]
    rows, edge = CELLS[cell] * H, H**-0.5
    sizes = {"weight_ih_l0": (rows, H), "weight_hh_l0": (rows, H)}
    sizes |= {"bias_ih_l0": (rows,), "bias_hh_l0": (rows,)}
    params = {
        name: held((2 * torch.rand(*size, **options) - 1) * edge) for name, size in sizes.items()
    }
    x, dy = (held(torch.randn(T, B, H, **options)) for _ in range(2))
    lengths = np.random.default_rng(0).integers(T // 2, T + 1, B) if point.ragged else None
    return Problem(point, params, x, dy, lengths)


def make_layer(point: Point, device: Device, core: str) -> Any:
    """Return our layer, with the core to prefer."""
    import rnnx

    options = {"precision": point.precision} if device.precise else {}
    return getattr(rnnx, point.cell)(
        point.H, point.H, core=core, backend=device.backend, dtype="float32", seed=0, **options
    )


def cores(point: Point, device: Device, names: tuple[str, ...]) -> dict[str, str]:
    """Return what each core says of this point, and under "auto" the core that runs by default."""
    said = dict.fromkeys(names, "there is no such core")
    found = make_layer(point, device, "auto").cores((point.T, point.B, point.H))
    said |= {name: answer for name, answer in found.items() if name in names}
    return said | {"auto": next(name for name, answer in found.items() if answer == "runs")}


def ours(problem: Problem, device: Device, core: str) -> Runs:
    layer = make_layer(problem.point, device, core)
    layer.set_params({name: device.array(W) for name, W in problem.params.items()})
    x, dy, lengths = device.array(problem.x), device.array(problem.dy), problem.lengths

    def training() -> dict[str, Any]:
        y, _, cache = layer.forward(x, lengths=lengths)
        dx, _, grads = layer.backward(dy, cache)
        return {"y": y, "x": dx, **grads}

    return {"forward": lambda: layer(x, lengths=lengths)[0], "training": training}


def torchs(problem: Problem, device: Device, dtype: str) -> Runs:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    point, kind = problem.point, getattr(torch, dtype)
    held, dy = problem.x.to(kind), problem.dy.to(kind)
    x = held.detach().clone().requires_grad_()
    lengths = None if problem.lengths is None else torch.tensor(problem.lengths)

    def make() -> Any:
        module = getattr(torch.nn, point.cell)(point.H, point.H, device=device.torch, dtype=kind)
        module.load_state_dict({name: W.to(kind) for name, W in problem.params.items()})
        return module

    trained, inference = make(), make().eval()  # in eval mode cuDNN keeps nothing for a backward
    params = dict(trained.named_parameters())

    def outputs(module: Any, x: Any) -> Any:
        if lengths is None:
            return module(x)[0]
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(module(packed)[0], total_length=len(x))[0]

    def forward() -> Any:
        with torch.inference_mode():
            return outputs(inference, held)

    def training() -> dict[str, Any]:
        y = outputs(trained, x)
        dx, *grads = torch.autograd.grad(y, [x, *params.values()], dy)
        return {"y": y.detach(), "x": dx, **dict(zip(params, grads, strict=True))}

    return {"forward": forward, "training": training}


def results(runs: Runs, tensor: Callable[[Any], Any]) -> dict[str, Any]:
    """Return what both runs give, as tensors."""
    found = {"y, forward": runs["forward"](), **runs["training"]()}
    return {name: tensor(a) for name, a in found.items()}


def errors(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, float]:
    """Return the largest errors of outputs and gradients, relative to each array's largest entry.

    They are infinite where a number is not finite.
    """
    worst = {"outputs": 0.0, "gradients": 0.0}
    for name, b in expected.items():
        b = b if b.itemsize > 4 else b.float()
        error = float((found[name].to(b.dtype) - b).abs().max() / b.abs().max())
        part = "outputs" if name.startswith("y") else "gradients"
        worst[part] = max(worst[part], error if math.isfinite(error) else math.inf)
    return worst
