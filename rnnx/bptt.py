"""Backpropagation through time over sequences too long to hold: truncated, or exact by chunks.

References
----------
R. J. Williams and J. Peng, "An efficient gradient-based algorithm for on-line training of recurrent
network trajectories", Neural Computation 2 (1990), 490-501, doi:10.1162/neco.1990.2.4.490. T. Chen,
B. Xu, C. Zhang and C. Guestrin, "Training deep nets with sublinear memory cost", 2016,
doi:10.48550/arXiv.1604.06174.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from rnnx import validate
from rnnx.backend import Array

Loss = Callable[[Any, Any], tuple[Array, Any]]  # (y, target) -> loss, dy


class Update(NamedTuple):
    """What `tbptt` yields after every k1 steps."""

    loss: Array  # of these steps, as the loss function returned it
    grads: dict[str, Array]  # its gradient by the parameters, through the last k2 steps
    state: Any  # after these steps


def tbptt(
    layer: Any,
    chunks: Iterable[tuple[Any, Any]],
    loss: Loss,
    *,
    k1: int | None = None,
    k2: int | None = None,
    state: Any = None,
    masks: Callable[[Any], dict[str, Array]] | None = None,
) -> Iterator[Update]:
    """Train on a stream by truncated backpropagation through time.

    The stream is read once. After every k1 steps, the loss of these steps is backpropagated through
    the last k2 steps, and an update is yielded; the state is carried on, across all chunks. Between
    two updates the parameters may be changed with `set_params`; a step keeps those it ran with.
    Every loss counts once: with k2 = T and parameters left alone, the updates' gradients add up to
    those of full BPTT. No more than the caches of k2 + k1 steps are held.

    Parameters
    ----------
    layer : Layer
        A time-major layer that reads forward in time.
    chunks : iterable of (x, target)
        Pieces of the stream, x (T, B, I) and target (T, ...), both of any one length T each.
    loss : callable
        ``loss(y, target) -> loss, dy``, such as those of `rnnx.losses`.
    k1 : int, optional
        Steps between updates; default is a whole chunk, of whatever length.
    k2 : int, optional
        Steps to go back, at least k1 and rounded up to whole multiples of it; default is k1.
    state : optional
        The initial state; default is zero.
    masks : callable, optional
        ``masks(x)``, the dropout masks of a piece x; default is what the layer draws itself.

    Yields
    ------
    Update
        The loss, its gradients by name, and the state.

    Raises
    ------
    ValueError
        For k1 or k2 below one, k2 below k1, or a target of another length than x.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> model = rnnx.Sequential(rnnx.RNN(1, 8, seed=0), rnnx.Linear(8, 1, seed=1))
    >>> x = np.sin(np.arange(101, dtype="float32"))[:, None, None]
    >>> sgd, losses = rnnx.optim.SGD(0.1), []
    >>> for update in rnnx.tbptt(model, [(x[:-1], x[1:])], rnnx.losses.mean_squared_error, k1=10):
    ...     params, _ = sgd.update(model.params, update.grads, {})
    ...     model.set_params(params)
    ...     losses.append(float(update.loss))
    >>> len(losses), losses[-1] < losses[0]
    (10, True)
    """
    k1 = None if k1 is None else validate.size("k1", k1)
    k2 = k1 if k2 is None else validate.size("k2", k2)
    if k1 is not None and k2 is not None and k2 < k1:
        raise ValueError(f"k2 must be at least k1 = {k1}, got {k2}: every loss goes back k1 steps")
    return _updates(layer, chunks, loss, k1, k2, state, masks)


def _updates(
    layer: Any,
    chunks: Iterable[tuple[Any, Any]],
    loss: Loss,
    k1: int | None,
    k2: int | None,
    state: Any,
    masks: Callable[[Any], dict[str, Array]] | None,
) -> Iterator[Update]:
    held: deque[tuple[tuple[int, ...], Any]] = deque()  # shape of y and cache, of pieces in reach
    for x, target in _pieces(layer.backend, chunks, k1):
        options = {} if masks is None else {"masks": masks(x)}
        y, state, cache = layer.forward(x, state, **options)
        value, dy = loss(y, target)
        held.append((tuple(y.shape), cache))
        reach = x.shape[0] if k2 is None else k2
        while sum(shape[0] for shape, _ in held) - held[0][0][0] >= reach:
            held.popleft()
        total: dict[str, Array] = {}
        dstate = None
        for i, (shape, piece) in enumerate(reversed(held)):
            felt = dy if i == 0 else layer.backend.zeros(shape)  # its loss has counted before
            _, dstate, grads = layer.backward(felt, piece, dstate)
            total = _added(layer.backend, total, grads)
        yield Update(value, total, state)


class Chunks(Protocol):
    """Pieces of a sequence in order: a list of (x, target), or what makes them on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> tuple[Any, Any]: ...


