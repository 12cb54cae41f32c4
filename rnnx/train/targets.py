"""What the targets of a loss must be, checked before training."""

from __future__ import annotations

from typing import Any

from rnnx.losses.shared import targets_of


def check(model: Any, source: Any, loss: Any) -> None:
    """Raise if the targets are not what the loss takes: labels of the model's outputs, or numbers.

    A loss of your own is not looked at, unless its attribute `targets` is "labels" or "numbers".
    """
    kind = targets_of(loss)
    if kind is None:
        return
    name = getattr(getattr(loss, "func", loss), "__name__", "the loss")
    bk, batch = model.backend, source.batch(slice(0, 1))
    whole = bool(bk.xp.isdtype(batch.target.dtype, "integral"))
    if kind == "numbers" and whole:
        raise TypeError(
            f"y must hold floating numbers for {name}, got integers, which are labels: give "
            "y.astype('float32')"
        )
    if kind == "labels" and not whole:
        raise TypeError(
            f"y must hold integers for {name}, the labels from 0, got {batch.target.dtype}: give "
            "y.astype('int64'), or np.argmax(y, axis=-1) of one-hot rows"
        )
    if kind == "labels":
        with bk.scope():
            outputs, _ = model(batch.x[:1, :1, ...])  # one step of one sequence, for its shape
        source.check_labels(int(outputs.shape[-1]))
