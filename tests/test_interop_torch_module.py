"""`rnnx.interop.torch.Module`: a layer inside a torch model, trained by its own BPTT."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from cases import KINDS, NAMED, recurrent

pytest.importorskip("torch", reason="needs torch")

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

import rnnx
from rnnx.interop.torch import Module, function

F64 = torch.float64
T, B, INPUT, H = 5, 3, 3, 4


def theirs_of(kind: str, **options: Any) -> Any:
    """Return the layer of torch.nn of a kind."""
    name, _, extra = kind.partition("-")
    options |= {"relu": {"nonlinearity": "relu"}, "proj": {"proj_size": 2}}.get(extra, {})
    return getattr(torch.nn, name)(INPUT, H, **options, dtype=F64)


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """Return our module and torch's layer with the same state_dict, in float64."""
    ours = Module(recurrent(kind, INPUT, H, **options, seed=1, dtype="float64"))
    theirs = theirs_of(kind, **options)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def draw(*shape: int, seed: int = 0, dtype: Any = F64) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def leaves(tree: Any) -> list[Any]:
    """Return the tensors of outputs and states."""
    found: list[Any] = []
    function.taken(tree, found)
    return found


def equal(one: Any, two: Any, rtol: float = 1e-10) -> None:
    """Assert that two nested results hold equal tensors."""
    assert len(leaves(one)) == len(leaves(two)) > 0
    for a, b in zip(leaves(one), leaves(two), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=1e-12)


def gradcheck(
    ours: Any, *inputs: Any, last: bool = False, fast: bool = False, **options: Any
) -> None:
    """Assert that the gradients of inputs, states and parameters are those of differences.

    All entries of the Jacobian, or with `fast` a random projection of it.
    """
    names = [name for name, _ in ours.named_parameters()]
    state = function.taken(list(inputs[1:]), [])

    def run(*tensors: Any) -> tuple[Any, ...]:
        given, params = tensors[: len(inputs)], tensors[len(inputs) :]
        found = function.put(state, given[1:])
        start = {0: None, 1: found[0] if found else None}.get(len(found), tuple(found))
        y, final = torch.func.functional_call(
            ours, dict(zip(names, params, strict=True)), (given[0], start), options
        )
        return (y[-1],) if last else tuple(leaves([y, final]))

    tensors = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    params = [W.detach().clone().requires_grad_() for W in ours.parameters()]
    assert torch.autograd.gradcheck(run, (*tensors, *params), fast_mode=fast)


def states_of(ours: Any, batch: int = B) -> list[Any]:
    sizes = ours._layer.sizes
    widths = sizes.state_sizes.values()
    return [draw(sizes.rows, batch, width, seed=i) for i, width in enumerate(widths)]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    """Of every cell, entry by entry: the outputs and final states with respect to all."""
    ours = Module(recurrent(kind, 2, 3, dtype="float64", seed=0))
    gradcheck(ours, draw(3, 2, 2), *states_of(ours, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_stacks(kind: str) -> None:
    """Two layers in both directions: dense, ragged, masked with resets, and of the last step."""
    layer = recurrent(kind, 2, 3, num_layers=2, bidirectional=True, dtype="float64", seed=0)
    ours = Module(layer)
    inputs = draw(3, 2, 2), *states_of(ours, 2)
    reset = torch.tensor([[False, True], [True, False], [False, False]])
    mask = torch.tensor([[True, True], [False, True], [True, False]])
    gradcheck(ours, *inputs, fast=True)
    gradcheck(ours, *inputs, fast=True, lengths=[1, 3])
    gradcheck(ours, *inputs, fast=True, reset=reset, mask=mask)
    gradcheck(ours, *inputs, fast=True, last=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1)], ids=str)
def test_gradients_of_any_shape(shape: tuple[int, int]) -> None:
    """One step, one row; batch first; one sequence without an axis of the batch."""
    steps, batch = shape
    ours = Module(rnnx.LSTM(2, 3, dtype="float64", seed=0))
    gradcheck(ours, draw(steps, batch, 2), *states_of(ours, batch))
    first = Module(rnnx.GRU(2, 3, batch_first=True, dtype="float64", seed=0))
    gradcheck(first, draw(batch, steps, 2), *states_of(first, batch))
    gradcheck(first, draw(steps, 2))


