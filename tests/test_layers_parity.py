"""RNN, GRU and LSTM against torch.nn with copied weights: outputs, states and all gradients."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from cases import NAMED as KINDS
from cases import TOLERANCE, assert_near, recurrent

from rnnx import Backend, get_backend

torch = pytest.importorskip("torch", reason="torch is the oracle here")

REFERENCE = get_backend("numpy", dtype="float64")


def pair(kind: str, backend: Any, **options: Any) -> tuple[Any, Any]:
    """Return our layer and torch's, in float64, with the same weights."""
    name, _, extra = kind.partition("-")
    special = {"relu": {"nonlinearity": "relu"}, "proj": {"proj_size": 2}}.get(extra, {})
    ours = recurrent(kind, 3, 4, **options, backend=backend, seed=1)
    theirs = getattr(torch.nn, name)(3, 4, **options, **special, dtype=torch.float64)
    state = {k: torch.tensor(ours.backend.to_numpy(W)).double() for k, W in ours.params.items()}
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict(state)
    return ours, theirs


def draw(theirs: Any, T: int, B: int, with_state: bool) -> dict[str, Any]:
    """Return an input, an initial state or None, and the gradients of outputs and final state."""
    rng = np.random.default_rng(T + B)
    rows = theirs.num_layers * (2 if theirs.bidirectional else 1)
    P = theirs.proj_size or theirs.hidden_size
    widths = [P, theirs.hidden_size] if theirs.mode == "LSTM" else [P]
    plain = (B, T) if theirs.batch_first else (T, B)
    D = 2 if theirs.bidirectional else 1
    states = [rng.standard_normal((rows, B, width)) for width in widths]
    return {
        "x": rng.standard_normal((*plain, 3)),
        "state": states if with_state else None,
        "dy": rng.standard_normal((*plain, D * P)),
        "dstate": [rng.standard_normal(s.shape) for s in states],
    }


def run_torch(theirs: Any, a: dict[str, Any], lengths: np.ndarray | None) -> dict[str, Any]:
    """Return torch's outputs, final states and gradients, by name."""
    x = torch.tensor(a["x"], requires_grad=True)
    states = [torch.tensor(s, requires_grad=True) for s in a["state"] or []]
    given = () if not states else (states[0] if len(states) == 1 else tuple(states),)
    first = theirs.batch_first
    if lengths is None:
        y, final = theirs(x, *given)
    else:
        pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
        packed = pack(x, torch.tensor(lengths), batch_first=first, enforce_sorted=False)
        y, final = theirs(packed, *given)
        y, _ = pad(y, batch_first=first, total_length=x.shape[1 if first else 0])
    finals = final if isinstance(final, tuple) else (final,)
    loss = (y * torch.tensor(a["dy"])).sum()
    loss = loss + sum((s * torch.tensor(d)).sum() for s, d in zip(finals, a["dstate"], strict=True))
    loss.backward()
    found = {"y": y, "dx": x.grad}
    found |= {f"state {i}": s for i, s in enumerate(finals)}
    found |= {f"dstate0 {i}": s.grad for i, s in enumerate(states)}
    found |= {name: W.grad for name, W in theirs.named_parameters()}
    return {name: value.detach().numpy() for name, value in found.items()}


def run_ours(ours: Any, a: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return our outputs, final states and gradients, by the same names."""
    single = len(ours.sizes.state_sizes) == 1
    state, dstate = (
        s if s is None else (s[0] if single else tuple(s)) for s in (a["state"], a["dstate"])
    )
    y, final, cache = ours.forward(a["x"], state, **options)
    dx, dstate0, grads = ours.backward(a["dy"], cache, dstate)
    finals, dstates0 = ((s,) if single else s for s in (final, dstate0))
    found = {"y": y, "dx": dx, **grads}
    found |= {f"state {i}": s for i, s in enumerate(finals)}
    if state is not None:
        found |= {f"dstate0 {i}": s for i, s in enumerate(dstates0)}
    return {name: ours.backend.to_numpy(value) for name, value in found.items()}


def check(ours: Any, theirs: Any, a: dict[str, Any], lengths: np.ndarray | None = None) -> None:
    """Assert that both give the same, by the backend's tolerance."""
    with torch.enable_grad():
        expected = run_torch(theirs, a, lengths)
    actual = run_ours(ours, a, lengths=lengths)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert_near(actual[name], value, TOLERANCE[ours.backend.dtype_name], name)


@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_combination_equals_torch(kind: str, ragged: bool) -> None:
    """Layers, directions, bias, batch_first, states given or not: all to 1e-12 in float64."""
    product = itertools.product(
        [1, 2, 3], [False, True], [True, False], [False, True], [False, True]
    )
    for layers, both, bias, first, with_state in product:
        options = {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": first}
        ours, theirs = pair(kind, REFERENCE, **options)
        a = draw(theirs, 5, 3, with_state)
        check(ours, theirs, a, np.asarray([3, 5, 1]) if ragged else None)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1), (9, 4)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_shape_equals_torch(kind: str, shape: tuple[int, int]) -> None:
    """One step, one row, two of them."""
    ours, theirs = pair(kind, REFERENCE, num_layers=2, bidirectional=True)
    check(ours, theirs, draw(theirs, *shape, True))


@pytest.mark.parametrize("ragged", [False, True], ids=["dense", "ragged"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_backend_equals_torch(bk: Backend, kind: str, ragged: bool) -> None:
    """Two layers in both directions, dense and ragged, on every backend."""
    ours, theirs = pair(kind, bk, num_layers=2, bidirectional=True, batch_first=ragged)
    theirs.load_state_dict(
        {k: torch.tensor(bk.to_numpy(W)).double() for k, W in ours.params.items()}
    )
    check(ours, theirs, draw(theirs, 4, 3, True), np.asarray([2, 4, 1]) if ragged else None)
