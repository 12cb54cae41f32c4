"""An oracle of other authors: torch.nn.RNN with copied weights, and torch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
from cases import assert_near
from test_simple import lively

from rnnx import get_backend
from rnnx.core import portable
from rnnx.core.contract import NONE, Job
from rnnx.core.products import affine
from rnnx.losses import mean_squared_error, softmax_cross_entropy

torch = pytest.importorskip("torch", reason="torch is the oracle here")


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (7, 1), (12, 5)], ids=str)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_network_equals_torch(nonlinearity: str, shape: tuple[int, int]) -> None:
    """Outputs, final state and all gradients equal torch's to 1e-12 in float64."""
    rng = np.random.default_rng(11)
    x, dy = rng.standard_normal((*shape, 3)), rng.standard_normal((*shape, 2))
    h0 = rng.standard_normal((shape[1], 4))
    ours = lively(nonlinearity=nonlinearity)
    rnn = torch.nn.RNN(3, 4, nonlinearity=nonlinearity, dtype=torch.float64)
    out = torch.nn.Linear(4, 2, dtype=torch.float64)
    theirs = {"Wxh": rnn.weight_ih_l0, "Whh": rnn.weight_hh_l0, "Why": out.weight,
              "bh": rnn.bias_ih_l0, "by": out.bias}  # fmt: skip
    with torch.no_grad():
        rnn.bias_hh_l0.zero_()
        for name, tensor in theirs.items():
            tensor.copy_(torch.tensor(ours.params[name]).reshape(tensor.shape))
    h, last = rnn(torch.tensor(x), torch.tensor(h0)[None])
    y = out(h)
    y.backward(torch.tensor(dy))

    assert_near(ours.forward(x, state=h0), y.detach().numpy(), 1e-12, "y")
    assert_near(ours.final_state, last[0].detach().numpy(), 1e-12, "final state")
    for name, gradient in ours.gradients(dy).items():
        expected = theirs[name].grad.numpy().reshape(gradient.shape)
        assert_near(gradient, expected, 1e-12, f"d{name}")


def test_the_losses_equal_torch() -> None:
    """Values and gradients of both losses."""
    rng = np.random.default_rng(12)
    logits, targets = 5 * rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    z = torch.tensor(logits, requires_grad=True)
    torch.nn.functional.cross_entropy(z, torch.tensor(targets)).backward()
    assert_near(softmax_cross_entropy(logits, targets)[1], z.grad.numpy(), 1e-12)
    y = torch.tensor(logits, requires_grad=True)
    torch.nn.functional.mse_loss(y, torch.ones_like(y)).backward()
    assert_near(mean_squared_error(logits, np.ones_like(logits))[1], y.grad.numpy(), 1e-12)


def test_autograd_through_our_forward_equals_our_backward() -> None:
    """torch differentiates our own forward pass to the same gradients."""
    rng = np.random.default_rng(13)
    bk = get_backend("torch", dtype="float64")
    ours = lively(bk)
    params = {k: W.clone().requires_grad_() for k, W in ours.params.items()}
    x, dy = (bk.asarray(rng.standard_normal(s)) for s in [(5, 2, 3), (5, 2, 2)])
    h0 = bk.zeros((2, 4))
    hidden = {"weight_ih": params["Wxh"], "weight_hh": params["Whh"], "bias_ih": params["bh"][:, 0]}
    job = Job(bk, ours.cell, *x.shape, 4, 4, True)
    (h,) = portable.forward(job, hidden, x, (h0,), NONE, True).states
    affine(bk.xp, h, params["Why"], params["by"][:, 0]).backward(dy)
    _, cache = ours.network.forward(ours.params, x, h0)
    grads, _ = ours.network.backward(ours.params, cache, dy)
    for name, gradient in grads.items():
        assert_near(gradient.numpy(), params[name].grad.numpy(), 1e-12, f"d{name}")
