"""Training: the loop does what a loop by hand does, on every backend, and says what it did."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import TOLERANCE, Case
from conftest import make

import rnnx
from rnnx import Backend, losses, metrics, optim, train
from rnnx.data import Layout, Sequences, Stream

LENGTHS = [3, 9, 4, 9, 1, 7, 5, 2, 6, 8, 3]


def ragged(rng: np.random.Generator, width: int = 3) -> list[np.ndarray]:
    return [rng.standard_normal((T, width)) for T in LENGTHS]


def labelled(rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Return ragged sequences and the class of each: whether they sum to more than zero."""
    x = ragged(rng)
    return x, np.asarray([int(np.sum(row) > 0) for row in x])


def classifier(backend: Any = "numpy", *, dtype: str | None = None, **options: Any) -> Any:
    options = {"seed": 0, "backend": backend, "dtype": dtype} | options
    return rnnx.Sequential(
        rnnx.GRU(3, 5, **options),
        rnnx.Pool("last", backend=backend, dtype=dtype),
        rnnx.Linear(5, 2, backend=backend, dtype=dtype, seed=1),
    )


def tagger(backend: Any = "numpy", *, dtype: str | None = None, **options: Any) -> Any:
    options = {"seed": 0, "backend": backend, "dtype": dtype} | options
    return rnnx.Sequential(
        rnnx.LSTM(3, 4, **options), rnnx.Linear(4, 2, backend=backend, dtype=dtype, seed=1)
    )


def fit(model: Any, data: Any, **options: Any) -> train.History:
    defaults: dict[str, Any] = {
        "loss": losses.softmax_cross_entropy,
        "optimizer": optim.Adam(0.01),
        "epochs": 3,
        "batch_size": 4,
        "progress": False,
        "seed": 0,
    }
    return train.fit(model, data, **defaults | options)


def assert_same(a: train.History, b: train.History) -> None:
    """Assert that two histories are equal to the last bit, but for the seconds."""
    assert list(a) == list(b)
    for name in a:
        if name != "seconds":
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for name, values in a.steps.items():
        np.testing.assert_array_equal(values, b.steps[name], err_msg=name)


