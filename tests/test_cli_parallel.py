"""The command in several processes: the results of one, said once; an error of one ends all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from mpi import launch

import rnnx
from rnnx.cli import main, together
from rnnx.parallel import launched
from rnnx.parallel.launched import Launched
from rnnx.parallel.stages import Stages

TWO = ["--n-estimators", "2"]
TINY = ["--hidden-size", "4", "--epochs", "2", "--seed", "0", "--dtype", "float64"]
KINDS = {  # the arguments of each kind, but for --out
    "classifier": [
        "long.csv",
        "--id",
        "id",
        "--target",
        "label",
        "--validation-fraction",
        "0.2",
        *TWO,
    ],
    "regressor": ["long.csv", "--id", "id", "--target", "sum", "--features", "a,b", *TWO],
    "forecaster": ["series.csv", "--target", "sales", "--horizon", "2", "--window", "6", *TWO],
    "characters": ["book.txt", "--streams", "4", "--length", "5", "--embedding-size", "3"],
}
PREDICT = {"characters": ["book.txt"], "forecaster": ["series.csv"]}
PROGRAM = """
import os, sys, json
rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
{setup}
from rnnx.cli import main
sys.exit(max([main(command) for command in json.loads(sys.argv[1])]))
"""


def train(kind: str, out: str, *more: str) -> list[str]:
    return ["train", kind, *KINDS[kind], "--out", out, *TINY, *more]


def run(
    n: int, *commands: list[str], setup: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run commands one after the other in n processes, each after some lines of Python."""
    program = PROGRAM.format(setup=setup)
    return launch(n, [sys.executable, "-c", program, json.dumps(commands)], env=env)


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the command printed on stderr, without what mpirun says."""
    return [line for line in done.stderr.splitlines() if line.startswith("rnnx")]


def fails(done: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """Assert that one line on stderr is all there is, and that there is no model."""
    assert done.returncode == code, done.stderr
    assert len(said(done)) == 1, done.stderr
    assert words in said(done)[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not Path("r/model.safetensors").exists()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the data."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = ["id,a,b,sum,label"]
    for i, T in enumerate(rng.integers(3, 7, size=13)):
        x = rng.standard_normal((T, 2)).round(6)
        cells = f"{x.sum():.6f},{'up' if x.sum() > 0 else 'down'}"
        rows += [f"s{i},{a},{b},{cells}" for a, b in x.tolist()]
    Path("long.csv").write_text("\n".join(rows))
    sales = 3 + np.sin(np.arange(60) / 2) + 0.1 * rng.standard_normal(60)
    Path("series.csv").write_text("\n".join(["sales", *map(str, sales.round(6).tolist())]))
    Path("book.txt").write_text("to be or not to be, " * 30)
    return tmp_path


@pytest.mark.parametrize("n", [2, 3])
def test_every_kind_equals_one_process_to_rounding(
    n: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predictions, files and what is printed, once, are those of one process."""
    done = run(n, *[train(kind, f"{kind}{n}") for kind in KINDS])
    assert (done.returncode, said(done)) == (0, [])
    printed = []
    for kind in KINDS:
        assert main(train(kind, kind)) == 0
        printed += [*capsys.readouterr().out.replace(f"{kind}: ", f"{kind}{n}: ").splitlines()]
    lines = [line for line in done.stdout.splitlines() if line != f"trained by {n} processes"]
    assert len(done.stdout.splitlines()) - len(lines) == len(KINDS)
    assert lines == printed
    for kind in KINDS:
        assert {path.name for path in Path(kind).iterdir()} == {
            path.name for path in Path(f"{kind}{n}").iterdir()
        }
        tables = []
        for folder in (kind, f"{kind}{n}"):
            proba = ["--proba"] if kind == "classifier" else []
            assert main(["predict", folder, *PREDICT.get(kind, ["long.csv"]), *proba]) == 0
            tables.append([line.split(",") for line in capsys.readouterr().out.splitlines()])
        for one, other in zip(*tables, strict=True):
            for a, b in zip(one, other, strict=True):
                assert a == b or np.isclose(float(a), float(b), rtol=1e-10, atol=1e-10)
        summaries = [json.loads(Path(p, "summary.json").read_text()) for p in (kind, f"{kind}{n}")]
        assert [summary.pop("processes") for summary in summaries] == [1, n]
        assert summaries[0].keys() == summaries[1].keys()
        assert summaries[0]["chosen"] == summaries[1]["chosen"]