@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_gradients_of_chains(how: str) -> None:
    """A recurrent layer, a Pool and a Linear; symbols through an Embedding."""
    ours = Module(
        rnnx.Sequential(
            rnnx.LSTM(2, 3, dtype="float64", seed=0),
            rnnx.Pool(how, dtype="float64"),
            rnnx.Linear(3, 2, dtype="float64", seed=1),
        )
    )
    gradcheck(ours, draw(4, 2, 2), lengths=[2, 4])
    language = Module(
        rnnx.Sequential(
            rnnx.Embedding(5, 2, dtype="float64", seed=0),
            rnnx.GRU(2, 3, dtype="float64", seed=1),
            rnnx.Linear(3, 5, dtype="float64", seed=2),
        )
    )
    gradcheck(language, torch.tensor([[1, 4], [4, 0], [2, 2]]))
    gradcheck(Module(rnnx.Linear(2, 3, dtype="float64", seed=0)), draw(4, 2))


@pytest.mark.parametrize("kind", NAMED)
def test_training_is_that_of_torch(kind: str) -> None:
    """Adam, five steps, with a head and clipping, dense and packed: the same parameters."""
    product = itertools.product([1, 2], [False, True], [False, True], [False, True])
    for layers, both, first, packed in product:
        options = {"num_layers": layers, "bidirectional": both, "batch_first": first}
        models = pair(kind, **options)
        width = models[1].proj_size or H
        heads = [torch.nn.Linear(width * (1 + both), 1, dtype=F64) for _ in models]
        heads[1].load_state_dict(heads[0].state_dict())
        x = draw(B, T, INPUT) if first else draw(T, B, INPUT)
        given = pack_padded_sequence(x, torch.tensor([2, 5, 3]), first, False) if packed else x
        losses = []
        for one, head in zip(models, heads, strict=True):
            params = [*one.parameters(), *head.parameters()]
            optimizer = torch.optim.Adam(params, lr=0.01)
            for _ in range(5):
                optimizer.zero_grad()
                y, final = one(given)
                y = y.data if packed else y
                loss = head(y).square().mean() + sum(s.sin().sum() for s in leaves([final]))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(params, 1.0)
                optimizer.step()
                losses.append(loss.item())
        np.testing.assert_allclose(losses[:5], losses[5:], rtol=1e-10)
        equal(dict(models[0].named_parameters()), dict(models[1].named_parameters()))


