"""What a fitted estimator has learned: as it was where a fit fails, and in files without pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from os import PathLike
from typing import Any, TypeVar

import numpy as np

from rnnx import io
from rnnx.backend import Backend, target_backend

Estimator = TypeVar("Estimator")
_PLACE = ("backend", "device", "dtype")  # chosen anew where a file is loaded


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give an estimator back what it had learned, and its generator's state, where this fails."""
    before = dict(vars(estimator))
    model, rng = before.get("model_"), before.get("_rng")
    params = None if model is None else model.params
    state = None if rng is None else rng.bit_generator.state
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        if model is not None:
            model.params = params
        if rng is not None:
            rng.bit_generator.state = state
        raise


def packed(estimator: Any, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the arrays of a fitted estimator.

    Parameters
    ----------
    estimator : object
        With a `model_`, and the `_options` that it was made with.
    names : tuple of str
        The fitted attributes to keep: numbers, strings, None, arrays.

    Raises
    ------
    ValueError
        For classes that are neither numbers nor strings.
    """
    model = estimator.model_
    options = {k: v for k, v in estimator._options.items() if k not in _PLACE}
    if not isinstance(options.get("random_state"), Integral | None):
        options["random_state"] = None  # a generator's state is not kept
    header: dict[str, Any] = {"options": options, "dtype": model.backend.dtype_name, "fitted": {}}
    arrays = {f"model/{k}": model.backend.to_numpy(w) for k, w in model.params.items()}
    if hasattr(estimator, "feature_names_in_"):
        names = (*names, "feature_names_in_")
    for name in names:
        value = getattr(estimator, name)
        if isinstance(value, np.ndarray):
            arrays[f"fitted/{name}"] = _plain(name, value)
        else:
            header["fitted"][name] = value
    return json.loads(json.dumps(header, default=np.generic.item)), arrays  # np.int64(8) is 8


def load(
    cls: Callable[..., Estimator],
    names: tuple[str, ...],
    path: str | PathLike[str],
    backend: str | Backend,
    device: Any,
    dtype: str | None,
) -> Estimator:
    """Return the estimator in a file that holds what `packed` returned; its own dtype by default.

    Raises
    ------
    OSError, ValueError
        Where there is no such file, or it is damaged, lacks something, or is of another class.
    """
    header, arrays = io.load(path, cls.__name__)
    own = header.get("dtype", "float32")
    place = target_backend(backend, device=device, dtype=dtype, own_dtype=own)
    try:
        return _unpacked(cls, names, header, arrays, place)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise io.damaged(path, error) from None


def _unpacked(
    cls: Callable[..., Estimator],
    names: tuple[str, ...],
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    place: Backend,
) -> Estimator:
    """Return the estimator that `packed` described, on a backend."""
    estimator: Any = cls(**header["options"], backend=place)
    estimator._options = estimator.get_params(deep=False)
    fitted = header["fitted"] | _part(arrays, "fitted")
    for name in names:
        setattr(estimator, name, fitted[name])
    if "feature_names_in_" in fitted:
        estimator.feature_names_in_ = fitted["feature_names_in_"].astype(object)
    estimator._rebuild()
    params = _part(arrays, "model")
    if params.keys() != estimator.model_.params.keys():
        raise ValueError(f"expected {list(estimator.model_.params)}, got {list(params)}")
    estimator.model_.set_params(params)
    restored: Estimator = estimator
    return restored


def _part(arrays: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    start = f"{kind}/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _plain(name: str, value: np.ndarray) -> np.ndarray:
    """Return an array that a file without pickle can hold."""
    if value.dtype.kind != "O":
        return value
    if all(isinstance(entry, str) for entry in value.ravel()):
        return value.astype("U")
    raise ValueError(f"{name} must hold numbers or strings to be saved, got {value.ravel()[0]!r}")
