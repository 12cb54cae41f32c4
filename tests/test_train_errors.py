"""Training: bad input is refused with words that say what to do, before anything is changed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_train import assert_same, classifier, fit, labelled, ragged, tagger

import rnnx
from rnnx import Backend, Pool, Sequential, SimpleRNN, metrics, optim, train
from rnnx.data import Sequences, Stream

X = np.ones((5, 4, 3))
Y = np.zeros((5, 4), dtype="int64")
NAN = np.where(np.arange(20).reshape(5, 4) == 7, np.nan, 1.0)


def both_ways() -> Any:
    return Sequential(rnnx.GRU(3, 2, bidirectional=True), rnnx.Linear(4, 2))


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (tagger, (X[:, :0], Y[:, :0]), "at least one sequence"),
        (tagger, ([], []), "at least one sequence"),
        (tagger, (X, Y[:4]), "a target for each step of x"),
        (tagger, (X, Y[0]), "the model needs a Pool"),
        (tagger, ([X[:, 0]], np.zeros(1)), "both be lists"),
        (tagger, ([X[:, 0]], [Y[:3, 0]]), r"for each step of x, \[5\], got \[3\]"),
        (tagger, (NAN[..., None] * X, Y), "got NaN in sequence 3 at step 1, feature 0: remove"),
        (tagger, ([NAN[:, 3:]] * 2, [Y[:, 0]] * 2), "got NaN in sequence 0 at step 1: remove"),
        (tagger, (X[0, 0], Y), "at least the axes"),
        (tagger, ([X[:, 0], X[:0, 0]], [Y[:, 0], Y[:0, 0]]), "at least one step"),
        (tagger, ([X[:, 0], X[:, 0, :2]], [Y[:, 0]] * 2), r"x\[1\] must have shape"),
        (classifier, (X, Y), "one for each sequence"),
        (classifier, (X, np.full(4, np.inf)), "y must hold finite numbers, got an infinite"),
        (classifier, Sequences(X, Y[0], weights=np.ones(3)), "weights must have shape"),
        (classifier, Sequences(X, Y[0], weights=-np.ones(4)), "weights must be finite"),
        (classifier, Sequences(X, Y[0], lengths=[6, 1, 1, 1]), "lengths must be between 1 and 5"),
        (classifier, Sequences(X, Y[0], lengths=[1, 1]), "lengths must be 4 integers"),
        (classifier, Sequences(X), "data must have targets"),
        (classifier, (np.full((5, 4, 3), "a"), Y[0]), "real numbers"),
        (classifier, Stream(X, Y, length=2), "a stream needs a time-major model"),
        (both_ways, Stream(X, Y, length=2), "reads forward in time, got one with a bidirectional"),
        (classifier, X, "data must be"),
        (classifier, (X, Y[0].astype("int64") + 2**40), "integers of 32 bits"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit(model: Any, data: Any, words: str) -> None:
    """Expected, got, what to do; the model is as it was."""
    network = model()
    before = {name: w.copy() for name, w in network.params.items()}
    with pytest.raises((ValueError, TypeError), match=words):
        fit(network, data)
    for name, w in network.params.items():
        np.testing.assert_array_equal(w, before[name])


def test_no_mask_is_lost() -> None:
    """A masked array, of whatever part of the data, is refused as everywhere else."""
    masked = np.ma.masked_greater(X, 0)
    for x, y in ((masked, Y[0]), ([masked[:, 0]] * 4, Y[0]), (X, np.ma.masked_less(Y[0], 1))):
        with pytest.raises(
            TypeError, match=r"(x|y)(\[0\])?: .* masked one, whose mask would be lost"
        ):
            fit(classifier(), (x, y))


def test_arrays_of_other_libraries_are_refused() -> None:
    """In one line that names it, as by the layers."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    with pytest.raises(TypeError, match="x: expected an array of NumPy, got one of torch: convert"):
        fit(classifier(), (torch.ones((5, 4, 3)), Y[0]))


def embedder(backend: Any = "numpy") -> Any:
    return Sequential(
        rnnx.Embedding(5, 3, backend=backend, seed=0),
        rnnx.GRU(3, 4, backend=backend, seed=0),
        rnnx.Linear(4, 5, backend=backend, seed=1),
    )


@pytest.mark.parametrize("wrong", [-1, 5])
def test_unknown_symbols_are_found_before_the_work(bk: Backend, wrong: int) -> None:
    """A device's gather may wrap, clamp or fill; the model is as it was."""
    ids = np.zeros((5, 4), dtype="int64")
    ids[2, 3] = wrong
    model = embedder(bk)
    before = {name: bk.to_numpy(w).copy() for name, w in model.params.items()}
    words = f"x must be between 0 and 4, .*, got {wrong} in sequence 3"
    with pytest.raises(ValueError, match=words):
        fit(model, (ids, np.zeros_like(ids)), batch_size=1, shuffle=False)
    for name, w in model.params.items():
        np.testing.assert_array_equal(bk.to_numpy(w), before[name])
    with pytest.raises(ValueError, match=words):
        fit(model, Stream(ids, np.zeros_like(ids), length=2))
    with pytest.raises(ValueError, match=words):
        train.predict(model, list(ids.T))


