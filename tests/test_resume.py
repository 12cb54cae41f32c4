"""Checkpoints: a resumed run is the uninterrupted one; no end of a process leaves half a file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_train import assert_same, classifier, fit, labelled, tagger

import rnnx
from rnnx import Backend, io, optim, train
from rnnx.data import Stream
from rnnx.train import Run, checkpoint

KILLS = 50


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


PROGRAM = """
import os, random, signal, sys, time
sys.path.insert(0, {tests!r})
import test_resume as t

folder = sys.argv[1]
path = os.path.join(folder, t.checkpoint.NAME)
rnd = random.Random(0)

def written():
    return os.stat(path).st_ino if os.path.exists(path) else 0

for _ in range({kills}):
    before, end = written(), time.monotonic() + 60
    pid = os.fork()
    if pid == 0:
        try:
            model, options = t.problem("sequences")
            t.fit(model, **options | {{"epochs": 5000}}, checkpoint_dir=folder,
                  checkpoint_every=1, resume=True)
        except BaseException as error:
            print("failed", repr(error), flush=True)
        os._exit(1)
    while written() == before and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(rnd.uniform(0, 0.05))  # from here on, a save is under way most of the time
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"
    description, arrays = t.io.read(path, "training run")
    print("step", description.extra["step"], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_fifty_times_nothing_is_lost(tmp_path: Path) -> None:
    """SIGKILL at any moment, saves included: the checkpoint is whole and never behind the last one.

    The run that goes on from it is the one that was never ended.
    """
    program = PROGRAM.format(tests=str(Path(__file__).parent), kills=KILLS)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout, done.stdout
    steps = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(steps) == KILLS
    assert steps == sorted(steps)
    assert steps[-1] > steps[0]  # it got on, from kill to kill
    description, _ = io.read(tmp_path / "run" / checkpoint.NAME, "training run")
    epochs = description.extra["epoch"] + 1
    resumed, options = problem("sequences")
    options |= {"epochs": epochs}
    history = fit(resumed, **options, checkpoint_dir=tmp_path / "run", resume=True)
    whole, _ = problem("sequences")
    assert_same(history, fit(whole, **options))
    assert_same_params(resumed, whole)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [checkpoint.NAME]


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
    with pytest.raises(TypeError, match="targets must have a dtype"):
        fit(model, **options | {"data": (x, y + 0.5)}, checkpoint_dir=tmp_path)
    assert len(fit(model, **options, checkpoint_dir=tmp_path)["loss"]) == 5


NAMES = """
from functools import partial
from rnnx import losses, optim
from rnnx.train.fit import _name

def own(t):
    return 1.0

print(_name(partial(losses.huber, delta=2.0)), _name(optim.WarmUp(3, then=own)))
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": optim.SGD(0.02)}, "optimizer: SGD"),
        ({"batch_size": 3}, "batch_size: 3 now, 4 in the checkpoint"),
        ({"schedule": optim.Cosine(9)}, "schedule: Cosine"),
        ({"data": labelled(np.random.default_rng(1)), "validation": None}, "validation: None"),
    ],
)
def test_another_run_is_not_resumed(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    """What differs is named."""
    model, options = problem("sequences")
    fit(model, **options, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=words):
        fit(model, **options | change, checkpoint_dir=tmp_path, resume=True)


def test_another_model_is_not_resumed(tmp_path: Path) -> None:
    """Its configuration tells, and what differs is named."""
    model, options = problem("sequences")
    fit(model, **options, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"model.layers.0.dropout: 0.0 now, 0.3 in the checkpoint"):
        fit(classifier(), **options, checkpoint_dir=tmp_path, resume=True)


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


@pytest.mark.parametrize("seed", [np.random.Generator(np.random.MT19937(6)), 7])
def test_other_generators_are_kept_too(seed: Any, tmp_path: Path) -> None:
    """A bit generator whose state is an array; what is given on resuming need not be one."""
    runs = []
    for cut in (None, 2):
        model, options = problem("sequences")
        options |= {"seed": np.random.Generator(np.random.MT19937(5))}
        if cut:
            fit(model, **options | {"epochs": cut}, checkpoint_dir=tmp_path)
            options |= {"seed": seed, "checkpoint_dir": tmp_path, "resume": True}
        runs.append(fit(model, **options))
    assert_same(*runs)


def test_the_history_of_a_checkpoint_is_a_history() -> None:
    """Through arrays and back."""
    history = train.History()
    history.append({"epoch": 1, "loss": 0.5})
    history.append_steps(loss=[0.5], grad_norm=[1.0], learning_rate=[0.1])
    assert_same(train.History.from_arrays(history.to_arrays()), history)
    assert rnnx.train.History is train.History
