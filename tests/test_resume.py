"""Checkpoints: a resumed run is the uninterrupted one; no end of a process leaves half a file."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_train import assert_same, classifier, fit, labelled, tagger

import rnnx
from rnnx import Backend, io, losses, metrics, optim, train
from rnnx.data import Sequences, Stream, fingerprint
from rnnx.io import lock
from rnnx.train import Run, checkpoint, generators


class Interrupted(Exception):
    """The end of a process, as a test makes it."""


def interrupt_at(step: int) -> Any:
    """Return a schedule that ends the process at a step."""

    def schedule(t: int) -> float:
        if t == step:
            raise Interrupted
        return optim.Cosine(15)(t)

    schedule.__qualname__ = "cosine"
    return schedule


def cosine(t: int) -> float:
    return optim.Cosine(15)(t)


def problem(kind: str, backend: Any = "numpy") -> tuple[Any, dict[str, Any]]:
    """Return a model and the options of a run, which has all that a checkpoint must hold."""
    rng = np.random.default_rng(3)
    options: dict[str, Any] = {"epochs": 5, "optimizer": optim.AdamW(0.02), "clip_norm": 1.0}
    if kind == "stream":
        x, y = rng.standard_normal((23, 2, 3)), rng.integers(0, 2, size=(23, 2))
        model = tagger(backend, num_layers=2, dropout=0.3)
        return model, options | {"data": Stream(x, y, length=9), "validation": None}
    model = classifier(backend, num_layers=2, dropout=0.3, recurrent_dropout=0.2)
    return model, options | {"data": labelled(rng), "validation": labelled(rng)}


def assert_same_params(model: Any, other: Any) -> None:
    to_numpy = model.backend.to_numpy
    for name, w in model.params.items():
        np.testing.assert_array_equal(to_numpy(w), to_numpy(other.params[name]), err_msg=name)


@pytest.mark.parametrize("kind", ["sequences", "stream"])
@pytest.mark.parametrize("at", [1, 3, 7, 8, 14])
def test_a_resumed_run_is_the_uninterrupted_one(kind: str, at: int, tmp_path: Path) -> None:
    """Bit for bit on NumPy: parameters, best parameters, every figure of every step."""
    whole, options = problem(kind)
    expected = fit(whole, **options, schedule=cosine)
    model, _ = problem(kind)
    folder: dict[str, Any] = {"checkpoint_dir": tmp_path / "run", "checkpoint_every": 2}
    with pytest.raises(Interrupted):
        fit(model, **options, **folder, schedule=interrupt_at(at))
    fresh, _ = problem(kind)
    cosine_again = interrupt_at(-1)
    history = fit(fresh, **options | {"seed": 99}, **folder, schedule=cosine_again, resume=True)
    assert_same(history, expected)
    assert_same_params(fresh, whole)


def test_every_backend_resumes(bk: Backend, tmp_path: Path) -> None:
    """To tolerance: compiled programs and devices may add in another order."""
    whole, options = problem("sequences", bk)
    expected = fit(whole, **options)
    model, _ = problem("sequences", bk)
    fit(model, **options | {"epochs": 2}, checkpoint_dir=tmp_path)
    fresh, _ = problem("sequences", bk)
    history = fit(fresh, **options, checkpoint_dir=tmp_path, resume=True)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)


def test_patience_ends_a_resumed_run_at_the_same_epoch(tmp_path: Path) -> None:
    """What is counted over epochs is not forgotten; a run that has ended does nothing more."""
    runs = []
    for cut in (None, 4):
        model, options = problem("sequences")
        options |= {"epochs": 60, "patience": 3, "optimizer": optim.Adam(0.2)}
        if cut:
            fit(model, **options | {"epochs": cut}, checkpoint_dir=tmp_path)
            options |= {"checkpoint_dir": tmp_path, "resume": True}
        runs.append((model, fit(model, **options)))
    assert_same(runs[0][1], runs[1][1])
    assert runs[1][1].stopped == "patience"
    again, options = problem("sequences")
    options |= {"epochs": 60, "patience": 3, "optimizer": optim.Adam(0.2)}
    assert_same(fit(again, **options, checkpoint_dir=tmp_path, resume=True), runs[0][1])
    assert_same_params(again, runs[0][0])


@pytest.mark.parametrize("reason", ["patience", "callback"])
def test_a_run_that_was_stopped_goes_on(reason: str, tmp_path: Path) -> None:
    """With more patience, or without that callback: it is the run that was never stopped."""
    options = problem("sequences")[1] | {"epochs": 12, "optimizer": optim.Adam(0.2)}
    stop: dict[str, Any] = {"patience": 2} if reason == "patience" else {"callbacks": [Run.stop]}
    whole, _ = problem("sequences")
    expected = fit(whole, **options)
    model, _ = problem("sequences")
    history = fit(model, **options, **stop, checkpoint_dir=tmp_path)
    assert history.stopped == reason
    assert len(history["loss"]) < 12
    fresh, _ = problem("sequences")
    assert_same(fit(fresh, **options, checkpoint_dir=tmp_path, resume=True), expected)
    assert_same_params(fresh, whole)


def test_a_checkpoint_is_not_written_over(tmp_path: Path) -> None:
    """Without resume=True a folder that holds a run is refused, and left as it is."""
    model, options = problem("sequences")
    fit(model, **options, checkpoint_dir=tmp_path)
    before = (tmp_path / checkpoint.NAME).read_bytes()
    with pytest.raises(ValueError, match="there is a checkpoint already"):
        fit(model, **options, checkpoint_dir=tmp_path)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


def test_a_first_step_that_fails_leaves_no_run(tmp_path: Path) -> None:
    """Data that does not fit the loss, then data that does: there is nothing to go on from."""
    model, options = problem("sequences")
    x, y = options["data"]

    def own(*given: Any) -> Any:  # whose targets nobody checks before
        return losses.softmax_cross_entropy(*given)

    with pytest.raises(TypeError, match="targets must have a dtype"):
        fit(model, **options | {"data": (x, y + 0.5), "loss": own}, checkpoint_dir=tmp_path)
    assert len(fit(model, **options, checkpoint_dir=tmp_path)["loss"]) == 5


NAMES = """
from functools import partial
from rnnx import losses, optim
from rnnx.train.setup import name_of

