"""The command's errors: one line, the right exit code, nothing half-written."""

from __future__ import annotations

import errno
import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from test_cli import CHARACTERS, LONG, SMALL, TEXT, Run, here, long_rows, run, write

import rnnx
from rnnx import io
from rnnx.characters import CharacterModel
from rnnx.cli import results
from rnnx.io import lock

__all__ = ["here", "run"]  # fixtures


@pytest.fixture
def files(here: Path) -> None:
    """Write good files, and bad ones."""
    _, rows = long_rows()
    write("long.csv", LONG, rows)
    write("nan.csv", LONG, [*rows[:2], ["s0", 2, 1.0, "nan", 0.5, "up"]])
    write("gap.csv", LONG, [*rows[:2], ["s0", 2, "", 1.0, 0.5, "up"]])
    write("short.csv", LONG, [*rows[:2], ["s0", 2]])
    write("late.csv", LONG, [*rows[:2], ["s0", "soon", 1.0, 1.0, 0.5, "up"]])
    write("twice.csv", LONG, [*rows[:2], rows[1]])
    write("one.csv", LONG, [[*row[:5], "up"] for row in rows])
    write("names.csv", ["a", "a", "y"], [[1, 2, 3]])
    write("empty.csv", LONG, [])
    write("lost.csv", ["id", "a", "y"], [["", 1, 1], ["x", 2, 2]])
    write("unlabelled.csv", ["a", "y"], [[1, "p"], [2, ""]])
    write("series.csv", ["t", "y", "e"], [[t, t % 7, 0] for t in range(40)])
    write("hole.csv", ["t", "y"], [[t, "" if t == 20 else t] for t in range(40)])
    Path("latin.csv").write_bytes("a,b\né,1\n".encode("latin-1"))
    Path("points.csv").write_bytes(Path("long.csv").read_bytes().replace(b",", b";"))
    write("tabs.csv", LONG, rows, delimiter="\t")
    Path("commas.csv").write_text("a;y\n1,5;p\n2;q\n")
    write("days.csv", ["t", "y"], [["31.12.2023", 1], ["01.01.2024", 2]])
    packed = gzip.compress(Path("long.csv").read_bytes())
    Path("torn.csv.gz").write_bytes(packed[:-9])
    Path("spoiled.csv.gz").write_bytes(packed[:20] + b"xxxx" + packed[24:])
    Path("bomb.csv.gz").write_bytes(gzip.compress(b"a,y\n" + b"1,2\n" * 5_000_000))
    Path("quote.csv").write_text('a,b\n"1,2\n')
    Path("a.txt").write_text(TEXT)
    Path("short.txt").write_text("abc")
    X = np.random.default_rng(0).standard_normal((10, 4, 2))
    np.save("X.npy", X)
    np.save("y.npy", np.arange(10) % 2)
    np.save("words.npy", np.asarray(["a", "b"] * 5))
    np.save("objects.npy", np.asarray([{}], dtype=object), allow_pickle=True)
    np.save("flat.npy", np.zeros(3))
    holed = X.copy()
    holed[3, 2, 1] = np.nan
    np.savez("nan.npz", X=holed, y=np.zeros(10))
    np.savez("lengths.npz", X=X, y=np.zeros(10), lengths=np.full(10, 5))
    np.savez("padded.npz", X=X, y=np.zeros(10), lengths=np.full(10, 3))
    np.savez("other.npz", Z=X)
    Path("torn.npz").write_bytes(b"PK\x03\x04")


