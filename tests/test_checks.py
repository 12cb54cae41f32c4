"""gradcheck finds planted bugs, whatever hides them, and says where it has proven nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnx
from rnnx.core import direction, portable

X = np.random.default_rng(0).standard_normal((6, 3, 2))
LENGTHS = [6, 4, 1]


class Bug(rnnx.GRU):
    """A GRU whose `backward` changes what the exact one returns."""

    def __init__(self, change: Any, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.change = change

    def backward(self, dy: Any, cache: Any, dstate: Any = None) -> Any:
        dx, dh0, grads = super().backward(dy, cache, dstate)
        return self.change(self.backend.xp, dx, dh0, grads)


def one_entry(xp: Any, dx: Any, dh0: Any, grads: Any) -> Any:
    W = grads["weight_hh_l0"].copy()
    W[-1, -1] += 0.1 * np.abs(W).max()
    return dx, dh0, grads | {"weight_hh_l0": W}


def scaled(xp: Any, dx: Any, dh0: Any, grads: Any) -> Any:
    return dx, dh0, {k: xp.asarray(1.0009 * g, dtype=g.dtype) for k, g in grads.items()}


BACKWARD: dict[str, Any] = {
    "one wrong entry of 3,072": one_entry,
    "all gradients off by 0.09 %": scaled,
    "a parameter forgotten": lambda xp, dx, dh0, g: (
        dx,
        dh0,
        {k: v for k, v in g.items() if k != "bias_hh_l0"},
    ),
    "no dx": lambda xp, dx, dh0, g: (None, dh0, g),
    "nothing at all": lambda xp, dx, dh0, g: (None, None, {}),
    "zeros": lambda xp, dx, dh0, g: (0 * dx, 0 * dh0, {k: 0 * v for k, v in g.items()}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bug", BACKWARD)
def test_a_wrong_backward_is_found(bug: str, dtype: str) -> None:
    """With the default settings, in both dtypes; the exact one passes."""
    sizes, options = (2, 32), {"dtype": dtype, "seed": 1}
    assert rnnx.gradcheck(Bug(lambda xp, *given: given, *sizes, **options), X)
    report = rnnx.gradcheck(Bug(BACKWARD[bug], *sizes, **options), X)
    assert not report
    assert "WRONG" in str(report)


def masked_nothing(xp: Any, valid: Any, x: Any) -> Any:
    return x


def one_step_early(*arguments: Any) -> Any:
    first, *others = OUTER(*arguments)
    return (None if first is None else np.roll(first, -1, axis=0), *others)


def full_lengths(setting: Any, part: Any) -> Any:
    piece = PIECE(setting, part)
    full = np.full_like(piece.order.lengths, part.stop - part.start)
    return piece._replace(order=piece.order._replace(valid=None, lengths=full))


OUTER, PIECE = direction._outer, direction._piece
PADDING = {
    "padding is not masked": ("_masked", masked_nothing),
    "the final state's gradient one step early": ("_outer", one_step_early),
    "going back as if all rows were full": ("_piece", full_lengths),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bug", PADDING)
def test_a_wrong_padding_is_found(bug: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of the backward pass alone: the forward pass runs before it is planted.

    The compiled core ends rows by itself; for others it is done around them.
    """
    gru = rnnx.GRU(2, 4, core="portable", dtype=dtype, seed=1)
    exact = gru.backward

    def planted(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(direction, *PADDING[bug])
            return exact(*arguments)

    assert rnnx.gradcheck(gru, X, lengths=LENGTHS)
    monkeypatch.setattr(gru, "backward", planted)
    assert not rnnx.gradcheck(gru, X, lengths=LENGTHS)


def forgets_state0(xp: Any, trace: Any, reset: Any = None) -> Any:
    before = PREVIOUS(xp, trace, reset)
    return tuple(np.concatenate([np.zeros_like(b[:1]), b[1:]]) for b in before)


PREVIOUS = portable.previous
STATE: dict[str, Any] = {
    "dh0 is doubled": lambda xp, dx, dh0, g: (dx, 2 * dh0, g),
    "dh0 is missing": lambda xp, dx, dh0, g: (dx, None, g),
    "dh0 of another row": lambda xp, dx, dh0, g: (dx, np.roll(dh0, 1, axis=1), g),
}


@pytest.mark.parametrize("given", [False, True], ids=["no state", "a state"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bug", STATE)
def test_a_wrong_state_gradient_is_found(bug: str, dtype: str, given: bool) -> None:
    """Whether or not a state is given to the check."""
    state = np.random.default_rng(1).standard_normal((1, 3, 4)) if given else None
    layer = Bug(STATE[bug], 2, 4, dtype=dtype, seed=1)
    assert not rnnx.gradcheck(layer, X, state)


def test_the_initial_state_in_the_weight_gradient() -> None:
    """A backward that takes h0 for zero is found where h0 is given."""
    gru = rnnx.GRU(2, 4, core="portable", dtype="float64", seed=1)
    state = np.ones((1, 3, 4))
    exact = gru.backward

    def planted(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(portable, "previous", forgets_state0)
            return exact(*arguments)

    gru.backward = planted  # type: ignore[method-assign]
    report = rnnx.gradcheck(gru, X, state)
    wrong = {row.name for row in report.rows if report.status(row) == "WRONG"}
    assert "weight_hh_l0" in wrong


def test_nothing_proven_is_not_right() -> None:
    """Dead relus, rows without a step, a layer without gradients: false, and said so."""
    dead = rnnx.RNN(2, 4, nonlinearity="relu", dtype="float64", seed=0)
    dead.set_params({"bias_ih_l0": np.full(4, -1e3)})
    report = rnnx.gradcheck(dead, X)
    assert not report
    assert {report.status(row) for row in report.rows} == {"not proven"}
    assert str(report).startswith("not proven  x")
    empty = rnnx.gradcheck(rnnx.GRU(2, 4, dtype="float64", seed=0), X, lengths=[0, 0, 0])
    assert not empty
    assert "not proven  weight_ih_l0" in str(empty)
    assert "ok          state" in str(empty)  # it goes through unchanged
    zeros = rnnx.gradcheck(
        Bug(BACKWARD["zeros"], 2, 4, dtype="float64", seed=0), X, lengths=[0, 0, 0]
    )
    assert not zeros


def test_a_report_says_what_was_proven() -> None:
    """Entries compared, entries in all, and the accuracy, for each array."""
    gru = rnnx.GRU(2, 32, dtype="float64", seed=1)
    report = rnnx.gradcheck(gru, X, samples=10)
    row = next(row for row in report.rows if row.name == "weight_hh_l0")
    assert (row.checked, row.entries) == (10, 96 * 32)
    assert row.projection_error < 1e-13
    assert "in 10 entries" in str(report)
    assert "in all 3072 along 4 directions" in str(report)
    extra = Bug(lambda xp, dx, dh0, g: (dx, dh0, g | {"ghost": dx}), 2, 4, dtype="float64")
    assert "WRONG       ghost" in str(rnnx.gradcheck(extra, X))
    shaped = Bug(lambda xp, dx, dh0, g: (dx[:1], dh0, g), 2, 4, dtype="float64")
    assert "gradient of shape (1, 3, 2), expected (6, 3, 2)" in str(rnnx.gradcheck(shaped, X))
