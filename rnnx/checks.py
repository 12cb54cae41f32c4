"""gradcheck: a layer's gradients against derivatives of its own forward pass.

The derivative of the loss ``L = Σ w ⊙ y + Σ v ⊙ state``, with fixed random w and v, with respect to
one number θ is taken in one of two ways::

    complex step          Im L(θ + i·h) / h,  h = 1e-30              exact to rounding
    central differences   (L(θ + h) - L(θ - h)) / 2h,  h = ∛ε·max(1, |θ|)

The complex step nudges a copy of the layer on NumPy's complex numbers, whatever the backend of the
layer itself.

References
----------
W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM
Review 40 (1998), 110-112, doi:10.1137/S003614459631241X.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rnnx.backend import Backend

STEP = 1e-30
TOLERANCE = {"float64": 1e-10, "float32": 1e-3}
CENTRAL_TOLERANCE = {"float64": 1e-6, "float32": 3e-2}


class Row(NamedTuple):
    """The comparison of one gradient."""

    name: str
    error: float  # the largest difference, relative to the derivative's largest entry
    at: tuple[int, ...]  # where
    gradient: float  # what the layer says there
    derivative: float  # what its forward pass says
    largest: float  # the largest derivative in size; where it is 0, nothing was proven
    checked: int  # entries compared


class Report(NamedTuple):
    """What `gradcheck` found; true where all gradients are right, and printable."""

    rows: tuple[Row, ...]
    tolerance: float

    def __bool__(self) -> bool:
        return all(row.error <= self.tolerance for row in self.rows)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [
            f"{'ok   ' if row.error <= self.tolerance else 'WRONG'} {row.name.ljust(width)}  "
            f"relative error {row.error:.1e} at {row.at}: gradient {row.gradient:.9g}, "
            f"derivative {row.derivative:.9g} ({row.checked} entries)"
            for row in self.rows
        ]
        return "\n".join([*lines, f"tolerance {self.tolerance:.0e}"])


def gradcheck(
    layer: Any,
    x: Any,
    state: Any = None,
    *,
    method: str = "complex-step",
    samples: int | None = 50,
    tolerance: float | None = None,
    seed: int | None = 0,
    **options: Any,
) -> Report:
    """Compare every gradient that `layer.backward` returns with the derivative of `layer.forward`.

    Parameters
    ----------
    layer : Layer
        Any layer of this package, or one with the same verbs.
    x : array or list of arrays
        The input; that of an `Embedding` has no gradient.
    state : optional
        The initial state; for a layer that has one, give it to check its gradient.
    method : {"complex-step", "central"}
        Complex step for layers of analytic functions (relu counts), central differences for others,
        on the layer's own backend and in its own dtype.
    samples : int or None
        Entries to check in each array, drawn at random; None checks all.
    tolerance : float, optional
        Largest error of a right gradient, relative to the derivative's largest entry; by default
        1e-10 in float64 and 1e-3 in float32, and with central differences 1e-6 and 3e-2.
    seed : int or None
        Of w, v, the samples, and dropout masks where none are given.
    **options
        What `forward` takes beside these: `lengths`, `mask`, `reset`, `checkpoint`, `masks`.

    Returns
    -------
    Report
        True where every gradient is right; printed, it says which is wrong, where, and how far.

    Raises
    ------
    ValueError
        For an unknown method.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru = rnnx.GRU(3, 4, bidirectional=True, dtype="float64", seed=0)
    >>> report = rnnx.gradcheck(gru, np.ones((5, 2, 3)), lengths=[5, 2])
    >>> bool(report), report.rows[0].name
    (True, 'x')
    """
    if method not in ("complex-step", "central"):
        raise ValueError(f"method must be 'complex-step' or 'central', got {method!r}")
    rng = np.random.default_rng(seed)
    if "masks" not in options and "masks" in layer.options:
        options = options | {"masks": layer.draw_masks(_outline(x), rng)}
    bk: Backend = layer.backend
    y, final, cache = layer.forward(x, state, **options)
    w, v = _draw(bk, y, rng), _draw(bk, final, rng)
    dx, dstate0, grads = layer.backward(_on(bk, w), cache, _on(bk, v))
    gradients = {**_named("x", dx), **_named("state", dstate0 if state is not None else None)}
    gradients |= grads

    twin = layer if method == "central" else _complex_twin(layer)
    given = {**_named("x", x if dx is not None else None), **_named("state", state), **layer.params}
    host = {name: np.asarray(_host(bk, given[name])) for name in gradients}
    if "masks" in options:
        options["masks"] = {
            k: twin.backend.asarray(_host(bk, m)) for k, m in options["masks"].items()
        }
    for name in ("lengths", "mask", "reset"):
        if options.get(name) is not None:
            options[name] = np.asarray(_host(bk, options[name]))

    def loss(values: dict[str, Any]) -> Any:
        params = {
            k: twin.backend.asarray(values.get(k, _host(bk, W))) for k, W in layer.params.items()
        }
        y, final, _ = twin.forward(
            _rebuilt("x", x, values, bk), _rebuilt("state", state, values, bk), params=params,
            **options,
        )  # fmt: skip
        return _dot(twin.backend, y, w) + _dot(twin.backend, final, v)

    derivative = _complex_step if method == "complex-step" else _central(bk.dtype_name)
    rows = tuple(
        _compare(name, np.asarray(_host(bk, g)), host, loss, derivative, samples, rng)
        for name, g in gradients.items()
    )
    defaults = TOLERANCE if method == "complex-step" else CENTRAL_TOLERANCE
    return Report(rows, defaults[bk.dtype_name] if tolerance is None else tolerance)


def _complex_twin(layer: Any) -> Any:
    """Return a copy of the layer that computes with complex numbers."""
    from rnnx.backends.complex import make  # imports more than `import rnnx` should

    return layer.to(make())


def _complex_step(loss: Callable[[dict[str, Any]], Any], host: Any, name: str, index: Any) -> float:
    shifted = host[name].astype("complex128")
    shifted[index] += 1j * STEP
    return float(np.imag(loss({**host, name: shifted})) / STEP)


def _central(dtype: str) -> Callable[..., float]:
    relative = float(np.finfo(dtype).eps) ** (1 / 3)

    def derivative(loss: Any, host: Any, name: str, index: Any) -> float:
        h = relative * max(1.0, abs(float(host[name][index])))
        values = []
        for sign in (1, -1):
            shifted = host[name].copy()
            shifted[index] += sign * h
            values.append(loss({**host, name: shifted}))
        return float((values[0] - values[1]) / (2 * h))

    return derivative


def _compare(
    name: str, gradient: np.ndarray, host: Any, loss: Any, derivative: Any, samples: int | None,
    rng: np.random.Generator,
) -> Row:  # fmt: skip
    """Return the comparison at all entries of one gradient, or at some drawn at random."""
    places = np.arange(gradient.size)
    if samples is not None and samples < gradient.size:
        places = rng.choice(gradient.size, samples, replace=False)
    indices = [tuple(int(i) for i in np.unravel_index(k, gradient.shape)) for k in places]
    exact = np.asarray([derivative(loss, host, name, index) for index in indices])
    ours = np.asarray([gradient[index] for index in indices], dtype="float64")
    scale = max(float(np.abs(exact).max(initial=0)), float(np.finfo("float64").tiny))
    errors = np.abs(ours - exact) / scale if np.any(exact) else np.abs(ours)
    errors = np.where(np.isnan(errors), np.inf, errors)
    worst = int(np.argmax(errors))
    return Row(
        name, float(errors[worst]), indices[worst], float(ours[worst]), float(exact[worst]),
        float(np.abs(exact).max()), len(indices),
    )  # fmt: skip


def _leaves(tree: Any) -> Iterator[Any]:
    """Yield the arrays of a nested tuple or list, in order; nothing for None."""
    if isinstance(tree, list | tuple):
        for branch in tree:
            yield from _leaves(branch)
    elif tree is not None:
        yield tree


def _named(name: str, tree: Any) -> dict[str, Any]:
    """Return the arrays of x or a state by name: ``x``, or ``x[0]``, ``x[1]``, ..."""
    leaves = list(_leaves(tree))
    if not isinstance(tree, list | tuple):
        return {name: leaves[0]} if leaves else {}
    return {f"{name}[{i}]": leaf for i, leaf in enumerate(leaves)}


def _rebuilt(name: str, tree: Any, values: dict[str, Any], backend: Backend) -> Any:
    """Return x or a state with its arrays replaced by those in `values`."""
    if not isinstance(tree, list | tuple):
        return None if tree is None else values.get(name, _host(backend, tree))
    count = iter(range(10**9))

    def build(branch: Any) -> Any:
        if isinstance(branch, list | tuple):
            return type(branch)(build(inner) for inner in branch)
        if branch is None:
            return None
        return values.get(f"{name}[{next(count)}]", _host(backend, branch))

    return build(tree)


def _draw(backend: Backend, tree: Any, rng: np.random.Generator) -> Any:
    """Return standard normal numbers in the shapes of a tree's arrays."""
    if isinstance(tree, list | tuple):
        return type(tree)(_draw(backend, branch, rng) for branch in tree)
    return None if tree is None else rng.standard_normal(tuple(tree.shape))


def _on(backend: Backend, tree: Any) -> Any:
    """Return a tree with its arrays on a backend."""
    if isinstance(tree, list | tuple):
        return type(tree)(_on(backend, branch) for branch in tree)
    return None if tree is None else backend.asarray(tree)


def _dot(backend: Backend, tree: Any, weights: Any) -> Any:
    """Return the sum of all products of two trees' entries, on the host."""
    pairs = zip(_leaves(tree), _leaves(weights), strict=True)
    return sum(np.sum(np.asarray(_host(backend, a)) * b) for a, b in pairs)


def _host(backend: Backend, x: Any) -> Any:
    """Return an array of the backend on the host, and anything else as it is."""
    return x if isinstance(x, np.ndarray) or not hasattr(x, "dtype") else backend.to_numpy(x)


def _outline(x: Any) -> tuple[int, ...]:
    """Return the shape of x, for a list that of its padded batch."""
    if isinstance(x, list | tuple) and hasattr(x[0], "shape"):
        return (max(row.shape[0] for row in x), len(x), x[0].shape[-1])
    return tuple(np.shape(x))
