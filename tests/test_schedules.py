"""Schedules: their closed forms, torch's numbers, a representation that makes them again."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import numpy as np
import pytest

from rnnx import optim
from rnnx.optim import AdamW, Constant, Cosine, Step, WarmUp

ALL = [
    Constant(),
    Cosine(7),
    Cosine(np.int64(9), final=np.float32(0.3)),
    Step(3),
    Step(np.int32(2), factor=np.float64(0.7)),
    WarmUp(4),
    WarmUp(np.int64(5), then=Cosine(6, 0.1)),
    WarmUp(2, WarmUp(3, Step(4))),
]
torch_twins = pytest.mark.parametrize(
    ("ours", "name", "options", "steps"),
    [
        (Cosine(20), "CosineAnnealingLR", {"T_max": 20}, 21),
        (Cosine(20, final=0.1), "CosineAnnealingLR", {"T_max": 20, "eta_min": 0.1}, 21),
        (Step(5), "StepLR", {"step_size": 5}, 31),
        (Step(3, factor=0.6), "StepLR", {"step_size": 3, "gamma": 0.6}, 31),
        (WarmUp(8), "LinearLR", {"start_factor": 1 / 8, "total_iters": 7}, 31),
    ],
    ids=str,
)


@torch_twins
def test_schedules_equal_torch(ours: Any, name: str, options: Any, steps: int) -> None:
    """The rate of every step equals that of torch.optim.lr_scheduler to 1e-12."""
    torch = pytest.importorskip("torch", reason="torch is the oracle here")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    for t in range(steps):
        assert ours(t) == pytest.approx(theirs.get_last_lr()[0], rel=0, abs=1e-12), t
        optimizer.step()
        theirs.step()


@torch_twins
def test_training_on_a_schedule_equals_torch(
    ours: Any, name: str, options: Any, steps: int
) -> None:
    """AdamW, whose decay feels the rate too, takes torch's steps in float64 to 1e-12."""
    torch = pytest.importorskip("torch", reason="torch is the oracle here")
    rng = np.random.default_rng(0)
    adamw, params = AdamW(1.0, weight_decay=0.2), {"w": rng.standard_normal(5)}
    tensor = torch.tensor(params["w"], requires_grad=True)
    optimizer = torch.optim.AdamW([tensor], lr=1.0, weight_decay=0.2)
    theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    state = adamw.init(params)
    for t in range(steps):
        grads = {"w": rng.standard_normal(5)}
        params, state = adamw.update(params, grads, state, adamw.learning_rate * ours(t))
        tensor.grad = torch.tensor(grads["w"])
        optimizer.step()
        theirs.step()
    np.testing.assert_allclose(params["w"], tensor.detach().numpy(), rtol=0, atol=1e-12)


def test_schedules_are_their_closed_forms() -> None:
    """Every factor of the first 40 steps, beyond the ends and across the seam of a warm-up too."""
    for t in range(40):
        half = (1 + cos(pi * min(t, 10) / 10)) / 2
        assert Constant()(t) == 1
        assert Cosine(10)(t) == pytest.approx(half, abs=1e-15)
        assert Cosine(10, final=0.2)(t) == pytest.approx(0.2 + 0.8 * half, abs=1e-15)
        assert Step(4, factor=0.5)(t) == 0.5 ** (t // 4)
        line = (t + 1) / 6
        assert WarmUp(6)(t) == min(line, 1)
        assert WarmUp(6, Cosine(10))(t) == (line if t < 6 else Cosine(10)(t - 6))
        assert WarmUp(6, lambda s: 100.0 + s)(t) == (line if t < 6 else 94.0 + t)


@pytest.mark.parametrize("final", [0.0, 0.1, 1 / 3, 0.7])
def test_a_cosine_ends_exactly(final: float) -> None:
    """Its first factor is 1, and the last and all after it the final one, to the last bit."""
    cosine = Cosine(11, final)
    assert [cosine(0), cosine(11), cosine(12), cosine(10**9)] == [1.0, final, final, final]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_the_representation_makes_the_schedule_again(schedule: Any) -> None:
    """A file may hold it; a NumPy number in an argument does not show."""
    again = eval(repr(schedule), {name: getattr(optim, name) for name in optim.__all__})
    assert again == schedule
    assert [again(t) for t in range(20)] == [schedule(t) for t in range(20)]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_factor_is_a_python_float(schedule: Any) -> None:
    """At every step, whatever integer counts it: a NumPy scalar would decide dtypes."""
    assert {type(schedule(t)) for t in (*range(20), np.int64(3))} == {float}
    assert schedule(np.int64(3)) == schedule(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(0), "steps must be an integer of at least 1, got 0"),
        (lambda: Cosine(2.5), "steps must be an integer of at least 1, got 2.5"),
        (lambda: Cosine(5, final=-0.1), "final must be at least 0 and finite, got -0.1"),
        (lambda: Step(0), "every must be an integer of at least 1, got 0"),
        (lambda: Step(5, factor=0.0), "factor must be above 0 and finite, got 0.0"),
        (lambda: WarmUp(0), "steps must be an integer of at least 1, got 0"),
        (lambda: WarmUp(True), "steps must be an integer of at least 1, got True"),
        *((lambda s=s: s(-1), "step must be an integer of at least 0, got -1") for s in ALL),
        *((lambda s=s: s(1.0), "step must be an integer of at least 0, got 1.0") for s in ALL),
    ],
)
def test_wrong_values_are_refused(make: Any, message: str) -> None:
    """Every argument and the number of the step have their ranges."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("then", [None, 0.5, Cosine], ids=repr)
def test_a_warm_up_goes_over_into_a_schedule(then: Any) -> None:
    """A number, nothing, or a class without its arguments is none."""
    with pytest.raises(TypeError, match="then must be a schedule, a function of the step number"):
        WarmUp(5, then=then)
