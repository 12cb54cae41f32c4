"""Losses: exact gradients, stable at extremes, the same on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from cases import assert_close

from rnnx import Backend
from rnnx.losses import (
    binary_cross_entropy,
    huber,
    mean_absolute_error,
    mean_squared_error,
    softmax_cross_entropy,
)

MASK = np.asarray([[True, False], [True, True], [False, True]])


def cross_entropy(logits: Any, targets: np.ndarray, counts: np.ndarray) -> Any:
    """Return the mean of -log softmax at the targets, by the definition."""
    log_p = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    return -np.sum(np.take_along_axis(log_p, targets[..., None], -1)[counts]) / np.sum(counts)


@pytest.mark.parametrize("masked", [False, True])
def test_cross_entropy_equals_the_oracle(bk: Backend, masked: bool) -> None:
    """The loss is the definition's and its gradient the complex-step derivative, also masked."""
    rng = np.random.default_rng(0)
    logits, targets = 3 * rng.standard_normal((3, 2, 5)), rng.integers(0, 5, (3, 2))
    counts = MASK if masked else np.ones_like(MASK)

    def loss(a: dict[str, Any]) -> Any:
        return cross_entropy(a["z"], targets, counts)

    exact = oracle.complex_step(loss, {"z": logits})["z"]
    mask = bk.asarray(MASK, dtype="bool") if masked else None
    value, gradient = softmax_cross_entropy(
        bk.asarray(logits), bk.asarray(targets, dtype="int32"), mask
    )
    assert value.dtype == bk.dtype
    assert_close(bk, bk.xp.asarray(value), np.asarray(loss({"z": logits})), "loss")
    assert_close(bk, gradient, exact, "dlogits")


@pytest.mark.parametrize("masked", [False, True])
def test_mean_squared_error_equals_the_oracle(bk: Backend, masked: bool) -> None:
    """The loss is the definition's and its gradient the complex-step derivative, also masked."""
    rng = np.random.default_rng(1)
    y, target = rng.standard_normal((3, 2)), rng.standard_normal((3, 2))
    counts = MASK if masked else np.ones_like(MASK)

    def loss(a: dict[str, Any]) -> Any:
        return np.sum((a["y"] - target)[counts] ** 2) / np.sum(counts)

    exact = oracle.complex_step(loss, {"y": y})["y"]
    mask = bk.asarray(MASK, dtype="bool") if masked else None
    value, gradient = mean_squared_error(bk.asarray(y), bk.asarray(target), mask)
    assert_close(bk, bk.xp.asarray(value), np.asarray(loss({"y": y})), "loss")
    assert_close(bk, gradient, exact, "dy")


def by_definition(loss: Any, y: Any, target: np.ndarray) -> Any:
    """Return the loss of every number, written as the textbooks do, for complex y too."""
    error = y - target
    size = np.where(np.real(error) < 0, -error, error)
    if loss is mean_squared_error:
        return error**2
    if loss is mean_absolute_error:
        return size
    if loss is huber:
        return np.where(np.real(size) <= 1, error**2 / 2, size - 0.5)
    return -target * np.log(1 / (1 + np.exp(-y))) - (1 - target) * np.log(1 / (1 + np.exp(y)))


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weights"])
@pytest.mark.parametrize("masked", [False, True], ids=["all", "mask"])
@pytest.mark.parametrize(
    "loss", [mean_squared_error, mean_absolute_error, huber, binary_cross_entropy]
)
def test_losses_of_numbers_equal_the_oracle(
    bk: Backend, loss: Any, masked: bool, weighted: bool
) -> None:
    """Value by the definition, gradient by the complex step; masked, weighted, and both."""
    rng = np.random.default_rng(3)
    y, target = 2 * rng.standard_normal((3, 2)), rng.random((3, 2))
    w = rng.random((3, 2)) if weighted else np.ones((3, 2))
    counts = w * (MASK if masked else 1)

    def exact(a: dict[str, Any]) -> Any:
        return np.sum(counts * by_definition(loss, a["y"], target)) / np.sum(counts)

    options = {"mask": bk.asarray(MASK, dtype="bool")} if masked else {}
    options |= {"weights": bk.asarray(w)} if weighted else {}
    value, gradient = loss(bk.asarray(y), bk.asarray(target), **options)
    assert_close(bk, bk.xp.asarray(value), np.asarray(exact({"y": y})), "loss")
    assert_close(bk, gradient, oracle.complex_step(exact, {"y": y})["y"], "dy")


def test_weights_of_positions_weigh_the_cross_entropy() -> None:
    """With the weights of the targets' classes, torch's weighted mean."""
    torch = pytest.importorskip("torch", reason="torch is the oracle here")
    rng = np.random.default_rng(4)
    logits, targets, classes = rng.standard_normal((6, 4)), rng.integers(0, 4, 6), rng.random(4)
    z = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        z, torch.tensor(targets), weight=torch.tensor(classes)
    )
    expected.backward()
    loss, dlogits = softmax_cross_entropy(logits, targets, weights=classes[targets])
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(dlogits, z.grad.numpy(), rtol=0, atol=1e-13)


