"""Dask: searches on a cluster of two processes, and predictions in chunks, in bounded memory."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("dask.array", reason="needs dask")
pytest.importorskip("distributed", reason="needs dask with distributed")

import dask
import dask.array as da
import distributed
import joblib
from dask.base import tokenize
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score, cross_validate

import rnnx
from rnnx.cells import LeakyRNNCell
from rnnx.characters import CharacterModel
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor
from rnnx.train import predict

pytestmark = pytest.mark.filterwarnings("ignore:the training loss")  # of one epoch

SMALL: dict[str, Any] = {"hidden_size": 3, "epochs": 2, "n_estimators": 1, "random_state": 0}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield a cluster of two processes with one thread each."""
    place = str(tmp_path_factory.mktemp("dask"))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", local_directory=place
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """Yield the client by which Dask computes on the cluster, in this test alone."""
    with distributed.Client(cluster) as client:
        yield client


def sequences(n: int = 24) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 5, 2))


def ragged(n: int = 24) -> list[np.ndarray]:
    """Return sequences of 2 to 5 steps."""
    return [row[: 2 + i % 4] for i, row in enumerate(sequences(n))]


def labels(n: int = 24) -> np.ndarray:
    return np.where(sequences(n)[:, :, 0].mean(axis=1) > 0, "up", "down")


def series() -> np.ndarray:
    return np.sin(np.arange(80) / 3) + np.arange(80) / 50


def classifier(**options: Any) -> RNNClassifier:
    return RNNClassifier(**SMALL | options).fit(sequences(), labels())


