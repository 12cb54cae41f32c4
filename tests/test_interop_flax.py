"""Weights from Flax, compared on Flax's own outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_near

from rnnx.interop import from_flax

X = np.random.default_rng(0).standard_normal((3, 7, 4)).astype("float32")
CELLS = ["SimpleCell", "GRUCell", "LSTMCell", "OptimizedLSTMCell"]


def drawn(tree: Any) -> Any:
    """Return parameters like these, with every bias drawn."""
    jax = pytest.importorskip("jax", reason="needs jax")
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: jax.numpy.asarray(rng.uniform(-0.5, 0.5, a.shape), a.dtype), tree)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_linen(name: str, both: bool) -> None:
    """What init returned, with "params" or without, of a cell, an RNN or both directions."""
    linen = pytest.importorskip("flax.linen", reason="needs flax")
    import jax

    def one() -> Any:
        return linen.RNN(getattr(linen, name)(5))

    module = linen.Bidirectional(one(), one()) if both else one()
    variables = drawn(module.init(jax.random.key(0), X))
    expected = np.asarray(module.apply(variables, X))
    for params in (variables, variables["params"]):
        assert_near(from_flax(params)(X)[0], expected, 1e-5)
    if not both:
        assert_near(from_flax(variables["params"]["cell"])(X)[0], expected, 1e-5)
        time_major = from_flax(variables, batch_first=False)
        assert_near(time_major(np.swapaxes(X, 0, 1))[0], np.swapaxes(expected, 0, 1), 1e-5)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_nnx(name: str, both: bool) -> None:
    """The state of a module, or a pure dictionary of it, beside random states."""
    nnx = pytest.importorskip("flax.nnx", reason="needs flax")

    def one() -> Any:
        return nnx.RNN(getattr(nnx, name)(4, 5, rngs=nnx.Rngs(0)))

    module = nnx.Bidirectional(one(), one()) if both else one()
    nnx.update(module, drawn(nnx.state(module, nnx.Param)))
    expected = np.asarray(module(X))
    for params in (nnx.state(module), nnx.to_pure_dict(nnx.state(module))):
        assert_near(from_flax(params)(X)[0], expected, 1e-5)


def test_relu_is_said() -> None:
    """The parameters do not say; tanh is Flax's default."""
    cell = {"i": {"kernel": np.ones((2, 3))}, "h": {"kernel": np.ones((3, 3))}}
    assert from_flax(cell).cell.nonlinearity == "tanh"
    assert from_flax(cell, nonlinearity="relu").cell.nonlinearity == "relu"


KERNEL = {"kernel": np.ones((3, 3))}
GRU = dict.fromkeys(("ir", "iz", "in", "hr", "hz", "hn"), KERNEL)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "expected the parameters of a SimpleCell"),
        (dict.fromkeys(("if", "in", "hf", "hn"), KERNEL), "got if, in, hf, hn"),
        ({"cell": GRU, "dense": KERNEL}, "got cell, dense"),
        (GRU | {"ir": 3}, "expected a kernel and perhaps a bias"),
        (GRU | {"ir": KERNEL | {"scale": 1}}, "expected a kernel and perhaps a bias"),
        (GRU | {"ir": {"kernel": np.ones(3)}}, "kernel must be a matrix"),
        (GRU | {"ir": {"kernel": np.ones((3, 2))}}, r"of one shape for all gates, got .*\(3, 2\)"),
        (GRU | {"iz": {"kernel": np.ones((2, 3))}}, "kernels and biases of one shape"),
        (GRU | {"iz": KERNEL | {"bias": np.float64(1)}}, "kernels and biases of one shape"),
        (GRU | {"ir": KERNEL | {"bias": np.ones(2)}}, "kernels and biases of one shape"),
        ({"dense_i": KERNEL, "dense_h": {"kernel": np.ones((3, 6))}}, "got dense_i, dense_h"),
        (
            {"forward_rnn": GRU, "backward_rnn": {"i": KERNEL, "h": KERNEL}},
            "expected both directions of one kind, got GRU and RNN",
        ),
    ],
)
def test_what_is_not_a_cell_is_refused(params: dict[str, Any], words: str) -> None:
    """With what was found."""
    with pytest.raises(ValueError, match=words):
        from_flax(params)


def test_not_a_dictionary() -> None:
    """A TypeError."""
    with pytest.raises(TypeError, match="expected a dictionary of parameters by name"):
        from_flax([1, 2])