@pytest.mark.parametrize("kind", NAMED)
def test_a_state_dict_fits_both_ways(kind: str) -> None:
    """Into torch.nn, and back into a module of other weights, strictly."""
    options = {"num_layers": 2, "bidirectional": True}
    ours, theirs = pair(kind, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    other = Module(recurrent(kind, INPUT, H, **options, seed=9, dtype="float64"))
    other.load_state_dict(theirs.state_dict())
    equal(other(draw(T, B, INPUT)), theirs(draw(T, B, INPUT)))


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("first", [False, True])
def test_packed_sequences_come_out_as_from_torch(kind: str, first: bool) -> None:
    """Sorted or not, with ties and given states: data, sizes, order, states and gradients."""
    ours, theirs = pair(kind, batch_first=first, bidirectional=True)
    rows = [draw(n, INPUT, seed=n) for n in (2, 4, 2, 1)]
    state = states_of(ours, 4)
    start = state[0] if len(state) == 1 else tuple(state)
    for packed in (
        pack_sequence(rows, enforce_sorted=False),
        pack_sequence(sorted(rows, key=len, reverse=True)),
    ):
        found = []
        for one in (ours, theirs):
            x = packed.data.clone().requires_grad_()
            y, final = one(PackedSequence(x, *packed[1:]), start)
            assert type(y) is PackedSequence
            gradient = torch.autograd.grad(y.data.square().sum(), [x, *one.parameters()])
            found.append([y.data, final, *gradient])
            order = [y.batch_sizes, y.sorted_indices, y.unsorted_indices]
            assert [None if i is None else i.tolist() for i in order] == [
                None if i is None else i.tolist() for i in packed[1:]
            ]
        equal(*found)


def test_packed_sequences_in_chains() -> None:
    """A Pool leaves one vector of each, in the order of the batch; symbols may be packed."""
    rows = [torch.tensor([1, 2]), torch.tensor([3, 0, 4]), torch.tensor([2])]
    layers = [rnnx.Embedding(5, 2, seed=0), rnnx.GRU(2, 3, seed=1)]
    y, _ = Module(rnnx.Sequential(*layers, rnnx.Pool("last")))(pack_sequence(rows, False))
    for b, row in enumerate(rows):
        alone, _ = Module(rnnx.Sequential(*layers))(row[:, None])
        torch.testing.assert_close(y[b], alone[-1, 0])


def test_a_model_swaps_one_line() -> None:
    """Inside another module, with names, devices and dtypes as torch has them."""

    class Tagger(torch.nn.Module):
        def __init__(self, lstm: Any) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(10, 3)
            self.lstm = lstm
            self.head = torch.nn.Linear(4, 2)

        def forward(self, ids: Any) -> Any:
            return self.head(self.lstm(self.embedding(ids))[0])

    torch.manual_seed(0)
    before = Tagger(torch.nn.LSTM(3, 4))
    after = Tagger(Module(rnnx.LSTM(3, 4)))
    after.load_state_dict(before.state_dict())
    ids = torch.arange(6).reshape(3, 2)
    torch.testing.assert_close(after(ids), before(ids))
    after.double()
    assert after(ids).dtype == F64
    assert {W.dtype for W in after.parameters()} == {F64}
    after.to(torch.float32).to("cpu")
    torch.testing.assert_close(after(ids), before(ids))


def dropped() -> Any:
    layer = rnnx.Sequential(
        rnnx.LSTM(3, 8, 2, dropout=0.5, recurrent_dropout=0.2, seed=0),
        rnnx.Dropout(0.5),
        rnnx.Linear(8, 2, seed=1),
    )
    return Module(layer)


def test_dropout_follows_train_and_eval() -> None:
    """On in train, also without grad; off in eval; by torch's seed."""
    ours, x = dropped(), draw(T, B, INPUT, dtype=torch.float32)

    def call(seed: int) -> Any:
        torch.manual_seed(seed)
        return ours(x)[0]

    assert torch.equal(call(1), call(1))
    assert not torch.equal(call(1), call(2))
    with torch.no_grad():
        noisy = call(1)
    assert torch.equal(noisy, call(1).detach())
    ours.eval()
    with torch.no_grad():
        quiet = call(1)
    torch.testing.assert_close(call(2).detach(), quiet)
    expected, _ = ours.to_rnnx()(x.numpy())
    np.testing.assert_allclose(quiet.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_no_random_number_is_drawn_without_dropout() -> None:
    """The state of torch's generator stays as it is."""
    before = torch.get_rng_state()
    Module(rnnx.LSTM(3, 4, 2))(draw(T, B, INPUT, dtype=torch.float32))
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_of_dropout_are_exact() -> None:
    """With the masks of one seed held."""
    ours = Module(rnnx.GRU(2, 3, 2, dropout=0.5, weight_drop=0.3, dtype="float64", seed=0))
    x = draw(3, 2, 2).requires_grad_()

    def run(x: Any) -> Any:
        torch.manual_seed(3)
        return ours(x)[0]

    assert torch.autograd.gradcheck(run, (x,))


def test_torchs_checkpoints_give_the_same_gradients() -> None:
    """Computed again with the same masks, and what is saved moved through hooks."""
    from torch.utils.checkpoint import checkpoint

    ours, found = dropped(), []
    for wrap in (lambda x: ours(x)[0], lambda x: checkpoint(ours, x, use_reentrant=False)[0]):
        torch.manual_seed(1)
        x = draw(T, B, INPUT, dtype=torch.float32).requires_grad_()
        found.append(torch.autograd.grad(wrap(x).square().sum(), [x, *ours.parameters()]))
    with torch.autograd.graph.save_on_cpu():
        torch.manual_seed(1)
        y, _ = ours(x)
    found.append(torch.autograd.grad(y.square().sum(), [x, *ours.parameters()]))
    equal(found[0], found[1])
    equal(found[0], found[2])


def test_nothing_is_kept_without_grad(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under no_grad, inference_mode, or with all frozen: the inference call, and no graph."""
    ours, x = Module(rnnx.LSTM(3, 4, seed=0)), draw(T, B, INPUT, dtype=torch.float32)
    expected = ours(x)[0].detach()

    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("forward keeps a cache")

    monkeypatch.setattr(rnnx.LSTM, "forward", fail)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            y, _ = ours(x)
        assert not y.requires_grad
        torch.testing.assert_close(y, expected)
    ours.requires_grad_(False)
    assert not ours(x)[0].requires_grad


def test_outputs_that_the_loss_does_not_read() -> None:
    """Each alone gives the gradient that torch.nn gives; states that are not given have none."""
    ours, theirs = pair("LSTM", num_layers=2)
    for choose in (lambda y, s: y, lambda y, s: s[0], lambda y, s: s[1], lambda y, s: y[-1, 0, :1]):
        found = []
        for one in (ours, theirs):
            x = draw(T, B, INPUT).requires_grad_()
            loss = choose(*one(x)).square().sum()
            found.append(torch.autograd.grad(loss, [x, *one.parameters()]))
        equal(*found)
    chain = Module(
        rnnx.Sequential(
            rnnx.GRU(3, 4, dtype="float64", seed=0), rnnx.Linear(4, 2, dtype="float64", seed=1)
        )
    )
    _, state = chain(draw(T, B, INPUT))
    state[0].sum().backward()
    assert not chain.get_parameter("1.weight").grad.any()
    assert chain.get_parameter("0.weight_hh_l0").grad.any()


def test_gradients_add_up_and_go_through_states() -> None:
    """Two backwards are twice one; a sequence in two halves has the gradients of the whole."""
    ours = Module(rnnx.LSTM(3, 4, dtype="float64", seed=0))
    x = draw(6, B, INPUT)

    def grads() -> list[Any]:
        found = [W.grad.clone() for W in ours.parameters()]
        ours.zero_grad()
        return found

    ours(x)[0].square().sum().backward()
    one = grads()
    for _ in range(2):
        ours(x)[0].square().sum().backward()
    equal([2 * g for g in one], grads())
    first, state = ours(x[:2])
    second, _ = ours(x[2:], state)
    (first.square().sum() + second.square().sum()).backward()
    equal(one, grads())


def test_frozen_and_shared_parameters() -> None:
    """A frozen one has no gradient; one that two layers share has the sum of both."""
    ours, x = Module(rnnx.GRU(3, 4, dtype="float64", seed=0)), draw(T, B, INPUT)
    ours.weight_hh_l0.requires_grad_(False)
    ours(x)[0].sum().backward()
    assert ours.weight_hh_l0.grad is None
    assert ours.weight_ih_l0.grad.any()
    chain = Module(
        rnnx.Sequential(*(rnnx.RNN(3, 3, dtype="float64", seed=seed) for seed in range(2)))
    )
    first, second = chain.get_submodule("0"), chain.get_submodule("1")
    second.weight_hh_l0 = first.weight_hh_l0
    assert len(list(chain.parameters())) == 7
    W = first.weight_hh_l0.detach().clone()

    def run(W: Any) -> Any:
        return torch.func.functional_call(chain, {"0.weight_hh_l0": W, "1.weight_hh_l0": W}, (x,))[
            0
        ]

    assert torch.autograd.gradcheck(run, (W.requires_grad_(),))
    chain(x)[0].sum().backward()
    expected = torch.autograd.grad(run(W).sum(), W)[0]
    torch.testing.assert_close(first.weight_hh_l0.grad, expected)


def test_parametrizations_are_followed() -> None:
    """torch's weight normalisation of a parameter of ours."""
    from torch.nn.utils import parametrizations

    ours, theirs = pair("RNN")
    for one in (ours, theirs):
        parametrizations.weight_norm(one, "weight_hh_l0")
        one(draw(T, B, INPUT))[0].sum().backward()
    equal(
        [W.grad for W in ours.parametrizations.parameters()],
        [W.grad for W in theirs.parametrizations.parameters()],
    )


def copies(ours: Any) -> dict[str, Any]:
    """Return copies of a module in all ways there are."""
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    return {
        "deepcopy": copy.deepcopy(ours),
        "pickle": pickle.loads(pickle.dumps(ours)),
        "torch.save": torch.load(file, weights_only=False),
    }


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_are_modules_of_their_own(how: str) -> None:
    """With the same outputs, and parameters of their own; also after a new dtype."""
    for ours in (
        Module(rnnx.LSTM(3, 4, 2, bidirectional=True, seed=0)).double(),
        Module(rnnx.Sequential(rnnx.GRU(3, 4, seed=0), rnnx.Linear(4, 2, seed=1))).double(),
    ):
        x = draw(T, B, INPUT)
        expected = ours(x)
        again = copies(ours)[how]
        equal(again(x), expected)
        with torch.no_grad():
            for W in again.parameters():
                W.zero_()
        equal(ours(x), expected)


def test_a_module_gives_its_layer_back() -> None:
    """With the parameters as trained, in its dtype or another, on another backend; both live on."""
    layer = rnnx.Sequential(rnnx.LSTM(3, 4, seed=0), rnnx.Linear(4, 2, seed=1))
    before = {name: W.copy() for name, W in layer.params.items()}
    ours = Module(layer)
    with torch.no_grad():
        for W in ours.parameters():
            W.add_(1.0)
    back = ours.to_rnnx()
    assert back.backend.name == "numpy"
    assert type(back.layers[0]) is rnnx.LSTM
    for name, W in back.params.items():
        np.testing.assert_array_equal(layer.params[name], before[name])
        np.testing.assert_array_equal(W, before[name] + np.float32(1))
    strict = ours.double().to_rnnx("array_api_strict")
    assert strict.backend.dtype_name == "float64"
    assert ours.to_rnnx(dtype="float32").backend.dtype_name == "float32"
    with torch.no_grad():
        next(ours.parameters()).zero_()
    assert np.all(strict.backend.to_numpy(strict.params["0.weight_ih_l0"]) != 0)


def test_any_backend_goes_in() -> None:
    """A layer of NumPy, torch or array-api-strict, in either dtype; nothing is shared with it."""
    for name, dtype in itertools.product(
        ["numpy", "torch", "array_api_strict"], ["float32", "float64"]
    ):
        layer = rnnx.GRU(3, 4, seed=0, backend=name, dtype=dtype)
        ours = Module(layer)
        assert {str(W.dtype) for W in ours.parameters()} == {f"torch.{dtype}"}
        kept = layer.backend.to_numpy(layer.params["bias_ih_l0"]).copy()
        with torch.no_grad():
            ours.bias_ih_l0.zero_()
        np.testing.assert_array_equal(layer.backend.to_numpy(layer.params["bias_ih_l0"]), kept)
    assert Module(layer, dtype="float32").bias_ih_l0.dtype == torch.float32


def test_a_layer_without_parameters_follows_its_input() -> None:
    """A Pool and a Dropout, on the device and in the dtype of x."""
    for dtype in (torch.float32, F64):
        x = draw(T, B, INPUT, dtype=dtype).requires_grad_()
        y, state = Module(rnnx.Pool("mean"))(x)
        assert state is None
        torch.testing.assert_close(y, x.mean(dim=0))
        torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], torch.full_like(x, 1 / T))
    y, _ = Module(rnnx.Dropout(0.5)).eval()(x)
    torch.testing.assert_close(y, x)


def test_autocast_is_left_out() -> None:
    """In it, inputs of 16 bits are taken, float32 is computed and returned, gradients fit."""
    ours = Module(rnnx.LSTM(3, 4, seed=0))
    linear = torch.nn.Linear(3, 3)
    x = draw(T, B, INPUT, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        small = linear(x)
        y, _ = ours(small)
        assert small.dtype == torch.bfloat16
        assert y.dtype == torch.float32
        y.sum().backward()
        with torch.no_grad():
            inferred, _ = ours(small)
    expected = ours(small.float())[0]
    assert torch.equal(y, expected)
    torch.testing.assert_close(inferred, expected, rtol=1e-6, atol=1e-6)
    assert linear.weight.grad.dtype == torch.float32


def test_dtypes_that_layers_lack_are_refused() -> None:
    """When they are asked for, and nothing is changed."""
    ours = Module(rnnx.LSTM(3, 4, seed=0))
    for change in (ours.half, ours.bfloat16):
        with pytest.raises(TypeError, match="layers compute in float32 or float64, got torch"):
            change()
    assert {W.dtype for W in ours.parameters()} == {torch.float32}


def test_a_second_derivative_is_refused() -> None:
    """And a second backward without retain_graph; with it, the gradients come again."""
    ours = Module(rnnx.GRU(3, 4, dtype="float64", seed=0))
    x = draw(T, B, INPUT).requires_grad_()
    for loss in (ours(x)[0].square().sum(), ours(x)[0].sum()):  # dy depends on x, or is constant
        (dx,) = torch.autograd.grad(loss, x, create_graph=True)
        with pytest.raises(RuntimeError, match="no second derivative"):
            (dx.sum() + ours(x)[0].sum()).backward()
    loss = ours(x)[0].sum()
    (one,) = torch.autograd.grad(loss, x, retain_graph=True)
    (two,) = torch.autograd.grad(loss, x)
    assert torch.equal(one, two)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


@pytest.mark.parametrize("what", ["parameter", "input"])
def test_writing_into_what_backward_needs_is_an_error(what: str) -> None:
    """A wrong gradient is never returned without a word."""
    ours = Module(rnnx.LSTM(3, 4, dtype="float64", seed=0))
    x = draw(T, B, INPUT)
    y, _ = ours(x)
    written = {"parameter": ours.weight_hh_l0, "input": x}[what]
    with torch.no_grad():
        written.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_outputs_may_be_written_to() -> None:
    """In place, as those of torch.nn: the gradient is that of the same out of place."""
    ours, x = Module(rnnx.LSTM(3, 4, dtype="float64", seed=0)), draw(T, B, INPUT)
    grads = []
    for act in (torch.relu, torch.relu_):
        y, (h, c) = ours(x)
        loss = act(y).square().sum() + act(h).square().sum() + act(c).sum()
        grads.append(torch.autograd.grad(loss, ours.weight_hh_l0)[0])
    assert torch.equal(*grads)
    with torch.no_grad():
        y, (h, c) = ours(x)
        for output in (y, h, c):
            output.zero_()
        assert ours(x)[0].abs().max() > 0


def test_the_graph_is_freed_with_its_loss() -> None:
    """No cycle keeps a cache alive: reference counts alone free it."""
    import gc
    import weakref

    ours = Module(rnnx.LSTM(3, 4, 2, seed=0))
    gc.collect()
    gc.disable()
    try:
        x = draw(T, B, INPUT, dtype=torch.float32) * 1
        alive = weakref.ref(x)
        y, state = ours(x)
        del x, y, state
        assert alive() is None
    finally:
        gc.enable()


def test_mistakes_are_named() -> None:
    """What is no layer, no tensor, of a wrong shape, or not taken by the layer."""
    with pytest.raises(TypeError, match="expected a layer of rnnx, got a Linear"):
        Module(torch.nn.Linear(2, 2))
    ours = Module(rnnx.LSTM(3, 4))
    with pytest.raises(TypeError, match=r"x must be a torch.Tensor or a PackedSequence, got a nda"):
        ours(np.zeros((5, 2, 3)))
    with pytest.raises(ValueError, match=r"x must have shape \(T, B, 3\)"):
        ours(torch.zeros(5, 2, 2))
    with pytest.raises(ValueError, match=r"state must be a pair \(h, c\), got "):
        ours(torch.zeros(5, 2, 3), torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="lengths must be between 0 and T = 5, got 6"):
        ours(torch.zeros(5, 2, 3), lengths=torch.tensor([6, 1]))
    packed = pack_sequence([torch.zeros(2, 3)])
    with pytest.raises(ValueError, match="a PackedSequence has its lengths: give no lengths"):
        ours(packed, lengths=[2])
    with pytest.raises(TypeError, match="a Linear takes no lengths"):
        Module(rnnx.Linear(3, 2))(torch.zeros(2, 3), lengths=[2])


def test_its_text_is_that_of_the_layer() -> None:
    """In the repr of a model, as it is now."""
    assert repr(Module(rnnx.GRU(3, 4)).double()).startswith(
        "Module(GRU(input_size=3, hidden_size=4"
    )
    assert "dtype='float64'" in repr(Module(rnnx.GRU(3, 4)).double())


def test_torch_waits_until_the_class_is_named() -> None:
    """Importing the package does not import torch."""
    code = "import sys, rnnx.interop.torch as t; print('torch' in sys.modules, hasattr(t, 'other'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_from_torch_gives_the_layer_of_a_module() -> None:
    """With the parameters as they are now, on the backend that is asked for."""
    module = Module(rnnx.GRU(3, 4, seed=0))
    with torch.no_grad():
        module.bias_hh_l0.fill_(2.0)
    found = rnnx.interop.from_torch(module, dtype="float64")
    assert found.config() == rnnx.GRU(3, 4).config()
    assert (found.params["bias_hh_l0"] == 2).all()
    assert found.backend == rnnx.get_backend("numpy", dtype="float64")
