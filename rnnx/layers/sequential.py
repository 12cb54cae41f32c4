"""A chain of layers as one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rnnx import validate
from rnnx.backend import Array, Backend
from rnnx.layers import forms
from rnnx.layers.base import OPTIONS, Layer, Params, Seed

TAKEN = OPTIONS[:4]  # of the options, those that a call passes on as they are


class Cache(NamedTuple):
    """What `Sequential.backward` needs: the caches of its layers, and the form of a list."""

    caches: tuple[Any, ...]
    form: Any


class Sequential(Layer):
    """Layers one after the other; a layer itself, with the same verbs.

    Its state is the tuple of its layers' states, None where a layer has none. Its parameters are
    theirs, named by position: ``0.weight``, ``1.weight_hh_l0``, ... `lengths`, `mask`, `reset` and
    `checkpoint` go to the layers that take them. A list of sequences may go in where the first
    layer takes one; the outputs then are a list, too, or after a `Pool` an array (B, O).

    Parameters
    ----------
    *layers : Layer
        All on one backend.

    Raises
    ------
    ValueError
        For no layers, layers of different backends or layouts, or one that reads sequences after
        a `Pool`.

    Examples
    --------
    >>> import rnnx
    >>> model = rnnx.Sequential(
    ...     rnnx.Embedding(100, 8, seed=0), rnnx.LSTM(8, 16, seed=1), rnnx.Linear(16, 100, seed=2)
    ... )
    >>> y, state, cache = model.forward([[3, 1], [4, 1], [5, 9]])       # (T, B) symbols
    >>> y.shape, state[1][0].shape
    ((3, 2, 100), (1, 2, 16))
    >>> _, _, grads = model.backward(y, cache)
    >>> grads["1.weight_hh_l0"].shape
    (64, 16)
    """

    options: ClassVar[tuple[str, ...]] = OPTIONS

    def __init__(self, *layers: Any) -> None:
        if not layers:
            raise ValueError("expected at least one layer, got none")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"expected layers, got a {type(layer).__name__}")
        backends = {layer.backend for layer in layers}
        if len(backends) > 1:
            raise ValueError(
                f"layers must be of one backend, got {sorted(map(str, backends))}: "
                "use to(backend) on them first"
            )
        self.layers: tuple[Any, ...] = layers
        self._names = [[(f"{i}.{name}", name) for name in n.params] for i, n in enumerate(layers)]
        readers = self._readers()
        _check_readers(readers)
        self.backend = layers[0].backend
        self.batch_first = any(layer.batch_first for layer in readers)
        self.directions = max(layer.directions for layer in layers)

    @property
    def params(self) -> Params:
        """The parameters of its layers, by position and name."""
        named = enumerate(self.layers)
        return {f"{i}.{name}": W for i, layer in named for name, W in layer.params.items()}

    def _take(self, params: Mapping[str, Array]) -> None:
        for layer, part in zip(self.layers, self._parts(params), strict=True):
            layer._take(part)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # its layers look after their own parameters

    @property
    def reduces_time(self) -> bool:
        """Whether one of its layers does, such as a `Pool`."""
        return any(layer.reduces_time for layer in self.layers)

    def children(self) -> tuple[Layer, ...]:
        """Return its layers."""
        return self.layers

    def config(self) -> dict[str, Any]:
        """Return the configurations of its layers, in order."""
        return {"layer": self._name(), "layers": [layer.config() for layer in self.layers]}

    def __repr__(self) -> str:
        return self.summary()

    def __call__(
        self,
        x: Any,
        state: Sequence[Any] | None = None,
        *,
        params: Params | None = None,
        **options: Any,
    ) -> tuple[Any, tuple[Any, ...]]:
        """Return the outputs and the final states, for inference; arguments as for `forward`."""
        parts, states = self._parts(self._chosen(params)), self._states(state)
        x, form, options = self._read(x, options)
        finals = []
        for layer, start, part in zip(self.layers, states, parts, strict=True):
            x, final = layer(x, start, params=part, **_options(layer, options))
            finals.append(final)
        return self._write(x, form), tuple(finals)

    def forward(
        self,
        x: Any,
        state: Sequence[Any] | None = None,
        *,
        params: Params | None = None,
        masks: Params | None = None,
        **options: Any,
    ) -> tuple[Any, tuple[Any, ...], Cache]:
        """Return the outputs, the final states, and a cache.

        Parameters
        ----------
        x : array or list of arrays
            The first layer's input.
        state : sequence, optional
            One entry per layer: its state, or None.
        params : dict of arrays, optional
            Parameters to run with in place of its own.
        masks : dict of arrays, optional
            What `draw_masks` returned; drawn anew by default, ``{}`` is without dropout.
        **options
            `lengths`, `mask`, `reset`, `checkpoint`, for the layers that take them.

        Returns
        -------
        y, state, cache
            The last layer's output, the tuple of all layers' states, and what `backward` needs. The
            cache may share the memory of x, `state` and y: do not write to them before `backward`.

        Raises
        ------
        ValueError, TypeError
            As its layers do, and for a state of another number of entries.
        """
        parts, states = self._parts(self._chosen(params)), self._states(state)
        x, form, options = self._read(x, options)
        finals, caches = [], []
        for i, (layer, start, part) in enumerate(zip(self.layers, states, parts, strict=True)):
            chosen = _options(layer, options)
            if masks is not None and "masks" in layer.options:
                chosen |= {"masks": _masks(masks, i)}
            x, final, cache = layer.forward(x, start, params=part, **chosen)
            finals.append(final)
            caches.append(cache)
        return self._write(x, form), tuple(finals), Cache(tuple(caches), form)

    def backward(
        self, dy: Any, cache: Cache, dstate: Sequence[Any] | None = None
    ) -> tuple[Any, tuple[Any, ...], Params]:
        """Return the gradients with respect to x (None for symbols), states and parameters."""
        dstates = self._states(dstate)
        form = cache.form
        if isinstance(form, forms.Listed) and not self.reduces_time:
            dy = forms.pad_like(self.backend, "dy", dy, form)
        starts: list[Any] = []
        grads: Params = {}
        for i in reversed(range(len(self.layers))):
            dy, start, part = self.layers[i].backward(dy, cache.caches[i], dstates[i])
            starts.insert(0, start)
            grads |= {full: part[name] for full, name in self._names[i]}
        dx = None if dy is None else forms.write(self.backend, dy, form)
        return dx, tuple(starts), {name: grads[name] for name in self.params}

    def state_gradients(self, dy: Any, cache: Cache) -> tuple[Params, Any]:
        """Return the gradient with respect to every h_t of every layer, and that of x."""
        found: Params = {}
        for i in reversed(range(len(self.layers))):
            part, dy = self.layers[i].state_gradients(dy, cache.caches[i])
            found = {f"{i}.{name}": dh for name, dh in part.items()} | found
        return found, dy

    def step(self, x: Any, state: Sequence[Any] | None = None) -> tuple[Array, tuple[Any, ...]]:
        """Take one step of a stream through all layers: return y_t and their states after it.

        Parameters
        ----------
        x : array, shape (I,) or (B, I), or symbols () or (B,)
        state : sequence, optional
            What the last step returned: one entry per layer.

        Raises
        ------
        ValueError
            For a wrong shape, or a layer that needs the whole sequence.
        """
        finals = []
        for layer, start in zip(self.layers, self._states(state), strict=True):
            x, final = layer.step(x, start)
            finals.append(final)
        return x, tuple(finals)

    def draw_masks(self, shape: Sequence[int], seed: Seed = None) -> Params:
        """Return dropout masks for an input of this shape; for a list, that of its padded batch."""
        rng = validate.generator(seed)
        masks: Params = {}
        for i, layer in enumerate(self.layers):
            drawn = layer.draw_masks(shape, rng)
            masks |= {f"{i}.{name}": mask for name, mask in drawn.items()}
            shape = layer.output_shape(shape)
        return masks

    def output_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return the shape of the last layer's output for an input of this shape."""
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return tuple(shape)

    def to(
        self, backend: str | Backend, *, device: Any = None, dtype: str | None = None
    ) -> Sequential:
        """Return a copy on another backend, with the same parameters."""
        layers = (layer.to(backend, device=device, dtype=dtype) for layer in self.layers)
        return Sequential(*layers)

    def _parts(self, params: Mapping[str, Array]) -> list[Params]:
        """Return the parameters of every layer, by its own names."""
        return [{name: params[full] for full, name in names} for names in self._names]

    def _states(self, state: Sequence[Any] | None) -> Sequence[Any]:
        if state is None:
            return [None] * len(self.layers)
        if not isinstance(state, list | tuple) or len(state) != len(self.layers):
            raise ValueError(
                f"state must be a sequence of {len(self.layers)}, one for each layer, None where "
                "there is none"
            )
        return state

    def _read(self, x: Any, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """Return the input, its form where it is a list, and the options, with its lengths."""
        unknown = options.keys() - set(TAKEN)
        if unknown:
            raise TypeError(f"options must be of {list(TAKEN)}, got {sorted(unknown)}")
        _, first = next(self.walk())
        if not isinstance(x, list | tuple) or "lengths" not in first.options:
            return x, (), options
        if self.batch_first:
            raise ValueError("a list of sequences needs layers with batch_first=False")
        if options.get("lengths") is not None or options.get("mask") is not None:
            raise ValueError("a list of sequences has its lengths: give neither lengths nor mask")
        size = getattr(first, "input_size", None)  # a Pool takes any
        x, form = forms.read(self.backend, x, size, False)
        return x, form, options | {"lengths": np.asarray(form.lengths)}

    def _readers(self) -> list[Layer]:
        """Return the layers that read sequences, those of inner chains in their place."""
        return [layer for _, layer in self.walk() if "lengths" in layer.options]

    def _write(self, y: Array, form: Any) -> Any:
        return y if self.reduces_time else forms.write(self.backend, y, form)


def _options(layer: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a layer takes."""
    if not options:
        return {}
    return {name: value for name, value in options.items() if name in layer.options}


def _masks(masks: Mapping[str, Array], i: int) -> Params:
    """Return the masks of layer i, without its number in their names."""
    start = f"{i}."
    return {name.removeprefix(start): m for name, m in masks.items() if name.startswith(start)}


def _check_readers(readers: list[Any]) -> None:
    """Raise where sequences would be read after a Pool, or in two layouts."""
    for layer, after in pairwise(readers):
        name, next_name = type(layer).__name__, type(after).__name__
        if layer.reduces_time:
            raise ValueError(
                f"expected no layer that reads sequences after a {name}, which leaves one vector "
                f"of each, got a {next_name}: put it before the {name}"
            )
        if layer.batch_first != after.batch_first:
            raise ValueError(
                f"layers must have the same batch_first, got {layer.batch_first} of a {name} and "
                f"{after.batch_first} of a {next_name}"
            )