def test_it_is_the_loop_by_hand(rng: np.random.Generator) -> None:
    """One batch, no shuffling: parameters and losses of the four lines that every user writes."""
    x, y = rng.standard_normal((6, 8, 3)), rng.integers(0, 2, size=(6, 8))
    model, other = tagger(dtype="float64"), tagger(dtype="float64")
    adam, expected = optim.Adam(0.05), []
    params, state = other.params, optim.Adam().init(other.params)
    for _ in range(5):
        logits, _, cache = other.forward(x, params=params)
        loss, dlogits = losses.softmax_cross_entropy(logits, y)
        _, _, grads = other.backward(dlogits, cache)
        grads, _ = optim.clip_by_global_norm(grads, 0.1)
        params, state = adam.update(params, grads, state)
        expected.append(float(loss))
    history = fit(
        model, (x, y), optimizer=adam, epochs=5, batch_size=8, shuffle=False, clip_norm=0.1
    )
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-14)
    for name, w in params.items():
        np.testing.assert_allclose(model.params[name], w, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_names_stand_for_objects(name: str, rng: np.random.Generator) -> None:
    """An optimizer by name has its defaults; a loss by name is the function."""
    data = labelled(rng)
    named = fit(classifier(), data, optimizer=name, loss="cross_entropy")
    assert_same(named, fit(classifier(), data, optimizer=optim.OPTIMIZERS[name]()))
    x, y = rng.standard_normal((6, 8, 3)), rng.random((6, 8, 2))
    for loss, function in losses.LOSSES.items():
        if loss != "cross_entropy":
            assert_same(fit(tagger(), (x, y), loss=loss), fit(tagger(), (x, y), loss=function))


def test_every_backend_trains_alike(bk: Backend, rng: np.random.Generator) -> None:
    """Ragged, weighted, with all dropouts: NumPy's history in float64, to tolerance."""
    x, y = labelled(rng)
    data = Sequences(x, y, weights=rng.random(len(x)))
    options: dict[str, Any] = {"num_layers": 2, "dropout": 0.2, "recurrent_dropout": 0.1}
    runs = [
        fit(classifier(backend, dtype=dtype, **options), data, validation=(x, y), clip_norm=1.0,
            metrics={"accuracy": metrics.accuracy})
        for backend, dtype in ((bk, None), ("numpy", "float64"))
    ]  # fmt: skip
    tolerance = 100 * TOLERANCE[bk.dtype_name]  # over nine steps
    for name in set(runs[0]) - {"seconds"}:
        np.testing.assert_allclose(runs[0][name], runs[1][name], rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("size", [5, 64])
def test_the_strict_library_gives_the_same_bits(size: int, rng: np.random.Generator) -> None:
    """On the portable core, in float64: one seed, one history, to the last bit."""
    x = [rng.standard_normal((T, 3)) for T in rng.integers(1, 90, size=40)]
    y = [rng.integers(0, 2, size=len(row)) for row in x]
    runs = []
    for name in ("numpy", "array_api_strict"):
        backend = make(Case(name, None, "float64"))
        model = rnnx.Sequential(
            rnnx.LSTM(
                3,
                size,
                2,
                bidirectional=True,
                dropout=0.1,
                core="portable",
                backend=backend,
                seed=0,
            ),
            rnnx.Linear(2 * size, 2, backend=backend, seed=1),
        )
        runs.append(fit(model, (x, y), validation=(x, y), batch_size=16, clip_norm=1.0))
    assert_same(*runs)


def test_a_step_is_traced_once_for_each_shape(rng: np.random.Generator) -> None:
    """Under JAX: no program for each learning rate, nor for each length of a ragged batch."""
    backend, traced = make(Case("jax", None, "float32")), []
    x = [rng.standard_normal((T, 3)) for T in range(33, 65)]
    y = rng.integers(0, 2, size=len(x))

    def loss(*arguments: Any) -> Any:
        traced.append(arguments[0].shape)
        return losses.softmax_cross_entropy(*arguments)

    fit(classifier(backend), (x, y), loss=loss, epochs=4, schedule=optim.Cosine(20))
    assert 1 <= len(traced) <= 8, traced


def test_padding_does_not_enter_the_figures(rng: np.random.Generator) -> None:
    """A ragged batch of lists and the same padded with rubbish: the same history."""
    x = ragged(rng)
    y = [rng.integers(0, 2, size=len(row)) for row in x]
    padded = np.full((9, len(x), 3), np.nan)
    targets = np.zeros((9, len(x)), dtype="int64")
    for i, row in enumerate(x):
        padded[: len(row), i], targets[: len(row), i] = row, y[i]
    assert_same(
        fit(tagger(dtype="float64"), (x, y)),
        fit(tagger(dtype="float64"), Sequences(padded, targets, lengths=LENGTHS)),
    )


def test_whole_numbers_among_the_rows_are_numbers(rng: np.random.Generator) -> None:
    """[[1], [2]] beside [[0.5]]: whichever of them is first in a batch."""
    x = [[[1], [2]], [[0.5]], [[3]], [[1], [0.25]]]
    y = [[[1, 0], [2, 0]], [[0.5, 1]], [[3, 0]], [[1, 2], [0.25, 1]]]
    whole, floating = (
        fit(rnnx.GRU(1, 2, seed=0), data, loss=losses.mean_squared_error, batch_size=1)
        for data in ((x, y), tuple([np.asarray(row, float) for row in part] for part in (x, y)))
    )
    assert_same(whole, floating)


def test_data_on_the_device(bk: Backend, rng: np.random.Generator) -> None:
    """All of it: the history of the same data on the host."""
    x, y, weights = rng.standard_normal((5, 8, 3)), rng.integers(0, 2, size=8), np.arange(1, 9) / 8
    lengths = np.asarray([5, 1, 2, 5, 3, 3, 4, 1])
    there = [bk.asarray(a, dtype=kind) for a, kind in
             ((x, None), (y, "int32"), (lengths, "int32"), (weights, None))]  # fmt: skip
    listed = [there[0][:n, i, :] for i, n in enumerate(lengths)], [there[1][i] for i in range(8)]
    runs = [
        fit(classifier(bk), data)
        for data in (
            Sequences(x, y, lengths=lengths, weights=weights),
            Sequences(there[0], there[1], lengths=there[2], weights=there[3]),
            Sequences(*listed, weights=there[3]),
        )
    ]
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])


