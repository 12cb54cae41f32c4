"""To Keras: a Sequential of its layers with our weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.cells import GRUCell, LSTMCell, ResetBeforeGRUCell, RNNCell
from rnnx.core.sizes import layer_params
from rnnx.interop.keras import layouts
from rnnx.interop.keras.reading import POOLS
from rnnx.interop.needed import needed
from rnnx.layers.activation import Activation
from rnnx.layers.base import Layer
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.linear import Linear
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent

CELLS: dict[type, str] = {
    RNNCell: "SimpleRNN", GRUCell: "GRU", ResetBeforeGRUCell: "GRU", LSTMCell: "LSTM",
}  # fmt: skip


def to_keras(layer: Any) -> Any:
    """Return the keras.Sequential that computes the same, with copies of the parameters.

    Parameters
    ----------
    layer : Layer
        RNN, GRU with either `reset_after`, LSTM, Linear, Embedding, Activation, Dropout, or a
        `Sequential` of these; in it, `Pool` right after a recurrent layer for ``"last"``. One layer
        of Keras is made for each of a stack.

    Returns
    -------
    keras.Sequential
        Its input is (B, T, I), or (B, T) symbols, in the dtype of the layer. The two biases of an
        RNN and an LSTM are one in Keras, their sum. Dropout in the recurrent product, which acts in
        training only, is left out.

    Raises
    ------
    ValueError, TypeError
        For a layer that has no equal in Keras.
    ImportError
        Without Keras.
    """
    keras = needed("keras")
    if not isinstance(layer, Layer):
        raise TypeError(f"expected a layer, got a {type(layer).__name__}")
    host = layer.to("numpy")
    leaves = [leaf for _, leaf in host.walk()]
    first = leaves[0]
    symbols = isinstance(first, Embedding)
    size = getattr(first, "input_size", None)
    if size is None and not symbols:
        raise ValueError(
            "expected a chain that begins with a recurrent layer, a Linear or an Embedding, got a "
            f"{type(first).__name__}"
        )
    dtype = host.backend.dtype_name
    shape = (None,) if symbols else (None, size)
    found: list[Any] = [keras.layers.Input(shape, dtype="int32" if symbols else dtype)]
    arrays: list[list[np.ndarray]] = []
    for i, leaf in enumerate(leaves):
        before, after = (leaves[j] if 0 <= j < len(leaves) else None for j in (i - 1, i + 1))
        _check_pool(before, leaf)
        for made, weights in _layers(leaf, after, keras.layers, dtype):
            found.append(made)
            arrays.append(weights)
    model = keras.Sequential(found)
    for made, weights in zip(model.layers, arrays, strict=True):
        made.set_weights(weights)
    return model


def _layers(leaf: Any, after: Any, keras: Any, dtype: str) -> list[tuple[Any, list[np.ndarray]]]:
    """Return Keras's layers of one of ours, each with its arrays."""
    if isinstance(leaf, Recurrent):
        last = isinstance(after, Pool) and after.how == "last"
        return _recurrent(leaf, not last, keras, dtype)
    params = leaf.params
    if isinstance(leaf, Linear):
        made = keras.Dense(leaf.output_size, use_bias="bias" in params, dtype=dtype)
        return [(made, [params["weight"].T, *([params["bias"]] if "bias" in params else [])])]
    if isinstance(leaf, Embedding):
        made = keras.Embedding(leaf.num_embeddings, leaf.output_size, dtype=dtype)
        return [(made, [params["weight"]])]
    if isinstance(leaf, Activation):
        return [(keras.Activation(leaf.function, dtype=dtype), [])]
    if isinstance(leaf, Dropout):
        return [(keras.Dropout(leaf.p, dtype=dtype), [])]
    if isinstance(leaf, Pool):
        names = {how: name for name, how in POOLS.items()}
        return [] if leaf.how == "last" else [(getattr(keras, names[leaf.how])(dtype=dtype), [])]
    raise TypeError(f"expected a layer that Keras has too, got a {type(leaf).__name__}")


def _check_pool(before: Any, leaf: Any) -> None:
    """Raise for a last output that Keras cannot return."""
    if not isinstance(leaf, Pool) or leaf.how != "last":
        return
    if not isinstance(before, Recurrent) or leaf.bidirectional != (before.directions == 2):
        raise ValueError(
            "expected Pool('last') right after a recurrent layer and of the same directions, as "
            f"Keras returns the last output, got one after {before!r:.100}"
        )


def _recurrent(
    layer: Recurrent, sequences: bool, keras: Any, dtype: str
) -> list[tuple[Any, list[np.ndarray]]]:
    """Return one layer of Keras for each of a stack; the last returns `sequences` or not."""
    sizes, cell = layer.sizes, layer.cell
    if type(cell) not in CELLS or sizes.proj_size:
        raise ValueError(
            "expected an RNN, a GRU or an LSTM without projection, got a layer that Keras lacks: "
            f"{layer!r:.200}"
        )
    kind, after = CELLS[type(cell)], isinstance(cell, GRUCell)
    options: dict[str, Any] = {"reset_after": after} if kind == "GRU" else {}
    if isinstance(cell, RNNCell):
        options = {"activation": cell.nonlinearity}
    made = []
    for k in range(sizes.num_layers):
        one = getattr(keras, kind)(
            sizes.hidden_size, use_bias=sizes.bias, dtype=dtype,
            return_sequences=sequences or k < sizes.num_layers - 1, **options,
        )  # fmt: skip
        ways = ["", "_reverse"][: sizes.directions]
        rows = [layer_params(layer.params, f"l{k}{way}") for way in ways]
        arrays = [array for row in rows for array in layouts.write(kind, row, after)]
        made.append((keras.Bidirectional(one, dtype=dtype) if len(rows) == 2 else one, arrays))
        if layer.rates.dropout and k < sizes.num_layers - 1:
            made.append((keras.Dropout(layer.rates.dropout, dtype=dtype), []))
    return made
