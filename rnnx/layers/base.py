"""What every layer shares: parameters, and a copy on another backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from rnnx.backend import Array, Backend, target_backend
from rnnx.parameters import replaced

OPTIONS = ("lengths", "mask", "reset", "checkpoint")  # all that a layer may take beside x


class Layer:
    """A layer: a backend and a dict of parameters. `forward` and `backward` change neither.

    Attributes
    ----------
    backend : Backend
        Where the parameters live.
    params : dict of arrays
        The parameters by name; empty for some layers. Change them with `set_params`.
    options : tuple of str
        Those of ``"lengths"``, ``"mask"``, ``"reset"``, ``"checkpoint"`` that `forward` takes. A
        layer that takes lengths reads sequences, or a list of them, in the layout that its
        `batch_first` says.
    """

    options: ClassVar[tuple[str, ...]] = ()

    backend: Backend
    params: dict[str, Array]
    forward: Callable[..., tuple[Any, Any, Any]]

    batch_first: bool = False
    directions: int = 1

    def config(self) -> dict[str, Any]:
        """Return what the layer is built from, as JSON can hold it."""
        from rnnx.build import config

        return config(self)

    def draw_masks(self, shape: Sequence[int], seed: Any = None) -> dict[str, Array]:
        """Return dropout masks for an input of this shape; none without dropout."""
        return {}

    def children(self) -> tuple[Layer, ...]:
        """Return the layers that this one is made of."""
        return ()

    def walk(self) -> Iterator[tuple[str, Layer]]:
        """Yield the name and the layer of each leaf."""
        if not self.children():
            yield "", self
        for i, child in enumerate(self.children()):
            for name, leaf in child.walk():
                yield f"{i}.{name}" if name else str(i), leaf

    def __call__(
        self, x: Any, state: Any = None, *, params: dict[str, Array] | None = None
    ) -> tuple[Any, Any]:
        """Return the outputs and the state, None for a layer without one: no cache."""
        y, state, _ = self.forward(x, state, params=params)
        return y, state

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Replace some or all parameters, by name; on an error, none.

        Raises
        ------
        ValueError, TypeError
            For an unknown name, a wrong shape, or numbers that are not real.
        """
        self.params = replaced(self.backend, self.params, params)

    @property
    def reduces_time(self) -> bool:
        """Whether the output has no axis of time where the input has one."""
        return False

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the output for an input of this shape."""
        return tuple(shape)

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
        copy.params = {
            name: target.asarray(self.backend.to_numpy(W).copy()) for name, W in self.params.items()
        }
        return copy

    def _chosen(self, params: Mapping[str, Array] | None) -> dict[str, Array]:
        """Return the parameters to run with: those given, of the layer's names and shapes."""
        if params is None:
            return self.params
        if params.keys() != self.params.keys():
            raise ValueError(f"params must have the names {list(self.params)}, got {list(params)}")
        for name, W in params.items():
            expected = tuple(self.params[name].shape)
            if tuple(W.shape) != expected:
                raise ValueError(
                    f"params[{name!r}] must have shape {expected}, got {tuple(W.shape)}"
                )
        return dict(params)