def test_a_layer_without_a_memory_is_a_model(rng: np.random.Generator) -> None:
    """Logistic regression of each step: ragged, it is a chain of that one layer."""
    x = ragged(rng)
    data = x, [rng.integers(0, 2, size=len(row)) for row in x]
    bare, model = rnnx.Linear(3, 2, seed=0), rnnx.Sequential(rnnx.Linear(3, 2, seed=0))
    assert_same(fit(bare, data, validation=data), fit(model, data, validation=data))
    for found, expected in zip(train.predict(bare, x), train.predict(model, x), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_batch_first_is_the_same_run(rng: np.random.Generator) -> None:
    """(N, T, F) with batch_first and (T, N, F) without: the same history."""
    x, y = rng.standard_normal((9, 8, 3)), rng.integers(0, 2, size=(9, 8))
    first = fit(tagger(dtype="float64", batch_first=True), (np.swapaxes(x, 0, 1), y.T))
    second = fit(tagger(dtype="float64"), (x, y))
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-13)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_batches_in_order_are_those_of_their_indices(
    bk: Backend, listed: bool, batch_first: bool, rng: np.random.Generator
) -> None:
    """Without shuffling: the same entries; what lies in one piece on the host is not copied."""
    x, y = rng.standard_normal((10, 6, 3)), rng.integers(0, 2, size=(10, 6))
    layout = Layout.of(rnnx.GRU(3, 2, backend=bk, batch_first=batch_first))
    swap = (lambda a: a) if batch_first else (lambda a: np.swapaxes(a, 0, 1))
    data = (
        Sequences(list(x), list(y))
        if listed
        else Sequences(*map(np.ascontiguousarray, (swap(x), swap(y))))
    )
    source = data.bind(layout)
    parts = source.order(4, None)
    assert [source.batch(part).size for part in parts] == [4, 4, 2]
    for part, start in zip(parts, (0, 4, 8), strict=True):
        rows = np.arange(start, min(start + 4, 10))
        for found, exact, whole in zip(
            source.batch(part), source.batch(rows), (x, y), strict=False
        ):
            np.testing.assert_array_equal(bk.to_numpy(found), bk.to_numpy(exact))
            np.testing.assert_allclose(bk.to_numpy(found), swap(whole[rows]), rtol=1e-6)
    if bk.name == "numpy" and not listed:
        batch = source.batch(parts[1])
        assert np.shares_memory(batch.x, source.x) is batch_first
        assert batch.x.flags.c_contiguous
        assert np.shares_memory(source.batch(source.order(10, None)[0]).x, source.x)


def test_weights_are_repetitions(rng: np.random.Generator) -> None:
    """A sequence of weight 2 is a sequence that is there twice; one of weight 0 is not there."""
    x, y = labelled(rng)
    weights = np.asarray([2.0, 0.0] + [1.0] * (len(x) - 2))
    twice = [x[0], x[0], *x[2:]], np.asarray([y[0], y[0], *y[2:]])
    options: dict[str, Any] = {"batch_size": 32, "epochs": 4, "metrics": {"a": metrics.accuracy}}
    first = fit(classifier(dtype="float64"), Sequences(x, y, weights=weights), **options)
    second = fit(classifier(dtype="float64"), twice, **options)
    for name in ("loss", "a", "grad_norm"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-12)


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.binary_accuracy])
def test_a_batch_of_no_weight_is_not_there(metric: Any, rng: np.random.Generator) -> None:
    """Its figures, which have no value, do not enter the means."""
    x, weights = ragged(rng), np.asarray([1.0, 0.0] * 5 + [1.0])
    y = rng.random((len(x), 2)) if metric is metrics.binary_accuracy else np.arange(len(x)) % 2
    loss = losses.binary_cross_entropy if y.ndim == 2 else losses.softmax_cross_entropy
    there = Sequences(x[::2], y[::2]), Sequences(x, y, weights=weights)
    options: dict[str, Any] = {"loss": loss, "metrics": {"a": metric}, "batch_size": 1}
    found = [train.evaluate(classifier(dtype="float64"), data, **options) for data in there]
    assert found[0] == pytest.approx(found[1], rel=1e-13)


def test_a_metric_may_have_no_value_where_nothing_counts(rng: np.random.Generator) -> None:
    """0/0 in a batch of no weight is not a figure of the epoch."""

    def one(y: Any, target: Any, mask: Any, weights: Any) -> Any:
        return np.sum(weights) / np.sum(weights)

    data = Sequences(*labelled(rng), weights=[1.0, 0.0] * 5 + [1.0])
    history = fit(classifier(), data, metrics={"one": one}, batch_size=1)
    assert history["one"].tolist() == [1.0] * 3