ESTIMATORS = """
import sys
import numpy as np
from mpi4py import MPI
from rnnx.characters import CharacterModel
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor
from sklearn.base import clone
comm = MPI.COMM_WORLD if sys.argv[1:] else None
rng = np.random.default_rng(0)
X = [rng.standard_normal((T, 2)) for T in rng.integers(3, 7, size=14)]
y = np.asarray([x.sum() for x in X])
small = dict(hidden_size=3, dtype="float64")
found = []
for seed in (None, 0):
    short = small | dict(random_state=seed, n_estimators=2)
    c = clone(RNNClassifier(**short, epochs=2)).fit(X, y > 0, comm=comm)
    c = c.partial_fit(X[:5], y[:5] > 0, comm=comm)
    t = CharacterModel(3, epochs=1, streams=3, dtype="float64", seed=seed)
    t.fit("to be or not to be, " * 9, comm=comm)
    found += [c.predict_proba(X), [t.bits_per_character("to be")]]
    assert not hasattr(c, "_stages")
r = RNNRegressor(**short, max_epochs=8, min_updates=8).fit(X, y, comm=comm)  # with folds
p = RNNRegressor(**small, random_state=0).partial_fit(X, y, comm=comm)
wave = np.sin(np.arange(80.0))
f = RNNForecaster(2, **short, epochs=2).fit(wave, comm=comm).partial_fit(wave, comm=comm)
found += [r.predict(X), r.history_["loss"], p.predict(X), f.predict(wave)]
found = [np.asarray(answer).ravel().tolist() for answer in found]
everywhere = comm.allgather(found) if comm else [found]
assert all(other == found for other in everywhere)
if comm:
    before = c.predict_proba(X)
    try:
        c.fit(X, y > 0 if comm.rank == 0 else y[:3] > 0, comm=comm)
        raise SystemExit("expected an error")
    except ValueError as error:
        assert str(error).startswith("rank 1 of 2: y must hold 14 labels"), error
    assert np.array_equal(c.predict_proba(X), before)
    alone = clone(r)
    if comm.rank == 0:
        alone.partial_fit(X, y)
    wrong = {"n_estimators": clone(c).set_params(n_estimators=1 + comm.rank), "fitted": alone}
    for name, e in wrong.items():
        try:
            e.partial_fit(X, y > 0 if "n" == name[0] else y, comm=comm)
            raise SystemExit("expected an error")
        except ValueError as error:
            assert f"{name}: " in str(error), error
if comm is None or comm.rank == 0:
    print(found[2:])  # with a seed
"""


def test_estimators_train_with_a_communicator() -> None:
    """All have the same answers, bit for bit, without a seed too; with one, those of one process.

    An error of one is raised by all, and leaves an estimator as it was.
    """
    done = launch(2, [sys.executable, "-c", ESTIMATORS, "all"])
    assert done.returncode == 0, done.stderr
    alone = subprocess.run(
        [sys.executable, "-c", ESTIMATORS], capture_output=True, text=True, check=True
    )
    for several, one in zip(json.loads(done.stdout), json.loads(alone.stdout), strict=True):
        np.testing.assert_allclose(several, one, rtol=1e-10, atol=1e-10)


