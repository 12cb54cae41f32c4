"""The seam for cores: a core with a cache of its own layout, selection, streaming, reports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from cases import KINDS, recurrent
from test_layers import OPTIONS, assert_right

import rnnx
from rnnx import core
from rnnx.backends import numpy as numpy_backend
from rnnx.backends import registry
from rnnx.core import portable
from rnnx.core.contract import Job


class Opaque(NamedTuple):
    """What the trial core keeps: everything batch-major and backward, behind a name of its own."""

    things: dict[str, Any]
    tag: Any


class Trial:
    """The portable core's numbers in another layout, in blocks of its own, without resets."""

    NAME = "trial"
    Saved = Opaque

    def __init__(self) -> None:
        self.ran: list[str] = []

    def declines(self, job: Job) -> str:
        if job.steps is None:
            return ""
        return "takes no resets" if "reset" in job.options else ""

    def forward(self, job: Job, *arguments: Any) -> Any:
        self.ran.append("forward")
        trace = portable.forward(job, *arguments)
        return trace._replace(saved=self.pack(trace.saved))

    def backward(self, job: Job, params: Any, x: Any, trace: Any, *arguments: Any) -> Any:
        self.ran.append("backward")
        trace = trace._replace(saved=self.unpack(trace.saved))
        return portable.backward(job, params, x, trace, *arguments)

    def blocks(self, job: Job) -> int:
        return min(2, job.steps or 1)

    def part(self, saved: Any, steps: slice) -> Any:
        return self.pack(portable.part(self.unpack(saved), steps))

    def step(self, job: Job, params: Any) -> Any:
        self.ran.append("step")
        return portable.step(job, params)

    PADDING = False

    def sequence(self, job: Job, params: Any) -> None:
        """Leave sequences to `forward`."""

    def pack(self, saved: Any) -> Opaque:
        cell = {str(i): np.swapaxes(a, 0, 1)[::-1] for i, a in enumerate(saved.cell)}
        return Opaque(cell, saved.unprojected)

    def unpack(self, saved: Any) -> Any:
        assert isinstance(saved, Opaque)  # only its maker looks into it
        cell = tuple(np.swapaxes(a[::-1], 0, 1) for a in saved.things.values())
        return portable.Saved(cell, saved.tag)


NATIVE = rnnx.GRU(3, 4).cores((6, 2, 3))["native"].replace("runs", "could run")


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """Put the trial core first in the list; a compiled program of before knows nothing of it."""
    from rnnx.layers import verbs

    made = Trial()
    monkeypatch.setattr(core, "CORES", [made, *core.CORES])
    verbs._compiled.cache_clear()
    yield made
    verbs._compiled.cache_clear()


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_opaque_core_serves_every_layer(
    trial: Trial, kind: str, option: str, both: bool
) -> None:
    """Gradients exact to 1e-12 through every option; where it declines, the portable core runs."""
    layer = recurrent(kind, 2, 3, num_layers=2, bidirectional=both, dtype="float64", seed=2)
    if kind.endswith("relu"):  # keep units alive, so that every gradient is felt
        layer.set_params({k: 0.7 + abs(W) for k, W in layer.params.items() if "bias" in k})
    rng = np.random.default_rng(0)
    widths = layer.sizes.state_sizes.values()
    state = tuple(0.5 + rng.random((2 * layer.directions, 3, width)) for width in widths)
    x = rng.standard_normal((5, 3, 2))
    given = state if len(state) > 1 else state[0]
    assert_right(rnnx.gradcheck(layer, x, given, samples=12, **OPTIONS[option]))
    assert ("forward" in trial.ran) is ("reset" not in option)
    assert ("backward" in trial.ran) is ("reset" not in option)


def test_everything_above_the_seam_goes_through_it(trial: Trial) -> None:
    """SimpleRNN, diagnostics, streaming and a chain run on the trial core and give its numbers."""
    x = np.random.default_rng(1).standard_normal((6, 2, 3))
    simple = rnnx.SimpleRNN(3, 4, 2, dtype="float64", seed=0)
    y = simple.forward(x)
    simple.state_gradients(np.ones_like(y))
    assert trial.ran == ["forward", "backward", "backward"]  # in two blocks of time
    trial.ran.clear()
    lstm = rnnx.LSTM(3, 4, dtype="float64", seed=0)
    dh = rnnx.diagnostics.state_gradients(lstm, x, lambda y: (y.sum(), np.ones_like(y)))
    assert dh["h_l0"].shape == (6, 2, 4)
    assert trial.ran == ["forward", "backward", "backward"]
    trial.ran.clear()
    gru = rnnx.GRU(3, 4, dtype="float64", seed=0)
    y_t, _ = gru.step(x[0])
    np.testing.assert_allclose(y_t, gru(x)[0][0], rtol=1e-13)
    assert trial.ran == ["step", "forward"]


def test_a_layer_says_which_core_it_prefers(trial: Trial) -> None:
    """`core=` chooses; the repr of layer and cache say so; an unknown name is refused."""
    x = np.random.default_rng(1).standard_normal((6, 2, 3)).astype("float32")
    auto, portable_ = rnnx.GRU(3, 4, seed=0), rnnx.GRU(3, 4, core="portable", seed=0)
    assert "core='auto'" in repr(auto)
    assert "core='portable'" in repr(portable_)
    assert repr(auto.forward(x)[2]) == "Cache(T=6, B=2, core=trial)"
    assert repr(portable_.forward(x)[2]) == "Cache(T=6, B=2, core=portable)"
    assert repr(auto.forward(x, checkpoint=2)[2]) == "Cache(T=6, B=2, core=recomputed)"
    named = rnnx.GRU(3, 4, core="trial", seed=0)
    reset = np.zeros((6, 2), dtype=bool)
    assert "core=portable" in repr(named.forward(x, reset=reset)[2])  # declined: falls back
    assert auto.cores((6, 2, 3)) == {
        "trial": "runs",
        "native": NATIVE,
        "numpy-step": "takes single steps of a stream only",
        "fused": "runs on CuPy only, not on numpy",
        "portable": "could run",
        "persistent": "runs on CuPy only, not on numpy",
    }
    assert auto.cores((6, 2, 3), reset=True)["trial"] == "takes no resets"
    with pytest.raises(ValueError, match=r"core must be one of auto, trial, .*, got 'cudnn'"):
        rnnx.GRU(3, 4, core="cudnn")


def test_a_backend_is_one_file_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library added in this test runs a layer, its backward and its steps."""
    made = ModuleType("rnnx.backends.mine")

    class MyBackend(numpy_backend.NumpyBackend):
        __slots__ = ()

    def make(device: Any, dtype: str) -> rnnx.Backend:
        return MyBackend("mine", numpy_backend.xp, "cpu", getattr(np, dtype))

    made.__dict__.update(devices=lambda: ["cpu"], make=make)
    monkeypatch.setitem(sys.modules, "rnnx.backends.mine", made)
    monkeypatch.setitem(registry.LIBRARIES, "mine", ("numpy", "pip install numpy"))
    gru = rnnx.GRU(2, 3, backend="mine", dtype="float64", seed=0)
    assert "'mine'" in repr(gru)
    x = np.random.default_rng(0).standard_normal((4, 2, 2))
    assert_right(rnnx.gradcheck(gru, x, np.ones((1, 2, 3))))
    np.testing.assert_allclose(gru.step(x[0])[0], gru(x)[0][0], rtol=1e-13)
    assert gru.cores()["numpy-step"] == "runs on NumPy only, not on mine"
    assert rnnx.available_backends()["mine"] == ""
