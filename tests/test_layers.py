"""Layers of every cell: exact gradients through every option, and what the options mean."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from cases import KINDS, NOISE, TOLERANCE, assert_near, noise, recurrent

import rnnx
import rnnx.backends.numpy
from rnnx import Backend, get_backend
from rnnx.layers.states import shapes

REFERENCE = get_backend("numpy", dtype="float64")
T, B, I = 5, 3, 2


def make(kind: str, backend: Any = REFERENCE, **options: Any) -> Any:
    """Return a layer whose weights are large enough to tell right gradients from wrong."""
    layer = recurrent(kind, I, 3, **options, backend=backend, seed=2)
    if kind.endswith("relu"):  # keep units alive, so that every gradient is felt
        layer.set_params(
            {
                k: 0.7 + np.abs(layer.backend.to_numpy(W))
                for k, W in layer.params.items()
                if "bias" in k
            }
        )
    return layer


def draw(layer: Any, T: int = T, B: int = B, seed: int = 0) -> tuple[np.ndarray, Any]:
    """Return an input (T, B, I) and an initial state."""
    rng = np.random.default_rng(seed)
    state = tuple(0.5 + rng.random(shape) for shape in shapes(layer.sizes, B).values())
    return rng.standard_normal((T, B, I)), state[0] if len(state) == 1 else state


GAPS = np.asarray([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=bool)
RESET = np.asarray([[0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lengths": {"lengths": [5, 2, 0]},
    "mask with gaps": {"mask": GAPS},
    "reset": {"reset": RESET},
    "reset and lengths": {"reset": RESET, "lengths": [5, 3, 1]},
    "reset and mask": {"reset": RESET, "mask": GAPS},
    "checkpoint 2": {"checkpoint": 2},
    "checkpoint sqrt, lengths": {"checkpoint": "sqrt", "lengths": [1, 5, 3]},
    "checkpoint 3, mask, reset": {"checkpoint": 3, "mask": GAPS, "reset": RESET},
}


def assert_right(report: Any) -> None:
    """Assert that a report is of right gradients to 1e-12, none of them zero."""
    assert all(row.error <= 1e-12 for row in report.rows), str(report)
    assert all(row.largest > 0 for row in report.rows), str(report)


@pytest.mark.parametrize("noisy", [False, True], ids=["quiet", "dropout"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_the_oracle(kind: str, option: str, both: bool, noisy: bool) -> None:
    """Two layers, every option, with all kinds of dropout: exact to 1e-12."""
    layer = make(kind, num_layers=2, bidirectional=both, **(noise(kind) if noisy else {}))
    x, state = draw(layer)
    assert_right(rnnx.gradcheck(layer, x, state, samples=12, seed=1, **OPTIONS[option]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1), (4, 2)], ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_equals_the_oracle(kind: str, bias: bool, shape: tuple[int, int]) -> None:
    """All entries of all gradients, with one step or one row, too."""
    layer = make(kind, bias=bias)
    x, state = draw(layer, *shape)
    report = rnnx.gradcheck(layer, x, state, samples=None)
    assert_right(report)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["last step", "first step", "final h", "final c"])
def test_a_loss_felt_at_one_place_only(kind: str, part: str) -> None:
    """A missing gradient is a zero gradient, to the last bit; None may stand for it."""
    if part == "final c" and "LSTM" not in kind.upper():
        part = "final h"
    layer = make(kind, num_layers=2, bidirectional=True)
    x, state = draw(layer)
    y, final, cache = layer.forward(x, state, lengths=[5, 3, 0])
    zero = (lambda s: np.zeros_like(s)) if not isinstance(final, tuple) else None
    dfinal: Any = zero(final) if zero else tuple(map(np.zeros_like, final))
    dy = np.zeros_like(y)
    if part.endswith("step"):
        dy[-1 if part == "last step" else 0] = 1
        sparse: tuple[Any, Any] = (dy, None)
    else:
        one = np.ones_like(final[part == "final c"] if isinstance(final, tuple) else final)
        sparse = (None, one)
        dfinal = one
        if isinstance(final, tuple):
            sparse = (None, (None, one) if part == "final c" else (one, None))
            dfinal = tuple(s if s is not None else np.zeros_like(f)
                           for s, f in zip(sparse[1], final, strict=True))  # fmt: skip
    a, b = (layer.backward(d, cache, s) for d, s in (sparse, (dy, dfinal)))
    for one_way, other in zip(flat(a), flat(b), strict=True):
        np.testing.assert_array_equal(one_way, other)


def flat(result: Any) -> list[np.ndarray]:
    """Return the arrays of dx, dstate0 and grads in order."""
    dx, dstate0, grads = result
    states = dstate0 if isinstance(dstate0, tuple) else (dstate0,)
    return [dx, *states, *grads.values()]


@pytest.mark.parametrize("option", ["plain", "lengths", "checkpoint 3, mask, reset"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM-proj"])
def test_every_backend_equals_the_reference(bk: Backend, kind: str, option: str) -> None:
    """Outputs, states and gradients of two noisy layers in both directions, with all options."""
    reference = make(kind, num_layers=2, bidirectional=True, **NOISE)
    x, state = draw(reference)
    masks = reference.draw_masks(x.shape, 3)
    expected = outcome(reference, x, state, masks, OPTIONS[option])
    ours = make(kind, bk, num_layers=2, bidirectional=True, **NOISE)
    drawn = ours.draw_masks(x.shape, 3)
    for name, value in outcome(ours, x, state, drawn, OPTIONS[option]).items():
        assert_near(value, expected[name], 3 * TOLERANCE[bk.dtype_name], name)


def outcome(layer: Any, x: Any, state: Any, masks: Any, options: Any) -> dict[str, np.ndarray]:
    """Return all that a forward and a backward pass give, by name, on the host."""
    y, final, cache = layer.forward(x, state, masks=masks, **options)
    dx, dstate0, grads = layer.backward(y, cache, final)
    found = {"y": y, "dx": dx, **grads}
    for name, s in (("final", final), ("dstate0", dstate0)):
        found |= {f"{name}{i}": a for i, a in enumerate(s if isinstance(s, tuple) else (s,))}
    if "checkpoint" not in options:
        found |= layer.states(cache)
    return {name: layer.backend.to_numpy(a) for name, a in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_ragged_rows_are_as_if_alone(kind: str) -> None:
    """Each row's outputs, final state and gradients are those of a run of its own."""
    layer = make(kind, num_layers=2, bidirectional=True)
    x, state = draw(layer, 6, 4)
    lengths = [6, 1, 0, 4]
    x[4:, 3] = np.nan  # in the padding it harms nothing
    y, final, cache = layer.forward(x, state, lengths=lengths)
    dx, dstate0, grads = layer.backward(y, cache, final)
    total = {name: np.zeros_like(g) for name, g in grads.items()}
    for b, length in enumerate(lengths):
        mine = [s[:, b : b + 1] for s in as_tuple(state)]
        assert not np.any(y[length:, b])
        assert not np.any(dx[length:, b])
        if length == 0:
            for s, f in zip(mine, as_tuple(final), strict=True):
                np.testing.assert_array_equal(f[:, b : b + 1], s)
            continue
        own_state = mine[0] if len(mine) == 1 else tuple(mine)
        y_b, final_b, cache_b = layer.forward(x[:length, b : b + 1], own_state)
        dx_b, dstate_b, grads_b = layer.backward(y_b, cache_b, final_b)
        assert_near(y[:length, b], y_b[:, 0], 1e-12)
        assert_near(dx[:length, b], dx_b[:, 0], 1e-12)
        for ours, own in [(final, final_b), (dstate0, dstate_b)]:
            for s, s_b in zip(as_tuple(ours), as_tuple(own), strict=True):
                assert_near(s[:, b], s_b[:, 0], 1e-12)
        total = {name: total[name] + g for name, g in grads_b.items()}
    for name, g in grads.items():
        assert_near(g, total[name], 1e-12, name)