ELSEWHERE = "if rank == 1: os.makedirs('node'); os.chdir('node')"
ERRORS = {  # what happens where: the code, the words, lines of Python before the command
    "no file": (2, "rank 1 of 2: No such file or directory: book.txt", ELSEWHERE),
    "another file": (
        2, "rank 1 of 2: book.txt is not the file of rank 0",
        f"{ELSEWHERE}; open('book.txt', 'w').write('to be or not')",
    ),
    "other options": (
        2, "rank 1 of 2: processes that are started together train one model",
        "if rank: sys.argv[1] = sys.argv[1].replace('\"0\"', '\"1\"')",
    ),
    "no memory": (
        1, "rank 1 of 2: a text too large",
        "from rnnx.characters import alphabet\n"
        "def none(*a): raise MemoryError('a text too large')\n"
        "if rank: alphabet.learn = none",
    ),
    "interrupted": (
        130, "rnnx: interrupted: continue with the same command and --resume",
        "import signal\n"
        "from rnnx.characters import alphabet\n"
        "learn = alphabet.learn\n"
        "if rank: alphabet.learn = lambda text: signal.raise_signal(signal.SIGINT) or learn(text)",
    ),
    "full disk": (
        1, "rank 0 of 2: No space left on device: r/summary.json",
        "from rnnx.cli import results\n"
        "def full(*a): raise OSError(28, 'No space left on device', 'r/summary.json')\n"
        "results.dump = full",
    ),
    "one process fails alone": (
        1, "rnnx: error: a bug (rank 1 of 2)",
        "from rnnx.cli import together; together.PATIENCE = 1\n"
        "from rnnx.parallel.mpi import MPITeam\n"
        "def wrong(*a): raise ArithmeticError('a bug')\n"
        "if rank: MPITeam.summed = wrong",
    ),
    "no mpi4py": (2, "train together, which needs mpi4py", "sys.modules['mpi4py'] = None"),
    "no mpi4py for one": (
        2, "needs mpi4py: pip install 'rnnx[mpi]'", "if rank: sys.modules['mpi4py'] = None",
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", ERRORS)
def test_an_error_of_one_process_ends_all(where: str) -> None:
    """In bounded time, with one line and the exit code of the command."""
    code, words, setup = ERRORS[where]
    fails(run(2, train("characters", "r"), setup=setup), code, words)


def test_rank_0_alone_has_the_results_folder() -> None:
    """What it finds there ends all; options that are wrong are refused once."""
    assert main(train("characters", "old")) == 0
    before = Path("old/model.safetensors").read_bytes()
    fails(run(3, train("characters", "old")), 2, "old already holds a model: give --force")
    assert Path("old/model.safetensors").read_bytes() == before
    done = launch(2, [sys.executable, "-m", "rnnx", *train("characters", "r", "--epochs", "x")])
    fails(done, 2, "argument --epochs: invalid int value: 'x'")


def test_other_commands_are_of_rank_0_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """They print once what one process prints; MPI is not needed."""
    assert main(train("characters", "r")) == 0
    capsys.readouterr()
    commands = [["info", "r"], ["predict", "r", "book.txt"]]
    assert [main(command) for command in commands] == [0, 0]
    done = run(2, *commands, setup="sys.modules['mpi4py'] = None")
    assert (done.returncode, done.stdout) == (0, capsys.readouterr().out)


INTERRUPT = """
import signal, time
from rnnx.train.checkpoint import Checkpoints
write = Checkpoints.write
def interrupted(self, snapshot):
    write(self, snapshot)
    os.kill(os.getppid(), signal.SIGINT)  # mpirun, as Ctrl-C does
    time.sleep(60)
Checkpoints.write = interrupted
"""


def test_an_interrupted_training_is_resumed_by_another_number_of_processes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C ends all processes; three go on from what two began, as one would have done."""
    long = train("characters", "r", "--epochs", "4")
    assert run(2, long, setup=INTERRUPT).returncode != 0
    assert not Path("r/model.safetensors").exists()
    done = run(3, [*long, "--resume"])
    assert done.returncode == 0, done.stderr
    assert main([*train("characters", "one", "--epochs", "4")]) == 0
    models = [rnnx.load(f"{folder}/model.safetensors") for folder in ("r", "one")]
    text = Path("book.txt").read_text()
    several, one = (model.bits_per_character(text) for model in models)
    np.testing.assert_allclose(several, one, rtol=1e-8)


ENVIRONMENTS = {
    "nothing": ({}, None),
    "one process": ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, None),
    "Open MPI": (
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3",
         "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
        Launched(3, 4, 1),
    ),
    "MPICH": ({"PMI_SIZE": "4", "PMI_RANK": "2", "MPI_LOCALRANKID": "2"}, Launched(2, 4, 2)),
    "MPICH on Slurm": (  # whose srun starts one proxy on each machine
        {"PMI_SIZE": "4", "PMI_RANK": "3", "MPI_LOCALRANKID": "1", "SLURM_LOCALID": "0",
         "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"},
        Launched(3, 4, 1),
    ),
    "srun": (
        {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "PMIX_RANK": "5"},
        Launched(5, 8, 1),
    ),
    "srun --mpi=none": (
        {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, None,
    ),
    "nonsense": ({"PMI_SIZE": "many", "PMI_RANK": "0"}, None),
}  # fmt: skip


@pytest.mark.parametrize("launcher", ENVIRONMENTS)
def test_a_launcher_is_known_by_its_environment(launcher: str) -> None:
    """Size, rank and rank on the machine; a process that was started alone has none."""
    environment, expected = ENVIRONMENTS[launcher]
    assert launched.here(environment) == expected


def test_another_mpi_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where mpi4py sees one process, there are never several trainings in one folder."""
    alone = SimpleNamespace(COMM_WORLD=SimpleNamespace(Get_size=lambda: 1))
    monkeypatch.setitem(sys.modules, "mpi4py", SimpleNamespace(MPI=alone))
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setenv("PMI_RANK", "0")
    assert main(train("regressor", "r")) == 2
    assert "mpi4py sees 1: it uses another MPI" in capsys.readouterr().err
    assert not Path("r").exists()


def test_a_command_that_was_started_alone_imports_no_mpi() -> None:
    """Training alone costs nothing more."""
    code = f"import sys; from rnnx.cli import main; main({train('characters', 'r')}); sys.exit"
    code += "('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless --device says which; other backends stay where they are."""
    monkeypatch.setattr(together, "devices", lambda name: ["a", "b"])
    gpu: Any = SimpleNamespace(name="cupy")
    cpu: Any = SimpleNamespace(name="numpy")
    assert together.device(gpu, None) is None
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "3")
    assert [together.device(gpu, None), together.device(gpu, 0)] == [1, 0]
    assert together.device(cpu, None) is None


def test_stages_of_one_process_do_nothing() -> None:
    """Without a communicator, values and errors are this process's own."""
    stages = Stages()
    with stages.all():
        assert stages.from_root(3) == 3
        assert (stages.leads, stages.size, stages.comm) == (True, 1, None)
    with pytest.raises(KeyError, match="x"), stages.all(), stages.together():
        raise KeyError("x")