COLUMNS = ["--id", "id", "--time", "t", "--features", "a,b", "--target"]
TRAIN = {
    "nothing.csv --target y": "No such file or directory: nothing.csv",
    ". --target y": "Is a directory: .",
    "long.csv": "--target must name the column to predict, got none",
    "long.csv --target z": "long.csv has no column 'z' (--target): it has id, t, a, b, sum, way",
    "long.csv --target way --id who": "long.csv has no column 'who' (--id)",
    "long.csv --target way,sum": "--target must name one column of labels, got 2",
    "long.csv --target way --time t": "--time needs the long form, one row per step: also give",
    "long.csv --target way --per-step": "--per-step needs the long form",
    "long.csv --target way": "long.csv, line 2, column 'id': expected a finite number, got 's0'",
    "long.csv --target way --features a,way": "--features must not repeat the other columns",
    "long.csv --target way --features a,,b": "expected names separated by commas, each once",
    "long.csv --target way --delimiter ;": "long.csv has no column 'way' (--target): it has id,t,",
    "long.csv --target way --delimiter ab": "--delimiter must be one character, or tab, got 'ab'",
    "points.csv --target way": "points.csv, line 1: expected names separated by commas, got 'id;t",
    "points.csv --target way --delimiter ,": "points.csv has no column 'way' (--target): it has id",
    "tabs.csv --target way": "tabs.csv, line 1: expected names separated by commas, got 'id\\tt",
    "commas.csv --target y --delimiter ;": "commas.csv, line 2, column 'a': expected a finite numb"
    "er, got '1,5': give --decimal ','",
    "long.csv --target way --decimal x": "--decimal must be a point or a comma, got 'x'",
    "long.csv COLUMNS way --decimal ,": "': give --decimal '.'",
    "long.csv --target way --date-format %d": "--date-format must be one of Python's strptime with",
    "long.csv --target way --date-format %Y%Y": "--date-format must be one of Python's strptime",
    "long.csv --target way --date-format %Q": "--date-format must be one of Python's strptime with",
    "long.csv --target way --encoding base64": "--encoding must be the name of an encoding, ",
    "long.csv --target way --encoding nothing": "--encoding must be the name of an encoding, ",
    "long.csv COLUMNS way --date-format %Y": "long.csv, line 2, column 't': expected a date of the",
    "long.csv --target way --encoding utf-16": "long.csv must be a text file in utf-16, got other",
    "torn.csv.gz --target way": "torn.csv.gz must be a file that gzip has packed: Compressed file",
    "spoiled.csv.gz --target way": "spoiled.csv.gz must be a file that gzip has packed: ",
    "bomb.csv.gz --target y": "bomb.csv.gz has more than ",
    "long.csv --target-file y.npy": "--target-file is for an NPY file",
    "nan.csv COLUMNS way": "nan.csv, line 4, column 'b': expected a finite number, got 'nan'",
    "gap.csv COLUMNS way": "gap.csv, line 4, column 'a': expected a finite number, got an empty",
    "short.csv COLUMNS way": "short.csv, line 4: expected 6 cells, one per column name, got",
    "late.csv COLUMNS way": "late.csv, line 4, column 't': expected a number, or a date like",
    "twice.csv COLUMNS way": "twice.csv, line 4, column 't': expected each time once, got '1' tw",
    "long.csv COLUMNS way": "expected the same in all rows of sequence 's0', got",
    "one.csv COLUMNS way": "y must hold at least 2 classes, got 1 class",
    "names.csv --target y": "names.csv must name each column once in its first line, got a, a, y",
    "empty.csv --target way": "must have a line of column names and rows below it, got 1 line",
    "lost.csv --id id --target y": "lost.csv, line 2, column 'id': expected a sequence, got an",
    "unlabelled.csv --target y": "unlabelled.csv, line 3, column 'y': expected a label of at",
    "names.csv long.csv --target y": "names.csv must name each column once",
    "long.csv series.csv --target y": "series.csv must have the columns of long.csv, id, t, a, b,",
    "lost.csv --id id --target y --features y": "--features must not repeat the other columns",
    "latin.csv --target b": "latin.csv must be a text file in UTF-8, got other bytes: name its",
    "quote.csv --target b": "quote.csv, line 2: unexpected end of data",
    "X.npy": "X.npy must have targets: give --target-file, or y in an NPZ file",
    "X.npy X.npy --target-file y.npy": "expected a single file of arrays, or CSV files",
    "X.npy --target-file y.npy --id a": "--id names columns of a CSV file, got X.npy",
    "X.npy --target-file flat.npy": "y in flat.npy must hold a label for each of the 10 sequences",
    "flat.npy --target-file y.npy": "X in flat.npy must have 2 or 3 axes, none of them empty",
    "words.npy --target-file y.npy": "X in words.npy must hold real numbers, got dtype <U1",
    "objects.npy --target-file y.npy": "objects.npy must be a file of NumPy arrays without pickle",
    "nan.npz": "X[3, 2, 1] in nan.npz must be a finite number, got nan",
    "lengths.npz": "lengths in lengths.npz must be between 1 and 4, got 5 to 5",
    "padded.npz --per-step": "y in padded.npz must hold a label for each of the 4 steps of th",
    "lengths.npz --target-file y.npy": "has targets, y, of its own: do not give --target-file",
    "other.npz --target-file y.npy": "other.npz must hold an array 'X', got 'Z'",
    "torn.npz": "torn.npz must be a file of NumPy arrays without pickle",
    "X.npy --target-file y.npy --cell transformer": "cell must be one of rnn, gru, lstm",
    "X.npy --target-file y.npy --hidden-size 0": "hidden_size must be an integer of at least 1",
    "X.npy --target-file y.npy --hidden-size x": "argument --hidden-size: invalid int value: 'x'",
    "X.npy --target-file y.npy --patience 3": "patience needs held-out data",
    "X.npy --target-file y.npy --backend abacus": "backend must be one of",
    "X.npy --target-file y.npy --backend numpy --device cuda": "device of backend 'numpy' must be",
    "X.npy --target-file y.npy --horizon 3": "unrecognized arguments: --horizon 3",
}