def test_symbols_that_are_padding_are_not_looked_at(bk: Backend) -> None:
    """-1, as is usual, beyond the lengths: as any other padding."""
    ids = np.arange(20).reshape(5, 4) % 5
    padded = np.where(np.arange(5)[:, None] < [5, 1, 2, 3], ids, -1)
    runs = [
        fit(embedder(bk), Sequences(x, np.where(x < 0, 0, x), lengths=[5, 1, 2, 3]))
        for x in (ids, padded)
    ]
    assert_same(*runs)


def test_nan_targets_name_the_place() -> None:
    """One NaN among values: the sequence and the step, and which of several values."""
    for targets, words in {"step 1": NAN[..., None], "step 1, value 0": NAN[..., None] * X}.items():
        with pytest.raises(ValueError, match=f"y must .*, got NaN in sequence 3 at {targets}: rem"):
            fit(tagger(), (X, words), loss=rnnx.losses.mean_squared_error)


def test_a_stream_counts_steps_from_its_start() -> None:
    """NaN in a later chunk, which is read when it is due."""
    with pytest.raises(ValueError, match="got NaN in sequence 3 at step 1, feature 0: remove it"):
        fit(tagger(), Stream(NAN[..., None] * X, Y, length=1))


@pytest.mark.parametrize("wrong", [2, -1])
def test_labels_that_are_no_class_are_found_before_the_work(bk: Backend, wrong: int) -> None:
    """Labels 1 to K, or below 0: which and where, on host and device; the model is as it was."""
    model, per_step = classifier(bk), tagger(bk)
    y = np.where(np.arange(20).reshape(5, 4) == 7, wrong, 1)
    good, words = np.ones(4, dtype="int64"), f"labels must be 0 to 1 .*, got {wrong} in y, sequence"
    before = [
        bk.to_numpy(w).copy() for network in (model, per_step) for w in network.params.values()
    ]
    cases: list[tuple[Any, Any, str]] = [
        (model, (X, y[1]), "3: number the classes from 0, as np.unique"),
        (model, (X, bk.asarray(y[1], dtype="int32")), "3: number"),
        (per_step, (X, y), "3 at step 1: number"),
        (per_step, (list(X.swapaxes(0, 1)), list(y.T)), "3 at step 1: number"),
        (per_step, Stream(X, y, length=1), "3 at step 1: number"),
        (per_step, Stream(bk.asarray(X), bk.asarray(y, dtype="int32"), length=3), "3 at step 1: n"),
    ]
    for network, data, place in cases:
        with pytest.raises(ValueError, match=f"^{words} {place}"):
            fit(network, data)
        with pytest.raises(ValueError, match=f"^{words} {place}"):
            train.evaluate(network, data, loss="cross_entropy")
    with pytest.raises(ValueError, match=f"^the validation data: {words} 3: number"):
        fit(model, (X, good), validation=(X, y[1]))
    after = [bk.to_numpy(w) for network in (model, per_step) for w in network.params.values()]
    for w, known in zip(after, before, strict=True):
        np.testing.assert_array_equal(w, known)


def test_labels_of_padding_do_not_count(bk: Backend) -> None:
    """-100, as torch's users mark it, beyond the lengths: the run is that of any other number."""
    lengths = [5, 1, 2, 3]
    padded = np.where(np.arange(5)[:, None] < lengths, 1, -100)
    runs = [
        fit(tagger(bk), Sequences(X, y, lengths=lengths)) for y in (np.ones_like(padded), padded)
    ]
    assert_same(*runs)
    with pytest.raises(ValueError, match=r"got -100 .*, and mark padding with lengths"):
        fit(tagger(bk), (X, padded))


def test_the_kind_of_targets_is_the_kind_of_the_loss() -> None:
    """Numbers for cross-entropy and integers for a loss of numbers: what to convert to."""
    huber = partial(rnnx.losses.huber, delta=2.0)
    for loss, y, words in (
        ("cross_entropy", Y * 1.0, "y must hold integers for softmax_cross_entropy.*float32: give"),
        ("squared_error", Y, r"floating numbers for mean_squared_error, got .*astype\('float32'\)"),
        (huber, Y, "y must hold floating numbers for huber, got integers, which are labels"),
    ):
        with pytest.raises(TypeError, match=words):
            fit(tagger(), (X, y), loss=loss)
    fit(tagger(), (X, Y + 7), loss=lambda y, k: (np.float32(0), 0 * y))  # it alone knows