def test_binary_cross_entropy_is_stable_for_huge_logits(bk: Backend) -> None:
    """Logits of ±1e4 give finite, right values, without a warning."""
    loss, dz = binary_cross_entropy(bk.asarray([1e4, -1e4]), bk.asarray([0.0, 0.0]))
    assert bk.to_numpy(loss) == pytest.approx(5e3)
    np.testing.assert_allclose(bk.to_numpy(dz), [0.5, 0], atol=1e-12)
    with pytest.raises(ValueError, match="delta must be above 0 and finite, got 0"):
        huber(bk.zeros((2,)), bk.zeros((2,)), delta=0)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_cross_entropy_keeps_its_digits_in_both_tails(bk: Backend, target: float) -> None:
    """Each logit's gradient is right relative to itself, not only to the largest one."""
    z = np.asarray([-80.0, -40.0, -20.0, -5.0, -0.1, 0.0, 0.1, 5.0, 20.0, 40.0, 80.0])
    exact = np.where(z < 0, np.exp(z), 1) / (1 + np.exp(-np.abs(z)))  # σ(z)
    exact = exact if target == 0 else -exact[::-1]  # σ(z) - 1 = -σ(-z)
    _, dz = binary_cross_entropy(bk.asarray(z), bk.asarray(np.full_like(z, target)))
    tolerance = {"float32": 1e-6, "float64": 1e-14}[bk.dtype_name]
    np.testing.assert_allclose(bk.to_numpy(dz) * len(z), exact, rtol=tolerance, atol=0)
    if target == 0:
        assert bk.to_numpy(dz)[2] * len(z) == pytest.approx(2.0611536181902037e-9, rel=1e-6)


def test_cross_entropy_is_stable_for_huge_logits(bk: Backend) -> None:
    """Logits of ±1e4 give finite, right losses and gradients, without a warning."""
    logits = bk.asarray([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
    value, gradient = softmax_cross_entropy(logits, bk.asarray([1, 2], dtype="int32"))
    assert bk.to_numpy(value) == pytest.approx((2e4 + np.log(3)) / 2, rel=1e-6)
    third = 1 / 6
    expected = [[0.5, -0.5, 0], [third, third, third - 0.5]]
    np.testing.assert_allclose(bk.to_numpy(gradient), expected, atol=1e-7)


def test_what_is_masked_has_no_effect(bk: Backend) -> None:
    """NaN and wrong targets behind the mask change nothing; a mask of nothing gives zero."""
    logits = np.asarray([[1.0, 2.0], [np.nan, np.inf]])
    mask = bk.asarray([True, False], dtype="bool")
    with np.errstate(invalid="ignore"):
        value, gradient = softmax_cross_entropy(
            bk.asarray(logits), bk.asarray([0, 99], dtype="int32"), mask
        )
        alone, _ = softmax_cross_entropy(bk.asarray(logits[:1]), bk.asarray([0], dtype="int32"))
    assert bk.to_numpy(value) == bk.to_numpy(alone)
    assert not np.any(bk.to_numpy(gradient)[1])
    nothing = bk.asarray([False, False], dtype="bool")
    value, gradient = mean_squared_error(bk.asarray([1.0, np.nan]), bk.zeros((2,)), nothing)
    assert bk.to_numpy(value) == 0
    assert not np.any(bk.to_numpy(gradient))


def test_a_target_outside_the_classes_is_not_silent(bk: Backend) -> None:
    """Without a value check on the device, a wrong target still shows: the loss is NaN."""
    for wrong in (-1, 3):
        value, gradient = softmax_cross_entropy(
            bk.zeros((2, 3)), bk.asarray([0, wrong], dtype="int32")
        )
        assert np.isnan(bk.to_numpy(value))
        assert np.isnan(bk.to_numpy(gradient)[1]).all()
        assert not np.isnan(bk.to_numpy(gradient)[0]).any()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32"])
def test_narrow_integers_may_name_many_classes(bk: Backend, dtype: str) -> None:
    """Targets of 8 bits and 300 classes: no class is taken for another."""
    logits = np.random.default_rng(2).standard_normal((3, 300))
    targets = np.asarray([4, 20, 43])
    loss, gradient = softmax_cross_entropy(bk.asarray(logits), bk.asarray(targets, dtype=dtype))
    exact = cross_entropy(logits, targets, np.ones(3, dtype=bool))
    assert_close(bk, bk.xp.asarray(loss), np.asarray(exact), "loss")
    assert np.abs(bk.to_numpy(gradient).sum(axis=-1)).max() < 1e-6


def test_what_is_no_array_of_the_library_is_refused() -> None:
    """A list, an array of another library, complex numbers: one line each."""
    strict = pytest.importorskip("array_api_strict")
    z = np.zeros((2, 3))
    with pytest.raises(TypeError, match="outputs must be an array, got list"):
        mean_squared_error([z], [z])
    with pytest.raises(TypeError, match="targets must be an array of numpy, got one of array_api_"):
        mean_squared_error(z, strict.zeros((2, 3)))
    with pytest.raises(TypeError, match="outputs must have a dtype of kind 'real floating'"):
        mean_squared_error(z * 1j, z)


def test_wrong_arguments_are_refused(bk: Backend) -> None:
    """Shapes and kinds of dtype are checked: expected and got."""
    z, k = bk.zeros((4, 2, 3)), bk.asarray(np.zeros((4, 2)), dtype="int32")
    with pytest.raises(ValueError, match=r"targets must have shape \(4, 2\), got \(4, 2, 3\)"):
        softmax_cross_entropy(z, z)
    with pytest.raises(TypeError, match="targets must have a dtype of kind 'integral', got"):
        softmax_cross_entropy(z, bk.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"mask must have shape \(4, 2\), got \(4,\)"):
        softmax_cross_entropy(z, k, bk.asarray([True] * 4, dtype="bool"))
    with pytest.raises(TypeError, match="mask must have a dtype of kind 'bool', got"):
        mean_squared_error(z, z, z)
    with pytest.raises(ValueError, match=r"targets must have shape \(4, 2, 3\), got \(4, 2\)"):
        mean_squared_error(z, bk.zeros((4, 2)))