def own(t):
    return 1.0

print(name_of(partial(losses.huber, delta=2.0)), name_of(optim.WarmUp(3, then=own)))
"""


def test_functions_have_the_same_names_in_every_process() -> None:
    """Not the places in memory of what a partial or a schedule holds."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", NAMES], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert "huber" in outputs[0]
    assert outputs[0] == outputs[1]
    assert "0x" not in outputs[0]


X, Y = labelled(np.random.default_rng(3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": optim.SGD(0.02)}, "optimizer: SGD"),
        ({"batch_size": 3}, "batch_size: 3 now, 4 in the checkpoint"),
        ({"shuffle": False}, "shuffle: False now, True in the checkpoint"),
        ({"clip_norm": None}, "clip_norm: None now, 1.0 in the checkpoint"),
        ({"schedule": optim.Cosine(9)}, "schedule: Cosine"),
        ({"loss": partial(losses.softmax_cross_entropy)}, "loss: "),
        ({"metrics": {"a": metrics.accuracy}}, "metrics.a: accuracy now, None in the checkpoint"),
        ({"validation": None}, "validation: None now"),
        ({"data": (X[:-1], Y[:-1])}, "data.sequences: 10 now, 11 in the checkpoint"),
        ({"data": (X, 1 - Y)}, "data.y: int32 .* now, int32"),
        ({"data": ([X[0] + 1e-6, *X[1:]], Y)}, "data.x: float32 a list of 11"),
        ({"data": ([X[1], X[0], *X[2:]], Y)}, "data.x: "),
        ({"data": Sequences(X, Y, weights=np.ones(11))}, "data.weights: float64 .* now, None"),
        ({"validation": (X, Y)}, "validation.x: "),
    ],
    ids=lambda given: given if isinstance(given, str) else next(iter(given)),
)
def test_another_run_is_not_resumed(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    """What differs is named: options, and the values, the labels and the order of the data."""
    model, options = problem("sequences")
    fit(model, **options | {"epochs": 1}, checkpoint_dir=tmp_path)
    before = {name: w.copy() for name, w in model.params.items()}
    with pytest.raises(ValueError, match=words) as caught:
        fit(model, **options | change, checkpoint_dir=tmp_path, resume=True)
    assert "it is of another run" in str(caught.value)
    for name, w in model.params.items():
        np.testing.assert_array_equal(w, before[name])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: classifier(), r"model.layers.0.num_layers: 1 now, 2 in the checkpoint"),
        (lambda: rnn(nonlinearity="relu"), "model.layers.0.nonlinearity: relu now, tanh in"),
        (lambda: rnn(pool="mean"), "model.layers.1.how: mean now, last in the checkpoint"),
        (lambda: rnn(dropout=0.5), r"model.layers.2.p: 0.5 now, 0.1 in the checkpoint"),
        (lambda: rnn(dtype="float64"), "dtype: float64 now, float32 in the checkpoint"),
    ],
)
def test_another_model_is_not_resumed(other: Any, words: str, tmp_path: Path) -> None:
    """Its whole configuration tells, where the shapes are the same, too."""
    model, options = problem("sequences")
    model = model if "num_layers" in words else rnn()
    fit(model, **options | {"epochs": 1}, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=words):
        fit(other(), **options, checkpoint_dir=tmp_path, resume=True)


