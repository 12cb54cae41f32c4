"""Backpropagation through time (BPTT) over long sequences: truncated, or exact in chunks.

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
    """The result that `tbptt` yields after every k1 steps."""

    loss: Array  # of the last k1 steps, as the loss function returned it
    grads: dict[str, Array]  # of that loss, by parameter, through the last k2 steps
    state: Any  # after the last step


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

    The stream is read once. After every k1 steps, their loss is backpropagated through the last k2
    steps, and an update is yielded. The state is carried across all chunks. You may change the
    parameters with `set_params` between updates; each step is differentiated with the parameters it
    ran with. Every loss counts once: with k2 = T and constant parameters, the gradients of all
    updates add up to full BPTT. At most the caches of k2 + k1 steps are kept.

    Parameters
    ----------
    layer : Layer
        A time-major layer that reads forward in time only.
    chunks : iterable of (x, target)
        Pieces of the stream, x (T, B, I) and target (T, ...). T may differ between pieces.
    loss : callable
        ``loss(y, target) -> loss, dy``, such as a function in `rnnx.losses`.
    k1 : int, optional
        Number of steps between updates, at least 1; default is a whole chunk.
    k2 : int, optional
        Number of steps to go back, at least k1, rounded up to a multiple of k1; default is k1.
    state : optional
        The initial state; default is zero.
    masks : callable, optional
        ``masks(x)`` returns the dropout masks for a piece x; by default, the layer draws them.

    Yields
    ------
    Update
        The loss, its gradients and the state.

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
        raise ValueError(f"k2 must be at least k1 = {k1}, got {k2}: each loss spans k1 steps")

    def updates(now: Any) -> Iterator[Update]:
        held: deque[tuple[tuple[int, ...], Any]] = deque()  # shape of y, and cache, of each piece
        for x, target in _pieces(layer.backend, chunks, k1):
            options = {} if masks is None else {"masks": masks(x)}
            y, now, cache = layer.forward(x, now, **options)
            value, dy = loss(y, target)
            held.append((tuple(y.shape), cache))
            reach = x.shape[0] if k2 is None else k2
            while sum(shape[0] for shape, _ in held) - held[0][0][0] >= reach:
                held.popleft()
            total: dict[str, Array] = {}
            dstate = None
            for shape, piece in reversed(held):
                # the losses of earlier pieces have counted already
                felt = dy if piece is cache else layer.backend.zeros(shape)
                _, dstate, grads = layer.backward(felt, piece, dstate)
                total = _added(layer.backend, total, grads)
            yield Update(value, total, now)

    return updates(state)


class Chunks(Protocol):
    """Pieces (x, target) of a sequence in order: a list, or an object that makes them on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> tuple[Any, Any]: ...


def chunked_bptt(
    layer: Any, chunks: Chunks, loss: Loss, *, state: Any = None
) -> tuple[Array, dict[str, Array], Any]:
    """Return the exact gradients of a loss over a sequence that is too long to hold in memory.

    The forward pass keeps only the states between chunks. The backward pass runs each chunk again,
    from the state before it. With chunks of about √T steps, memory grows as √T.

    Parameters
    ----------
    layer : Layer
        A time-major layer that reads forward in time only. Dropout is switched off.
    chunks : sequence of (x, target)
        The pieces of the sequence in order, at least one. Each is read twice; an object with
        ``len`` and indexing may make them on demand.
    loss : callable
        ``loss(y, target) -> loss, dy`` for one chunk; the losses of all chunks are added.
    state : optional
        The initial state; default is zero.

    Returns
    -------
    loss : array, shape ()
        The sum over all chunks.
    grads : dict of arrays
        Its gradients with respect to the parameters.
    dstate0
        Its gradient with respect to the initial state.

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
        raise ValueError(
            "chunks must hold at least one (x, target), got none: pass the pieces of a sequence"
        )
    no_dropout: dict[str, Any] = {"masks": {}} if "masks" in layer.options else {}
    before = [state]
    for k in range(len(chunks) - 1):
        _, state = layer(chunks[k][0], state)
        before.append(state)
    total: Any = None
    grads: dict[str, Array] = {}
    dstate = None
    for k in reversed(range(len(chunks))):
        x, target = chunks[k]
        y, _, cache = layer.forward(x, before.pop(), **no_dropout)
        value, dy = loss(y, target)
        _, dstate, part = layer.backward(dy, cache, dstate)
        with layer.backend.scope():
            total = value if total is None else total + value
        grads = _added(layer.backend, grads, part)
    return total, grads, dstate


def _pieces(
    backend: Any, chunks: Iterable[tuple[Any, Any]], k1: int | None
) -> Iterator[tuple[Any, Any]]:
    """Yield the stream in pieces of k1 steps; the last one may be shorter."""
    rest: tuple[Any, Any] | None = None
    for x, target in chunks:
        if x.shape[0] != target.shape[0]:
            raise ValueError(
                f"a chunk's target must have the length of its x, {x.shape[0]}, got "
                f"{target.shape[0]}: pass one target per step"
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
    """Return the sum of two dicts of gradients; the first may be empty."""
    with backend.scope():
        return {k: total[k] + g for k, g in grads.items()} if total else grads


def _joined(backend: Any, first: Any, second: Any) -> Array:
    """Return two pieces of the stream joined along time."""
    kind = str(second.dtype).rpartition(".")[2]
    asarray, dtype = backend.asarray, None if backend.computes_with(kind) else kind
    return backend.xp.concat([asarray(first, dtype), asarray(second, dtype)], axis=0)
