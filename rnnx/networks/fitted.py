"""A model with options and one network, and what its file holds."""

from __future__ import annotations

import json
import pickle
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np

from rnnx import io, validate
from rnnx.backend import Backend, get_backend
from rnnx.cells import build_cell, describe
from rnnx.io import Description, Spec
from rnnx.layers.base import UNDRAWN, Seed
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.linear import Linear
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.sequential import Sequential
from rnnx.networks.options import Checks, Options, optional

NOT_SAVED = ("backend", "device", "dtype", "verbose")  # chosen anew when a file is loaded
SEEDS = ("random_state", "seed")


class RecurrentModel(Options, io.Saved):
    """Options, a network that was fitted with them, and the file that holds both.

    A subclass lists what else it learns: `_json`, attributes with a check for each, and `_arrays`,
    the lengths of float64 vectors.
    """

    _json: ClassVar[Checks] = {}
    _embeds = False  # whether the network begins with an embedding
    _options: dict[str, Any]  # those that the network was made with
    model_: Sequential
    chosen_: dict[str, Any]

    def __dask_tokenize__(self) -> bytes:
        """Return what Dask tells models apart by: what was fitted, too, and not options alone."""
        return pickle.dumps(self)

    def _check_is_fitted(self) -> None:
        """Raise an error before `fit`."""
        raise NotImplementedError

    def _sizes(self) -> tuple[int, int]:
        """Return the numbers of features and outputs of the network, from what was fitted."""
        raise NotImplementedError

    def _copies(self) -> int:
        """Return how many times as wide as `hidden_size` the fitted network is."""
        return 1

    def _chosen(self, name: str, otherwise: Any) -> Any:
        """Return an option of the fitted network, by its name or as the data chose it."""
        return getattr(self, "chosen_", {}).get(name, getattr(self, name, otherwise))

    def _network(self, seed: Seed, copies: int = 1) -> Sequential:
        """Return a new network: recurrent layers, a `Pool` unless it answers per step, `Linear`.

        If the model embeds, the inputs are integers below the number of outputs.
        """
        features, outputs = self._sizes()
        both, units = bool(self._chosen("bidirectional", False)), self.hidden_size * copies
        where: dict[str, Any] = {
            "backend": get_backend(self.backend, device=self.device, dtype=self.dtype)
        }
        layers: list[Any] = []
        if self._embeds:
            layers.append(Embedding(outputs, features, seed=seed, **where))
        layers.append(
            Recurrent(
                self.cell, features, units, self.num_layers, bidirectional=both,
                dropout=self.dropout if self.num_layers > 1 else 0.0,
                recurrent_init="orthogonal", weight_init="glorot", seed=seed, **where,
            )
        )  # fmt: skip
        if not getattr(self, "per_step", True):
            layers.append(Pool(self._chosen("pool", "last"), bidirectional=both, **where))
        if self.dropout:
            layers.append(Dropout(self.dropout, **where))
        return Sequential(*layers, Linear(units * (1 + both), outputs, seed=seed, **where))

    def _arrays(self) -> dict[str, int]:
        """Return the lengths of the fitted arrays by name, from the other attributes."""
        return {}

    def _check_fitted(self) -> None:
        """Raise ValueError if what was fitted is not possible."""

    def _forget(self) -> None:
        """Set what a file does not keep of a training."""

    def _describe(self) -> tuple[Description, dict[str, np.ndarray]]:
        """Return what the file of this fitted model holds."""
        self._check_is_fitted()
        options = {k: v for k, v in self._options.items() if k not in NOT_SAVED}
        if not isinstance(self._options["cell"], str):
            options["cell"] = describe(self._options["cell"])
        for name in SEEDS:  # the state of a generator is not kept
            if not isinstance(options.get(name), Integral | None):
                options[name] = None
        bk, extra = self.model_.backend, {name: getattr(self, name) for name in self._json}
        arrays = {f"fitted.{name}": getattr(self, name) for name in self._arrays()}
        arrays |= {f"model.{name}": bk.to_numpy(w) for name, w in self.model_.params.items()}
        io.finite(arrays)
        options, extra = json.loads(json.dumps([options, extra], default=_plain))
        return Description(type(self).__name__, options, bk.dtype_name, extra), arrays

    @classmethod
    def _expect(cls, description: Description) -> dict[str, Spec]:
        """Return the arrays of the file with this description, which must be possible."""
        model, dtype = cls._from_file(description), description.dtype
        if model.num_layers > len(description.specs):
            raise ValueError(f"it has fewer arrays than layers, {model.num_layers}")
        outlines = model._network(UNDRAWN, model._copies()).params
        specs = {f"model.{name}": Spec(dtype, tuple(w.shape)) for name, w in outlines.items()}
        return specs | {f"fitted.{k}": Spec("float64", (n,)) for k, n in model._arrays().items()}

    @classmethod
    def _restore(
        cls, description: Description, arrays: dict[str, np.ndarray], backend: Backend
    ) -> Self:
        """Return the fitted model, on a backend."""
        io.finite(arrays)
        model = cls._from_file(description)
        vars(model).update(io.part(arrays, "fitted"))
        model.backend = backend
        model._check_fitted()
        model._options = model._read_options()
        config = model._network(UNDRAWN, model._copies()).config()
        model.model_ = io.restore_layer(config, io.part(arrays, "model"), backend)
        model._forget()
        return model

    @classmethod
    def _from_file(cls, description: Description) -> Self:
        """Return a model with the checked content of a description."""
        names = cls._names(*NOT_SAVED)
        options = dict(zip(names, _keys(description.config, names), strict=True))
        if isinstance(options["cell"], dict):
            options["cell"] = build_cell(options["cell"])
        elif not isinstance(options["cell"], str):
            raise ValueError(f"cell must be a name or a description, got {options['cell']!r:.80}")
        model = cls(**options)
        model._read_options()
        for name in SEEDS:
            optional(validate.count)(name, options.get(name))
        found = _keys(description.extra, list(cls._json))
        for (name, check), value in zip(cls._json.items(), found, strict=True):
            setattr(model, name, check(name, value))
        return model


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return exp z / Σ exp z over the last axis, in float64."""
    z = logits.astype("float64")
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def _keys(values: dict[str, Any], names: list[str]) -> list[Any]:
    """Return the values of a dict that has exactly these names."""
    if values.keys() != {*names}:
        raise ValueError(f"expected {', '.join(names)}, got {list(values)!r:.200}")
    return [values[name] for name in names]


def _plain(value: Any) -> Any:
    """Return a NumPy scalar or array as JSON holds it."""
    return value.item() if isinstance(value, np.generic) else value.tolist()