SEARCHES = {  # estimator, X, y, grid, folds
    "classifier": (RNNClassifier(**SMALL), ragged(), labels(), {"cell": ["rnn", "gru"]}, 2),
    "objects": (
        RNNClassifier(backend=rnnx.get_backend("numpy", dtype="float64"), **SMALL),
        sequences(), labels(), {"cell": ["lstm", LeakyRNNCell()]}, 2,
    ),
    "regressor": (
        RNNRegressor(**SMALL), sequences(), sequences().sum(axis=(1, 2)), {"dropout": [0.0, 0.5]},
        2,
    ),
    "forecaster": (
        RNNForecaster(horizon=2, window=8, **SMALL), series(), None, {"hidden_size": [2, 3]},
        TimeSeriesSplit(2, test_size=16),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_on_two_processes_equal_those_of_one(client: Any, name: str) -> None:
    """To the last bit: cross_val_score, GridSearchCV, and what its best estimator predicts."""
    estimator, X, y, grid, cv = SEARCHES[name]
    search = GridSearchCV(estimator, grid, cv=cv, n_jobs=1)

    def found(jobs: int) -> list[Any]:
        best = search.set_params(n_jobs=jobs).fit(X, y)
        scores = cross_val_score(estimator, X, y, cv=cv, n_jobs=jobs)
        return [scores, best.cv_results_["mean_test_score"], best.best_estimator_.predict(X)]

    alone = found(1)
    with joblib.parallel_config(backend="dask"):
        shared = found(-1)
    for mine, theirs in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(theirs, mine)


def test_the_fits_run_in_the_workers_on_one_thread_each(client: Any) -> None:
    """Dask gives BLAS one thread, and beside it the compiled core has no more, whatever it may."""
    client.run(lambda: rnnx.set_num_threads(8))
    found = {"process": lambda *_: os.getpid(), "threads": lambda *_: rnnx.get_num_threads()}
    with joblib.parallel_config(backend="dask"):
        scores = cross_validate(
            RNNClassifier(**SMALL), sequences(), labels(), cv=4, n_jobs=-1, scoring=found
        )
    pids = {*client.run(os.getpid).values()}
    assert len(pids) == 2
    assert {*scores["test_process"]} <= pids - {os.getpid()}
    assert {*scores["test_threads"]} == {1}


@pytest.mark.parametrize("name", SEARCHES)
def test_fitted_estimators_travel(client: Any, name: str) -> None:
    """Pickled to a worker, an estimator predicts the same bits there; sent back, here."""
    estimator, X, y, _, _ = SEARCHES[name]
    estimator.fit(X, y)
    np.testing.assert_array_equal(
        client.submit(estimator.predict, X).result(), estimator.predict(X)
    )
    again = client.submit(lambda fitted: fitted, estimator).result()
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


def test_dask_tells_fits_apart(client: Any) -> None:
    """Equal options do not make two fitted models one result, as the fields of a dataclass do."""
    one, other = classifier(), classifier().fit(sequences(), labels()[::-1])
    assert one.get_params() == other.get_params()
    X = sequences()
    futures = [client.submit(fitted.predict_proba, X) for fitted in (one, other)]
    for future, fitted in zip(futures, (one, other), strict=True):
        np.testing.assert_array_equal(future.result(), fitted.predict_proba(X))
    assert tokenize(one) == tokenize(one)
    texts = [
        CharacterModel(hidden_size=2, epochs=1, seed=0).fit(text * 60) for text in ("ab", "ba")
    ]
    assert tokenize(texts[0]) != tokenize(texts[1])


def layer(kind: Any = rnnx.GRU, **options: Any) -> Any:
    return kind(2, 3, seed=0, **options)


def pooled() -> Any:
    return rnnx.Sequential(layer(batch_first=True), rnnx.Pool("max", batch_first=True))


def per_step() -> RNNClassifier:
    y = np.where(sequences()[..., 0] > 0, 3, 4)
    return RNNClassifier(per_step=True, **SMALL).fit(sequences(), y)


def forecaster() -> RNNForecaster:
    return RNNForecaster(horizon=2, window=2, linear=False, **SMALL).fit(sequences())


def gaps() -> np.ndarray:
    X = sequences()
    X[::2, 1, 0] = np.nan
    return X


def vectors() -> RNNRegressor:
    """Return a regressor with every step that there is between X and the network."""
    options = {"missing": "indicator", "frame": 2, "scale": "sequence"}
    return RNNRegressor(**SMALL | options).fit(gaps(), sequences().sum(axis=1))


Model = Callable[[Any], Any]
MODELS: dict[str, tuple[Callable[[], Model], np.ndarray]] = {  # -> predictions, (n, T, F)
    "labels": (lambda: classifier().predict, sequences()),
    "probabilities": (lambda: classifier().predict_proba, sequences()),
    "of a table": (
        lambda: RNNClassifier(**SMALL).fit(sequences()[..., 0], labels()).predict_proba,
        sequences()[..., 0],
    ),
    "of features first": (
        lambda: (
            RNNClassifier(layout="FT", **SMALL)
            .fit(np.swapaxes(sequences(), 1, 2), labels())
            .predict_proba
        ),
        np.swapaxes(sequences(), 1, 2),
    ),
    "labels of steps": (lambda: per_step().predict, sequences()),
    "probabilities of steps": (lambda: per_step().predict_proba, sequences()),
    "values": (lambda: RNNRegressor(**SMALL).fit(sequences(), range(24)).predict, sequences()),
    "vectors": (lambda: vectors().predict, gaps()),
    "forecasts": (lambda: forecaster().predict, sequences()),
    "outputs": (lambda: partial(predict, layer(batch_first=True)), sequences()),
    "outputs of sequences": (lambda: partial(predict, pooled(), batch_size=3), sequences()),
}


@pytest.mark.parametrize("name", MODELS)
def test_chunks_in_an_iterator(name: str) -> None:
    """The predictions of each chunk, an array or a list."""
    model, X = MODELS[name][0](), MODELS[name][1]
    parts = [X[:5], X[5:6], list(X[6:]) if X.ndim == 3 else X[6:]]
    found = [*model(iter(parts))]
    for own, part in zip(found, parts, strict=True):
        assert type(own) is type(model(part))
        np.testing.assert_array_equal(own, model(part))


@pytest.mark.parametrize("name", MODELS)
def test_chunks_of_a_dask_array(name: str) -> None:
    """A Dask array with the dtype and shape of the whole, and of each chunk what it gives alone."""
    model, X = MODELS[name][0](), MODELS[name][1]
    whole, found = model(X), model(da.from_array(X, chunks=(10, *X.shape[1:])))
    assert isinstance(found, da.Array)
    assert (found.shape, found.dtype) == (whole.shape, whole.dtype)
    assert found.chunks[0] == (10, 10, 4)
    parts = np.concatenate([model(X[i : i + 10]) for i in (0, 10, 20)])
    assert found.compute().dtype == whole.dtype
    np.testing.assert_array_equal(found.compute(), parts)
    np.testing.assert_array_equal(found[12:15].compute(), parts[12:15])


def test_sequences_along_another_axis() -> None:
    """Time-major layers have them along the second, quantiles of forecasts before the first."""
    X = np.swapaxes(sequences(), 0, 1)
    found = predict(layer(), da.from_array(X, chunks=(5, 10, 2)))
    assert found.chunks[1] == (10, 10, 4)
    np.testing.assert_allclose(found.compute(), predict(layer(), X), rtol=1e-6)
    vectors = predict(rnnx.Sequential(layer(), rnnx.Pool()), da.from_array(X, chunks=(5, 10, 2)))
    assert (vectors.shape, vectors.chunks[0]) == ((24, 3), (10, 10, 4))
    rows = np.stack([series() * k for k in range(1, 7)])
    model = RNNForecaster(horizon=2, window=8, **SMALL).fit(rows)
    quantiles = model.predict(da.from_array(rows, chunks=(4, -1)), quantiles=(0.3, 0.5))
    assert (quantiles.shape, quantiles.chunks[1]) == ((2, 6, 2), (4, 2))
    np.testing.assert_allclose(quantiles, model.predict(rows, quantiles=(0.3, 0.5)), rtol=1e-6)


def test_a_filter_may_leave_chunks_empty() -> None:
    """Of chunks of unknown size, some without a sequence, the predictions are those of the rest."""
    X, model = sequences(), classifier()
    rows = da.from_array(X, chunks=(4, -1, -1))
    found = model.predict_proba(rows[da.arange(24, chunks=4) >= 10])
    assert np.isnan(found.shape[0])
    np.testing.assert_allclose(found.compute(), model.predict_proba(X[10:]), rtol=1e-6)


def test_predictions_of_a_dask_array_are_those_of_the_model_at_the_call() -> None:
    """Training between the call and the computation changes nothing."""
    X, model = sequences(), classifier()
    network = model.model_
    before, outputs = model.predict_proba(X), predict(network, sequences().swapaxes(0, 1))
    rows = da.from_array(X, chunks=(24, -1, -1))
    found, raw = model.predict_proba(rows), predict(network, da.swapaxes(rows, 0, 1))
    model.partial_fit(X, labels()[::-1])
    assert np.any(model.predict_proba(X) != before)
    np.testing.assert_array_equal(found.compute(), before)
    np.testing.assert_array_equal(raw.compute(), outputs)


def test_a_dask_array_on_two_processes(client: Any) -> None:
    """The workers compute what one process does, of estimators and of layers."""
    X = sequences()
    rows = da.from_array(X, chunks=(6, -1, -1))
    for name in ("labels", "vectors", "outputs"):
        model = MODELS[name][0]()
        alone = np.concatenate([model(X[i : i + 6]) for i in range(0, 24, 6)])
        np.testing.assert_array_equal(model(rows).compute(), alone)


CHUNK = (40, 250, 10)  # 0.8 MB
MARGIN = 4e6  # for what Dask keeps of a task, and its threads; fifteen chunks are 12 MB


def peak(count: int, consume: Callable[[int], Any]) -> int:
    """Return the most memory that was in use while so many chunks were predicted."""
    gc.collect()
    tracemalloc.start()
    try:
        consume(count)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def wide(kind: str) -> Model:
    """Return predictions of chunks of the shape `CHUNK`."""
    if kind == "layer":
        return partial(predict, rnnx.GRU(10, 2, batch_first=True, seed=0))
    X = np.random.default_rng(0).standard_normal((20, *CHUNK[1:]))
    model: Model = RNNRegressor(**SMALL | {"epochs": 1}).fit(X, range(20)).predict
    return model


@pytest.mark.parametrize("kind", ["layer", "estimator"])
def test_an_iterator_is_read_in_bounded_memory(kind: str) -> None:
    """One chunk is alive at a time, none is made early, and twenty need no more than five."""
    alive: list[weakref.ref] = []
    most: list[int] = []

    def parts(count: int) -> Iterator[np.ndarray]:
        for _ in range(count):
            most.append(sum(part() is not None for part in alive))
            part = np.ones(CHUNK)
            alive.append(weakref.ref(part))
            yield part
            del part

    model = wide(kind)
    found = model(parts(2))
    assert most == []
    next(found)
    assert most == [0]
    assert len([*found]) == 1
    peaks = [peak(count, lambda count: [y.sum() for y in model(parts(count))]) for count in (5, 20)]
    assert {*most} == {0}  # when the next one is made
    assert peaks[1] < peaks[0] + MARGIN


@pytest.mark.parametrize("kind", ["layer", "estimator"])
def test_a_dask_array_is_read_in_bounded_memory(kind: str) -> None:
    """Twenty chunks that are made as they are read need no more than five."""
    model = wide(kind)

    def consume(count: int) -> None:
        rows = da.ones((count * CHUNK[0], *CHUNK[1:]), chunks=CHUNK) + 1
        assert np.isfinite(model(rows).max().compute(scheduler="sync"))

    consume(1)
    peaks = [peak(count, consume) for count in (5, 20)]
    assert peaks[1] < peaks[0] + MARGIN


def wrong(*at: int) -> np.ndarray:
    X = sequences()
    X[at] = np.nan
    return X


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([sequences(), wrong(7, 2, 1)], r"chunk 1: X\[7\] contains NaN at step 2, feature 1"),
        ([sequences()[..., :1]], "chunk 0: X has 1 features, but RNNClassifier is expecting 2"),
        ([sequences(), sequences()[:0]], "chunk 1: X must hold at least one sequence"),
        ([sequences(), iter(sequences())], "chunk 1 must hold sequences in memory, got a .*iter"),
        ([da.ones((3, 5, 2))], "chunk 0 must hold sequences in memory, got a Array"),
    ],
)
def test_every_chunk_is_checked(parts: list[Any], message: str) -> None:
    """As any input; the error says which chunk it was."""
    with pytest.raises((ValueError, TypeError), match=message):
        list(classifier().predict(iter(parts)))
    network = rnnx.Sequential(layer(batch_first=True), rnnx.Linear(3, 1, seed=0))
    number = re.match(r"chunk \d", message)
    assert number is not None
    with pytest.raises((ValueError, TypeError), match=number[0]):
        list(predict(network, iter(parts)))


