"""Evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from rnnx import validate
from rnnx._doc import shared
from rnnx.data import Layout, Sequences, Stream, chunks
from rnnx.parallel import Team, together
from rnnx.train import targets
from rnnx.train.step import Metric, Objective, evaluation_step, padding, zero_state


@shared()
def evaluate(
    model: Any,
    data: Any,
    *,
    loss: str | Callable[..., Any],
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """Return the loss and the metrics of a model on data, without dropout.

    Parameters
    ----------
    model, data, loss, metrics
        As for `rnnx.train.fit`.
    batch_size : int
        Number of sequences processed at a time.

    Returns
    -------
    dict of float
        ``loss`` and the metrics by name, each a mean over all valid steps or all sequences.

    Raises
    ------
    ValueError, TypeError
        If the data does not fit the model.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> model = rnnx.Sequential(rnnx.GRU(1, 4, seed=0), rnnx.Linear(4, 1, seed=1))
    >>> x = np.ones((10, 3, 1))
    >>> scores = rnnx.train.evaluate(model, (x, 0 * x), loss=rnnx.losses.mean_squared_error)
    >>> round(scores["loss"], 3) > 0
    True
    """
    objective = Objective.of(loss, metrics)
    source = bind(model, data, objective.loss)
    with model.backend.scope():
        measure = evaluator(model, objective, validate.size("batch_size", batch_size))
        return measure(model.params, source)


@shared()
def predict(model: Any, x: Any, *, lengths: Any = None, batch_size: int = 256) -> Any:
    """Return a model's outputs as NumPy arrays, without dropout.

    Parameters
    ----------
    model : Layer
        The model, such as a `rnnx.Sequential`.
    x : array or list of arrays
        Sequences, as for `rnnx.data.Sequences`. Or more of them than fit in memory, in chunks: an
        iterator of such x, or a Dask array in chunks along the axis of its sequences.
    lengths : array of integers, shape (N,), optional
        If x is an array: the number of valid steps of each sequence; the rest is padding.
    batch_size : int
        Number of sequences processed at a time.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        In the order of x. A model with one output per sequence gives (N, ...). Any other gives
        (T, N, ...), or (N, T, ...) with `batch_first`, zero in the padding; for a list, one array
        (T_i, ...) per sequence. For an iterator, an iterator of these; for a Dask array, a Dask
        array. Both compute a chunk when it is asked for, and keep none.

    Raises
    ------
    ValueError, TypeError
        If the input does not fit the model.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru = rnnx.GRU(1, 4, seed=0)
    >>> [y.shape for y in rnnx.train.predict(gru, [np.ones((7, 1)), np.ones((2, 1))])]
    [(7, 4), (2, 4)]
    """
    batch_size = validate.size("batch_size", batch_size)
    if chunks.given(x):
        return _by_chunk(model, x, lengths, batch_size)
    source = bind(model, Sequences(x, lengths=lengths), None)
    layout, found = source.layout, [np.empty(0)] * source.size
    numbers = np.arange(source.size)
    axis = 0 if layout.reduces_time else layout.axis
    with model.backend.scope():
        for rows in source.order(batch_size, None):
            batch = source.batch(rows)
            y = model.backend.to_numpy(model(batch.x, **padding(model, batch.lengths))[0])
            for i, row in zip(numbers[rows], np.moveaxis(y, axis, 0), strict=True):
                found[i] = row if layout.reduces_time else row[: source.lengths[i]]
    if layout.reduces_time:
        return np.stack(found)
    if isinstance(x, list | tuple):
        return found
    T = source.steps()
    padded = [np.pad(y, [(0, T - len(y))] + [(0, 0)] * (y.ndim - 1)) for y in found]
    return np.stack(padded, axis=layout.axis)


def _by_chunk(model: Any, x: Any, lengths: Any, batch_size: int) -> Any:
    """Return a model's outputs of each chunk."""
    if lengths is not None:
        raise ValueError(
            "lengths are those of one array, got chunks: give each chunk as a list of sequences"
        )
    layout = layout_of(model)
    own = partial(predict, model, batch_size=batch_size)
    return chunks.predicted(own, x, axis=layout.axis, out=0 if layout.reduces_time else layout.axis)


def layout_of(model: Any) -> Layout:
    """Return what a model expects of its data; raise TypeError if it is not a layer."""
    if not hasattr(model, "walk"):
        raise TypeError(
            f"model must be a layer, such as Sequential(GRU(...), Linear(...)), got a "
            f"{type(model).__name__}"
        )
    return Layout.of(model)


def bind(model: Any, data: Any, loss: Callable[..., Any] | None, of: str = "") -> Any:
    """Return the source of a model's batches, after checking that the data fits model and loss.

    Without a loss, no targets are needed. `of` says which data it is, in an error.
    """
    layout = layout_of(model)
    try:
        if isinstance(data, tuple) and len(data) == 2:
            data = Sequences(*data)
        if not isinstance(data, Sequences | Stream):
            raise TypeError(
                f"data must be (x, y), a rnnx.data.Sequences or a rnnx.data.Stream, got a "
                f"{type(data).__name__}"
            )
        if loss is not None and data.y is None:
            raise ValueError("data must have targets: give y")
        source = data.bind(layout)
        if loss is not None:
            targets.check(model, source, loss)
    except (TypeError, ValueError) as error:
        if not of:
            raise
        raise type(error)(f"{of}: {error}") from None
    return source


def evaluator(
    model: Any, objective: Objective, batch_size: int, team: Team | None = None
) -> Callable[[Any, Any], dict[str, float]]:
    """Return ``measure(params, source)``: the mean loss and metrics, by a compiled step.

    Each process of a team measures other batches, and all get the means over all of them.
    """
    bk, step = model.backend, evaluation_step(model, objective)
    names = ["loss", *objective.metrics]

    def measure(params: Any, source: Any) -> dict[str, float]:
        state, found, counts = None, [], []
        with together(team):
            for batch in source.batches(batch_size):
                if source.stateful and state is None:
                    state = zero_state(model, batch)
                state, record = step(params, state, batch.inputs)
                found.append(record)
                counts.append(batch.counted)
            table = bk.to_numpy(bk.xp.stack(found)) if found else np.empty((0, len(names)))
        if team is None:
            return means(names, table.astype("float64"), counts)
        tables, weights = zip(*team.gathered((table.astype("float64"), counts)), strict=True)
        return means(names, np.concatenate(tables), np.concatenate(weights))

    return measure


def means(names: list[str], table: Any, counts: Any) -> dict[str, float]:
    """Return the means of a table's columns by name, with its rows weighted by counts."""
    weights = np.asarray(counts)[:, None]
    counted = np.where(weights > 0, table, 0)  # a metric may be NaN in a batch of no weight
    values = np.sum(counted * weights, axis=0) / np.sum(weights)
    return dict(zip(names, values.tolist(), strict=True))