@pytest.mark.parametrize(
    ("batch_first", "words"),
    [
        (
            False,
            "A time-major model reads x as .T, B, F., here 4 steps of 5 sequences: give x.swap",
        ),
        (
            True,
            "A batch_first model reads x as .B, T, F., here 4 steps of 5 sequences: give x.swap",
        ),
    ],
)
def test_swapped_axes_are_told(batch_first: bool, words: str) -> None:
    """Targets, lengths or weights that count what x has along its other axis."""
    x = X if batch_first else X.swapaxes(0, 1)
    options: dict[str, Any] = {"batch_first": batch_first, "seed": 0}
    gru, linear = rnnx.GRU(3, 5, **options), rnnx.Linear(5, 2, seed=0)
    pooled = Sequential(gru, Pool("last", batch_first=batch_first), linear)
    per_step = Y if not batch_first else Y.T
    for model, data in (
        (pooled, (x, Y[0])),
        (pooled, Sequences(x, Y[:, 0], lengths=[1] * 4)),
        (pooled, Sequences(x, Y[:, 0], weights=[1] * 4)),
        (Sequential(gru, linear), (x, Y[0])),
        (Sequential(gru, linear), (x, per_step)),
    ):
        with pytest.raises(ValueError, match=words):
            fit(model, data)


def test_the_width_is_the_models(rng: np.random.Generator) -> None:
    """The layer's own words."""
    with pytest.raises(ValueError, match=r"\(T, B, 3\)"):
        fit(classifier(), (np.ones((5, 4, 2)), Y[0]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must be"),
        ({"batch_size": 1.5}, "batch_size must be"),
        ({"clip_norm": 0}, "clip_norm must be"),
        ({"patience": 3}, "patience needs validation"),
        ({"resume": True}, "need a checkpoint_dir"),
        ({"callbacks": [train.Callback]}, "callbacks must be"),
        ({"callbacks": [3]}, "callbacks must be"),
        ({"callbacks": print}, "callbacks must be a list"),
        ({"schedule": lambda step: -1.0}, r"schedule\(0\) must be"),
        ({"seed": -1}, "seed must be"),
        ({"optimizer": optim.Adam}, r"got the class Adam: give Adam\(\), or Adam\(0.01\)"),
        ({"optimizer": "Adam"}, "optimizer must be one of sgd, rmsprop, adam, adamw, .*'Adam'"),
        ({"optimizer": 0.01}, "optimizer must be one of rnnx.optim, .*, got a float without init"),
        ({"loss": "mse"}, "loss must be one of cross_entropy, binary_cross_entropy, .*'mse'"),
        ({"loss": None}, "loss must be a function, .*, got a NoneType"),
        ({"metrics": {"loss": metrics.accuracy}}, "names of their own, got 'loss'"),
        ({"metrics": {"seconds": metrics.accuracy}}, "names of their own, got 'seconds'"),
        ({"metrics": {"validation_loss": metrics.accuracy}}, "got 'validation_loss'"),
    ],
)
def test_options_outside_their_ranges(
    options: dict[str, Any], words: str, rng: np.random.Generator
) -> None:
    """Each is named."""
    with pytest.raises((ValueError, TypeError), match=words):
        fit(classifier(), labelled(rng), **options)


def test_a_log_that_cannot_be_opened(rng: np.random.Generator, tmp_path: Path) -> None:
    """The reason, and not that there is no log to close."""
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        fit(classifier(), labelled(rng), callbacks=[train.TensorBoard(tmp_path / "file")])


def test_simple_rnn_is_sent_to_the_layers(rng: np.random.Generator) -> None:
    """It keeps its own pass and has no place for a cache."""
    with pytest.raises(TypeError, match="model must be a layer"):
        fit(SimpleRNN(3, 4, 2), (X, Y))


def test_a_stream_says_what_it_needs() -> None:
    """Shapes, lengths, and a model with an output at every step."""
    with pytest.raises(ValueError, match="x must be an array"):
        Stream(X[0, 0], length=3)
    with pytest.raises(ValueError, match="a target for each step"):
        Stream(X, Y[:3], length=3)
    with pytest.raises(ValueError, match="at least one step of each stream"):
        Stream(X[:, 0], Y[:, 0], length=3, streams=6)
    with pytest.raises(ValueError, match="length must be"):
        Stream(X, Y, length=0)


def test_a_list_has_its_lengths(rng: np.random.Generator) -> None:
    """Two statements of one thing are refused."""
    with pytest.raises(ValueError, match="do not give lengths"):
        Sequences(ragged(rng), lengths=[1])


def test_the_history_names_what_it_has() -> None:
    """A name that is not there: those that are."""
    history = train.History()
    history.append({"loss": 1.0})
    with pytest.raises(KeyError, match="the history has loss"):
        history["accuracy"]


def test_a_pool_alone_cannot_be_asked_for_a_stream() -> None:
    """The layout is the model's: any Pool in a chain reduces time."""
    assert Sequential(Pool("mean")).reduces_time
    assert not tagger().reduces_time
