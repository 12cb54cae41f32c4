"""What a trained model computes: the network and what surrounds it, as an exporter writes it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rnnx.layers.base import Layer
from rnnx.layers.dropout import Dropout

Scaling = tuple[np.ndarray, np.ndarray]  # mean and scale, one number per feature, float64


class Deployed(NamedTuple):
    """``y = softmax(network((x - mean) / scale))``, or ``network(...) * scale + mean``.

    Every part but the network may be missing.
    """

    layers: tuple[Layer, ...]  # the innermost layers in order, on NumPy, without dropout
    before: Scaling | None = None  # the network reads (x - mean) / scale
    softmax: bool = False
    after: Scaling | None = None  # the answer is y * scale + mean
    about: Mapping[str, Any] = MappingProxyType({})  # classes, alphabet, ..., as JSON can hold it


def deployed(model: Any) -> Deployed:
    """Return what a layer, a classifier, a regressor or a character model computes.

    Raises
    ------
    TypeError, ValueError
        For anything else, and for a model that is not fitted.
    """
    if hasattr(model, "_deployed"):
        found: Deployed = model._deployed()
        return found
    if isinstance(model, Layer):
        return Deployed(inner_layers(model))
    raise TypeError(
        "expected a layer, an RNNClassifier, an RNNRegressor or a CharacterModel, got a "
        f"{type(model).__name__}"
    )


def inner_layers(model: Any) -> tuple[Layer, ...]:
    """Return the innermost layers of a model in order, on NumPy, without dropout."""
    host = model.to("numpy")
    return tuple(layer for _, layer in host.walk() if not isinstance(layer, Dropout))