def test_the_columns_of_every_chunk_are_checked() -> None:
    """Data frames, as the partitions of a Dask DataFrame, have the columns of fit."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame(sequences()[..., 0], columns=list("abcde"))
    model = RNNClassifier(**SMALL).fit(frame, labels())
    found = model.predict(part for part in (frame[:9], frame[9:], frame[list("bacde")]))
    np.testing.assert_array_equal([*next(found), *next(found)], model.predict(frame))
    with pytest.raises(ValueError, match=r"(?s)chunk 2: The feature names should match"):
        next(found)


def dask_array(*chunks: int) -> Any:
    return da.from_array(sequences(), chunks=chunks)


def unknown() -> Any:
    rows = dask_array(8, 5, 2)
    return rows[:, rows[0, :, 0] > 0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: classifier().predict(dask_array(8, 3, 2)),
         r"along axis 0.*\(3, 2, 1\) chunks: give X.rechunk\({0: 'auto', 1: -1, 2: -1}\)"),
        (lambda: predict(layer(), dask_array(8, 5, 2)), "along axis 1, .*1: 'auto', 0: -1, 2: -1"),
        (lambda: forecaster().predict(dask_array(8, 5, 2)[0, :, 0]), r"along another, .*\(5,\)"),
        (lambda: classifier().predict(unknown()), r"shape \(24, nan, 2\): call X.compute_chunk_s"),
        (lambda: classifier().predict(dask_array(8, 5, 2)[..., :1]), "1 features, but RNNClassif"),
        (lambda: classifier().predict(dask_array(8, 5, 2) * 1j), "Complex data not supported"),
        (lambda: classifier().predict(dask.delayed(sequences())), "got a Dask Delayed.*compute()"),
        (lambda: forecaster().predict(iter([]), exog=series()), "exog cannot be given with chunks"),
        (lambda: predict(layer(), iter([]), lengths=[3]), "lengths are those of one array"),
        (lambda: predict(layer(), iter([]), batch_size=0), "batch_size must be"),
        (lambda: predict(3, iter([])), "model must be a layer"),
    ],
)  # fmt: skip
def test_errors_at_once(wrong: Callable[[], Any], message: str) -> None:
    """What can be known before the first chunk is said in the call."""
    with pytest.raises((ValueError, TypeError), match=message):
        wrong()


@pytest.mark.parametrize("X", [dask_array(8, 5, 2), iter([])], ids=["dask", "iterator"])
@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor, RNNForecaster])
def test_an_unfitted_estimator_says_so_at_once(kind: Any, X: Any) -> None:
    """Not only when the first chunk is read."""
    with pytest.raises(NotFittedError):
        kind().predict(X)


def test_a_late_error_names_the_chunk_of_a_dask_array() -> None:
    """Values are first seen when they are computed."""
    rows = da.from_array(wrong(13, 2, 1), chunks=(10, -1, -1))
    found = classifier().predict(rows)
    with pytest.raises(ValueError, match=r"chunk 1: X\[3\] contains NaN at step 2, feature 1"):
        found.compute()


def test_a_data_frame_of_dask_is_refused() -> None:
    """The error says how to give its partitions."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    dd = pytest.importorskip("dask.dataframe", reason="needs pyarrow", exc_type=ImportError)
    frame = pandas.DataFrame(sequences()[..., 0], columns=list("abcde"))
    model, parted = RNNClassifier(**SMALL).fit(frame, labels()), dd.from_pandas(frame, 2)
    with pytest.raises(TypeError, match=r"got a Dask DataFrame: give .*for part in X.partitions"):
        model.predict(parted)
    found = np.concatenate([*model.predict(part.compute() for part in parted.partitions)])
    np.testing.assert_array_equal(found, model.predict(frame))


def test_dask_is_not_imported_without_an_array_of_it() -> None:
    """Neither by rnnx, nor by a prediction of chunks in an iterator."""
    code = (
        "import sys, numpy as np, rnnx; from rnnx.estimators import RNNRegressor;"
        "X = np.ones((4, 3, 1)); X[0] = 2;"
        "model = RNNRegressor(2, epochs=1, n_estimators=1).fit(X, [0, 1, 2, 3]);"
        "print(len([*model.predict(iter([X, X]))]), 'dask' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