def test_a_stream_is_truncated_bptt(rng: np.random.Generator) -> None:
    """The losses of `tbptt` over the same chunks, the state carried on, an update a chunk."""
    x, y = rng.standard_normal((25, 2, 3)), rng.integers(0, 2, size=(25, 2))
    sgd, model, expected = optim.SGD(0.5), tagger(dtype="float64"), []
    for update in rnnx.tbptt(model, [(x, y)], losses.softmax_cross_entropy, k1=5):
        params, _ = sgd.update(model.params, update.grads, {})
        model.set_params(params)
        expected.append(float(update.loss))
    other = tagger(dtype="float64")
    history = fit(other, Stream(x, y, length=5), optimizer=sgd, epochs=1)
    np.testing.assert_allclose(history.steps["loss"], expected, rtol=1e-13)
    np.testing.assert_allclose(other.params["0.weight_hh_l0"], model.params["0.weight_hh_l0"])


def test_streams_side_by_side(rng: np.random.Generator) -> None:
    """One sequence cut into streams: consecutive pieces, no step twice, few left out."""
    stream = Stream(np.arange(23)[:, None], np.arange(1, 24), length=4, streams=3)
    assert stream.x[..., 0].T.tolist() == [[*range(7)], [*range(7, 14)], [*range(14, 21)]]
    np.testing.assert_array_equal(stream.y, stream.x[..., 0] + 1)


def test_a_stream_on_the_device(bk: Backend, rng: np.random.Generator) -> None:
    """Cut or whole: the history of the same stream on the host."""
    x, y = rng.standard_normal((24, 3)), rng.integers(0, 2, size=24)
    there = bk.asarray(x), bk.asarray(y, dtype="int32")
    host, device = (fit(tagger(bk), Stream(*data, length=4, streams=3)) for data in ((x, y), there))
    assert_same(host, device)


