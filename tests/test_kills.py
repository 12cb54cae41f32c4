"""SIGKILL at any moment: files are whole, nothing that was done is lost, nothing stays behind.

``make kills`` ends more processes than the tests do.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import parallel_cases
import pytest
from mpi import started
from test_resume import assert_same, assert_same_params, fit, problem

from rnnx import io
from rnnx.train import checkpoint

KILLS = {"fit": 30, "command": 12, "parallel": 20} | {
    name: int(count)
    for name, count in (part.split("=") for part in os.environ.get("RNNX_KILLS", "").split())
}
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
START = f"""
import os, random, shutil, signal, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
rnd = random.Random(0)

def start(work):
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(work())
        except BaseException as error:
            print("failed", repr(error), flush=True)
        os._exit(99)
    return pid
"""
FIT = """
import test_resume as t

folder = sys.argv[1]
path = os.path.join(folder, t.checkpoint.NAME)

def written():
    return os.stat(path).st_ino if os.path.exists(path) else 0

def work():
    model, options = t.problem("sequences")
    t.fit(model, **options | {"epochs": 5000}, checkpoint_dir=folder,
          checkpoint_every=1, resume=True)
    return 1

for _ in range(int(sys.argv[2])):
    before, end = written(), time.monotonic() + 60
    pid = start(work)
    while written() == before and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(rnd.uniform(0, 0.05))  # from here on, a save is under way most of the time
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"
    description, arrays = t.io.read(path, "training run")
    print("step", description.extra["step"], flush=True)
"""
RANK = """
import os, sys
import parallel_cases
from mpi4py import MPI

comm = MPI.COMM_WORLD
folder, pids = sys.argv[1:]
with open(f"{pids}/{comm.rank}.part", "w") as file:
    file.write(str(os.getpid()))
os.rename(f"{pids}/{comm.rank}.part", f"{pids}/{comm.rank}")
parallel_cases.interrupted("stream", "numpy", comm, folder, 5000)
"""
COMMAND = """
import numpy as np
import rnnx
from rnnx.cli import main
from rnnx.cli.task import Task

Task.pictures = lambda self, model, data: {}  # they take most of the time
os.chdir(sys.argv[1])
with open("a.txt", "w") as file:
    file.write("to be or not to be, " * 40)
np.save("X.npy", np.random.default_rng(0).standard_normal((60, 9, 2)))
np.save("y.npy", np.arange(60) % 2)
SMALL = ["--hidden-size", "6", "--epochs", "4", "--seed", "0", "--quiet"]
BOOK = ["train", "characters", "a.txt", "--streams", "2", "--length", "20", *SMALL, "--out"]
CLASSES = ["train", "classifier", "X.npy", "--target-file", "y.npy", *SMALL, "--out"]
COMMANDS = {
    "book": [*BOOK, "book", "--resume"],
    "classes": [*CLASSES, "classes", "--force"],
    "p.csv": ["predict", "whole", "X.npy", "--out", "p.csv"],
}

def silent(words):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return main(words)

def whole(words):
    began = time.monotonic()
    _, status = os.waitpid(start(lambda: silent(words)), 0)
    assert status == 0, words
    return time.monotonic() - began

def content(place):
    path = place if place.endswith(".csv") else place + "/model.safetensors"
    return open(path, "rb").read() if os.path.exists(path) else None

took = {"book": whole([*BOOK, "a book"]), "classes": whole([*CLASSES, "whole"])}
took["p.csv"] = whole([*COMMANDS["p.csv"][:-1], "good.csv"])
expected = {"book": content("a book"), "classes": content("whole"), "p.csv": content("good.csv")}
same = {"book": "a book", "classes": "whole"}
names = {place: sorted(os.listdir(good)) for place, good in same.items()}
kills, places, steps = 0, list(COMMANDS), 0
while kills < int(sys.argv[2]):
    place = places[kills % 3]
    pid = start(lambda: silent(COMMANDS[place]))
    time.sleep(rnd.uniform(0, took[place]))
    os.kill(pid, signal.SIGKILL)
    killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    kills += killed
    assert content(place) in (None, expected[place]), "another result"
    if place == "book":
        path, before = "book/checkpoint.safetensors", steps
        steps = rnnx.io.read(path)[0].extra["step"] if os.path.exists(path) else 0
        assert steps >= before or content("book"), "steps are lost"
        if content("book") and not steps:
            shutil.rmtree("book")  # it is done: start over
    elif killed and place == "classes" and kills > 6:
        assert content("classes"), "the result before is lost"
    if place == "classes" and not content("classes"):
        whole(COMMANDS["classes"])
    print("kill", place, steps, flush=True)
for place, words in COMMANDS.items():
    whole(words)
    assert content(place) == expected[place]
for place, files in names.items():
    assert sorted(os.listdir(place)) == files, os.listdir(place)
left = {*os.listdir()} - {"a.txt", "X.npy", "y.npy", "a book", "whole", "good.csv"} - {*COMMANDS}
assert not left, left
"""


def run(program: str, folder: Path, kills: int) -> list[list[str]]:
    """Run a program that kills processes of its own; return its lines as words."""
    done = subprocess.run(
        [sys.executable, "-c", START + program, str(folder), str(kills)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout, done.stdout
    return [line.split() for line in done.stdout.splitlines()]


def test_fit_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Saves included: the checkpoint is whole and never behind the last one.

    The run that goes on from it is the one that was never ended.
    """
    steps = [int(step) for _, step in run(FIT, tmp_path / "run", KILLS["fit"])]
    assert len(steps) == KILLS["fit"]
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


def test_a_command_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Training with --resume and with --force, and predicting: every result is whole or not there.

    The next command removes what is left of the one before.
    """
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    lines = run(COMMAND, tmp_path, KILLS["command"])
    assert len(lines) >= KILLS["command"]
    assert max(int(steps) for *_, steps in lines) > 0  # some were killed within a training


def test_a_rank_that_is_killed_ends_all(tmp_path: Path) -> None:
    """Any of three: the others end with it, in seconds; MPI's message names it; nothing is lost.

    One process goes on from the last checkpoint: the run that was never ended, to rounding.
    """
    rnd, steps = random.Random(0), [0]
    folder, pids = tmp_path / "run", tmp_path / "pids"
    path = folder / checkpoint.NAME
    pids.mkdir()
    for _ in range(KILLS["parallel"]):
        for old in pids.iterdir():
            old.unlink()
        before = path.stat().st_ino if path.exists() else 0
        job, until = (
            started(3, [sys.executable, "-c", RANK, str(folder), str(pids)]),
            time.monotonic() + 60,
        )
        try:
            while not path.exists() or path.stat().st_ino == before:
                assert job.poll() is None, job.communicate()
                assert time.monotonic() < until
                time.sleep(0.001)
            rank = rnd.randrange(3)
            time.sleep(rnd.uniform(0, 0.05))
            os.kill(int((pids / str(rank)).read_text()), signal.SIGKILL)
            _, said = job.communicate(timeout=60)
        finally:
            job.kill()
        assert job.returncode != 0
        assert f"rank {rank}" in said.lower() or f",{rank}]" in said, said
        description, _ = io.read(path, "training run")
        steps.append(description.extra["step"])
    assert steps == sorted(steps)
    assert steps[-1] > steps[1]
    epochs = description.extra["epoch"] + 1
    found = parallel_cases.interrupted("stream", "numpy", None, str(folder), epochs)
    whole = parallel_cases.interrupted("stream", "numpy", None, None, epochs)
    parallel_cases.assert_close(found, whole)
    assert [path.name for path in folder.iterdir()] == [checkpoint.NAME]
