"""A chain of layers as one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx import validate
from rnnx.backend import Array, Backend
from rnnx.layers import forms
from rnnx.layers.base import Layer
from rnnx.layers.dropout import Dropout
from rnnx.layers.parameters import Seed
from rnnx.layers.recurrent import Recurrent


class Cache(NamedTuple):
    """What `Sequential.backward` needs: the caches of its layers, and the form of a list."""

    caches: tuple[Any, ...]
    form: Any


class Sequential(Layer):
    """Layers one after the other; a layer itself, with the same verbs.

    Its state is the tuple of its layers' states, None where a layer has none. Its parameters are
    theirs, named by position: ``0.weight``, ``1.weight_hh_l0``, ... `lengths`, `mask`, `reset` and
    `checkpoint` go to its recurrent layers, and a list of sequences may go in where these are
    time-major.

    Parameters
    ----------
    *layers : Layer
        All on one backend.

    Raises
    ------
    ValueError
        For no layers, or layers of different backends.

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

    def __init__(self, *layers: Any) -> None:
        if not layers:
            raise ValueError("expected at least one layer, got none")
        backends = {layer.backend for layer in layers}
        if len(backends) > 1:
            raise ValueError(
                f"layers must be of one backend, got {sorted(map(str, backends))}: "
                "use to(backend) on them first"
            )
        self.layers: tuple[Any, ...] = layers
        self.backend = layers[0].backend

    @property
    def params(self) -> dict[str, Array]:
        """Its layers' parameters, by position and name; assigned to, theirs."""
        named = enumerate(self.layers)
        return {f"{i}.{name}": W for i, layer in named for name, W in layer.params.items()}

    @params.setter
    def params(self, params: dict[str, Array]) -> None:
        for i, layer in enumerate(self.layers):
            layer.params = _part(params, i)

    def __call__(
        self,
        x: Any,
        state: Sequence[Any] | None = None,
        *,
        params: dict[str, Array] | None = None,
        **options: Any,
    ) -> tuple[Any, tuple[Any, ...]]:
        """Return the outputs and the final states, for inference; arguments as for `forward`."""
        params, states = self._chosen(params), self._states(state)
        x, form, options = self._read(x, options)
        finals = []
        for i, (layer, start) in enumerate(zip(self.layers, states, strict=True)):
            chosen = _options(layer, options)
            x, final = layer(x, start, params=_part(params, i), **chosen)
            finals.append(final)
        return self._write(x, form), tuple(finals)

    def forward(
        self,
        x: Any,
        state: Sequence[Any] | None = None,
        *,
        params: dict[str, Array] | None = None,
        masks: dict[str, Array] | None = None,
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
            `lengths`, `mask`, `reset`, `checkpoint`, for its recurrent layers.

        Returns
        -------
        y, state, cache
            The last layer's output, the tuple of all layers' states, and what `backward` needs.

        Raises
        ------
        ValueError, TypeError
            As its layers do, and for a state of another number of entries.
        """
        params, states = self._chosen(params), self._states(state)
        x, form, options = self._read(x, options)
        finals, caches = [], []
        for i, (layer, start) in enumerate(zip(self.layers, states, strict=True)):
            chosen = _options(layer, options)
            if isinstance(layer, Recurrent | Dropout | Sequential):
                chosen |= {"masks": None if masks is None else _part(masks, i)}
            x, final, cache = layer.forward(x, start, params=_part(params, i), **chosen)
            finals.append(final)
            caches.append(cache)
        return self._write(x, form), tuple(finals), Cache(tuple(caches), form)

    def backward(
        self, dy: Any, cache: Cache, dstate: Sequence[Any] | None = None
    ) -> tuple[Any, tuple[Any, ...], dict[str, Array]]:
        """Return the gradients by x (None for symbols), by the states, and by the parameters."""
        dstates = self._states(dstate)
        form = cache.form
        if isinstance(form, forms.Listed):
            dy = forms.pad_like(self.backend, "dy", dy, form)
        starts: list[Any] = []
        grads: dict[str, Array] = {}
        for i in reversed(range(len(self.layers))):
            dy, start, part = self.layers[i].backward(dy, cache.caches[i], dstates[i])
            starts.insert(0, start)
            grads |= {f"{i}.{name}": g for name, g in part.items()}
        dx = None if dy is None else self._write(dy, form)
        return dx, tuple(starts), {name: grads[name] for name in self.params}

    def draw_masks(self, shape: Sequence[int], seed: Seed = None) -> dict[str, Array]:
        """Return dropout masks for an input whose first two axes are those of `shape`."""
        rng = validate.generator(seed)
        masks: dict[str, Array] = {}
        width: tuple[int, ...] = (shape[-1],)
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Recurrent | Dropout | Sequential):
                drawn = layer.draw_masks((*shape[:2], *width), rng)
                masks |= {f"{i}.{name}": mask for name, mask in drawn.items()}
            width = _width(layer, width)
        return masks

    def to(
        self, backend: str | Backend, *, device: Any = None, dtype: str | None = None
    ) -> Sequential:
        """Return a copy on another backend, with the same parameters."""
        layers = (layer.to(backend, device=device, dtype=dtype) for layer in self.layers)
        return Sequential(*layers)

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
        first = self.layers[0]
        if not isinstance(x, list | tuple) or not isinstance(first, Recurrent):
            return x, (), options
        if any(getattr(layer, "batch_first", False) for layer in self.layers):
            raise ValueError("a list of sequences needs layers with batch_first=False")
        if options.get("lengths") is not None or options.get("mask") is not None:
            raise ValueError("a list of sequences has its lengths: give neither lengths nor mask")
        x, form = forms.read(self.backend, x, first.sizes.input_size, False)
        return x, form, options | {"lengths": np.asarray(form.lengths)}

    def _write(self, y: Array, form: Any) -> Any:
        return forms.write(self.backend, y, form) if isinstance(form, forms.Listed) else y


def _options(layer: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a layer takes."""
    return dict(options) if isinstance(layer, Recurrent | Sequential) else {}


def _part(named: Mapping[str, Array], i: int) -> dict[str, Array]:
    """Return the entries of layer i, without its number in their names."""
    start = f"{i}."
    return {name.removeprefix(start): W for name, W in named.items() if name.startswith(start)}


def _width(layer: Any, width: tuple[int, ...]) -> tuple[int, ...]:
    """Return the last axis of a layer's output, given that of its input."""
    if isinstance(layer, Recurrent):
        return (layer.sizes.directions * layer.sizes.output_size,)
    if isinstance(layer, Sequential):
        for inner in layer.layers:
            width = _width(inner, width)
        return width
    if isinstance(layer, Dropout):
        return width
    return (layer.output_size,)
