"""Pooling over time: its definition, exact gradients, padding, and chains with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from cases import TOLERANCE, assert_close, assert_near
from test_layers import GAPS, assert_right

import rnnx
from rnnx import Backend, Pool
from rnnx.layers.base import Seed

X = np.random.default_rng(3).standard_normal((5, 3, 4))
X.flags.writeable = False
KINDS = [("last", False), ("last", True), ("mean", False), ("max", False)]
PADDING: dict[str, dict[str, Any]] = {
    "dense": {},
    "lengths": {"lengths": [2, 5, 0]},
    "full lengths": {"lengths": [5, 5, 5]},
    "mask with gaps": {"mask": GAPS},
    "left padding": {"mask": np.arange(5)[:, None] >= np.asarray([3, 0, 5])},
}
EARLY = np.zeros((5, 3), dtype=bool)  # one reset, so that no last output is without its past
EARLY[1, 0] = True
kinds = pytest.mark.parametrize(("how", "both"), KINDS, ids=["last", "last, both", "mean", "max"])
paddings = pytest.mark.parametrize("padding", PADDING)


def valid_steps(shape: tuple[int, ...], lengths: Any = None, mask: Any = None) -> np.ndarray:
    """Return which steps are valid, (T, B)."""
    if mask is not None:
        return np.asarray(mask)
    ends = np.full(shape[1], shape[0]) if lengths is None else np.asarray(lengths)
    return np.arange(shape[0])[:, None] < ends


def defined(x: np.ndarray, valid: np.ndarray, how: str, both: bool) -> np.ndarray:
    """Return y as the words say it, row by row, of real or complex x."""
    y, half = np.zeros(x.shape[1:], x.dtype), x.shape[-1] // 2
    for b in range(x.shape[1]):
        steps = x[valid[:, b], b]
        if len(steps) and how == "last":
            y[b] = steps[-1]
            y[b, half:] = steps[0, half:] if both else y[b, half:]
        elif len(steps):
            y[b] = np.mean(steps, axis=0) if how == "mean" else np.max(steps, axis=0)
    return y


def pool(how: str, both: bool, backend: Any = "numpy", **options: Any) -> Pool:
    """Return a pool, in float64 on NumPy."""
    options |= {"dtype": "float64"} if backend == "numpy" else {}
    return Pool(how, bidirectional=both, backend=backend, **options)


def check(how: str, both: bool, x: np.ndarray, options: dict[str, Any]) -> None:
    """Assert that y is as defined and dx the definition's complex-step derivative."""
    valid, layer = valid_steps(x.shape, **options), pool(how, both)
    y, state, cache = layer.forward(x, **options)
    assert state is None
    assert_near(y, defined(x, valid, how, both), 1e-14, "y")
    dy = np.random.default_rng(4).standard_normal(y.shape)
    dx, dstate0, grads = layer.backward(dy, cache)
    assert (dstate0, grads) == (None, {})
    oracle.check(lambda a: np.sum(dy * defined(a["x"], valid, how, both)), {"x": x}, {"x": dx})
    assert not np.any(dx[~valid])


@kinds
@paddings
def test_values_and_gradients_are_those_of_the_definition(
    how: str, both: bool, padding: str
) -> None:
    """Dense, ragged, with gaps, with rows without a step."""
    check(how, both, X, PADDING[padding])


