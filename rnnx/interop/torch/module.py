"""A layer as a `torch.nn.Module`, whose backward is the layer's own BPTT."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, reduce
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnx.backend import Backend, get_backend
from rnnx.interop.torch.function import own_precision, put, read, run, taken, written
from rnnx.layers.base import Layer, Outline, Params

DTYPES = (torch.float32, torch.float64)


class Module(torch.nn.Module):
    """A layer in a torch model, trained by torch's optimizers with the layer's own BPTT.

    A module of a `rnnx.LSTM`, `rnnx.GRU` or `rnnx.RNN` replaces one of torch.nn: its parameters
    have the same names, shapes and order, so a ``state_dict`` of one loads into the other, and
    outputs, states and gradients are equal. Any other layer is a module in the same way, with its
    own names, such as ``0.weight_ih_l0`` in a `rnnx.Sequential`.

    As in torch.nn: ``train()`` switches dropout on and ``eval()`` off; masks follow
    ``torch.manual_seed``. Under ``torch.no_grad()`` nothing is kept for a backward. ``to``,
    ``double``, ``state_dict``, deepcopy, pickle, ``torch.save``, frozen and shared parameters, and
    gradient accumulation work.

    Unlike torch.nn: every call returns a pair, also of layers without a state. It computes in
    float32 or float64 as its parameters are, and returns that dtype inside ``torch.autocast`` too.
    A second derivative is refused, and ``torch.compile`` is not supported.

    Tensors on the CPU are computed on NumPy, in its compiled core, and others by torch operations.

    Parameters
    ----------
    layer : Layer
        Any layer, on any backend. It is copied; the module shares nothing with it.
    device : optional
        A device of torch; default is the layer's own if it is on torch, else the CPU.
    dtype : {"float32", "float64"}, optional
        Default is the layer's own.

    Raises
    ------
    TypeError
        For what is no layer; in a call, for an input that is no tensor; and in `half` and the like,
        for a dtype that layers do not compute in.
    ValueError, BackendUnavailable
        As `rnnx.get_backend` does and, in a call, as the layer's `forward` does.

    Examples
    --------
    >>> import rnnx
    >>> import torch
    >>> from rnnx.interop.torch import Module
    >>> lstm = Module(rnnx.LSTM(3, 8, seed=0))
    >>> y, (h, c) = lstm(torch.ones(7, 4, 3))
    >>> y.square().mean().backward()
    >>> lstm.weight_hh_l0.grad.shape, [name for name, _ in lstm.named_parameters()][:2]
    (torch.Size([32, 8]), ['weight_ih_l0', 'weight_hh_l0'])
    >>> lstm.to_rnnx().backend
    Backend('numpy', device='cpu', dtype='float32')
    """

    def __init__(self, layer: Layer, *, device: Any = None, dtype: str | None = None) -> None:
        super().__init__()
        if not isinstance(layer, Layer):
            raise TypeError(f"expected a layer of rnnx, got a {type(layer).__name__}")
        if device is None and layer.backend.name == "torch":
            device = layer.backend.device
        self._layer = layer.to("torch", device=device, dtype=dtype)
        params = self._layer.params
        for name, W in params.items():
            *path, last = name.split(".")
            reduce(_child, path, self).register_parameter(last, torch.nn.Parameter(W))
        self._names = list(params)
        self._layer._take({name: Outline(tuple(W.shape)) for name, W in params.items()})
        self._drops = bool(layer.draw_masks((1, 1, 1), seed=0))

    def forward(
        self,
        x: Any,
        state: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
    ) -> tuple[Any, Any]:
        """Return the outputs and the final state.

        Parameters
        ----------
        x : torch.Tensor or PackedSequence
            As the layer reads it: (T, B, I), with `batch_first` (B, T, I), without B for one
            sequence; integers for a `rnnx.Embedding`.
        state : optional
            The initial state, as the layer takes it: for an LSTM the pair (h, c).
        lengths, mask, reset : optional
            As for the layer's `forward`, and on its device; lengths may be on the CPU too, where
            they are checked. Not with a PackedSequence, which has its lengths.

        Returns
        -------
        y : torch.Tensor or PackedSequence
            The outputs; packed as x is, unless the layer leaves one vector of each sequence.
        state
            The final state, in the form of `state`; None for a layer that has none.
        """
        if isinstance(lengths, torch.Tensor) and lengths.device.type == "cpu":
            lengths = lengths.numpy()  # which is checked
        options = {"lengths": lengths, "mask": mask, "reset": reset}
        given = {name: value for name, value in options.items() if value is not None}
        if not isinstance(x, PackedSequence):
            return self._run(x, state, given)
        if given:
            raise ValueError(f"a PackedSequence has its lengths: give no {', '.join(given)}")
        return self._run_packed(x, state)

    def to_rnnx(
        self, backend: str | Backend = "numpy", *, device: Any = None, dtype: str | None = None
    ) -> Layer:
        """Return the layer with the parameters as they are now, on a backend of rnnx.

        Parameters
        ----------
        backend, device
            As for `rnnx.get_backend`.
        dtype : {"float32", "float64"}, optional
            Default is the module's own, or that of the `Backend` given.
        """
        params = self._tensors()
        layer = self._placed(params).to(backend, device=device, dtype=dtype)
        layer.set_params({name: W.detach().cpu().numpy() for name, W in params.items()})
        return layer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._placed(self._tensors())!r})"

    def _run(self, x: Any, state: Any, options: dict[str, Any]) -> tuple[Any, Any]:
        """Return the outputs and the final state, recorded where something requires grad."""
        if not isinstance(x, torch.Tensor):
            raise TypeError(
                f"x must be a torch.Tensor or a PackedSequence, got a {type(x).__name__}: convert "
                "it, as in torch.as_tensor"
            )
        params = self._tensors()
        layer = self._placed(params, x)
        unknown = options.keys() - set(layer.options)
        if unknown:
            raise TypeError(f"a {type(layer).__name__} takes no {', '.join(sorted(unknown))}")
        noisy = self.training and self._drops
        if "masks" in layer.options:
            options |= {"masks": layer.draw_masks(tuple(x.shape), _seed()) if noisy else {}}
        options = read(layer, options)
        found: list[Any] = []
        places = taken(state, found)
        dtype = getattr(torch, layer.backend.dtype_name)
        x, *states = (_as_floating(tensor, dtype) for tensor in (x, *found))
        state = put(places, states)
        tensors = (x, *states, *params.values())
        with own_precision(x.device):
            if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
                return run(layer, params, x, state, options)
            given, params = read(layer, (x, state)), read(layer, params)
            if noisy:
                return written(layer.forward(*given, params=params, **options)[:2])
            options.pop("masks", None)
            return written(layer(*given, params=params, **options))

    def _run_packed(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return packed outputs, in the order of x, and the final state in that of the batch."""
        first, order = self._layer.batch_first, x.sorted_indices
        padded, lengths = pad_packed_sequence(x, batch_first=first)
        y, final = self._run(padded, state, {"lengths": lengths.numpy()})
        if self._layer.reduces_time:
            return y, final
        if order is not None:
            y, lengths = y.index_select(0 if first else 1, order), lengths[order.cpu()]
        data = pack_padded_sequence(y, lengths, batch_first=first).data
        return PackedSequence(data, x.batch_sizes, order, x.unsorted_indices), final

    def _tensors(self) -> Params:
        """Return the parameters by the layer's names, as they are registered now."""
        return {name: reduce(getattr, name.split("."), self) for name in self._names}

    def _placed(self, params: Params, x: Any = None) -> Layer:
        """Return the layer where its parameters are and in their dtype; without any, as x is."""
        own, where = self._layer.backend, next(iter(params.values()), x)
        if where is not None:
            dtype = str(where.dtype).removeprefix("torch.") if where.dtype in DTYPES else ""
            place = _backend(where.device, dtype or own.dtype_name)
            if place != own:
                self._layer = self._layer.to(place)
        return self._layer

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Any:
        dtype = fn(torch.empty(0, dtype=getattr(torch, self._layer.backend.dtype_name))).dtype
        if dtype not in DTYPES:
            raise TypeError(
                f"layers compute in float32 or float64, got {dtype}: leave this module in float32; "
                "inside torch.autocast it takes inputs of fewer bits"
            )
        return super()._apply(fn, recurse)


@lru_cache(maxsize=64)
def _backend(device: torch.device, dtype: str) -> Backend:
    """Return where to compute for tensors on a device: on the CPU on NumPy, in its fastest core."""
    if device.type == "cpu":
        return get_backend("numpy", dtype=dtype)
    return get_backend("torch", device=device, dtype=dtype)


def _child(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """Return the module of a name inside another one; a new one if there is none."""
    if name not in module._modules:
        module.add_module(name, torch.nn.Module())
    return module.get_submodule(name)


def _as_floating(x: Any, dtype: Any) -> Any:
    """Return a floating tensor in a dtype, in a way that autograd records; others as they are."""
    return x.to(dtype) if x.is_floating_point() else x


def _seed() -> int:
    """Return a seed that follows `torch.manual_seed`."""
    return int(torch.randint(2**63 - 1, ()))