def as_tuple(state: Any) -> tuple[Any, ...]:
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_as_if_the_other_steps_were_not_there(kind: str) -> None:
    """A row with gaps gives, at its valid steps, what the row without them gives."""
    layer = make(kind, num_layers=2, bidirectional=True)
    x, state = draw(layer)
    y, _, cache = layer.forward(x, state, mask=GAPS)
    dx, _, _ = layer.backward(y, cache)
    for b in range(B):
        at = np.nonzero(GAPS[:, b])[0]
        assert not np.any(y[~GAPS[:, b], b])
        if len(at) == 0:
            continue
        own = tuple(s[:, b : b + 1] for s in as_tuple(state))
        y_b, _, cache_b = layer.forward(x[at, b : b + 1], own[0] if len(own) == 1 else own)
        dx_b, _, _ = layer.backward(y_b, cache_b)
        assert_near(y[at, b], y_b[:, 0], 1e-12)
        assert_near(dx[at, b], dx_b[:, 0], 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_padded_mask_is_its_lengths(kind: str) -> None:
    """The same numbers by either way of saying it."""
    layer = make(kind, bidirectional=True)
    x, state = draw(layer)
    mask = np.arange(T)[:, None] < np.asarray([5, 2, 0])
    one, two = (layer.forward(x, state, **o)[:2] for o in ({"mask": mask}, {"lengths": [5, 2, 0]}))
    np.testing.assert_array_equal(one[0], two[0])
    for a, b in zip(as_tuple(one[1]), as_tuple(two[1]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_is_a_new_sequence(kind: str) -> None:
    """The episodes of a row, in both directions, are as if each had been run alone from zero."""
    layer = make(kind, bidirectional=True)
    x, _ = draw(layer)
    y, _, _ = layer.forward(x, reset=RESET)
    for b in range(B):
        starts = [0, *(t for t in range(1, T) if RESET[t, b]), T]
        for start, end in pairwise(starts):
            alone, _ = layer(x[start:end, b : b + 1])
            assert_near(y[start:end, b], alone[:, 0], 1e-12)


def test_a_reset_at_the_first_step_forgets_the_initial_state() -> None:
    """The state given counts for rows that are not reset at once."""
    layer = make("GRU")
    x, state = draw(layer)
    reset = np.zeros((T, B), dtype=bool)
    reset[0, 1] = True
    y, _ = layer(x, state, reset=reset)
    assert_near(y[:, 1], layer(x)[0][:, 1], 1e-12)
    assert_near(y[:, 0], layer(x, state)[0][:, 0], 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_change_nothing_but_memory(kind: str) -> None:
    """Outputs to the last bit, gradients to rounding, for every number of steps."""
    layer = make(kind, num_layers=2, bidirectional=True)
    x, state = draw(layer, 7)
    y, final, cache = layer.forward(x, state)
    expected = flat(layer.backward(y, cache, final))
    for checkpoint in (1, 2, 3, 4, 7, 100, "sqrt"):
        y_k, final_k, cache_k = layer.forward(x, state, checkpoint=checkpoint)
        np.testing.assert_array_equal(y_k, y)
        for a, b in zip(flat(layer.backward(y_k, cache_k, final_k)), expected, strict=True):
            assert_near(a, b, 1e-12)


@pytest.mark.parametrize("option", ["plain", "lengths", "mask", "reset"])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_time_change_nothing(
    kind: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going back in blocks, as long sequences do on NumPy, gives the same gradients."""
    T, rng = 70, np.random.default_rng(6)
    options: dict[str, Any] = {
        "lengths": {"lengths": [70, 33, 0]},
        "mask": {"mask": rng.random((T, B)) < 0.6},
        "reset": {"reset": rng.random((T, B)) < 0.1},
    }.get(option, {})
    layer = make(kind, num_layers=2, bidirectional=True, **noise(kind))
    x, state = draw(layer, T)
    masks = layer.draw_masks(x.shape, 0)
    results = []
    for block in (1, 2**40):
        monkeypatch.setattr(rnnx.backends.numpy, "BLOCK", block)
        assert (layer.backend.blocks(T, 9) > 1) == (block == 1)
        results.append(outcome(layer, x, state, masks, options))
    for name, value in results[0].items():
        assert_near(value, results[1][name], 1e-12, name)


def test_lengths_masks_and_resets_may_be_on_the_device(bk: Backend) -> None:
    """As arrays of the backend they give what NumPy's give, to the last bit."""
    layer = make("GRU", bk)
    x, _ = draw(layer)
    for options in OPTIONS.values():
        kinds = {"lengths": "int32", "mask": "bool", "reset": "bool"}
        given = {
            name: bk.asarray(value, kinds[name]) if name in kinds else value
            for name, value in options.items()
        }
        for ours, theirs in zip(
            layer.forward(x, **given)[:2], layer.forward(x, **options)[:2], strict=True
        ):
            np.testing.assert_array_equal(bk.to_numpy(ours), bk.to_numpy(theirs))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM-proj"])
def test_lists_of_sequences(bk: Backend, kind: str) -> None:
    """A list in, a list out; the same numbers as one sequence at a time."""
    rng = np.random.default_rng(1)
    layer = make(kind, bk, bidirectional=True)
    rows = [rng.standard_normal((n, I)) for n in (4, 1, 6)]
    ys, _, cache = layer.forward(rows)
    dxs, _, _ = layer.backward([bk.asarray(y) for y in ys], cache)
    for row, y, dx in zip(rows, ys, dxs, strict=True):
        y_alone, _, cache_alone = layer.forward(row)  # (T, I): one sequence
        dx_alone, _, _ = layer.backward(y_alone, cache_alone)
        for a, b in ((y, y_alone), (dx, dx_alone)):
            assert_near(bk.to_numpy(a), bk.to_numpy(b), TOLERANCE[bk.dtype_name])


@pytest.mark.parametrize("kind", KINDS)
def test_the_layouts_are_one_layer(kind: str) -> None:
    """Batch first and unbatched give the same numbers; states keep their layout."""
    layer, first = make(kind), make(kind, batch_first=True)
    x, state = draw(layer)
    y, final, cache = layer.forward(x, state, lengths=[5, 2, 4])
    dx, dstate0, grads = layer.backward(y, cache, final)
    y_f, final_f, cache_f = first.forward(np.swapaxes(x, 0, 1), state, lengths=[5, 2, 4])
    dx_f, dstate_f, grads_f = first.backward(y_f, cache_f, final_f)
    np.testing.assert_array_equal(np.swapaxes(y_f, 0, 1), y)
    np.testing.assert_array_equal(np.swapaxes(dx_f, 0, 1), dx)
    for a, b in [(final, final_f), (dstate0, dstate_f)]:
        for s, s_f in zip(as_tuple(a), as_tuple(b), strict=True):
            np.testing.assert_array_equal(s, s_f)
    for name, g in grads.items():
        np.testing.assert_array_equal(g, grads_f[name])
    assert layer.states(cache)["h_l0"].shape[:2] == (T, B)
    assert first.states(cache_f)["h_l0"].shape[:2] == (B, T)


def test_states_have_every_layer_and_direction_aligned_with_time() -> None:
    """The last layer's h are y; c_t gives h_t = o_t tanh(c_t), so |h| <= |tanh c|."""
    layer = make("LSTM", num_layers=2, bidirectional=True)
    x, state = draw(layer)
    y, (h_n, c_n), cache = layer.forward(x, state, lengths=[5, 3, 0])
    states = layer.states(cache)
    names = [f"{s}_l{k}{way}" for k in (0, 1) for way in ("", "_reverse") for s in "hc"]
    assert list(states) == names
    np.testing.assert_array_equal(
        np.concatenate([states["h_l1"], states["h_l1_reverse"]], axis=-1), y
    )
    np.testing.assert_array_equal(states["c_l0"][4, 0], c_n[0, 0])
    np.testing.assert_array_equal(states["c_l0_reverse"][0, 1], c_n[1, 1])
    np.testing.assert_array_equal(states["h_l1_reverse"][0, 0], h_n[3, 0])
    for suffix in ("l0", "l1_reverse"):
        assert np.all(np.abs(states[f"h_{suffix}"]) <= np.abs(np.tanh(states[f"c_{suffix}"])))
    with pytest.raises(ValueError, match="got one with checkpoints"):
        layer.states(layer.forward(x, checkpoint=2)[2])


def test_masks_are_drawn_as_said() -> None:
    """Zero with probability p, 1/(1 - p) else; anew between layers, one for all steps inside."""
    layer = make("GRU", num_layers=2, **NOISE)
    masks = layer.draw_masks((200, 40, I), 0)
    drawn = {name: mask.shape for name, mask in masks.items()}
    assert drawn == {
        "dropout_l0": (200, 40, 3), "recurrent_l0": (40, 3), "weight_l0": (9, 3),
        "recurrent_l1": (40, 3), "weight_l1": (9, 3),
    }  # fmt: skip
    assert np.unique(masks["dropout_l0"]).tolist() == [0, 1 / 0.6]
    assert np.mean(masks["dropout_l0"] == 0) == pytest.approx(0.4, abs=0.01)
    again = layer.draw_masks((200, 40, I), 0)
    assert all(np.array_equal(mask, again[name]) for name, mask in masks.items())


def test_dropout_is_for_forward_only() -> None:
    """A call has none, `masks={}` has none, and each forward draws its own."""
    layer = make("GRU", num_layers=2, **NOISE)
    x, state = draw(layer)
    quiet, _ = layer(x, state)
    np.testing.assert_array_equal(layer.forward(x, state, masks={})[0], quiet)
    one, two = (layer.forward(x, state)[0] for _ in range(2))
    assert np.any(one != two)
    assert np.any(one != quiet)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_the_whole_pass(bk: Backend, kind: str) -> None:
    """T calls of `step` give the outputs and the state of one call, for one row and for many."""
    layer = make(kind, bk, num_layers=2)
    x, state = draw(layer)
    y, final = layer(x, state)
    moving: Any = tuple(map(bk.asarray, as_tuple(state)))
    moving = moving[0] if len(moving) == 1 else moving
    tolerance = TOLERANCE[bk.dtype_name]
    for t in range(T):
        y_t, moving = layer.step(bk.asarray(x[t]), moving)
        assert_near(bk.to_numpy(y_t), bk.to_numpy(y)[t], tolerance)
    for a, b in zip(as_tuple(moving), as_tuple(final), strict=True):
        assert_near(bk.to_numpy(a), bk.to_numpy(b), tolerance)
    alone, _ = layer(x[:, 0])
    moving = None
    for t in range(T):
        y_t, moving = layer.step(bk.asarray(x[t, 0]), moving)
        assert y_t.shape == alone.shape[1:]
        assert_near(bk.to_numpy(y_t), bk.to_numpy(alone)[t], tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [False, True])
def test_steps_of_one_layer_follow_the_parameters(kind: str, bias: bool) -> None:
    """One layer, with and without bias; new parameters count from the next step on."""
    layer = make(kind, bias=bias)
    x, _ = draw(layer)
    assert_near(layer.step(x[0])[0], layer(x[:1])[0][0], 1e-12)
    layer.set_params({"weight_hh_l0": 2 * layer.params["weight_hh_l0"]})
    _, state = layer.step(x[0])
    assert_near(layer.step(x[1], state)[0], layer(x[:2])[0][1], 1e-12)


@pytest.mark.parametrize("how", ["uniform", "normal", "glorot", "orthogonal"])
def test_the_initializers_are_what_they_say(how: str) -> None:
    """Bounds, spread, orthogonality of each gate; zero biases but under torch's."""
    layer = rnnx.LSTM(40, 50, weight_init=how, recurrent_init=how, dtype="float64", seed=0)
    W, U = layer.params["weight_ih_l0"], layer.params["weight_hh_l0"]
    if how == "uniform":
        assert 0.95 * 50**-0.5 < np.abs(W).max() <= 50**-0.5
    elif how == "normal":
        assert np.std(W) == pytest.approx(40**-0.5, rel=0.05)
        assert np.std(U) == pytest.approx(50**-0.5, rel=0.05)
    elif how == "glorot":
        assert 0.95 * (6 / 90) ** 0.5 < np.abs(W).max() <= (6 / 90) ** 0.5
    else:
        for gate in np.split(U, 4):
            np.testing.assert_allclose(gate @ gate.T, np.eye(50), atol=1e-12)
        for gate in np.split(W, 4):
            np.testing.assert_allclose(gate.T @ gate, np.eye(40), atol=1e-12)
    assert np.any(layer.params["bias_ih_l0"]) == (how == "uniform")


def test_the_forget_bias_is_set_in_every_layer() -> None:
    """b_ih is the number and b_hh zero, in the forget gate only."""
    layer = rnnx.LSTM(2, 3, 2, bidirectional=True, forget_bias=1.5, seed=0)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert layer.params[f"bias_ih_{suffix}"][3:6].tolist() == [1.5] * 3
        assert layer.params[f"bias_hh_{suffix}"][3:6].tolist() == [0.0] * 3
        assert np.all(layer.params[f"bias_ih_{suffix}"][:3] != 1.5)


def test_a_layer_can_be_copied_and_pickled_while_it_streams(bk: Backend) -> None:
    """Between two steps: the copies go on as the layer does."""
    gru, x = rnnx.GRU(3, 4, backend=bk, seed=0), bk.asarray(np.ones(3))
    _, state = gru.step(x)
    expected = bk.to_numpy(gru.step(x, state)[0])
    for other in (pickle.loads(pickle.dumps(gru)), copy.deepcopy(gru)):
        np.testing.assert_array_equal(bk.to_numpy(other.step(x, state)[0]), expected)
