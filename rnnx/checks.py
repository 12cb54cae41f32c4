"""gradcheck: a layer's gradients against derivatives of its own forward pass.

The loss is ``L = Σ w ⊙ y + Σ v ⊙ state``, with fixed random w and v. For every array θ two things
are compared: some entries one by one, and all entries at once along random directions r of ±1::

    entry       dL/dθ_i                     against the gradient's entry
    projection  d/ds L(θ + s·r) at s = 0    against Σ gradient ⊙ r

A projection sees a single wrong entry among thousands. Derivatives are taken in one of two ways::

    complex step          Im L(θ + i·h·r) / h,  h = 1e-30                exact to rounding
    central differences   (L(θ + h·r) - L(θ - h·r)) / 2h,  h = ∛ε·max(1, |θ|)

The complex step runs a copy of the layer on NumPy's complex numbers, whatever the backend of the
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
PROJECTIONS = 4
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
CENTRAL_TOLERANCE = {"float64": 1e-6, "float32": 3e-2}
Values = dict[str, np.ndarray]
Along = Callable[[str, np.ndarray], float]  # (name, direction) -> the derivative along it


class Row(NamedTuple):
    """The comparison of one gradient."""

    name: str  # x, state, or a parameter; entries of a list or a tuple have an index
    error: float  # the larger of the next two; infinite for a gradient that is missing
    entry_error: float = np.inf  # largest difference, relative to the largest derivative
    projection_error: float = np.inf  # root mean square, relative to the gradient's norm
    at: tuple[int, ...] = ()  # where the entries differ most
    gradient: float = np.nan  # what the layer says there
    derivative: float = np.nan  # what its forward pass says there
    largest: float = np.inf  # the largest derivative in size; 0 where nothing was proven
    checked: int = 0  # entries compared one by one
    entries: int = 0  # entries in all, compared along random directions
    note: str = ""  # what is wrong where nothing could be compared


class Report(NamedTuple):
    """What `gradcheck` found: true if every gradient was proven right. Print it to read it."""

    rows: tuple[Row, ...]
    tolerance: float

    def __bool__(self) -> bool:
        return bool(self.rows) and all(self.status(row) == "ok" for row in self.rows)

    def status(self, row: Row) -> str:
        """Return ``"ok"``, ``"WRONG"``, or ``"not proven"`` where all derivatives are zero."""
        if not row.error <= self.tolerance:
            return "WRONG"
        return "ok" if row.largest > 0 else "not proven"

    def __str__(self) -> str:
        if not self.rows:
            return "not proven: the layer has no gradient to check"
        width = max(len(row.name) for row in self.rows)
        lines = []
        for row in self.rows:
            words = row.note or (
                f"error {row.entry_error:.1e} in {row.checked} entries, {row.projection_error:.1e} "
                f"in all {row.entries} along {PROJECTIONS} directions; at {row.at}: gradient "
                f"{row.gradient:.9g}, derivative {row.derivative:.9g}"
            )
            lines.append(f"{self.status(row).ljust(10)}  {row.name.ljust(width)}  {words}")
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

    Every array is checked: x unless it holds integers, the initial state, every parameter. A
    gradient that the layer does not return is wrong. Where all derivatives are zero, as in a relu
    layer whose units are all off, the gradient is reported as not proven, and the report is false.

    Parameters
    ----------
    layer : Layer
        Any layer of this package, or one with the same verbs.
    x : array or list of arrays
        The input.
    state : optional
        The initial state; zero by default, which is checked as well.
    method : {"complex-step", "central"}, default "complex-step"
        Complex step for layers of analytic functions (relu counts), central differences for others,
        on the layer's own backend and in its own dtype.
    samples : int or None, default 50
        Number of entries to check one by one in each array, drawn at random; None for all. All
        entries are checked together in any case, along random directions.
    tolerance : float, optional
        Largest relative error of a right gradient; by default 1e-10 in float64 and 1e-4 in float32,
        and with central differences 1e-6 and 3e-2.
    seed : int or None, default 0
        Seed of w, v, the samples, the directions, and of dropout masks where none are given.
    **options
        What `forward` takes beside these: `lengths`, `mask`, `reset`, `checkpoint`, `masks`.

    Returns
    -------
    Report
        True if every gradient is right; printed, it says what was proven, to what accuracy, and
        what is wrong, where.

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
    rng, bk = np.random.default_rng(seed), layer.backend
    if "masks" not in options and "masks" in layer.options:
        options = options | {"masks": layer.draw_masks(_outline(x), rng)}
    y, final, cache = layer.forward(x, state, **options)
    if state is None:  # zeros; the gradient with respect to them is checked all the same
        state = _map(lambda s: np.zeros(tuple(s.shape)), final)
    w, v = (_map(lambda a: rng.standard_normal(tuple(a.shape)), tree) for tree in (y, final))
    dx, dstate0, grads = layer.backward(_map(bk.asarray, w), cache, _map(bk.asarray, v))
    gradients = _named("x", dx) | _named("state", dstate0) | dict(grads)

    symbols = all(np.asarray(_host(bk, a)).dtype.kind in "iub" for a in _leaves(x))
    given = _named("x", None if symbols else x) | _named("state", state) | layer.params
    values = {name: np.asarray(_host(bk, a)) for name, a in given.items()}
    along = _Derivative(layer, method, (x, state, options), (w, v), values).along
    tolerances = TOLERANCE if method == "complex-step" else CENTRAL_TOLERANCE
    rows = [
        _row(name, gradients.get(name), values[name], along, samples, rng, bk) for name in values
    ]
    rows += [
        Row(name, np.inf, note="a gradient of nothing that the layer has")
        for name in gradients.keys() - values.keys()
    ]
    return Report(tuple(rows), tolerances[bk.dtype_name] if tolerance is None else tolerance)


class _Derivative:
    """The derivative of the loss, as a function of the arrays that it is taken with respect to."""

    def __init__(
        self, layer: Any, method: str, call: tuple[Any, Any, dict[str, Any]],
        weights: tuple[Any, Any], values: Values,
    ) -> None:  # fmt: skip
        self.layer, self.values, self.weights = layer, values, weights
        self.x, self.state, options = call
        self.complex = method == "complex-step"
        self.twin = layer
        if self.complex:
            from rnnx.backends.complex import make  # imports more than `import rnnx` should

            self.twin = layer.to(make())
        host, to = layer.backend, self.twin.backend.asarray
        self.options = {k: _host(host, value) for k, value in options.items()}
        if "masks" in options:
            masks = options["masks"].items()
            self.options["masks"] = {k: to(_host(host, mask)) for k, mask in masks}

    def along(self, name: str, r: np.ndarray) -> float:
        """Return the derivative with respect to one array along a direction r."""
        θ = self.values[name]
        if self.complex:
            return float(np.imag(self.loss(name, θ + 1j * STEP * r)) / STEP)
        relative = float(np.finfo(self.layer.backend.dtype_name).eps) ** (1 / 3)
        h = relative * max(1.0, float(np.abs(θ[r != 0]).max()))
        return float((self.loss(name, θ + h * r) - self.loss(name, θ - h * r)) / (2 * h))

    def loss(self, name: str, value: np.ndarray) -> Any:
        """Return the loss with one array replaced."""
        values, bk = {**self.values, name: value}, self.twin.backend
        params = {k: bk.asarray(values[k]) for k in self.layer.params}
        trees = _rebuilt("x", self.x, values), _rebuilt("state", self.state, values)
        x, state = _map(lambda a: _host(self.layer.backend, a), trees)
        y, final, _ = self.twin.forward(x, state, params=params, **self.options)
        pairs = zip(_leaves((y, final)), _leaves(self.weights), strict=True)
        return sum(np.sum(np.asarray(_host(bk, a)) * b) for a, b in pairs)


def _row(
    name: str, gradient: Any, value: np.ndarray, along: Along, samples: int | None,
    rng: np.random.Generator, backend: Backend,
) -> Row:  # fmt: skip
    """Return the comparison of one gradient."""
    if gradient is None:
        return Row(name, np.inf, entries=value.size, note="the layer returned no gradient")
    ours = np.asarray(_host(backend, gradient)).astype("float64")
    if ours.shape != value.shape:
        return Row(name, np.inf, note=f"gradient of shape {ours.shape}, expected {value.shape}")
    places = np.arange(value.size)
    if samples is not None and samples < value.size:
        places = rng.choice(value.size, samples, replace=False)
    units = [np.unravel_index(k, value.shape) for k in places]
    exact = np.asarray([along(name, _unit(value.shape, at)) for at in units])
    found = np.asarray([ours[at] for at in units])
    entry, errors = _relative(found - exact, np.abs(exact).max(initial=0))
    signs = [rng.choice([-1.0, 1.0], value.shape) for _ in range(PROJECTIONS)]
    ahead = np.asarray([along(name, r) for r in signs])
    sums = np.asarray([np.sum(ours * r) for r in signs])
    norm = max(float(np.sqrt(np.sum(ours * ours))), float(np.sqrt(np.mean(ahead**2))))
    whole, _ = _relative(np.sqrt(np.mean((sums - ahead) ** 2, keepdims=True)), norm)
    worst = int(np.argmax(errors))
    largest = max(float(np.abs(exact).max(initial=0)), float(np.abs(ahead).max(initial=0)))
    return Row(
        name, max(entry, whole), entry, whole, tuple(int(i) for i in units[worst]),
        float(found[worst]), float(exact[worst]), largest, len(places), value.size,
    )  # fmt: skip


def _unit(shape: tuple[int, ...], at: Any) -> np.ndarray:
    r = np.zeros(shape)
    r[at] = 1
    return r


def _relative(difference: np.ndarray, scale: float) -> tuple[float, np.ndarray]:
    """Return the largest and all errors relative to a scale; absolute where that is zero."""
    errors = np.abs(difference) / scale if scale else np.abs(difference)
    errors = np.where(np.isnan(errors), np.inf, errors)
    return float(errors.max()), errors


def _leaves(tree: Any) -> Iterator[Any]:
    """Yield the arrays of a nested tuple or list, in order; nothing for None."""
    if isinstance(tree, list | tuple):
        for branch in tree:
            yield from _leaves(branch)
    elif tree is not None:
        yield tree


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a nested tuple or list with a function of each of its arrays; None stays."""
    if isinstance(tree, list | tuple):
        return type(tree)(_map(function, branch) for branch in tree)
    return None if tree is None else function(tree)