def one_line(result: tuple[int, str, str], code: int, words: str) -> None:
    found, out, err = result
    assert (found, out) == (code, ""), err
    assert err.count("\n") == 1, err
    assert words in err


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("arguments", TRAIN)
def test_what_cannot_be_learned_is_one_line(run: Run, arguments: str) -> None:
    """Code 2, what is wrong and where, no results folder."""
    words = arguments.replace("COLUMNS", " ".join(COLUMNS)).split()
    result = run("train", "classifier", *words, "--out", "q", "--epochs", 1)
    one_line(result, 2, TRAIN[arguments])
    assert not Path("q").exists()


SERIES = {
    "forecaster series.csv": "--target must name the column of the series, got none",
    "forecaster series.csv --target y --time y": "must name different columns",
    "forecaster series.csv --target y --time z": "series.csv has no column 'z' (--time)",
    "forecaster series.csv --target y --id t": "each series must have at least",
    "forecaster days.csv --target y --time t": "days.csv, line 2, column 't': expected a "
    "number, or a date like 2024-01-31 or 2024-01-31T12:00, got '31.12.2023': give --date-f",
    "forecaster series.csv --target y --time e": "got '0' twice in the series: several need --id",
    "forecaster hole.csv --target y": "hole.csv, line 22, column 'y': expected a number, got an e",
    "forecaster series.csv --target y --window 3 --season 7": "window must be at least the season",
    "forecaster flat.npy --exog e": "--exog names columns of a CSV file",
    "forecaster nan.npz": "X[3, 2, 1] in nan.npz must be a finite number",
    "regressor X.npy --target-file words.npy": "y in words.npy must hold a number for each of the",
    "regressor long.csv --id id --features a --target way": "column 'way': expected a finite numb",
    "characters short.txt": "text must have more characters to learn than the 16 streams",
    "characters X.npy": "X.npy must be a text in UTF-8, got other bytes at 0",
    "characters a.txt --batch-size 3": "unrecognized arguments: --batch-size 3",
    "": "the following arguments are required: KIND",
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("arguments", SERIES)
def test_the_other_kinds_say_it_too(run: Run, arguments: str) -> None:
    """Code 2, what is wrong and where, no results folder."""
    result = run("train", *arguments.split(), *(["--out", "q"] if arguments else []))
    one_line(result, 2, SERIES[arguments])
    assert not Path("q").exists()


@pytest.fixture
def trained(run: Run, files: None) -> None:
    """Train a model of each kind."""
    for words in (
        [
            "classifier",
            "X.npy",
            "--target-file",
            "y.npy",
            "--out",
            "c",
            *SMALL,
            "--bidirectional",
            "false",
        ],
        ["forecaster", "series.csv", "--target", "y", "--exog", "e", "--out", "f", *SMALL],
        ["characters", "a.txt", "--out", "t", *CHARACTERS],
    ):
        assert run("train", *words)[0] == 0


PREDICT = {
    "c": "DATA must be the files to predict for, got none",
    "nothing X.npy": "there is no model nothing: give a results folder or a model file",
    "empty.csv X.npy": "cannot load 'empty.csv': ",
    "simple.safetensors X.npy": "simple.safetensors must hold a model of `rnnx train`, one of",
    "c flat.npy": "X in flat.npy must have 2 or 3 axes",
    "c long.csv --features a,b": "X has 1 features, but RNNClassifier is expecting 2",
    "c X.npy --prompt to": "--prompt is for characters, got the model of a classifier",
    "c X.npy --seed 0": "--seed is for characters",
    "c X.npy --exog e": "--exog is for forecaster",
    "f series.csv --proba": "--proba is for classifier",
    "f series.csv": "expected 1 rows ahead, with an empty target and --exog values",
    "c X.npy --out X.npy": "--out must not be a file that is read",
    "c X.npy --out c/model.safetensors": "--out must not be a file that is read",
    "c X.npy --out missing/p.csv": "No such file or directory: missing/p.csv",
    "c X.npy --backend abacus": "backend must be one of",
    "t": "give either --prompt to let the model write, or files to measure",
    "t a.txt --prompt to": "give either --prompt to let the model write, or files to measure",
    "t a.txt --length 3": "--length, --temperature and --seed go with --prompt",
    "t a.txt --id x": "--id is for classifier and regressor and forecaster",
    "t --prompt xyz": "prompt must consist of the 8 characters of the training text, got",
    "t --prompt to --temperature 0": "temperature must be above 0",
    "t --prompt to --length 0": "count must be an integer of at least 1",
    "t long.csv": "text must consist of the 8 characters of the training text, got 'i' in",
}


def test_what_cannot_be_predicted_is_one_line(run: Run, trained: None) -> None:
    """Code 2, what is wrong, nothing written."""
    rnnx.save("simple.safetensors", rnnx.SimpleRNN(1, 1, 1))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for arguments, words in PREDICT.items():
        one_line(run("predict", *arguments.split()), 2, words)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    one_line(run("info", "nothing"), 2, "there is no model nothing")
    one_line(run("info", "a.txt"), 2, "cannot load 'a.txt': ")
    for text in ("{", "[]", '{"columns": []}', '{"columns": {"run": "x"}}', "[" * 10**5,
                 '{"columns": {"id": 3}}',
                 '{"columns": {"target": "a"}}', '{"files": [1]}'):  # fmt: skip
        Path("c/summary.json").write_text(text)
        for words in (["info", "c"], ["predict", "c", "X.npy"]):
            one_line(run(*words), 2, "c/summary.json must be what `rnnx train` wrote")


EXPORT = {
    "c": "the following arguments are required: --to",
    "c --to fortran": "argument --to: invalid choice: 'fortran'",
    "c --to onnx --int8": "--int8 is for c and python, got --to onnx",
    "c --to onnx --name a": "--name is for c and python, got --to onnx",
    "c --to c --lengths": "--lengths is for onnx, got --to c",
    "c --to c --name class": "name must be a name in C and in Python, such as model, got 'class'",
    "c --to c --out a.txt": "a.txt exists: give --force to replace it, or another --out",
    "c --to c --out c/model.safetensors --force": "--out must not be the model that is read",
    "c --to c --out nowhere/model.h": "No such file or directory: nowhere/model.h",
    "nothing --to c": "there is no model nothing",
    "a.txt --to c": "cannot load 'a.txt': ",
    "simple.safetensors --to c": "expected a layer, an RNNClassifier, an RNNRegressor or a Charac",
    "both.safetensors --to python": "got a bidirectional GRU: a stream has no future",
}


def test_what_cannot_be_exported_is_one_line(run: Run, trained: None) -> None:
    """Code 2, what is wrong, nothing written."""
    rnnx.save("simple.safetensors", rnnx.SimpleRNN(1, 1, 1))
    rnnx.save("both.safetensors", rnnx.GRU(1, 1, bidirectional=True))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for arguments, words in EXPORT.items():
        one_line(run("export", *arguments.split()), 2, words)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("files")
def test_damaged_arrays_are_one_line(run: Run, trained: None) -> None:
    """Any byte of the header may be another, or all after it missing."""
    rng = np.random.default_rng(0)
    for name in ("X.npy", "nan.npz"):
        whole = Path(name).read_bytes()
        for k in range(60):
            damaged = bytearray(whole[: rng.integers(1, len(whole)) if k % 3 == 0 else None])
            at = rng.integers(0, min(len(damaged), 130))
            damaged[at] = rng.integers(0, 256)
            Path(f"damaged{name[-4:]}").write_bytes(damaged)
            code, out, err = run("predict", "c", f"damaged{name[-4:]}")
            assert code == 0 or (code, out, err.count("\n")) == (2, "", 1)


PLACES = {  # what a name leads to, and what is said of it
    "loop": "Too many levels of symbolic links: ",
    "x" * 240: "",
    "x" * 300: "File name too long: ",
}
if Path("/dev/zero").exists():
    PLACES |= dict.fromkeys(("zero", "pipe"), "it is a device or a pipe, expected a file")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ending", [".csv", ".npy", ".npz", ".txt", ".safetensors"])
def test_names_that_lead_elsewhere_are_one_line(
    run: Run, files: None, place: str, ending: str
) -> None:
    """A loop of links, /dev/zero, a pipe, a name too long; one of 240 characters is a name."""
    path = Path(place + ending)
    if place == "loop":
        path.symlink_to(path)
    elif place == "zero":
        path.symlink_to("/dev/zero")
    elif place == "pipe":
        os.mkfifo(path)
    elif len(place) == 240:
        path.write_bytes(b"\xff")
    words = {
        ".txt": ["train", "characters", path, "--out", "q"],
        ".csv": ["train", "forecaster", path, "--target", "y", "--out", "q"],
        ".safetensors": ["info", path],
    }.get(ending, ["train", "regressor", path, "--target-file", "y.npy", "--out", "q"])
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert PLACES[place] in err or (place, ending) == ("loop", ".safetensors")
    assert str(path) in err
    assert not Path("q").exists()


def test_a_summary_from_anybody_is_one_line(run: Run, trained: None) -> None:
    """A pipe, a device, more than a summary can have."""
    summary = Path("c/summary.json")
    for make in (
        lambda: summary.write_bytes(b" " * (5 << 20)),
        lambda: summary.write_bytes(b'{"a":[' + b"[]," * 300_000 + b"[]]}"),
        lambda: os.mkfifo(summary),
        lambda: summary.symlink_to("/dev/zero"),
    ):
        summary.unlink()
        make()
        one_line(run("info", "c"), 2, "c/summary.json must be what `rnnx train` wrote")


@pytest.mark.usefixtures("files")
def test_what_a_killed_command_left_is_removed(run: Run) -> None:
    """Its folder and its part files, by the next command; not those of one that is alive."""
    train = ["train", "classifier", "X.npy", "--target-file", "y.npy", *SMALL, "--out", "r"]
    Path("r/.rnnx-part").mkdir(parents=True)
    Path("r/.rnnx-part/model.safetensors").write_bytes(b"half")
    Path("r/.rnnx-lock").write_text("process 1 on a machine")
    assert run(*train)[0] == 0
    assert not [path for path in Path("r").iterdir() if path.name.startswith(".")]
    old, alive = (Path(f"p.csv.{digit * 16}.part") for digit in "0a")
    old.touch()
    with open(alive, "x") as file, io.locked(Path("r"), ".rnnx-lock"):
        assert lock.hold(file.fileno())
        assert run("predict", "r", "X.npy", "--out", "p.csv")[0] == 0
        assert (old.exists(), alive.exists()) == (False, True)
        one_line(run(*train, "--force"), 2, f"'r' is in use by process {os.getpid()} on ")
    assert run(*train, "--force")[0] == 0


@pytest.mark.usefixtures("files")
def test_a_killed_write_is_resumed(run: Run) -> None:
    """The checkpoint goes last: with one there, a model is not the end of the training."""
    train = ["train", "characters", "a.txt", *CHARACTERS, "--out", "q"]
    assert run(*train)[0] == 0
    whole = Path("q/model.safetensors").read_bytes()
    one_line(run(*train, "--resume"), 2, "q already holds a model")
    Path("q/summary.json").unlink()
    model = CharacterModel(12, streams=4, epochs=3, seed=0)
    model.fit(Path("a.txt").read_text(), checkpoint_dir="q")
    one_line(run(*train), 2, "q holds an interrupted training")
    assert run(*train, "--resume")[0] == 0
    assert Path("q/model.safetensors").read_bytes() == whole
    assert sorted(path.name for path in Path("q").iterdir()) == [
        "history.csv", "learning_curves.png", "model.safetensors", "summary.json",
    ]  # fmt: skip


@pytest.mark.usefixtures("files")
def test_unknown_labels_are_not_compared(run: Run) -> None:
    """A target that is no class is no error where only predictions are asked for."""
    write("ints.csv", ["a", "b", "y"], [[k, -k, k % 2] for k in range(8)])
    assert run("train", "classifier", "ints.csv", "--target", "y", "--out", "r", *SMALL)[0] == 0
    write("texts.csv", ["a", "b", "y"], [[1, 2, "x"], [1, 2, "1"]])
    code, out, err = run("predict", "r", "texts.csv")
    assert (code, len(out.splitlines())) == (0, 3)
    assert err == "not scored: some labels of the file are not integers, as in training\n"
    write("open.csv", ["a", "b", "y"], [[1, 2, "1"], [1, 2, ""]])
    assert run("predict", "r", "open.csv")[2] == ""


def full(*arguments: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("files")
def test_a_full_disk_is_code_1_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a new folder nor a changed old one."""
    train = ["train", "classifier", "X.npy", "--target-file", "y.npy", *SMALL, "--out"]
    assert run(*train, "old")[0] == 0
    before = {path: path.read_bytes() for path in Path("old").iterdir()}
    for module, name in ((io.format, "replacing"), (results.json, "dumps")):  # first, last file
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            one_line(run(*train, "new"), 1, "rnnx: error: No space left on device")
            one_line(run(*train, "old", "--force"), 1, "rnnx: error: No space left on device")
        assert not Path("new").exists()
        assert {path: path.read_bytes() for path in Path("old").iterdir()} == before


@pytest.mark.usefixtures("files")
def test_a_diverged_training_is_code_1(run: Run) -> None:
    """One line that names the step; nothing is written."""
    result = run(
        "train", "characters", "a.txt", "--out", "q", *CHARACTERS, "--learning-rate", 1e38,
        "--clip-norm", "none",
    )  # fmt: skip
    one_line(result, 1, "training diverged at step")
    assert not Path("q/model.safetensors").exists()


@pytest.mark.usefixtures("files")
def test_without_matplotlib_there_are_no_pictures(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One note; all else is written."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    code, out, err = run("train", "forecaster", "series.csv", "--target", "y", "--out", "q", *SMALL)
    assert code == 0
    assert err == "rnnx: note: no plots without Matplotlib: pip install 'rnnx[plots]'\n"
    assert sorted(path.name for path in Path("q").iterdir()) == [
        "history.csv", "model.safetensors", "summary.json",
    ]  # fmt: skip
    assert "png" not in out


def test_without_scikit_learn_texts_are_still_learned(here: Path) -> None:
    """The kinds that need it say what to install; characters do not."""
    Path("a.txt").write_text(TEXT)
    start = "import sys; sys.modules['sklearn'] = None; from rnnx.cli import main; "
    known = {2: ["classifier", "a.csv", "--target", "y"], 0: ["characters", "a.txt"]}
    for code, words in known.items():
        arguments = ["train", *words, "--out", "q", "--epochs", "1", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", f"{start}sys.exit(main({arguments!r}))"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        if code:
            assert done.stderr == (
                "rnnx: error: rnnx.estimators needs scikit-learn: pip install 'rnnx[sklearn]'\n"
            )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_stdout_that_is_full_is_code_1(trained: None, unbuffered: str) -> None:
    """Output that is lost is an error, whether Python writes it at once or at exit."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    for words in (["predict", "c", "X.npy"], ["info", "c"], ["backends"], ["--help"]):
        with open("/dev/full", "w") as sink:
            done = subprocess.run(
                [sys.executable, "-m", "rnnx", *words], stdout=sink, stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, text=True, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == "rnnx: error: No space left on device\n"


def test_warnings_are_notes(run: Run, files: None) -> None:
    """One line each, and no code of scikit-learn beside it."""
    write("unique.csv", ["a", "y"], [[k, k] for k in range(30)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [("default", None, Warning, None, 0)])
        code, _, err = run(
            "train", "classifier", "unique.csv", "--target", "y", "--out", "q", *SMALL
        )
    assert code == 0
    assert err.startswith("rnnx: note: The number of unique classes is greater than 50%")
    assert err.count("\n") == 1
