"""Weights from torch and for torch. The names are the same: our parameters have those of torch.

torch is imported by `to_torch` alone. A module brings its own, and a file needs none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from rnnx import io
from rnnx.backend import Backend
from rnnx.cells import GRUCell, LSTMCell, RNNCell
from rnnx.core.sizes import LAYER_NAMES
from rnnx.interop.building import Weights, embedding, linear, matrix, recurrent, target
from rnnx.interop.needed import needed
from rnnx.layers.activation import Activation
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.linear import Linear
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.sequential import Sequential

KINDS = {1: "RNN", 3: "GRU", 4: "LSTM"}  # by the number of gates
RECURRENT = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu", "Sigmoid": "sigmoid", "Softmax": "softmax"}
_NAMES = re.compile(rf"({'|'.join(LAYER_NAMES)})(?:_l(0|[1-9]\d{{0,3}})(_reverse)?)?")


def from_torch(
    source: Any,
    *,
    prefix: str = "",
    nonlinearity: str | None = None,
    dropout: float = 0.0,
    batch_first: bool = False,
    backend: str | Backend = "numpy",
    device: Any = None,
    dtype: str | None = None,
) -> Any:
    """Return the layer of a torch module, of a state_dict, or of a safetensors file of one.

    Parameters
    ----------
    source : torch.nn.Module, mapping or path
        A module without hooks: RNN, GRU, LSTM and their cells, Linear, Embedding, Dropout, Tanh,
        ReLU, Sigmoid, Softmax, a Sequential of these, or a `Module` of ours. A state_dict of one
        RNN, GRU, LSTM, cell or Linear, of torch tensors or NumPy arrays. Or the name of a
        safetensors file of such a state_dict, for which torch is not needed.
    prefix : str
        Of a state_dict of several modules, the name of the one to take, such as ``"encoder.lstm"``.
    nonlinearity : {"tanh", "relu"}, optional
        That of an RNN. A state_dict does not say, so it must be given; a module says it.
    dropout : float, default 0.0
        As for `rnnx.LSTM`; a module says it.
    batch_first : bool, default False
        Whether x and y are (B, T, ·); a module says it.
    backend, device, dtype
        As for `rnnx.get_backend`. The dtype is by default that of the arrays; float16 and bfloat16
        become float32.

    Returns
    -------
    Layer
        Its parameters are copies. A cell becomes a layer of sequences: a step of the cell on (B, I)
        is one on (1, B, I), or its `step`.

    Raises
    ------
    ValueError, TypeError
        For a module, a name, a shape or a dtype that has no equal here. Nothing is approximated.
        A damaged file is an error of one line that names it.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru = rnnx.GRU(3, 5, seed=0)
    >>> state_dict = {f"encoder.{name}": array for name, array in gru.params.items()}
    >>> twin = rnnx.interop.from_torch(state_dict, prefix="encoder")
    >>> x = np.ones((7, 2, 3), dtype="float32")
    >>> bool(np.array_equal(twin(x)[0], gru(x)[0]))
    True
    """
    options: dict[str, Any] = {"dropout": dropout, "batch_first": batch_first}
    if nonlinearity is not None:
        options["nonlinearity"] = nonlinearity
    if isinstance(source, str | PathLike):
        named = io.tensors(source)
        place = target(named.values(), backend, device, dtype)
        with io.naming(source):
            return _layer(named, prefix, options, place)
    if isinstance(source, Mapping):
        place = target(source.values(), backend, device, dtype)
        return _layer(source, prefix, options, place)
    if hasattr(source, "state_dict") and hasattr(source, "get_submodule"):
        modules = dict(source.named_modules(remove_duplicate=False))
        if nonlinearity is not None or dropout or batch_first:
            raise ValueError("nonlinearity, dropout and batch_first are what a module says itself: "
                             "leave them out")  # fmt: skip
        module = modules.get(prefix.rstrip("."))
        if module is None:
            names = ", ".join(filter(None, modules))
            raise ValueError(f"prefix must be one of {names or 'none':.200}, got {prefix!r:.80}")
        return _module(module, target(module.parameters(), backend, device, dtype))
    raise TypeError(
        f"expected a torch module, a state_dict or a file name, got {type(source).__name__}"
    )


def to_torch(layer: Any) -> Any:
    """Return the torch module that computes the same, with copies of the parameters.

    Parameters
    ----------
    layer : Layer
        RNN, GRU (with ``reset_after=True``), LSTM, Linear, Embedding, Activation or Dropout, on any
        backend; or a `Sequential` of these and of `Pool`. The file that `rnnx.save` writes of one
        such layer is a state_dict of its module already.

    Returns
    -------
    torch.nn.Module
        On the CPU, in the dtype of the layer. For a `Sequential` a torch.nn.Sequential that returns
        the outputs and the tuple of the states, as ours does. Dropout in the recurrent product,
        which acts in training only, has no equal in torch and is left out.

    Raises
    ------
    ValueError, TypeError
        For a layer that has no equal in torch.
    ImportError
        Without torch.
    """
    torch = needed("torch")
    from rnnx.interop.torch import chain  # it imports torch

    if isinstance(layer, Pool):
        return chain.Pool(layer.how, layer.batch_first, layer.bidirectional)
    if isinstance(layer, Sequential):
        return chain.Chain(*[to_torch(child) for child in layer.layers])
    module = _twin(layer, torch.nn)
    host = layer.to("numpy")
    state = {name: torch.from_numpy(W.copy()) for name, W in host.params.items()}
    module = module.to(getattr(torch, host.backend.dtype_name))
    module.load_state_dict(state)
    return module


def _layer(
    named: Mapping[str, Any], prefix: str, options: Mapping[str, Any], backend: Backend
) -> Any:
    """Return the layer of a state_dict."""
    if not all(isinstance(name, str) for name in named):
        raise TypeError("expected a state_dict with names as keys, got others")
    own = io.part(named, prefix.rstrip(".")) if prefix else dict(named)
    if not own:
        begins = f" that begins with {prefix!r:.80}" if prefix else ""
        raise ValueError(_wrong_name(f"nothing{begins}", named))
    if own.keys() == {"weight", "bias"}:
        return linear(own, backend)
    found: dict[tuple[int, int], dict[str, Any]] = {}  # of each layer and direction
    for name, array in own.items():
        match = _NAMES.fullmatch(name)
        if match is None:
            raise ValueError(_wrong_name(repr(name), named))
        row = found.setdefault((int(match[2] or 0), int(match[3] is not None)), {})
        if match[1] in row:
            raise ValueError(f"expected the names of a cell or of a layer, got both with {name!r}")
        row[match[1]] = array
    layers, ways = (max(at[i] for at in found) + 1 for i in range(2))
    if len(found) != layers * ways:
        raise ValueError(_wrong_name(f"only {', '.join(own)}", named))
    rows = [[found[k, d] for d in range(ways)] for k in range(layers)]
    return _recurrent(rows, options, backend)


def _wrong_name(found: str, named: Mapping[str, Any]) -> str:
    """Return what to say of a state_dict that is not of one layer."""
    parts = ", ".join(filter(None, dict.fromkeys(key.rpartition(".")[0] for key in named)))
    return (
        f"expected all parameters of one RNN, GRU, LSTM, cell or Linear, got {found:.200}: choose "
        f"a part with prefix= ({parts or 'none here':.200}), or give the module; rnnx.load reads "
        "the files of rnnx.save"
    )


def _recurrent(
    rows: Sequence[Sequence[Weights]], options: Mapping[str, Any], backend: Backend
) -> Any:
    """Return the RNN, GRU or LSTM with these weights, told by the number of its gates."""
    first = rows[0][0]
    G_H, H = matrix(first, "weight_ih")[0], matrix(first, "weight_hh")[1]
    if "weight_hr" in first:
        H = matrix(first, "weight_hr")[1]
    if G_H not in (H, 3 * H, 4 * H):
        raise ValueError(f"weight_ih must have 1, 3 or 4 times {H} rows, got {G_H}")
    kind = KINDS[G_H // H]
    if (kind == "RNN") != ("nonlinearity" in options):
        raise ValueError(
            "nonlinearity must be 'tanh' or 'relu' for an RNN, whose state_dict does not say, got "
            "none"
            if kind == "RNN"
            else f"nonlinearity is for an RNN, got it for this {kind}"
        )
    return recurrent(kind, rows, backend, **options)


def _module(module: Any, backend: Backend) -> Any:
    """Return the layer of a torch module."""
    kind, home = type(module).__name__, type(module).__module__
    own = dict(module.state_dict())
    if home == "rnnx.interop.torch.module":
        return module.to_rnnx(backend)
    hooks = [*module._forward_hooks, *module._forward_pre_hooks]
    if hooks or "forward" in vars(module):
        raise ValueError(
            f"expected a {kind} that computes what its weights say, got one with hooks or a "
            "forward of its own: remove them first"
        )
    if not home.startswith(("torch.nn.modules", "rnnx.interop.torch.chain")):
        kind = f"{home}.{kind}"  # whose forward may be any
    if kind in RECURRENT:
        known = ("nonlinearity", "dropout", "batch_first")
        return _layer(
            own, "", {k: getattr(module, k) for k in known if hasattr(module, k)}, backend
        )
    if kind == "Linear":
        return linear(own, backend)
    if kind == "Embedding" and module.max_norm is None:
        return embedding(own, backend)
    if kind == "Dropout":
        return Dropout(module.p, backend=backend)
    if kind == "Pool":
        return Pool(module.how, batch_first=module.batch_first,
                    bidirectional=module.bidirectional, backend=backend)  # fmt: skip
    if kind in ACTIVATIONS and getattr(module, "dim", -1) == -1:
        return Activation(ACTIVATIONS[kind], backend=backend)
    if kind in ("Sequential", "Chain"):
        # children() leaves out a module that comes again
        return Sequential(*[_module(child, backend) for child in module])
    raise ValueError(
        f"expected {', '.join(RECURRENT)}, Linear, Embedding without max_norm, Dropout, "
        f"{', '.join(ACTIVATIONS)} over the last axis, or a Sequential of these, got {kind}: "
        "convert its parts, and chain them with rnnx.Sequential"
    )


def _twin(layer: Any, nn: Any) -> Any:
    """Return the torch module of a layer, with weights of its own."""
    if isinstance(layer, Recurrent):
        return _recurrent_twin(layer, nn)
    if isinstance(layer, Linear):
        return nn.Linear(layer.input_size, layer.output_size, bias="bias" in layer.params)
    if isinstance(layer, Embedding):
        return nn.Embedding(layer.num_embeddings, layer.output_size)
    if isinstance(layer, Dropout):
        return nn.Dropout(layer.p)
    if isinstance(layer, Activation):
        kind = {ours: name for name, ours in ACTIVATIONS.items()}[layer.function]
        return nn.Softmax(dim=-1) if kind == "Softmax" else getattr(nn, kind)()
    raise TypeError(f"expected a layer that torch has too, got a {type(layer).__name__}")


def _recurrent_twin(layer: Recurrent, nn: Any) -> Any:
    """Return a torch RNN, GRU or LSTM."""
    sizes, cell = layer.sizes, layer.cell
    kinds: dict[type, Any] = {RNNCell: nn.RNN, GRUCell: nn.GRU, LSTMCell: nn.LSTM}
    if type(cell) not in kinds or (sizes.proj_size and not isinstance(cell, LSTMCell)):
        raise ValueError(
            "expected an RNN, a GRU with reset_after=True or an LSTM, got a layer that torch lacks:"
            f" {layer!r:.200}"
        )
    own: dict[str, Any] = {"proj_size": sizes.proj_size} if sizes.proj_size else {}
    if isinstance(cell, RNNCell):
        own = {"nonlinearity": cell.nonlinearity}
    return kinds[type(cell)](
        sizes.input_size, sizes.hidden_size, sizes.num_layers, bias=sizes.bias,
        batch_first=layer.batch_first,
        dropout=layer.rates.dropout if sizes.num_layers > 1 else 0.0,
        bidirectional=sizes.directions == 2, **own,
    )  # fmt: skip
