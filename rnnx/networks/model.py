"""A model with options and one network, and what its file holds."""

from __future__ import annotations

import json
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np

from rnnx import io, validate
from rnnx.backend import Backend
from rnnx.io import Description, Spec
from rnnx.layers.sequential import Sequential
from rnnx.networks.build import build
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

    def _check_is_fitted(self) -> None:
        """Raise an error before `fit`."""
        raise NotImplementedError

    def _sizes(self) -> tuple[int, int]:
        """Return the numbers of features and outputs of the network, from what was fitted."""
        raise NotImplementedError

    def _network(self, seed: np.random.Generator) -> Sequential:
        """Return a new network, with random weights."""
        return build(self, *self._sizes(), seed, embed=self._embeds)

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
        if not isinstance(options["cell"], str):
            raise ValueError(
                f"cell must be a name to be saved, got {options['cell']!r}: register the cell and "
                "fit with its name"
            )
        for name in SEEDS:  # the state of a generator is not kept
            if not isinstance(options.get(name), Integral | None):
                options[name] = None
        bk, config = self.model_.backend, {"options": options, "network": self.model_.config()}
        extra = {name: getattr(self, name) for name in self._json}
        arrays = {f"fitted.{name}": getattr(self, name) for name in self._arrays()}
        arrays |= {f"model.{name}": bk.to_numpy(w) for name, w in self.model_.params.items()}
        io.finite(arrays)
        plain = json.loads(json.dumps([config, extra], default=_plain))
        return Description(type(self).__name__, plain[0], bk.dtype_name, plain[1]), arrays

    @classmethod
    def _expect(cls, description: Description) -> dict[str, Spec]:
        """Return the arrays of the file with this description, which must be possible."""
        model, network = cls._from_file(description)
        model._check_sizes(network)
        specs = io.layer_specs(network, description.dtype, description.specs, "model.")
        return specs | {f"fitted.{k}": Spec("float64", (n,)) for k, n in model._arrays().items()}

    @classmethod
    def _restore(
        cls, description: Description, arrays: dict[str, np.ndarray], backend: Backend
    ) -> Self:
        """Return the fitted model, on a backend."""
        io.finite(arrays)
        model, network = cls._from_file(description)
        vars(model).update(io.part(arrays, "fitted"))
        model.backend = backend
        model._check_fitted()
        if model._network(np.random.default_rng(0)).config() != network:
            raise ValueError("its network is not the one that its options describe")
        model._options = model._read_options()
        model.model_ = io.restore_layer(network, io.part(arrays, "model"), backend)
        model._forget()
        return model

    @classmethod
    def _from_file(cls, description: Description) -> tuple[Self, dict[str, Any]]:
        """Return a model with the checked content of a description, and its network."""
        options, network = _keys(description.config, ["options", "network"])
        names = cls._names(*NOT_SAVED)
        model = cls(**dict(zip(names, _keys(options, names), strict=True)))
        model._read_options()
        if not isinstance(model.cell, str):
            raise ValueError(f"cell must be a name, got {model.cell!r}")
        for name in SEEDS:
            optional(validate.count)(name, options.get(name))
        found = _keys(description.extra, list(cls._json))
        for (name, check), value in zip(cls._json.items(), found, strict=True):
            setattr(model, name, check(name, value))
        return model, network

    def _check_sizes(self, network: Any) -> None:
        """Raise ValueError if the network has other sizes than the model, before it is built."""
        features, outputs = self._sizes()
        sizes = ("hidden_size", "num_layers")
        read = {"input_size": features} | {name: getattr(self, name) for name in sizes}
        layers = network["layers"]
        pairs = [(layers[int(self._embeds)], read), (layers[-1], {"output_size": outputs})]
        if self._embeds:
            pairs.append((layers[0], {"num_embeddings": outputs, "size": features}))
        for layer, expected in pairs:
            found = {name: layer[name] for name in expected}
            if found != expected:
                raise ValueError(f"expected a network with {expected}, got {found!r:.200}")


def _keys(values: Any, names: list[str]) -> list[Any]:
    """Return the values of a dict that has exactly these names."""
    if not isinstance(values, dict) or values.keys() != {*names}:
        found = list(values) if isinstance(values, dict) else values
        raise ValueError(f"expected {', '.join(names)}, got {found!r:.200}")
    return [values[name] for name in names]


def _plain(value: Any) -> Any:
    """Return a NumPy scalar or array as JSON holds it."""
    return value.item() if isinstance(value, np.generic) else value.tolist()
