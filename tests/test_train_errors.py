"""Training: bad input is refused with words that say what to do, before anything is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_train import assert_same, classifier, fit, labelled, ragged, tagger

import rnnx
from rnnx import Backend, Pool, Sequential, SimpleRNN, metrics, train
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
        (tagger, (X * np.nan, Y), "x must hold finite numbers, got NaN in sequence 0"),
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
        fit(model, (ids, np.abs(ids)), batch_size=1, shuffle=False)
    for name, w in model.params.items():
        np.testing.assert_array_equal(bk.to_numpy(w), before[name])
    with pytest.raises(ValueError, match=words):
        fit(model, Stream(ids, np.abs(ids), length=2))
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


def test_nan_targets_name_the_sequence() -> None:
    """One NaN among values: where it is."""
    with pytest.raises(ValueError, match="y must hold finite numbers, got NaN in sequence 3"):
        fit(tagger(), (X, NAN[..., None]), loss=rnnx.losses.mean_squared_error)


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