def rnn(
    nonlinearity: str = "tanh", pool: str = "last", dropout: float = 0.1, dtype: str | None = None
) -> Any:
    return rnnx.Sequential(
        rnnx.RNN(3, 4, nonlinearity=nonlinearity, dtype=dtype, seed=0),
        rnnx.Pool(pool, dtype=dtype),
        rnnx.Dropout(dropout, dtype=dtype),
        rnnx.Linear(4, 2, dtype=dtype, seed=1),
    )


def test_other_data_of_a_stream_is_found(tmp_path: Path) -> None:
    """One value of the stream, or the length of its chunks."""
    model, options = problem("stream")
    fit(model, **options | {"epochs": 1}, checkpoint_dir=tmp_path)
    stream = options["data"]
    x = stream.x.copy()
    x[11, 1, 2] += 1e-3
    for other, words in (
        (Stream(x, stream.y, length=9), "data.x: "),
        (Stream(stream.x, 1 - stream.y, length=9), "data.y: "),
        (Stream(stream.x, stream.y, length=8), "data.length: 8 now, 9 in the checkpoint"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(model, **options | {"data": other}, checkpoint_dir=tmp_path, resume=True)


def test_an_older_checkpoint_is_not_read(tmp_path: Path) -> None:
    """An npz file under the name is refused in one line."""
    model, options = problem("sequences")
    with open(tmp_path / checkpoint.NAME, "wb") as file:
        np.savez(file, x=np.zeros(3))
    with pytest.raises(ValueError, match="it is a zip archive"):
        fit(model, **options, checkpoint_dir=tmp_path, resume=True)
    fit(model, **options | {"epochs": 1}, checkpoint_dir=tmp_path / "run")
    with pytest.raises(ValueError, match="it is a checkpoint: resume it with fit"):
        rnnx.load(tmp_path / "run" / checkpoint.NAME)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a run that ended within an epoch."""
    model, options = problem("sequences")
    options |= {"checkpoint_dir": tmp_path / "run", "checkpoint_every": 1}
    with pytest.raises(Interrupted):
        fit(model, **options, schedule=interrupt_at(8))
    return tmp_path / "run"


def assert_not_resumed(folder: Path, words: str) -> None:
    """Assert that a checkpoint is refused in one line, before the model or the file changes."""
    model, options = problem("sequences")
    before = {name: w.copy() for name, w in model.params.items()}
    whole = (folder / checkpoint.NAME).read_bytes()
    with pytest.raises(ValueError, match=words) as caught:
        fit(model, **options, checkpoint_dir=folder, resume=True, schedule=interrupt_at(-1))
    assert "\n" not in str(caught.value)
    assert str(folder / checkpoint.NAME) in str(caught.value)
    assert (folder / checkpoint.NAME).read_bytes() == whole
    for name, w in model.params.items():
        np.testing.assert_array_equal(w, before[name])


def write(folder: Path, arrays: Any = (), **extra: Any) -> None:
    """Write a checkpoint again with other content; arrays that are None are left out."""
    description, found = io.read(folder / checkpoint.NAME)
    found = {k: v for k, v in (found | dict(arrays)).items() if v is not None}
    description = description._replace(extra=description.extra | extra)
    io.write(folder / checkpoint.NAME, description, found)


@pytest.mark.parametrize(
    "name",
    ["model.2.bias", "best.0.weight_hh_l0", "optimizer.mean.2.bias", "optimizer.mean_weight",
     "epochs", "steps", "rows"],
)  # fmt: skip
def test_every_array_of_a_checkpoint_is_checked(name: str, run: Path) -> None:
    """A scalar in place of a bias, another dtype, a missing array: nothing is changed."""
    _, arrays = io.read(run / checkpoint.NAME)
    array = arrays[name]
    for wrong in (np.asarray(0, array.dtype)[None, None, None], array.astype("int8"), None):
        write(run, {name: wrong})
        assert_not_resumed(run, f"array '{name}': expected .*, got ")
    write(run, {name: array, "more": array})
    assert_not_resumed(run, "array 'more': expected none")


@pytest.mark.parametrize("name", ["model.2.bias", "best.2.bias"])
def test_parameters_of_a_checkpoint_are_finite(name: str, run: Path) -> None:
    """A model never ends up with NaN from a file."""
    write(run, {name: np.full(2, np.nan, "float32")})
    assert_not_resumed(run, f"expected finite numbers in '{name}'")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("optimizer.mean.2.bias", np.nan, "expected numbers in 'optimizer.mean.2.bias', got NaN"),
        ("epochs", np.nan, "its epochs are not counted from 1"),
        ("epochs", 0.5, "the steps of its epochs are not counts that grow"),
    ],
)
def test_numbers_that_no_run_has_are_refused(
    name: str, value: float, words: str, run: Path
) -> None:
    """In what becomes the state of the optimizer, or counts of the history."""
    _, arrays = io.read(run / checkpoint.NAME)
    array = arrays[name].copy()
    array[..., int(value == 0.5)] = value
    write(run, {name: array})
    assert_not_resumed(run, words)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"epoch": -1}, "must be counts"),
        ({"epoch": True}, "must be counts"),
        ({"epoch": 10**9}, "must be counts"),
        ({"step": 2.0}, "must be counts"),
        ({"step": 10**30}, "must be counts"),
        ({"step": 10**9}, "array 'steps': expected float64 of shape .1000000000,"),
        ({"position": None}, "must be counts"),
        ({"position": 1}, "array 'rows'"),
        ({"best": 1}, "has the wrong type"),
        ({"best": False}, "array 'best"),
        ({"seconds": "1"}, "seconds must be a number"),
        ({"blas_threads": "1"}, "has the wrong type"),
        ({"setup": None}, "lacks a part"),
        ({"setup": {}}, "it is of another run"),
        ({"more": 1}, "lacks a part"),
        ({"rng": {"bit_generator": "test"}}, "bit_generator must be one of PCG64, "),
        ({"epoch_rng": {"bit_generator": "seed"}}, "bit_generator must be one of PCG64, "),
        ({"rng": {"bit_generator": "PCG64"}}, "has the wrong form"),
        ({"rng": None}, "bit_generator must be one of"),
    ],
    ids=str,
)
def test_every_value_of_a_checkpoint_is_checked(extra: Any, words: str, run: Path) -> None:
    """No name from a file is looked up in a module, and no count is believed."""
    write(run, **extra)
    assert_not_resumed(run, words)


def test_no_mutation_of_a_checkpoint_is_resumed(run: Path) -> None:
    """Bytes that are set, deleted, inserted: refused in one line, or the same run."""
    path = run / checkpoint.NAME
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    end = 8 + int.from_bytes(whole[:8], "little")
    (expected, arrays), refused = io.read(path), 0
    for trial in range(300):
        a = int(rng.integers(0, end if trial % 3 else len(whole)))
        b = a + int(rng.choice([1, 3]))
        path.write_bytes(whole[:a] + rng.bytes([b - a, 0, 2 * (b - a)][trial % 3]) + whole[b:])
        try:
            description, found = io.read(path)
        except ValueError:
            refused += 1
            continue
        assert description == expected
        for name, array in found.items():
            np.testing.assert_array_equal(array, arrays[name])
    assert refused > 250
    path.write_bytes(whole[: end + 100])
    assert_not_resumed(run, "truncated")


def test_a_damaged_checkpoint_is_said_to_be(tmp_path: Path) -> None:
    """Truncated by another program: one clear error."""
    model, options = problem("sequences")
    fit(model, **options, checkpoint_dir=tmp_path)
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="truncated"):
        fit(model, **options, checkpoint_dir=tmp_path, resume=True)


def test_a_missing_folder_is_found_before_the_work(tmp_path: Path) -> None:
    """Nothing is trained for nothing."""
    model, options = problem("sequences")
    before = {name: w.copy() for name, w in model.params.items()}
    with pytest.raises(FileNotFoundError, match="checkpoint_dir must be a folder"):
        fit(model, **options, checkpoint_dir=tmp_path / "missing" / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="checkpoint_dir must be a folder"):
        fit(model, **options, checkpoint_dir=tmp_path / "file")
    for name, w in model.params.items():
        np.testing.assert_array_equal(w, before[name])


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last whole checkpoint stays, the model has what was reached, and resuming goes on."""
    whole, options = problem("sequences")
    expected = fit(whole, **options)
    model, _ = problem("sequences")
    sync, writes = os.fsync, []

    def full(file: int) -> None:
        writes.append(file)
        if len(writes) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"step 9 could not be written \(No space left") as caught:
        fit(model, **options, checkpoint_dir=tmp_path / "run")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [checkpoint.NAME]
    three, _ = problem("sequences")
    fit(three, **options | {"epochs": 3}, keep_best=False)
    assert_same_params(model, three)
    fresh, _ = problem("sequences")
    history = fit(fresh, **options, checkpoint_dir=tmp_path / "run", resume=True)
    assert_same(history, expected)
    assert_same_params(fresh, whole)


class Averaged(NamedTuple):
    """A state of a user's optimizer: numbers of all kinds, in tuples, lists and dicts."""

    step: int
    count: Any
    rest: list[Any]


class Own:
    """A user's optimizer, which takes its state at its word."""

    learning_rate = 0.1

    def __repr__(self) -> str:
        return "Own()"

    def init(self, params: Any) -> Averaged:
        xp = next(iter(params.values())).__array_namespace__()
        return Averaged(0, xp.asarray(0), [{k: 0.0 * w for k, w in params.items()}, 0.5])

    def update(self, params: Any, grads: Any, state: Averaged, rate: float) -> Any:
        assert type(state.step) is int
        assert type(state.rest[1]) is float
        assert "int" in str(state.count.dtype)
        mean = {k: 0.5 * m + grads[k] for k, m in state.rest[0].items()}
        new = {k: w - rate * mean[k] for k, w in params.items()}
        return new, Averaged(state.step + 1, state.count + 1, [mean, state.rest[1] / 2])


def test_an_optimizer_of_ones_own_is_resumed(tmp_path: Path) -> None:
    """Its state comes back as what it was."""
    runs = []
    for cut in (None, 2):
        model, options = problem("sequences")
        options |= {"optimizer": Own()}
        if cut:
            fit(model, **options | {"epochs": cut}, checkpoint_dir=tmp_path)
            options |= {"checkpoint_dir": tmp_path, "resume": True}
        runs.append(fit(model, **options))
    assert_same(*runs)


@pytest.mark.parametrize("kind", generators.KINDS)
@pytest.mark.parametrize("again", ["MT19937", "a seed"])
def test_every_generator_of_numpy_is_kept(kind: str, again: str, tmp_path: Path) -> None:
    """All five bit generators; what is given on resuming need not be of the same kind."""
    runs = []
    for cut in (None, 2):
        model, options = problem("sequences")
        rng = np.random.Generator(generators.KINDS[kind](5))
        rng.integers(0, 9, dtype="uint32")  # half of 64 bits is left over
        options |= {"seed": rng, "epochs": 3}
        if cut:
            fit(model, **options | {"epochs": cut}, checkpoint_dir=tmp_path)
            seed = 7 if again == "a seed" else np.random.Generator(np.random.MT19937(6))
            options |= {"seed": seed, "checkpoint_dir": tmp_path, "resume": True}
        runs.append(fit(model, **options))
    assert_same(*runs)


def test_generators_go_through_json() -> None:
    """The state of each, to the last bit; positions beyond a buffer are refused."""
    for kind in generators.KINDS.values():
        rng = np.random.Generator(kind(3))
        rng.random(5, dtype="float32")
        state = json.loads(json.dumps(generators.encoded(rng.bit_generator.state)))
        other = generators.restored(np.random.default_rng(0), generators.decoded(state))
        np.testing.assert_array_equal(rng.random(700), other.random(700))
    state = generators.encoded(np.random.MT19937(0).state)
    for wrong in ({"pos": 625}, {"pos": -1}, {"key": [0] * 623}, {"key": [0.5] * 624},
                  {"key": [2**32] * 624}, {"pos": True}):  # fmt: skip
        with pytest.raises(ValueError, match="has the wrong form or is out of range"):
            generators.decoded(state | {"state": state["state"] | wrong})
    with pytest.raises(ValueError, match="has the wrong form"):
        generators.decoded(generators.encoded(np.random.Philox(0).state) | {"buffer_pos": 5})


def test_a_generator_that_is_not_numpys_is_refused_at_once(tmp_path: Path) -> None:
    """A checkpoint that could not be resumed is not begun."""

    class Own(np.random.PCG64):
        @property
        def state(self) -> Any:
            return super().state | {"bit_generator": "Own"}

    model, options = problem("sequences")
    seed = np.random.Generator(Own(0))
    with pytest.raises(ValueError, match="needs one of NumPy's bit generators"):
        fit(model, **options | {"seed": seed}, checkpoint_dir=tmp_path)


# two runs in one folder


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    """A second run is refused while the first one goes on, and told who holds the folder."""
    seen = []

    def second(run: Run) -> None:
        model, options = problem("sequences")
        with pytest.raises(ValueError, match="is in use by process") as caught:
            fit(model, **options, checkpoint_dir=tmp_path, resume=True)
        seen.append(str(caught.value))

    model, options = problem("sequences")
    fit(model, **options | {"epochs": 2}, checkpoint_dir=tmp_path, callbacks=[second])
    assert len(seen) == 2
    assert f"process {os.getpid()} on {platform.node()}: wait until it ends" in seen[0]
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]
    fit(model, **options, checkpoint_dir=tmp_path, resume=True)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    """Its file is still there, the lock is not; so are the parts that it wrote."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_resume as t

def end(run):
    part = t.checkpoint.NAME + ".0123456789abcdef.part"
    open(os.path.join(sys.argv[1], part), "w").close()
    os.kill(os.getpid(), signal.SIGKILL)

model, options = t.problem("sequences")
t.fit(model, **options, checkpoint_dir=sys.argv[1], callbacks=[end])
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode < 0
    assert {p.name for p in tmp_path.iterdir()} > {checkpoint.NAME, "lock"}
    assert (tmp_path / "lock").read_text().startswith("process ")
    model, options = problem("sequences")
    fit(model, **options, checkpoint_dir=tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]


def test_a_run_that_fails_releases_the_folder(tmp_path: Path) -> None:
    """Whatever the error is."""
    model, options = problem("sequences")
    with pytest.raises(Interrupted):
        fit(model, **options, checkpoint_dir=tmp_path, schedule=interrupt_at(2))
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]
    with lock.locked(tmp_path), pytest.raises(ValueError, match="is in use"), lock.locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on, with a warning."""

    def refused(*arguments: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(lock.fcntl, "flock", refused)
    with pytest.warns(UserWarning, match="cannot be locked"), lock.locked(tmp_path):
        assert (tmp_path / "lock").exists()


def test_another_number_of_threads_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise of equal bits holds for one number of BLAS threads."""
    model, options = problem("sequences")
    fit(model, **options | {"epochs": 1}, checkpoint_dir=tmp_path)
    own = io.describe(tmp_path / checkpoint.NAME).extra["blas_threads"]
    assert own == checkpoint.blas_threads(model.backend)
    monkeypatch.setattr(checkpoint, "blas_threads", lambda backend: 64)
    write(tmp_path, blas_threads=2)
    with pytest.warns(UserWarning, match="written with 2 BLAS threads, this process has 64"):
        fit(model, **options | {"epochs": 2}, checkpoint_dir=tmp_path, resume=True)
    write(tmp_path, blas_threads=None)
    fit(model, **options | {"epochs": 3}, checkpoint_dir=tmp_path, resume=True)


# the fingerprint of data


@pytest.mark.parametrize("shape", [(40, 3), (3, 40), (40,), (2, 2, 2, 15)])
def test_any_change_of_small_data_is_seen(shape: tuple[int, ...], bk: Backend) -> None:
    """Every entry, the order, the shape, the dtype; the same on the device and on the host."""
    mark = fingerprint.fingerprint
    x = np.random.default_rng(0).standard_normal(shape).astype(bk.dtype_name)
    own = mark(bk, bk.asarray(x))
    assert own == mark(bk, x.copy())
    assert own == mark(bk, np.asfortranarray(x))
    found = {own}
    for i in np.ndindex(shape):
        changed = x.copy()
        changed[i] = np.nextafter(changed[i], 9)
        found.add(mark(bk, changed))
    assert len(found) == 1 + x.size
    others = [x[::-1], x.reshape(-1, 2), x.astype("float16"), [x], [*x]]
    assert len({own} | {mark(bk, other) for other in others}) == 6
    assert mark(bk, None) is None


@pytest.mark.parametrize("shape", [(10**6, 3), (3, 10**6), (200, 50, 100), (3 * 10**6,)])
def test_large_data_is_sampled_evenly(shape: tuple[int, ...]) -> None:
    """At most as many entries as the budget are read, and a shift anywhere is seen."""
    bk, read = rnnx.get_backend(), []

    class File:  # not an array: what is read of it is counted
        def __init__(self, x: Any) -> None:
            self.x, self.shape, self.ndim, self.dtype = x, x.shape, x.ndim, x.dtype

        def __getitem__(self, at: Any) -> Any:
            return File(self.x[at])

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            read.append(self.x.size)
            return self.x

    x = np.zeros(shape, "float32")
    own = fingerprint.fingerprint(bk, File(x))
    assert fingerprint.BUDGET / 2 < sum(read) <= fingerprint.BUDGET
    for part in np.array_split(np.arange(shape[0]), 3):
        changed = x.copy()
        changed[part] = 1
        assert fingerprint.fingerprint(bk, File(changed)) != own


def test_a_long_list_is_sampled_evenly() -> None:
    """All lengths count, and a change in a third of the list is seen."""
    bk, rows = rnnx.get_backend(), [np.zeros((10, 30), "float32")] * 6000
    own = fingerprint.fingerprint(bk, rows)
    for start in (0, 2000, 4000):
        changed = [*rows]
        changed[start : start + 2000] = [rows[0] + 1] * 2000
        assert fingerprint.fingerprint(bk, changed) != own
    assert fingerprint.fingerprint(bk, [*rows[:-2], rows[0][:9], rows[0]]) != own


def test_the_history_of_a_checkpoint_is_a_history() -> None:
    """Through arrays and back."""
    history = train.History()
    history.append({"epoch": 1, "loss": 0.5})
    history.append_steps([0.5], [1.0], [0.1])
    again = train.History.of(["epoch", "loss"], **history.tables())
    assert_same(again, history)
    assert again["epoch"].dtype == history["epoch"].dtype
    assert rnnx.train.History is train.History