def test_a_stream_of_a_table(rng: np.random.Generator) -> None:
    """A data frame and a list are the arrays that they hold."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    x, y = rng.standard_normal((24, 3)), rng.integers(0, 2, size=24)
    frame = pandas.DataFrame(x, columns=list("abc"), index=range(100, 124))
    for table, targets in ((frame, pandas.Series(y)), (x.tolist(), y.tolist())):
        histories = [
            fit(tagger(), Stream(*data, length=4, streams=3)) for data in ((x, y), (table, targets))
        ]
        assert_same(*histories)


def test_validation_on_a_stream_carries_the_state(rng: np.random.Generator) -> None:
    """The loss of a whole stream does not depend on how it is cut."""
    x, y = rng.standard_normal((24, 2, 3)), rng.integers(0, 2, size=(24, 2))
    model = tagger(dtype="float64")
    whole, cut = (
        train.evaluate(model, Stream(x, y, length=n), loss=losses.softmax_cross_entropy)["loss"]
        for n in (24, 7)
    )
    assert whole == pytest.approx(cut, rel=1e-13)


def test_the_schedule_sets_the_rate(rng: np.random.Generator) -> None:
    """The rate of each step is the optimizer's times the schedule's factor of that step."""
    schedule = optim.WarmUp(2, optim.Step(3, 0.5))
    history = fit(classifier(), labelled(rng), schedule=schedule, epochs=4)
    expected = [0.01 * schedule(t) for t in range(12)]
    np.testing.assert_allclose(history.steps["learning_rate"], expected)


def test_it_stops_early_and_keeps_the_best(rng: np.random.Generator) -> None:
    """Random labels: the validation loss rises; the model is that of its lowest point."""
    x, y = ragged(rng), rng.integers(0, 2, size=len(LENGTHS))
    held_out = ragged(rng), rng.integers(0, 2, size=len(LENGTHS))
    model = classifier()
    history = fit(model, (x, y), validation=held_out, epochs=200, patience=5,
                  optimizer=optim.Adam(0.05))  # fmt: skip
    assert history.stopped == "patience"
    assert history.best_epoch == 1 + np.argmin(history["validation_loss"])
    assert len(history["loss"]) == history.best_epoch + 5
    best = train.evaluate(model, held_out, loss=losses.softmax_cross_entropy)["loss"]
    assert best == pytest.approx(history["validation_loss"].min(), rel=1e-6)
    assert best < history["validation_loss"][-1]


def test_keep_best_can_be_refused(rng: np.random.Generator) -> None:
    """Then the model ends as the last epoch left it."""
    x, y = ragged(rng), rng.integers(0, 2, size=len(LENGTHS))
    held_out, model = (ragged(rng), 1 - y), classifier()
    history = fit(model, (x, y), validation=held_out, epochs=20, keep_best=False,
                  optimizer=optim.Adam(0.05))  # fmt: skip
    last = train.evaluate(model, held_out, loss=losses.softmax_cross_entropy)["loss"]
    assert last == pytest.approx(history["validation_loss"][-1], rel=1e-6)
    assert last > history["validation_loss"].min()


@pytest.mark.parametrize("step", [2, 3])
def test_divergence_names_the_step(bk: Backend, step: int, rng: np.random.Generator) -> None:
    """One target too large to be squared: its step, and the parameters of before it."""
    x, y = rng.standard_normal((5, 12, 3)), rng.standard_normal((5, 12, 2))
    huge = float(np.finfo(bk.dtype_name).max) ** 0.75
    good, wrong = 4 * (step - 1), y.copy()
    wrong[2, good + 1, 0] = huge
    options: dict[str, Any] = {"loss": losses.mean_squared_error, "shuffle": False}
    model, other = tagger(bk), tagger(bk)
    fit(other, (x[:, :good], y[:, :good]), epochs=1, **options)
    words = f"at step {step}, in epoch 1: the loss is inf"
    with pytest.raises(train.Diverged, match=words) as caught:
        fit(model, (x, wrong), **options)
    assert caught.value.step == step
    assert len(caught.value.history.steps["loss"]) == step - 1
    for name, w in model.params.items():
        np.testing.assert_array_equal(bk.to_numpy(w), bk.to_numpy(other.params[name]))


@pytest.mark.parametrize("name", ["weight_ih_l0", "bias_hh_l1"])
def test_divergence_names_the_layer(bk: Backend, name: str, rng: np.random.Generator) -> None:
    """A layer with one gradient that is infinite: this gradient, this layer, no step."""

    class Broken(rnnx.GRU):
        def backward(self, *arguments: Any) -> Any:
            dx, dstate, grads = super().backward(*arguments)
            return dx, dstate, grads | {name: grads[name] / (0 * grads[name])}

    inner = rnnx.Sequential(Broken(3, 4, 2, backend=bk, seed=0), rnnx.Linear(4, 2, backend=bk))
    model = rnnx.Sequential(rnnx.Linear(3, 3, backend=bk), inner)
    x, y = rng.standard_normal((5, 4, 3)), rng.integers(0, 2, size=(5, 4))
    words = rf"at step 1, .* gradient of '1.0.{name}' \(layer 1.0, Broken\) is not finite"
    with np.errstate(divide="ignore"), pytest.raises(train.Diverged, match=words) as caught:
        fit(model, (x, y))
    assert caught.value.parameter == f"1.0.{name}"


@pytest.mark.parametrize(("chained", "batch_size"), [(False, 2), (True, 4)])
def test_divergence_names_the_layer_later_on(
    bk: Backend, chained: bool, batch_size: int, rng: np.random.Generator
) -> None:
    """In the second step or the second epoch: a compiled step sorts the dicts it returns."""

    class Broken(rnnx.GRU):
        def backward(self, *arguments: Any) -> Any:
            dx, dstate, grads = super().backward(*arguments)
            xp, g = self.backend.xp, grads["bias_hh_l0"]
            moved = xp.abs(arguments[1].params["bias_ih_l0"][0]) > 5
            return dx, dstate, grads | {"bias_hh_l0": xp.where(moved, xp.full_like(g, xp.inf), g)}

    layer = Broken(3, 2, backend=bk, seed=0)
    model = rnnx.Sequential(layer, rnnx.Dropout(0.0, backend=bk)) if chained else layer
    x, y = rng.standard_normal((5, 4, 3)), rng.integers(0, 2, size=(5, 4))
    with pytest.raises(train.Diverged) as caught:
        fit(model, (x, y), optimizer=optim.Adam(9.0), batch_size=batch_size)
    assert caught.value.step == 2
    assert caught.value.parameter.endswith("bias_hh_l0")


def test_the_parameters_keep_their_order(bk: Backend, rng: np.random.Generator) -> None:
    """That in which they were made."""
    model = classifier(bk)
    before = list(model.params)
    fit(model, labelled(rng), epochs=1)
    assert list(model.params) == before


def test_clipping_handles_gradients_whose_squares_overflow(
    bk: Backend, rng: np.random.Generator
) -> None:
    """Gradients of 1e25 are finite in float32: clipped, they are a step like any other."""

    def steep(y: Any, target: Any, *counts: Any) -> Any:
        value, dy = losses.softmax_cross_entropy(y, target, *counts)
        return value, dy * 1e25

    x, y = rng.standard_normal((5, 4, 3)), rng.integers(0, 2, size=(5, 4))
    options: dict[str, Any] = {"clip_norm": 1.0, "optimizer": optim.SGD(0.1), "epochs": 4}
    model, plain = tagger(bk), tagger(bk)
    history = fit(model, (x, y), loss=steep, **options)
    assert np.all(history["grad_norm"] > 1e23)
    assert history["loss"][-1] < history["loss"][0]
    fit(plain, (x, y), loss=lambda *a: (steep(*a)[0], 1e5 * losses.softmax_cross_entropy(*a)[1]),
        **options)  # fmt: skip
    for name, w in model.params.items():  # after clipping, the scale is without effect
        found, expected = bk.to_numpy(w), bk.to_numpy(plain.params[name])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_norm_that_is_not_finite_is_named(rng: np.random.Generator) -> None:
    """Finite entries whose norm is beyond float32: no parameter is to blame."""

    def steep(y: Any, target: Any, *counts: Any) -> Any:
        value, dy = losses.mean_squared_error(y, target, *counts)
        return value, np.full_like(dy, np.finfo(dy.dtype).max)

    model = rnnx.Linear(2, 2, seed=0)
    with pytest.raises(train.Diverged, match="and the norm of the gradient is not") as caught:
        fit(model, (np.eye(2)[:1, None] * 0.9, np.ones((1, 1, 2))), loss=steep, clip_norm=1.0)
    assert caught.value.parameter == ""


def test_a_rate_that_is_too_high_is_found(bk: Backend, rng: np.random.Generator) -> None:
    """Linear regression with a rate far too high: all parameters stay finite."""
    x, y = rng.standard_normal((5, 8, 3)), rng.standard_normal((5, 8, 2))
    model = tagger(bk)
    with pytest.raises(train.Diverged) as caught:
        fit(model, (x, y), loss=losses.mean_squared_error, optimizer=optim.SGD(1e30), epochs=400)
    assert 1 < caught.value.step <= 800
    assert caught.value.parameter.partition(".")[0] in ("0", "1")
    for name, w in model.params.items():
        assert np.all(np.isfinite(bk.to_numpy(w))), name


def test_divergence_can_be_sent(rng: np.random.Generator) -> None:
    """From a worker process, as of a parallel search, to who waits for it."""

    def own(*given: Any) -> Any:  # whose labels nobody checks
        return losses.softmax_cross_entropy(*given)

    with pytest.raises(train.Diverged) as caught:
        fit(classifier(), (ragged(rng), np.full(len(LENGTHS), 9)), loss=own)
    sent = pickle.loads(pickle.dumps(caught.value))
    assert (str(sent), sent.step, sent.parameter) == (str(caught.value), 1, "2.bias")
    assert_same(sent.history, caught.value.history)


def test_callbacks(rng: np.random.Generator, tmp_path: Path) -> None:
    """Begin, every epoch and end, in this order; a function is an epoch's; a run can be stopped."""
    seen: list[Any] = []

    class Own(train.Callback):
        def begin(self, run: train.Run) -> None:
            seen.append("begin")

        def epoch(self, run: train.Run) -> None:
            seen.append((run.epoch, run.step, len(run.history["loss"])))
            if run.epoch == 3:
                run.stop()

        def end(self, run: train.Run) -> None:
            seen.append("end")

    def function(run: train.Run) -> None:
        seen.append(run.epoch)

    log = train.CSVLogger(tmp_path / "log.csv")
    history = fit(classifier(), labelled(rng), epochs=9, callbacks=[Own(), function, log])
    assert seen == ["begin", (1, 3, 1), 1, (2, 6, 2), 2, (3, 9, 3), 3, "end"]
    assert history.stopped == "callback"
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == history["loss"].tolist()