def _named(name: str, tree: Any) -> dict[str, Any]:
    """Return the arrays of x or a state by name: ``x``, or ``x[0]``, ``x[1]``, ..."""
    leaves = list(_leaves(tree))
    if not isinstance(tree, list | tuple):
        return {name: leaves[0]} if leaves else {}
    return {f"{name}[{i}]": leaf for i, leaf in enumerate(leaves)}


def _rebuilt(name: str, tree: Any, values: Values) -> Any:
    """Return x or a state with its arrays replaced by those in `values`."""
    if not isinstance(tree, list | tuple):
        return values.get(name, tree)
    names = iter([f"{name}[{i}]" for i, _ in enumerate(_leaves(tree))])
    return _map(lambda leaf: values.get(next(names), leaf), tree)


def _host(backend: Backend, x: Any) -> Any:
    """Return an array of the backend on the host, and anything else as it is."""
    return x if isinstance(x, np.ndarray) or not hasattr(x, "dtype") else backend.to_numpy(x)


def _outline(x: Any) -> tuple[int, ...]:
    """Return the shape of x, for a list that of its padded batch."""
    if isinstance(x, list | tuple) and hasattr(x[0], "shape"):
        return (max(row.shape[0] for row in x), len(x), x[0].shape[-1])
    return tuple(np.shape(x))
