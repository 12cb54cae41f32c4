"""What every layer is: parameters, the same verbs, a configuration, copies on other backends."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np

from rnnx import validate
from rnnx.backend import Array, Backend, target_backend
from rnnx.cells import describe

Params = dict[str, Array]
Seed: TypeAlias = "int | np.random.Generator | None"  # what numpy.random.default_rng takes
OPTIONS = ("lengths", "mask", "reset", "checkpoint", "masks")  # all that a layer may take beside x
UNDRAWN: Any = object()  # a seed: parameters stay `Outline`s until `set_params`


class Outline(NamedTuple):
    """The shape of a parameter that has no values yet."""

    shape: tuple[int, ...]


@runtime_checkable
class Layer(Protocol):
    """A layer: a backend and a dict of parameters. `forward` and `backward` change neither.

    Derive from this class for a layer of your own, and give `forward` and `backward`; all else has
    a default that fits a layer without state, options or dropout.

    Attributes
    ----------
    backend : Backend
        Where the parameters live.
    params : dict of arrays
        The parameters by name; empty for some layers. A new dict each time, of arrays that are
        read-only on NumPy: change them with `set_params`.
    options : tuple of str
        What `forward` takes beside x, state and params: of ``"lengths"``, ``"mask"``, ``"reset"``,
        ``"checkpoint"`` and ``"masks"``. A layer that takes lengths reads sequences.
    batch_first : bool
        Whether sequences are (B, T, ·) instead of (T, B, ·).
    directions : int
        2 where the layer also reads backward in time, else 1.
    """

    options: ClassVar[tuple[str, ...]] = ()
    batch_first: bool = False
    directions: int = 1
    backend: Backend
    _params: Params
    _config: Mapping[str, Any] = MappingProxyType({})

    def forward(self, x: Any, state: Any = None, *, params: Params | None = None) -> Any:
        """Return the outputs, the final state (None without one), and a cache for `backward`."""
        ...

    def backward(self, dy: Any, cache: Any, dstate: Any = None) -> Any:
        """Return the gradients with respect to x, to the initial state, and to the parameters."""
        ...

    def __call__(self, x: Any, state: Any = None, *, params: Params | None = None) -> Any:
        """Return the outputs and the final state, for inference: no dropout, no cache."""
        y, state, _ = self.forward(x, state, params=params)
        return y, state

    def step(self, x: Any, state: Any = None) -> tuple[Array, Any]:
        """Take one step of a stream: return y_t and the state after it.

        Parameters
        ----------
        x : array
            The input of this step, without the axis of time.
        state : optional
            What the last step returned.
        """
        if self.reduces_time:
            raise ValueError(f"expected a layer with one output per step, got a {self._name()}")
        return self(x, state)

    def draw_masks(self, shape: Sequence[int], seed: Seed = None) -> Params:
        """Return dropout masks for an input of this shape; none for a layer without dropout."""
        return {}

    def state_gradients(self, dy: Any, cache: Any) -> tuple[Params, Any]:
        """Return the gradient with respect to every h_t by name, and that with respect to x."""
        return {}, self.backward(dy, cache)[0]

    @property
    def params(self) -> Params:
        """The parameters by name."""
        return dict(self._params)

    @property
    def reduces_time(self) -> bool:
        """Whether the output has no axis of time where the input has one."""
        return False

    def output_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return the shape of the output for an input of this shape."""
        return tuple(shape)

    def children(self) -> tuple[Layer, ...]:
        """Return the layers inside this one."""
        return ()

    def walk(self) -> Iterator[tuple[str, Layer]]:
        """Yield the innermost layers in order, each with its dotted position; "" for itself."""
        if not self.children():
            yield "", self
        for i, child in enumerate(self.children()):
            for name, leaf in child.walk():
                yield f"{i}.{name}" if name else str(i), leaf

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Replace some or all parameters, by name; on an error, none.

        Raises
        ------
        ValueError, TypeError
            For an unknown name, a wrong shape, or numbers that are not real.
        """
        self._take(replaced(self.backend, self.params, params))

    def config(self) -> dict[str, Any]:
        """Return what `rnnx.build` makes the same layer of, as JSON can hold it.

        Without the parameters' values, backend, device and dtype, which `rnnx.save` stores.

        Raises
        ------
        ValueError
            For a cell of your own that is not registered; see `rnnx.cells.register`.
        """
        options = {k: describe(v) if _is_cell(v) else v for k, v in self._config.items()}
        return {"layer": self._name(), **options}

    def summary(self) -> str:
        """Return a table of the layers: shapes of their outputs, numbers of their parameters."""
        leaves = list(self.walk())
        first = leaves[0][1]
        shape: tuple[Any, ...] = ("B", "T") if self.batch_first else ("T", "B")
        if not hasattr(first, "num_embeddings"):
            shape = (*shape, getattr(first, "input_size", "F"))
        rows = [("layer", "", "output", "parameters")]
        for name, leaf in leaves:
            shape = leaf.output_shape(shape)
            count = sum(int(np.prod(W.shape)) for W in leaf.params.values())
            rows.append((name, leaf._brief(), f"({', '.join(map(str, shape))})", f"{count:,}"))
        total = sum(int(np.prod(W.shape)) for W in self.params.values())
        rows.append(("", "", "all", f"{total:,}"))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row[:3], widths, strict=False)),
                       row[3].rjust(widths[3])])
            for row in rows
        ]  # fmt: skip
        return "\n".join([f"{self._name()} on {self.backend}", *lines])

    def __repr__(self) -> str:
        return f"{self._brief()[:-1]}, backend={self.backend})".replace("(, ", "(")

    def to(self, backend: str | Backend, *, device: Any = None, dtype: str | None = None) -> Self:
        """Return a copy on another backend, with the same parameters.

        Parameters
        ----------
        backend, device
            As for `rnnx.get_backend`.
        dtype : {"float32", "float64"}, optional
            Default is the layer's own, or that of the `Backend` given.
        """
        own = self.backend.dtype_name
        target = target_backend(backend, device=device, dtype=dtype, own_dtype=own)
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.backend = target
        host = {name: _on_host(self.backend, W) for name, W in self._params.items()}
        copy._take({n: W if isinstance(W, Outline) else target.asarray(W) for n, W in host.items()})
        return copy

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take(self._params)  # a pickle does not say that an array is read-only

    def _name(self) -> str:
        return type(self).__name__

    def _brief(self) -> str:
        """Return the layer with the options that differ from their defaults."""
        defaults: dict[str, Any] = {}
        for kind in reversed(type(self).__mro__):
            if "__init__" in vars(kind):
                named = inspect.signature(vars(kind)["__init__"]).parameters
                defaults |= {k: p.default for k, p in named.items()}
        shown = [f"{k}={v!r}" for k, v in self._config.items() if v != defaults.get(k)]
        return f"{self._name()}({', '.join(shown)})"

    def _draw(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        values: Callable[[np.random.Generator], Mapping[str, Any]],
        seed: Seed,
    ) -> None:
        """Give the layer its initial parameters, drawn on the host, unless the seed is UNDRAWN."""
        if seed is UNDRAWN:
            self._params = {name: Outline(shape) for name, shape in shapes.items()}
            return
        drawn = values(validate.generator(seed))
        self._take({name: self.backend.asarray(drawn[name]) for name in shapes})

    def _take(self, params: Mapping[str, Array]) -> None:
        """Make these arrays, which nobody else writes to, the layer's own parameters."""
        self._params = read_only(self.backend, params)

    def _chosen(self, params: Mapping[str, Array] | None) -> Params:
        """Return the parameters to run with: those given, of the layer's names and shapes."""
        own = self.params
        if params is None:
            return own
        if params.keys() != own.keys():
            raise ValueError(f"params must have the names {list(own)}, got {list(params)}")
        for name, W in params.items():
            expected = tuple(own[name].shape)
            if tuple(W.shape) != expected:
                raise ValueError(
                    f"params[{name!r}] must have shape {expected}, got {tuple(W.shape)}"
                )
        return dict(params)


def read_only(backend: Backend, params: Mapping[str, Array]) -> Params:
    """Return parameters that raise when written to, where the library has such arrays."""
    return {
        name: W if isinstance(W, Outline) else backend.read_only(W) for name, W in params.items()
    }


def replaced(backend: Backend, params: Params, new: Mapping[str, Any]) -> Params:
    """Return `params` with the arrays of `new` in place of those of the same names.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, a wrong shape, or numbers that are not real.
    """
    result = dict(params)
    for name, value in new.items():
        if name not in params:
            raise ValueError(f"parameter must be one of {', '.join(params)}, got {name!r}")
        with backend.scope():  # a copy: what the caller writes into its array later is its own
            array = backend.xp.asarray(backend.asarray(value), copy=True)
        shape = tuple(params[name].shape)
        if tuple(array.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
        result[name] = array
    return result


def _on_host(backend: Backend, W: Any) -> Any:
    """Return a parameter copied to the host, or its outline."""
    return W if isinstance(W, Outline) else backend.to_numpy(W).copy()


def _is_cell(value: Any) -> bool:
    return hasattr(value, "step_backward")