def test_callbacks_end_by_an_error_too(rng: np.random.Generator) -> None:
    """What a callback opened is closed, and the model has what was reached."""
    ended = []

    class Failing(train.Callback):
        def epoch(self, run: train.Run) -> None:
            raise RuntimeError("no more")

        def end(self, run: train.Run) -> None:
            ended.append(run.epoch)

    model = classifier()
    before = model.params["2.weight"].copy()
    with pytest.raises(RuntimeError, match="no more"):
        fit(model, labelled(rng), callbacks=[Failing()])
    assert ended == [1]
    assert np.any(model.params["2.weight"] != before)


def test_tensorboard_reads_the_figures(rng: np.random.Generator, tmp_path: Path) -> None:
    """The event file holds every figure of every epoch."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401  (the format's home)

    history = fit(classifier(), labelled(rng), callbacks=[train.TensorBoard(tmp_path)])
    (path,) = tmp_path.glob("events.out.tfevents.*")
    found, data = {}, path.read_bytes()
    while data:  # a record: its length (8 bytes), a checksum (4), the event, a checksum (4)
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        data = data[16 + length :]
    for name in set(history) - {"epoch"}:
        for epoch, value in enumerate(history[name], 1):
            assert found[name, epoch] == pytest.approx(value, rel=1e-6)


def test_the_history_survives_its_csv(rng: np.random.Generator, tmp_path: Path) -> None:
    """Names in the header, numbers to the last digit."""
    history = fit(classifier(), labelled(rng), validation=labelled(rng))
    history.to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(history)
    for name in history:
        assert [float(row[name]) for row in rows] == history[name].tolist()


def test_the_bar_shows_figures(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loss, metric, sequences per second."""
    pytest.importorskip("tqdm", reason="needs tqdm")
    fit(classifier(), labelled(rng), progress=True, metrics={"accuracy": metrics.accuracy})
    err = capsys.readouterr().err
    assert "seq/s" in err
    assert "loss=" in err
    assert "accuracy=" in err
    fit(classifier(), labelled(rng), progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["list", "padded", "array"])