@kinds
@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 3, 2), (6, 1, 4), (2, 2, 2)], ids=str)
def test_small_shapes(how: str, both: bool, shape: tuple[int, ...]) -> None:
    """One step, where the first is the last; one row; dense, ragged and masked."""
    T, B, _ = shape
    x = np.random.default_rng(5).standard_normal(shape)
    mask = np.zeros((T, B), dtype=bool)
    mask[T // 2] = True
    for options in ({}, {"lengths": [T, 1, 0][:B]}, {"mask": mask}):
        check(how, both, x, options)


@kinds
@paddings
def test_every_backend_equals_the_definition(
    bk: Backend, how: str, both: bool, padding: str
) -> None:
    """With NaN in the padding, and lengths or mask on the host or on the device."""
    options, layer = PADDING[padding], pool(how, both, bk)
    valid = valid_steps(X.shape, **options)
    x = bk.asarray(np.where(valid[..., None], X, np.nan))
    dy = np.random.default_rng(6).standard_normal((3, 4))
    exact = pool(how, both)
    expected = exact.backward(dy, exact.forward(X, **options)[2])[0]
    kind = {"lengths": "int32", "mask": "bool"}
    on_device = {name: bk.asarray(value, kind[name]) for name, value in options.items()}
    for given in (options, on_device):
        y, _, cache = layer.forward(x, **given)
        assert_close(bk, y, defined(X, valid, how, both), "y")
        dx, _, _ = layer.backward(dy, cache)
        assert_close(bk, dx, expected, "dx")
        assert not np.any(bk.to_numpy(dx)[~valid])
        assert_close(bk, layer(x, **given)[0], bk.to_numpy(y).astype("float64"))


def test_the_last_of_both_directions_is_torch_h_n() -> None:
    """Of torch.nn.GRU on a packed ragged batch, its h_n side by side, and the gradient by x."""
    torch = pytest.importorskip("torch", reason="torch is the oracle here")
    lengths = [3, 5, 1]
    gru = rnnx.GRU(4, 3, bidirectional=True, dtype="float64", seed=0)
    theirs = torch.nn.GRU(4, 3, bidirectional=True, dtype=torch.float64)
    theirs.load_state_dict({k: torch.tensor(W) for k, W in gru.params.items()})
    model = rnnx.Sequential(gru, pool("last", True))
    y, (h_n, _), cache = model.forward(X, lengths=lengths)
    dy = np.random.default_rng(7).standard_normal(y.shape)
    with torch.enable_grad():
        x = torch.tensor(X, requires_grad=True)
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        h_torch = torch.cat(tuple(theirs(packed)[1]), dim=-1)
        (h_torch * torch.tensor(dy)).sum().backward()
    assert_near(y, h_torch.detach().numpy(), 1e-12)
    assert_near(model.backward(dy, cache)[0], x.grad.numpy(), 1e-12)
    np.testing.assert_array_equal(y, np.concatenate(list(h_n), axis=-1))


@kinds
@paddings
def test_padding_of_any_value_changes_no_bit(how: str, both: bool, padding: str) -> None:
    """NaN, infinity or zero there: the same y and dx, twice; and x is as it was."""
    layer, options = pool(how, both), PADDING[padding]
    valid = valid_steps(X.shape, **options)[..., None]
    dy, results = np.ones((3, 4)), []
    for value in (np.nan, np.inf, -np.inf, 0.0, 0.0):
        x = np.where(valid, X, value)
        before = x.copy()
        y, _, cache = layer.forward(x, **options)
        results.append((y.copy(), layer.backward(dy, cache)[0]))
        np.testing.assert_array_equal(x, before)
    for y, dx in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(dx, results[0][1])
    np.testing.assert_array_equal(dy, 1)


def test_of_equal_maxima_the_first_has_the_gradient(bk: Backend) -> None:
    """Never split, never at a padded step, and where the maximum is -inf, too."""
    x = np.asarray([2.0, 1, 2, 2, 1, -np.inf, -np.inf])[:, None, None] * np.ones((1, 1, 2))
    masks = np.asarray([[1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1]], bool)
    layer = pool("max", False, bk)
    for mask, first in zip(masks, (0, 2, 5), strict=True):
        y, _, cache = layer.forward(x, mask=mask[:, None])
        dx = bk.to_numpy(layer.backward(np.ones((1, 2)), cache)[0])
        np.testing.assert_array_equal(bk.to_numpy(y)[0], x[first, 0])
        np.testing.assert_array_equal(dx[:, 0, 0], np.arange(7) == first)


@kinds
def test_the_layouts_are_one_layer(how: str, both: bool) -> None:
    """Batch first, unbatched and a list give the numbers of (T, B, F), in their own form."""
    layer, lengths = pool(how, both), [5, 2, 3]
    y, _, cache = layer.forward(X, lengths=lengths)
    dy = np.random.default_rng(8).standard_normal(y.shape)
    dx, _, _ = layer.backward(dy, cache)

    first = pool(how, both, batch_first=True)
    mask = valid_steps(X.shape, lengths)
    for options in ({"lengths": lengths}, {"mask": mask.T}):
        y_f, _, cache = first.forward(np.swapaxes(X, 0, 1), **options)
        np.testing.assert_array_equal(y_f, y)
        np.testing.assert_array_equal(np.swapaxes(first.backward(dy, cache)[0], 0, 1), dx)

    rows = [X[:n, b] for b, n in enumerate(lengths)]
    y_l, _, cache = layer.forward(rows)
    np.testing.assert_array_equal(y_l, y)
    dxs = layer.backward(dy, cache)[0]
    assert isinstance(dxs, list)
    for b, row in enumerate(rows):
        np.testing.assert_array_equal(dxs[b], dx[: len(row), b])
        for options in ({}, {"mask": np.ones(len(row), bool)}, {"lengths": [len(row)]}):
            y_b, _, cache = layer.forward(row, **options)  # (T, F): one sequence
            assert_near(y_b, y[b], 1e-14)
            assert_near(layer.backward(dy[b], cache)[0], dxs[b], 1e-14)


@pytest.mark.parametrize(
    ("options", "call", "error", "message"),
    [
        ({}, {"x": X[0, 0]}, ValueError, r"\(T, B, F\) or \(T, F\), with T and B.*got \(4,\)"),
        ({"batch_first": True}, {"x": X[:, :0]}, ValueError, r"\(B, T, F\) or .*got \(5, 0, 4\)"),
        ({}, {"x": X.astype(int)}, TypeError, "x must be a real floating array, got dtype int64"),
        ({}, {"x": [X[:, 0], X[:, 0, :2]]}, ValueError, r"x\[1\] must have shape \(T, 4\), got"),
        ({}, {"x": [X[0, 0]]}, ValueError, r"x\[0\] must have shape \(T, F\), got \(4,\)"),
        ({}, {"x": [X[:, 0]], "lengths": [5]}, ValueError, "a list of sequences has its lengths"),
        ({"both": True}, {"x": X[..., :3]}, ValueError, "even number of features.*got 3"),
        ({}, {"lengths": [5, 1]}, ValueError, r"lengths must have shape \(3,\), got \(2,\)"),
        ({}, {"lengths": [5, 1, 6]}, ValueError, "lengths must be between 0 and T = 5, got 6"),
        ({}, {"lengths": [5.0, 1, 1]}, TypeError, "lengths must be integers, got dtype float64"),
        ({}, {"mask": GAPS.T}, ValueError, r"mask must have shape \(5, 3\), got \(3, 5\)"),
        ({}, {"mask": 1 * GAPS}, TypeError, "mask must be a boolean array, got dtype int64"),
        ({}, {"mask": GAPS, "lengths": [1, 1, 1]}, ValueError, "lengths or mask, got both"),
        ({}, {"params": {"weight": X}}, ValueError, r"must have the names \[\], got \['weight'\]"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line(
    options: dict[str, Any], call: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Of forward and of the inference call alike."""
    layer = pool("last", **({"both": False} | options))
    for verb in (layer.forward, layer):
        with pytest.raises(error, match=message) as caught:
            verb(**({"x": X} | call))
        assert "\n" not in str(caught.value)


def test_wrong_options_gradients_and_parameters_are_refused() -> None:
    """An unknown way, dy of another shape, a parameter where there is none."""
    with pytest.raises(ValueError, match="how must be one of last, mean, max, got 'sum'"):
        Pool("sum")
    layer = pool("last", False)
    _, _, cache = layer.forward(X)
    with pytest.raises(ValueError, match=r"dy must have shape \(3, 4\), got \(5, 3, 4\)"):
        layer.backward(X, cache)
    _, _, cache = layer.forward(X[:, 0])
    with pytest.raises(ValueError, match=r"dy must have shape \(4,\), got \(3, 4\)"):
        layer.backward(X[0], cache)
    with pytest.raises(ValueError, match="parameter must be one of"):
        layer.set_params({"weight": X})
    layer.set_params({})


def chain(backend: Any = "numpy", both: bool = True, **pooling: Any) -> rnnx.Sequential:
    """Return a classifier of sequences with dropout before and after the pool, one chain nested."""
    shared = {"backend": backend} | ({"dtype": "float64"} if backend == "numpy" else {})

    def seeded(seed: Seed) -> dict[str, Any]:
        return {**shared, "seed": seed}

    gru = rnnx.GRU(4, 3, 2, dropout=0.3, bidirectional=both, **seeded(0))
    features = 6 if both else 3
    return rnnx.Sequential(
        rnnx.Sequential(gru, rnnx.Dropout(0.2, **shared)),
        Pool(bidirectional=both, **pooling, **shared),
        rnnx.Dropout(0.4, **shared),
        rnnx.Sequential(rnnx.Linear(features, 5, **seeded(1)), rnnx.Dropout(0.1, **shared)),
        rnnx.Linear(5, 2, **seeded(2)),
    )


@pytest.mark.parametrize("padding", ["dense", "lengths", "mask with gaps"])
@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_a_chain_has_exact_gradients(how: str, padding: str) -> None:
    """gradcheck through the pool, with dropout on both sides of it, and all that others take."""
    model = chain(how=how)
    options = PADDING[padding] | {"reset": EARLY, "checkpoint": 2}
    state = model.forward(X)[1]
    assert_right(rnnx.gradcheck(model, X, state, samples=8, **options))
    assert_right(rnnx.gradcheck(pool(how, False), X, samples=None, **PADDING[padding]))


def test_masks_have_the_shapes_that_reach_the_layers() -> None:
    """(T, B, F) before the pool, (B, F) after it; without B for one sequence."""
    model = chain()
    for shape, before, after in (((5, 3, 4), (5, 3), (3,)), ((5, 4), (5,), ())):
        masks = model.draw_masks(shape, 0)
        assert {name: mask.shape for name, mask in masks.items()} == {
            "0.0.dropout_l0": (5, shape[1] if len(shape) == 3 else 1, 6),
            "0.1.mask": (*before, 6), "2.mask": (*after, 6), "3.1.mask": (*after, 5),
        }  # fmt: skip
        y, _, _ = model.forward(X if len(shape) == 3 else X[:, 0], masks=masks)
        assert y.shape == model.output_shape(shape) == (*after, 2)
    assert Pool(batch_first=True).output_shape((3, 5, 4)) == (3, 4)
    words = rnnx.Sequential(rnnx.Embedding(9, 4), rnnx.RNN(4, 3), Pool(), rnnx.Dropout(0.5))
    assert words.draw_masks((5, 3), 0)["3.mask"].shape == (3, 3)
    assert words.output_shape((5, 3)) == (3, 3)


def test_a_chain_is_its_layers_on_every_backend(bk: Backend) -> None:
    """The numbers of the layers one by one, lengths to those before the pool and the pool."""
    model, reference = chain(bk, how="mean"), chain(how="mean")
    options = PADDING["lengths"]
    results = []
    for m in (model, reference):
        y, _, cache = m.forward(X, masks=m.draw_masks(X.shape, 1), **options)
        results.append((y, *m.backward(np.ones((3, 2)), cache)[::2]))
    (y, dx, grads), (y_np, dx_np, grads_np) = results
    tolerance = 3 * TOLERANCE[bk.dtype_name]
    assert_near(bk.to_numpy(y), y_np, tolerance)
    assert_near(bk.to_numpy(dx), dx_np, tolerance)
    for name, g in grads.items():
        assert_near(bk.to_numpy(g), grads_np[name], tolerance, name)
    h, _ = model.layers[0](X, **options)
    h, _ = model.layers[1](h, **options)
    for layer in model.layers[2:]:
        h, _ = layer(h)
    np.testing.assert_array_equal(bk.to_numpy(model(X, **options)[0]), bk.to_numpy(h))


@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_a_list_of_sequences_gives_an_array(how: str) -> None:
    """One row of y a sequence, as if alone; dy is an array, too, and dx a list."""
    model, rows = chain(how=how), [X[:, 0], X[:2, 1], X[:4, 2]]
    y, _, cache = model.forward(rows, masks={})
    dy = np.random.default_rng(9).standard_normal((3, 2))
    dxs, _, grads = model.backward(dy, cache)
    np.testing.assert_array_equal(model(rows)[0], y)
    total = {name: 0 * g for name, g in grads.items()}
    for b, row in enumerate(rows):
        y_b, _, cache_b = model.forward(row, masks={})
        dx_b, _, part = model.backward(dy[b], cache_b)
        assert_near(y[b], y_b, 1e-12)
        assert_near(dxs[b], dx_b, 1e-12)
        total = {name: total[name] + g for name, g in part.items()}
    for name, g in grads.items():
        assert_near(g, total[name], 1e-12, name)
    assert rnnx.gradcheck(model, rows, samples=5)


def test_a_list_goes_through_a_nested_chain() -> None:
    """Read once, before the outer chain; without a pool the outputs come as a list."""
    gru, linear = rnnx.GRU(4, 3, seed=0), rnnx.Linear(3, 2, seed=1)
    rows = [X[:, 0], X[:2, 1]]
    ys, _, cache = rnnx.Sequential(rnnx.Sequential(gru), linear).forward(rows)
    flat_ys, _, flat_cache = rnnx.Sequential(gru, linear).forward(rows)
    dxs = rnnx.Sequential(rnnx.Sequential(gru), linear).backward(ys, cache)[0]
    flat_dxs = rnnx.Sequential(gru, linear).backward(flat_ys, flat_cache)[0]
    assert [y.shape for y in ys] == [(5, 2), (2, 2)]
    for a, b in zip([*ys, *dxs], [*flat_ys, *flat_dxs], strict=True):
        np.testing.assert_array_equal(a, b)
    y, _ = rnnx.Sequential(Pool("mean"), linear.to("numpy"))([row[:, :3] for row in rows])
    assert y.shape == (2, 2)


def test_a_chain_says_whether_it_reduces_time() -> None:
    """Where a pool is in it, at any depth."""
    assert chain().reduces_time
    assert rnnx.Sequential(chain()).reduces_time
    assert Pool().reduces_time
    assert not chain().layers[0].reduces_time
    assert not rnnx.GRU(2, 3).reduces_time


def test_what_cannot_follow_a_pool_is_refused_when_built() -> None:
    """A layer that reads sequences, nested or not; another layout; an unknown option."""
    gru, first = rnnx.GRU(4, 4), Pool()
    after = "expected no layer that reads sequences after a Pool.*got a {}: put it before the Pool"
    for layers in ((gru, first, gru), (rnnx.Sequential(gru, first), rnnx.Sequential(gru))):
        with pytest.raises(ValueError, match=after.format("GRU")):
            rnnx.Sequential(*layers)
    with pytest.raises(ValueError, match=after.format("Pool")):
        rnnx.Sequential(first, rnnx.Linear(4, 4), first)
    with pytest.raises(ValueError, match="same batch_first, got False of a GRU and True of a Pool"):
        rnnx.Sequential(gru, Pool(batch_first=True))
    for verb in (rnnx.Sequential(gru, first), rnnx.Sequential(gru, first).forward):
        with pytest.raises(TypeError, match=r"options must be of \['lengths', .*got \['length'\]"):
            verb(X, length=[1, 1, 1])


@kinds
@paddings
def test_it_runs_without_values(how: str, both: bool, padding: str) -> None:
    """On torch's meta device: nothing is read back."""
    pytest.importorskip("torch", reason="needs torch's meta device")
    layer = pool(how, both, "torch", device="meta")
    y, _, cache = layer.forward(layer.backend.zeros((5, 3, 4)), **PADDING[padding])
    dx, _, _ = layer.backward(y, cache)
    assert (tuple(y.shape), tuple(dx.shape)) == ((3, 4), (5, 3, 4))
    assert y.is_meta
    assert dx.is_meta


@pytest.mark.parametrize("how", ["last", "mean", "max"])
def test_jax_compiles_a_chain_once(how: str) -> None:
    """One trace for all lengths and masks, forward and backward apart, and NumPy's numbers."""
    jax = pytest.importorskip("jax", reason="needs JAX")
    bk = rnnx.get_backend("jax", dtype="float64")
    model, reference, traces = chain(bk, how=how), chain(how=how), []

    def forward(x: Any, lengths: Any, masks: Any) -> Any:
        traces.append(1)
        return model.forward(x, lengths=lengths, masks=masks)

    compiled, back = jax.jit(forward), jax.jit(model.backward)
    for seed, lengths in enumerate(([5, 3, 0], [1, 1, 5])):
        on_device = bk.asarray(lengths, "int32")
        y, _, cache = compiled(bk.asarray(X), on_device, model.draw_masks(X.shape, seed))
        dx, _, grads = back(y, cache)
        masks = reference.draw_masks(X.shape, seed)
        y_np, _, cache_np = reference.forward(X, lengths=lengths, masks=masks)
        dx_np, _, grads_np = reference.backward(y_np, cache_np)
        assert_near(bk.to_numpy(y), y_np, 1e-11)
        assert_near(bk.to_numpy(dx), dx_np, 1e-11)
        for name, g in grads.items():
            assert_near(bk.to_numpy(g), grads_np[name], 1e-11, name)
    assert len(traces) == 1


def test_a_copy_on_another_backend_pools_alike() -> None:
    """`to` keeps what the layer does."""
    layer = pool("last", True, batch_first=True)
    moved = layer.to("array_api_strict")
    x = np.swapaxes(X, 0, 1)
    y, _ = moved(x, lengths=[1, 5, 2])
    assert moved.backend.name == "array_api_strict"
    np.testing.assert_array_equal(moved.backend.to_numpy(y), layer(x, lengths=[1, 5, 2])[0])
