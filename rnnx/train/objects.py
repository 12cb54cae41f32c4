"""The loss and the optimizer of `fit`, given by name or as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnnx.losses import LOSSES
from rnnx.optim import OPTIMIZERS

OPTIMIZER = ("init", "update", "learning_rate")  # what `fit` uses of one


def loss_of(loss: Any) -> Callable[..., Any]:
    """Return a loss by its name, or the function that was given."""
    if isinstance(loss, str):
        found: Callable[..., Any] = _named("loss", loss, LOSSES)
        return found
    if not callable(loss):
        raise TypeError(
            f"loss must be a function, such as rnnx.losses.mean_squared_error, or one of "
            f"{', '.join(LOSSES)}, got a {type(loss).__name__}"
        )
    return loss


def optimizer_of(optimizer: Any) -> Any:
    """Return an optimizer by its name, with its defaults, or the one that was given."""
    if isinstance(optimizer, str):
        return _named("optimizer", optimizer, OPTIMIZERS)()
    if isinstance(optimizer, type):
        raise TypeError(
            f"optimizer must be an object, got the class {optimizer.__name__}: give "
            f"{optimizer.__name__}(), or {optimizer.__name__}(0.01) to set its learning rate"
        )
    missing = [name for name in OPTIMIZER if not hasattr(optimizer, name)]
    if missing:
        raise TypeError(
            f"optimizer must be one of rnnx.optim, a name of {', '.join(OPTIMIZERS)}, or an object "
            f"with {', '.join(OPTIMIZER)}, got a {type(optimizer).__name__} without {missing[0]}"
        )
    return optimizer


def _named(what: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, or an object, got {name!r}")
    return known[name]