def chunked_bptt(
    layer: Any, chunks: Chunks, loss: Loss, *, state: Any = None
) -> tuple[Array, dict[str, Array], Any]:
    """Return the exact gradients of a loss over a sequence that is never held whole.

    Forward, only the states between chunks are kept; backward, each chunk is run again from the
    state before it. With chunks of about √T steps, memory grows as √T.

    Parameters
    ----------
    layer : Layer
        A time-major layer that reads forward in time, without dropout.
    chunks : sequence of (x, target)
        The sequence's pieces in order, each asked for twice: an object with ``len`` and indexing
        may make them on demand.
    loss : callable
        ``loss(y, target) -> loss, dy`` of one chunk; the losses of all chunks are added.
    state : optional
        The initial state; default is zero.

    Returns
    -------
    loss : array, shape ()
        The sum over the chunks.
    grads : dict of arrays
        Its gradients by the parameters.
    dstate0
        Its gradient by the initial state.

    Raises
    ------
    ValueError
        For no chunks.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru, x = rnnx.GRU(1, 8, seed=0), np.ones((100, 1, 1), dtype="float32")
    >>> chunks = [(x[i : i + 10], 0 * x[i : i + 10]) for i in range(0, 100, 10)]
    >>> model = rnnx.Sequential(gru, rnnx.Linear(8, 1, seed=1))
    >>> loss, grads, _ = rnnx.chunked_bptt(model, chunks, rnnx.losses.mean_squared_error)
    >>> grads["0.weight_hh_l0"].shape
    (24, 8)
    """
    if len(chunks) == 0:
        raise ValueError("chunks must hold at least one (x, target), got none")
    before = [state]
    for k in range(len(chunks) - 1):
        _, state = layer(chunks[k][0], state)
        before.append(state)
    total: Any = None
    grads: dict[str, Array] = {}
    dstate = None
    for k in reversed(range(len(chunks))):
        x, target = chunks[k]
        y, _, cache = layer.forward(x, before.pop(), **_no_dropout(layer))
        value, dy = loss(y, target)
        _, dstate, part = layer.backward(dy, cache, dstate)
        with layer.backend.scope():
            total = value if total is None else total + value
        grads = _added(layer.backend, grads, part)
    return total, grads, dstate


def _pieces(
    backend: Any, chunks: Iterable[tuple[Any, Any]], k1: int | None
) -> Iterator[tuple[Any, Any]]:
    """Yield the stream in pieces of k1 steps, the last one perhaps shorter."""
    rest: tuple[Any, Any] | None = None
    for x, target in chunks:
        if x.shape[0] != target.shape[0]:
            raise ValueError(
                f"a chunk's target must have the length of its x, {x.shape[0]}, "
                f"got {target.shape[0]}"
            )
        if k1 is None:
            yield x, target
            continue
        if rest is not None:
            with backend.scope():
                x, target = _joined(backend, rest[0], x), _joined(backend, rest[1], target)
        whole = x.shape[0] - x.shape[0] % k1
        for start in range(0, whole, k1):
            yield x[start : start + k1, ...], target[start : start + k1, ...]
        rest = (x[whole:, ...], target[whole:, ...]) if whole < x.shape[0] else None
    if rest is not None:
        yield rest


def _added(backend: Any, total: dict[str, Array], grads: dict[str, Array]) -> dict[str, Array]:
    """Return the sums of two dicts of gradients, the first of which may be empty."""
    with backend.scope():
        return {k: total[k] + g for k, g in grads.items()} if total else grads


def _joined(backend: Any, first: Any, second: Any) -> Array:
    """Return two pieces of the stream as one, in time."""
    kind = str(second.dtype).rpartition(".")[2]
    asarray, dtype = backend.asarray, None if backend.computes_with(kind) else kind
    return backend.xp.concat([asarray(first, dtype), asarray(second, dtype)], axis=0)


def _no_dropout(layer: Any) -> dict[str, Any]:
    return {"masks": {}} if "masks" in layer.options else {}