def test_predict_is_the_model_in_order(bk: Backend, kind: str, rng: np.random.Generator) -> None:
    """Outputs of each sequence alone, in the order given, whatever the batches."""
    x = ragged(rng) if kind != "array" else [rng.standard_normal((6, 3)) for _ in range(11)]
    given: Any = x if kind == "list" else np.zeros((9 if kind == "padded" else 6, 11, 3))
    if kind != "list":
        for i, row in enumerate(x):
            given[: len(row), i] = row
    lengths = LENGTHS if kind == "padded" else None
    for model, per_step in ((classifier(bk), False), (tagger(bk), True)):
        y = train.predict(model, given, lengths=lengths, batch_size=4)
        for i, row in enumerate(x):
            alone = bk.to_numpy(model(row[:, None])[0])
            found = y[i] if kind == "list" or not per_step else y[: len(row), i]
            expected = alone[:, 0] if per_step else alone[0]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_predictions_of_padding_are_zero(bk: Backend, rng: np.random.Generator) -> None:
    """In the steps of x, though none is read to its end, and whatever the batches."""
    x, lengths = rng.standard_normal((9, 4, 3)), [5, 1, 7, 3]
    runs = [train.predict(tagger(bk), x, lengths=lengths, batch_size=n) for n in (1, 4)]
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-5)
    assert runs[0].shape == (9, 4, 2)
    counts = np.arange(9)[:, None] < lengths
    np.testing.assert_array_equal(np.any(runs[0] != 0, axis=-1), counts)


def test_evaluate_counts_each_step_once(rng: np.random.Generator) -> None:
    """Whatever the batches: the mean over all steps of all sequences."""
    x = ragged(rng)
    y = [rng.integers(0, 2, size=len(row)) for row in x]
    model = tagger(dtype="float64")
    logits = np.concatenate(train.predict(model, x))
    expected, _ = losses.softmax_cross_entropy(logits, np.concatenate(y))
    for batch_size in (1, 4, 100):
        figures = train.evaluate(
            model, (x, y), loss=losses.softmax_cross_entropy, batch_size=batch_size,
            metrics={"accuracy": metrics.accuracy},
        )  # fmt: skip
        assert figures["loss"] == pytest.approx(float(expected), rel=1e-12)
        hits = np.argmax(logits, axis=-1) == np.concatenate(y)
        assert figures["accuracy"] == pytest.approx(np.mean(hits))
