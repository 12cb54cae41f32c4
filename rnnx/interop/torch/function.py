"""BPTT as one function of torch's autograd: a layer's forward, and its own backward.

A layer on NumPy, for tensors on the CPU, reads them where they are. Outputs are copies, which may
be written to: the backward needs its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from rnnx.layers.base import Layer, Params


class Place(NamedTuple):
    """Where a tensor is in a list of all that were taken out of a nested structure."""

    at: int


class Call(NamedTuple):
    """A call of a layer, without its tensors."""

    layer: Layer
    state: Any  # the initial state, with places for its tensors
    states: int  # how many these are
    names: list[str]  # of the parameters
    options: dict[str, Any]


def run(
    layer: Layer, params: Params, x: Any, state: Any, options: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the outputs and the final state of a layer's `forward`, recorded by autograd."""
    tensors: list[Any] = []
    call = Call(layer, taken(state, tensors), len(tensors), list(params), options)
    y, final, *finals = _BPTT.apply(call, x, *tensors, *params.values())
    return y, put(final, finals)


class _BPTT(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, x: Any, *tensors: Any) -> tuple[Any, ...]:
        """Return y, the final state with places for its tensors, and these tensors."""
        ctx.set_materialize_grads(False)
        ctx.call = call
        params = dict(zip(call.names, tensors[call.states :], strict=True))
        y, final, cache = call.layer.forward(
            *read(call.layer, (x, put(call.state, tensors))),
            params=read(call.layer, params),
            **call.options,
        )
        saved: list[Any] = [x, *tensors]  # NumPy's arrays share their memory
        finals: list[Any] = []
        if on_torch(call.layer):
            cache = taken(cache, saved)
        ctx.cache, ctx.final = cache, taken(copied(final), finals)
        ctx.save_for_backward(*saved)  # which finds what is written into them before backward
        y = copied(y)
        ctx.like = y.shape, y.dtype, y.device
        return y, ctx.final, *finals

    @staticmethod
    def backward(ctx: Any, dy: Any, _: None, *dfinals: Any) -> tuple[Any, ...]:
        """Return the gradients of x, of the initial state's tensors, and of the parameters."""
        call, cache, saved = ctx.call, ctx.cache, ctx.saved_tensors  # which raises if written to
        if on_torch(call.layer):
            cache = put(cache, saved)
        if dy is None:
            shape, dtype, device = ctx.like
            dy = torch.zeros(shape, dtype=dtype, device=device)
        dy, dfinals = read(call.layer, (dy, put(ctx.final, dfinals)))
        with torch.no_grad(), own_precision(ctx.like[2]):
            dx, dstate, grads = written(call.layer.backward(dy, cache, dfinals))
        found = [dx, *_matching(call.state, dstate), *(grads[name] for name in call.names)]
        if torch.is_grad_enabled():  # with create_graph=True
            found = list(_Once.apply(torch.zeros((), requires_grad=True), *found))
        return None, *found


class _Once(torch.autograd.Function):
    """Gradients as they are, of which a derivative is an error.

    torch's own `once_differentiable` leaves it out in silence where dy is constant.
    """

    @staticmethod
    def forward(ctx: Any, recorded: Any, *gradients: Any) -> tuple[Any, ...]:
        """Return the gradients; one tensor that requires grad lets autograd record them."""
        return gradients

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """Raise RuntimeError."""
        raise RuntimeError(
            "a Module has no second derivative: leave its gradients out of the loss, or use the "
            "layer of torch.nn"
        )


def on_torch(layer: Layer) -> bool:
    """Return whether a layer computes with tensors; else it does with NumPy's arrays."""
    return layer.backend.name == "torch"


def read(layer: Layer, tree: Any) -> Any:
    """Return a structure with its tensors as the layer reads them: on NumPy, as arrays."""
    if on_torch(layer):
        return tree
    if isinstance(tree, torch.Tensor):
        return tree.numpy(force=True)
    return _mapped(lambda branch: read(layer, branch), tree)


def written(tree: Any) -> Any:
    """Return a structure with its arrays as tensors of the same memory, unless it is read-only."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree if tree.flags.writeable else tree.copy())
    return _mapped(written, tree)


def copied(tree: Any) -> Any:
    """Return a structure with copies of its arrays and tensors, as tensors."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree.copy())
    return tree.clone() if isinstance(tree, torch.Tensor) else _mapped(copied, tree)


def taken(tree: Any, tensors: list[Any]) -> Any:
    """Return a structure with places for its tensors, which are appended to a list."""
    if isinstance(tree, torch.Tensor):
        tensors.append(tree)
        return Place(len(tensors) - 1)
    return _mapped(lambda branch: taken(branch, tensors), tree)


def put(tree: Any, tensors: Any) -> Any:
    """Return a structure with tensors in their places."""
    if isinstance(tree, Place):
        return tensors[tree.at]
    return _mapped(lambda branch: put(branch, tensors), tree)


def _mapped(function: Any, tree: Any) -> Any:
    """Return a dict, list, tuple or named tuple with a function of its entries; all else as is."""
    if isinstance(tree, dict):
        return {name: function(branch) for name, branch in tree.items()}
    if isinstance(tree, list | tuple):
        branches = map(function, tree)
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return tree


def _matching(places: Any, tree: Any) -> list[Any]:
    """Return the entries of a structure where another one has places."""
    if isinstance(places, Place):
        return [tree]
    if not isinstance(places, list | tuple):
        return []
    return [leaf for pair in zip(places, tree, strict=True) for leaf in _matching(*pair)]


def own_precision(device: torch.device) -> Any:
    """Return the context without the reduced precision of `torch.autocast`."""
    return torch.autocast(device.type, enabled=False)
