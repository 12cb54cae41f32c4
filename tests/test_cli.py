"""The command: what it trains and predicts is what the Python API does, from files, whole."""

from __future__ import annotations

import csv
import gzip
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.datasets import load_iris

import rnnx
from rnnx import interop
from rnnx.characters import CharacterModel
from rnnx.cli import main, options
from rnnx.cli.commands import parser
from rnnx.cli.tasks import TASKS
from rnnx.core import native
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor

SMALL = ["--hidden-size", "6", "--epochs", "3", "--seed", "0", "--quiet"]
OPTIONS: dict[str, Any] = {"hidden_size": 6, "epochs": 3, "random_state": 0}
TEXT = "to be or not to be, " * 40
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command in this process: its exit code, stdout, stderr."""

    def command(*arguments: Any) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, columns: Sequence[str], rows: Any, delimiter: str = ",") -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(rows)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def long_rows(n: int = 12, *, shuffled: bool = False) -> tuple[list[np.ndarray], list[list[Any]]]:
    """Return ragged sequences, and the rows of a file: id, t, a, b, the sum, up or down a step."""
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((rng.integers(3, 7), 2)) for _ in range(n)]
    rows = [
        [f"s{i}", t, *x.tolist(), float(row.sum()), "up" if x[0] > 0 else "down"]
        for i, row in enumerate(X)
        for t, x in enumerate(row)
    ]
    if shuffled:  # but for where each sequence begins
        rows = [row for row in rows if row[1] == 0] + [
            rows[k] for k in rng.permutation(len(rows)) if rows[k][1]
        ]
    return X, rows


LONG = ["id", "t", "a", "b", "sum", "way"]


def test_a_real_table_is_learned_and_predicted_bit_for_bit(run: Run) -> None:
    """Iris, a flower's four numbers as four steps: classes and probabilities as of Python."""
    data = load_iris()
    names = [str(data.target_names[k]) for k in data.target]
    rows = [[*x, y] for x, y in zip(data.data, names, strict=True)]
    write("iris.csv", ["a", "b", "c", "d", "flower"], rows)
    code, out, err = run(
        "train", "classifier", "iris.csv", "--target", "flower", "--out", "results",
        "--hidden-size", 8, "--epochs", 20, "--seed", 0, "--validation-fraction", 0.2, "--quiet",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "150 sequences of 4 steps, 1 feature; 3 classes" in out
    assert "held out: loss" in out
    expected = RNNClassifier(8, epochs=20, random_state=0, validation_fraction=0.2)
    expected.fit(data.data, names)
    code, out, err = run("predict", "results", "iris.csv", "--proba")
    assert code == 0
    assert err == f"accuracy {expected.score(data.data, names):.4g} of 150 sequences\n"
    found = table(out)
    assert [row["row"] for row in found] == [str(i) for i in range(150)]
    assert [row["prediction"] for row in found] == expected.predict(data.data).tolist()
    columns = [f"probability_{name}" for name in expected.classes_]
    p = [[float(row[name]) for name in columns] for row in found]
    np.testing.assert_array_equal(p, expected.predict_proba(data.data))
    assert expected.score(data.data, names) > 0.8


@pytest.mark.parametrize("shuffled", [False, True])
def test_ragged_sequences_of_a_long_table(run: Run, shuffled: bool) -> None:
    """Grouped by id, sorted by time; new files need no target."""
    X, rows = long_rows(shuffled=shuffled)
    write("long.csv", LONG, rows)
    arguments = ["long.csv", "--id", "id", "--time", "t", "--features", "a,b", "--target", "sum"]
    assert run("train", "regressor", *arguments, "--out", "r", *SMALL)[0] == 0
    expected = RNNRegressor(**OPTIONS).fit(X, [row.sum() for row in X])
    write("new.csv", LONG[:4], [row[:4] for row in rows])
    code, out, err = run("predict", "r", "new.csv")
    assert (code, err) == (0, "")
    found = table(out)
    assert [row["id"] for row in found] == [f"s{i}" for i in range(12)]
    np.testing.assert_array_equal([float(row["prediction"]) for row in found], expected.predict(X))
    score = expected.score(X, [row.sum() for row in X])
    assert run("predict", "r", "long.csv")[2] == f"R² {score:.4g} of 12 sequences\n"


def test_a_target_of_each_step(run: Run) -> None:
    """Labels and probabilities below each other, with id and time."""
    X, rows = long_rows()
    write("long.csv", LONG, rows)
    columns = ["--id", "id", "--time", "t", "--features", "a,b", "--target", "way", "--per-step"]
    assert run("train", "classifier", "long.csv", *columns, "--out", "r", *SMALL)[0] == 0
    y = [np.where(row[:, 0] > 0, "up", "down") for row in X]
    expected = RNNClassifier(per_step=True, **OPTIONS).fit(X, y)
    found = table(run("predict", "r", "long.csv", "--proba")[1])
    assert [(row["id"], row["t"]) for row in found] == [(row[0], str(row[1])) for row in rows]
    assert [row["prediction"] for row in found] == np.concatenate(expected.predict(X)).tolist()
    np.testing.assert_array_equal(
        [float(row["probability_up"]) for row in found],
        np.concatenate(expected.predict_proba(X))[:, 1],
    )


def european(rows: list[list[Any]], names: Sequence[str]) -> bytes:
    """Return rows (id, day, numbers) as a file with decimal commas, day-first dates, in latin-1."""
    start, lines = np.datetime64("2023-12-30"), [";".join(names)]
    for key, t, *numbers in rows:
        day = (start + t).astype(object).strftime("%d.%m.%Y")
        lines.append(";".join([key, day, *(str(x).replace(".", ",") for x in numbers)]))
    return "\r\n".join([*lines, ""]).encode("latin-1")


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_other_countries(run: Run, packed: bool) -> None:
    """Decimal commas, day-first dates, latin-1, gzip: the plain table's model; predict knows."""
    X, rows = long_rows(shuffled=True)
    names, name = ["id", "tag", "a", "größe", "summe"], "long.csv" + ".gz" * packed
    raw = european([row[:5] for row in rows], names)
    Path(name).write_bytes(gzip.compress(raw) if packed else raw)
    form = [
        "--delimiter",
        ";",
        "--decimal",
        ",",
        "--date-format",
        "%d.%m.%Y",
        "--encoding",
        "latin-1",
    ]
    columns = ["--id", "id", "--time", "tag", "--features", "a,größe", "--target", "summe"]
    assert run("train", "regressor", name, *form, *columns, "--out", "r", *SMALL)[0] == 0
    expected = RNNRegressor(**OPTIONS).fit(X, [row.sum() for row in X])
    code, out, err = run("predict", "r", name)
    assert (code, err.count("\n")) == (0, 1)
    predictions = [float(row["prediction"]) for row in table(out)]
    np.testing.assert_array_equal(predictions, expected.predict(X))
    known = json.loads(Path("r/summary.json").read_text())["columns"]
    assert (known["decimal"], known["date_format"], known["encoding"]) == (",", form[5], "latin-1")
    write("plain.csv", ["id", "tag", "a", "größe"], [row[:4] for row in rows])
    plain = ["--delimiter", ",", "--decimal", ".", "--encoding", "utf-8", "--time", "tag"]
    code, _, err = run("predict", "r", "plain.csv", *plain)
    assert (code, "column 'tag': expected a date of the form %d.%m.%Y, got '0'" in err) == (2, True)


def test_dates_with_zones_are_in_order(run: Run) -> None:
    """By their time in UTC; a byte-order mark is no part of a name."""
    stamps = ["01.02.2024 00:30 +0200", "31.01.2024 23:00 +0000", "31.01.2024 20:00 -0200"]
    lines = ["when,y", *(f"{stamp},{i}" for i, stamp in enumerate(stamps)), ""]
    Path("a.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    chosen = parser().parse_args(
        ["train", "forecaster", "a.csv", "--target", "y", "--time", "when", "--out", "r",
         "--date-format", "%d.%m.%Y %H:%M %z", "--encoding", "UTF8"]
    )  # fmt: skip
    task = next(task for task in TASKS if task.name == "forecaster")
    data = task.read(chosen)
    assert data.X[0][:, 0].tolist() == [2, 0, 1]
    assert data.times[0].astype("M8[m]").astype(str).tolist() == [
        "2024-01-31T22:00", "2024-01-31T22:30", "2024-01-31T23:00",
    ]  # fmt: skip


def test_several_targets_and_files_and_a_delimiter(run: Run) -> None:
    """One column of predictions each; files of the same columns are one table."""
    X, _ = long_rows()
    tables = [[[i, *x.ravel()[:4], x.sum(), -2 * x.sum()] for i, x in enumerate(X[k::2])]
              for k in range(2)]  # fmt: skip
    for k in range(2):
        write(f"{k}.csv", ["n", "p", "q", "r", "s", "u", "v"], tables[k], delimiter="\t")
    arguments = ["--target", "u,v", "--features", "q,p,s", "--delimiter", "tab"]
    assert run("train", "regressor", "0.csv", "1.csv", *arguments, "--out", "r", *SMALL)[0] == 0
    values = np.asarray(tables[0] + tables[1])
    expected = RNNRegressor(**OPTIONS).fit(values[:, [2, 1, 4]], values[:, 5:])
    found = table(run("predict", "r", "0.csv", "1.csv")[1])
    np.testing.assert_array_equal(
        [[float(row["prediction_u"]), float(row["prediction_v"])] for row in found],
        expected.predict(values[:, [2, 1, 4]]),
    )


@pytest.mark.parametrize("axes", [2, 3])
def test_arrays_in_npy_files(run: Run, axes: int) -> None:
    """X with its y in another file; labels are integers or texts."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 5, 2)[:axes]), rng.integers(0, 3, size=20)
    np.save("X.npy", X)
    np.save("y.npy", y)
    arguments = ["X.npy", "--target-file", "y.npy"]
    assert run("train", "classifier", *arguments, "--out", "r", *SMALL)[0] == 0
    expected = RNNClassifier(**OPTIONS).fit(X, y)
    _, out, err = run("predict", "r", *arguments)
    assert [int(row["prediction"]) for row in table(out)] == expected.predict(X).tolist()
    assert err == f"accuracy {expected.score(X, y):.4g} of 20 sequences\n"


@pytest.mark.parametrize("per_step", [False, True])
def test_padded_arrays_in_an_npz_file(run: Run, per_step: bool) -> None:
    """Lengths cut the padding, NaN and all, off X and off targets a step."""
    rng = np.random.default_rng(0)
    X, lengths = rng.standard_normal((10, 6, 2)), rng.integers(2, 7, size=10)
    y = np.cumsum(X[:, :, 0], axis=1) if per_step else X[:, 0, 0]
    for row, values, n in zip(X, y, lengths, strict=True):
        row[n:] = np.nan
        if per_step:
            values[n:] = np.nan
    np.savez("data.npz", X=X, y=y, lengths=lengths)
    flag = ["--per-step"] * per_step
    assert run("train", "regressor", "data.npz", "--out", "r", *SMALL, *flag)[0] == 0
    rows = [row[:n] for row, n in zip(X, lengths, strict=True)]
    targets = [row[:n] for row, n in zip(y, lengths, strict=True)] if per_step else y
    expected = RNNRegressor(per_step=per_step, **OPTIONS).fit(rows, targets).predict(rows)
    found = [float(row["prediction"]) for row in table(run("predict", "r", "data.npz")[1])]
    np.testing.assert_array_equal(found, np.concatenate(expected) if per_step else expected)


@pytest.mark.parametrize("form", ["wide", "long", "npy"])
def test_missing_values_have_indicators(run: Run, form: str) -> None:
    """Empty cells, and NaN in an array, are those of Python; without the option, an error."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 5, 1)), rng.standard_normal(12)
    X[3, 2], X[7, 0] = np.nan, np.nan
    files, cells = ["data.csv", "--target", "y"], np.where(np.isnan(X), "", X.astype(str))[..., 0]
    if form == "wide":
        write("data.csv", [*"abcde", "y"], [[*row, v] for row, v in zip(cells, y, strict=True)])
    elif form == "long":
        rows = [(i, x, y[i]) for i, row in enumerate(cells) for x in row]
        write("data.csv", ["id", "x", "y"], rows)
        files += ["--id", "id"]
    else:
        np.save("X.npy", X)
        np.save("y.npy", y)
        files = ["X.npy", "--target-file", "y.npy"]
    arguments = ["train", "regressor", *files, "--out", "r", *SMALL]
    assert run(*arguments)[0] == 2
    assert run(*arguments, "--missing", "indicator")[0] == 0
    given = {"wide": X[..., 0], "long": list(X), "npy": X}[form]
    expected = RNNRegressor(missing="indicator", **OPTIONS).fit(given, y).predict(given)
    found = table(run("predict", "r", files[0])[1])
    np.testing.assert_array_equal([float(row["prediction"]) for row in found], expected)


def months(n: int) -> list[str]:
    return [str(np.datetime64("2020-01") + k) for k in range(n)]


def test_a_series_is_forecast_bit_for_bit(run: Run) -> None:
    """One series: the forecast of Python, with its steps; the errors of the last ones are told."""
    y = 50 + np.arange(60) + 10 * np.sin(np.arange(60) * np.pi / 6)
    write("air.csv", ["month", "people"], zip(months(60), y, strict=True))
    arguments = ["--target", "people", "--time", "month", "--horizon", 4, "--season", 12]
    code, out, _ = run(
        "train", "forecaster", "air.csv", *arguments, "--validation-fraction", 0.2, "--out", "r",
        *SMALL,
    )  # fmt: skip
    assert code == 0
    expected = RNNForecaster(4, season=12, validation_fraction=0.2, **OPTIONS).fit(y)
    error = np.mean(np.abs(expected.predict(y[:-4]) - y[-4:]))
    naive = np.mean(np.abs(y[-16:-12] - y[-4:]))
    assert f"last 4 steps of people (held out): mean absolute error {error:.4g}" in out
    assert f"seasonal naive, 12 steps: {naive:.4g}" in out
    found = table(run("predict", "r", "air.csv")[1])
    assert [row["step"] for row in found] == ["1", "2", "3", "4"]
    np.testing.assert_array_equal([float(row["prediction"]) for row in found], expected.predict(y))
    assert Path("r/forecast.png").read_bytes().startswith(b"\x89PNG")
    found = table(run("predict", "r", "air.csv", "--quantiles", "0.1,0.9")[1])
    np.testing.assert_array_equal(
        [[float(row[f"prediction_{q}"]) for row in found] for q in (0.1, 0.9)],
        expected.predict(y, quantiles=(0.1, 0.9)),
    )
    assert "expected numbers separated by commas" in run("predict", "r", "--quantiles", "a")[2]
    assert "needs 499 forecasts" in run("predict", "r", "air.csv", "--quantiles", "0.001")[2]
    np.save("y.npy", y)
    other = table(run("predict", "r", "y.npy")[1])
    assert [row["prediction"] for row in other] == [row["prediction"] for row in found]


def test_an_option_that_is_true_can_be_false(run: Run) -> None:
    """The forecast is that of Python without a linear path."""
    y = np.sin(np.arange(60) / 2)
    np.save("y.npy", y)
    arguments = ["y.npy", "--horizon", 3, "--linear", "false", "--out", "r", *SMALL]
    assert run("train", "forecaster", *arguments)[0] == 0
    expected = RNNForecaster(3, linear=False, **OPTIONS).fit(y).predict(y)
    found = [float(row["prediction"]) for row in table(run("predict", "r", "y.npy")[1])]
    np.testing.assert_array_equal(found, expected)


def test_several_series_with_what_is_known_ahead(run: Run) -> None:
    """Rows at the end without a target are the future: its exogenous values, its times."""
    rng = np.random.default_rng(0)
    exog = rng.standard_normal((2, 43, 1))
    y = 10 + exog[:, :40, 0] + np.arange(40)
    rows = [[f"shop {i}", day, "" if t >= 40 else y[i, t], exog[i, t, 0]]
            for t, day in enumerate(months(43)) for i in range(2)]  # fmt: skip
    write("shops.csv", ["shop", "day", "sales", "holiday"], rows)
    columns = ["--id", "shop", "--time", "day", "--target", "sales", "--exog", "holiday"]
    arguments = ["shops.csv", *columns, "--horizon", 3, "--out", "r", *SMALL]
    assert run("train", "forecaster", *arguments)[0] == 0
    X = [row[:, None] for row in y]
    expected = RNNForecaster(3, **OPTIONS).fit(X, exog=[row[:40] for row in exog])
    found = table(run("predict", "r", "shops.csv")[1])
    assert [(row["shop"], row["day"]) for row in found] == [
        (f"shop {i}", day) for i in range(2) for day in months(43)[-3:]
    ]
    np.testing.assert_array_equal(
        [float(row["prediction"]) for row in found],
        expected.predict(X, exog=list(exog)).ravel(),
    )
    np.savez("shops.npz", X=y, exog=exog)
    arrays = table(run("predict", "r", "shops.npz")[1])
    assert [row["prediction"] for row in arrays] == [row["prediction"] for row in found]
    assert [row["series"] for row in arrays] == ["0"] * 3 + ["1"] * 3


def test_several_values_of_a_step(run: Run) -> None:
    """Two columns as one model's series: a column of predictions each."""
    y = np.stack([np.sin(np.arange(50) / 3), np.cos(np.arange(50) / 3)], axis=1)
    write("two.csv", ["u", "v", "note"], [[*row, "x"] for row in y])
    arguments = ["two.csv", "--target", "u,v", "--horizon", 2]
    assert run("train", "forecaster", *arguments, "--out", "r", *SMALL)[0] == 0
    found = table(run("predict", "r", "two.csv")[1])
    expected = RNNForecaster(2, **OPTIONS).fit([y]).predict([y])[0]
    np.testing.assert_array_equal(
        [[float(row["prediction_u"]), float(row["prediction_v"])] for row in found], expected
    )


def test_the_index_of_a_data_frame_is_no_feature(run: Run) -> None:
    """A column without a name can be named by its place, and is else not read."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, 3))
    write("frame.csv", ["", "a", "b", "y"], [[i, *row] for i, row in enumerate(X)])
    train = ["train", "regressor", "frame.csv", "--target", "y", *SMALL, "--out"]
    assert run(*train, "r")[0] == 0
    expected = RNNRegressor(**OPTIONS).fit(X[:, :2], X[:, 2]).predict(X[:, :2])
    found = [float(row["prediction"]) for row in table(run("predict", "r", "frame.csv")[1])]
    np.testing.assert_array_equal(found, expected)
    assert run(*train, "s", "--id", "column 1", "--features", "a,b")[0] == 0
    assert list(table(run("predict", "s", "frame.csv")[1])[0]) == ["column 1", "prediction"]


CHARACTERS = ["--hidden-size", 12, "--streams", 4, "--epochs", 3, "--seed", 0, "--quiet"]


def test_a_text_is_learned_measured_and_continued(run: Run, here: Path) -> None:
    """Bits and text as of Python; what was written can go to a file."""
    Path("a.txt").write_text(TEXT)
    code, out, err = run("train", "characters", "a.txt", "--out", "book", *CHARACTERS)
    assert (code, err) == (0, "")
    assert "800 characters, 8 different" in out
    assert sorted(path.name for path in Path("book").iterdir()) == [
        "history.csv", "learning_curves.png", "model.safetensors", "summary.json",
    ]  # fmt: skip
    expected = CharacterModel(12, streams=4, epochs=3, seed=0).fit(TEXT)
    (row,) = table(run("predict", "book", "a.txt")[1])
    assert float(row["bits_per_character"]) == expected.bits_per_character(TEXT)
    arguments = ["--prompt", "to ", "--length", 30, "--temperature", 0.5, "--seed", 2]
    text = "to " + expected.sample("to ", 30, temperature=0.5, seed=2) + "\n"
    assert run("predict", "book", *arguments)[1] == text
    assert run("predict", "book", *arguments, "--out", "written.txt") == (0, "", "")
    assert Path("written.txt").read_text() == text


def test_an_interrupted_text_is_resumed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, then --resume: the model of an uninterrupted run; never by accident."""
    Path("a.txt").write_text(TEXT)
    arguments = ["train", "characters", "a.txt", *CHARACTERS, "--out"]
    assert run(*arguments, "whole")[0] == 0
    fit = CharacterModel.fit

    def interrupt(run: Any) -> None:
        if run.epoch == 2:
            raise KeyboardInterrupt

    def interrupted(self: Any, text: str, **options: Any) -> Any:
        return fit(self, text, callbacks=[interrupt], **options)

    with monkeypatch.context() as patch:
        patch.setattr(CharacterModel, "fit", interrupted)
        code, _, err = run(*arguments, "book")
    assert (code, err) == (
        130,
        "rnnx: interrupted: continue with the same command and --resume\n",
    )
    code, _, err = run(*arguments, "book")
    assert code == 2
    assert "give --resume to continue it, or --force to start over" in err
    assert run(*arguments, "book", "--resume")[0] == 0
    models = [run("predict", folder, "a.txt")[1] for folder in ("whole", "book")]
    assert models[0] == models[1]
    assert not Path("book/checkpoint.safetensors").exists()


def test_another_backend_predicts_the_same(run: Run) -> None:
    """Trained on NumPy, used elsewhere."""
    np.save("X.npy", np.random.default_rng(0).standard_normal((20, 5)))
    np.save("y.npy", np.arange(20.0))
    arguments = ["X.npy", "--target-file", "y.npy"]
    assert run("train", "regressor", *arguments, "--out", "r", *SMALL)[0] == 0
    place = ["--backend", "array_api_strict", "--device", "device1", "--dtype", "float64"]
    found = [table(run("predict", "r", "X.npy", *more)[1]) for more in ([], place)]
    values = [[float(row["prediction"]) for row in rows] for rows in found]
    assert values[0] != values[1]
    np.testing.assert_allclose(*values, rtol=1e-3)


def test_a_model_file_alone_is_enough(run: Run) -> None:
    """Without the folder the columns are named again."""
    X, rows = long_rows()
    write("long.csv", LONG, rows)
    columns = ["--id", "id", "--features", "b,a"]
    assert run(
        "train", "regressor", "long.csv", *columns, "--target", "sum", "--out", "r", *SMALL
    )[0] == 0  # fmt: skip
    expected = run("predict", "r", "long.csv")[1]
    os.rename("r/model.safetensors", "alone.safetensors")
    assert run("predict", "alone.safetensors", "--out", "p.csv", "long.csv", *columns) == (
        0,
        "",
        "",
    )
    assert Path("p.csv").read_text() == expected
    assert len(table(expected)) == len(X)


def test_results_are_never_replaced_unasked(run: Run) -> None:
    """A second training in the folder needs --force, which takes away what is not of it."""
    Path("a.txt").write_text(TEXT)
    y = np.sin(np.arange(50))
    np.save("y.npy", y)
    series = ["train", "forecaster", "y.npy", "--out", "r", *SMALL]
    assert run(*series)[0] == 0
    before = {path.name: path.read_bytes() for path in Path("r").iterdir()}
    assert sorted(before) == [
        "forecast.png", "history.csv", "learning_curves.png", "model.safetensors", "summary.json",
    ]  # fmt: skip
    code, _, err = run(*series)
    assert code == 2
    assert "r already holds a model: give --force" in err
    assert {path.name: path.read_bytes() for path in Path("r").iterdir()} == before
    assert run("train", "characters", "a.txt", "--out", "r", "--force", *CHARACTERS)[0] == 0
    assert not Path("r/forecast.png").exists()
    code, _, err = run(*series, "--force", "--resume")
    assert code == 2
    code, _, err = run(
        "train", "characters", "a.txt", "--out", "r", "--force", "--resume", *CHARACTERS
    )
    assert "--force starts over, --resume continues" in err


def test_the_summary_and_info_say_what_it_is(run: Run) -> None:
    """Options, shapes, figures, versions; of a folder, of a file, of another model."""
    X, rows = long_rows()
    write("long.csv", LONG, rows)
    columns = ["--id", "id", "--features", "a,b", "--target", "way", "--per-step"]
    code, told, _ = run(
        "train", "classifier", "long.csv", *columns, "--out", "r", *SMALL, "--layers", 2,
        "--validation-fraction", 0.25,
    )  # fmt: skip
    assert code == 0
    summary = json.loads(Path("r/summary.json").read_text())
    (said,) = [line for line in told.splitlines() if "epoch " in line]
    assert summary["chosen"] | {"batch_size": 16, "frame": 1} == summary["chosen"]
    assert "chosen by the data: n_estimators 5" in told
    figures = summary["figures"]
    for words in ("first of 5 networks: epoch ",
                  f"training accuracy {figures['accuracy']:.4g}; held out: loss ",
                  f"training loss {figures['loss']:.4g}, "):  # fmt: skip
        assert words in said
    assert summary["options"]["num_layers"] == 2
    assert summary["data"]["sequences"] == 12
    assert summary["data"]["steps"] == [min(map(len, X)), max(map(len, X))]
    assert summary["columns"]["features"] == ["a", "b"]
    assert 0 <= summary["figures"]["validation_accuracy"] <= 1
    assert summary["versions"]["numpy"] == np.__version__
    code, out, _ = run("info", "r")
    assert code == 0
    model = RNNClassifier.load("r/model.safetensors").model_
    count = sum(w.size for w in model.params.values())
    for words in (f"{count:,} in {len(model.params)} arrays, float32", "classes     [down up]",
                  "RNNClassifier", "num_layers 2", "validation_accuracy", "long.csv"):  # fmt: skip
        assert words in out
    os.rename("r/model.safetensors", "alone.safetensors")
    alone = run("info", "alone.safetensors")[1]
    assert "RNNClassifier" in alone
    assert "validation_accuracy" not in alone
    rnnx.save("simple.safetensors", rnnx.SimpleRNN(3, 4, 2, seed=0))
    runs = rnnx.RNN(1, 1).cores((9, 4, 1))
    core = next(name for name, words in runs.items() if words == "runs")
    lines = run("info", "alone.safetensors", "--shape", "9,4")[1].splitlines()
    assert any(f"{core} core, for T = 9, B = 4 on numpy" in line for line in lines)
    assert "must be two sizes T,B of at least 1" in run(
        "info", "alone.safetensors", "--shape", "9"
    )[2]  # fmt: skip
    out = run("info", "simple.safetensors", "--shape", "9,4")[1]
    assert "SimpleRNN" in out
    assert "42 in 5 arrays, float32" in out
    assert f"on NumPy    {native.installed()}" in out


@pytest.mark.parametrize(("form", "ending"), [("c", ".h"), ("python", ".py")])
def test_a_model_is_exported_as_code(run: Run, here: Path, form: str, ending: str) -> None:
    """What the Python API writes; beside it with --int8 what that changes; never over a file."""
    _, rows = long_rows()
    write("long.csv", LONG, rows)
    words = ["long.csv", "--id", "id", "--time", "t", "--features", "a,b", "--target", "way"]
    assert run("train", "classifier", *words, "--per-step", "--out", "r", *SMALL)[0] == 0
    export = getattr(interop, f"to_{form}")
    model = rnnx.load("r/model.safetensors")
    Path("e").mkdir()
    export(model, f"e/model{ending}")
    out, expected = Path(f"model{ending}"), Path(f"e/model{ending}")
    size = len(expected.read_bytes())
    assert run("export", "r", "--to", form) == (0, f"{out}: {size:,} bytes\n", "")
    assert out.read_bytes() == expected.read_bytes()
    code, printed, err = run("export", "r", "--to", form, "--int8")
    assert (code, printed) == (2, "")
    assert err == f"rnnx: error: {out} exists: give --force to replace it, or another --out\n"
    assert out.read_bytes() == expected.read_bytes()
    loss = export(model, expected, int8=True)
    code, printed, err = run("export", "r", "--to", form, "--int8", "--force")
    assert (code, err) == (0, "")
    assert printed.splitlines()[1:] == [str(loss)]
    assert "the likeliest is the same in" in printed
    assert out.read_bytes() == expected.read_bytes()
    way = Path(f"e/way{ending}")
    export(model, way, name="way")
    assert run("export", "r/model.safetensors", "--to", form, "--name", "way")[0] == 0
    assert Path(f"way{ending}").read_bytes() == way.read_bytes()


def test_a_model_is_exported_as_onnx(run: Run) -> None:
    """The file of the Python API."""
    pytest.importorskip("onnx", reason="needs onnx")
    model = rnnx.Sequential(rnnx.GRU(2, 3, seed=0), rnnx.Linear(3, 2, seed=1))
    rnnx.save("model.safetensors", model)
    interop.to_onnx(model, "expected", lengths=True)
    assert run("export", "model.safetensors", "--to", "onnx", "--lengths")[0] == 0
    assert Path("model.onnx").read_bytes() == Path("expected").read_bytes()


def test_info_and_help_import_no_more_than_they_need(here: Path) -> None:
    """NumPy alone reads a model; help waits for nothing; estimators come with a training."""
    CharacterModel(4, streams=2, epochs=1, seed=0).fit(TEXT).save("model.safetensors")
    code = (
        "import sys; from rnnx.cli import main\n"
        "for words in (['info', 'model.safetensors'], ['--help'], ['train', '--help']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "print({'sklearn', 'torch', 'jax', 'matplotlib', 'numpy.random', 'rnnx.train',"
        " 'rnnx.estimators'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_command_in_a_process_of_its_own(here: Path) -> None:
    """`python -m rnnx`: trained, predicted, piped into a reader that stops early."""
    rng = np.random.default_rng(0)
    write("wide.csv", ["a", "b", "y"], rng.standard_normal((5000, 3)).tolist())
    rnnx = [sys.executable, "-W", "error", "-m", "rnnx"]
    train = [*rnnx, "train", "regressor", "wide.csv", "--target", "y", "--out", "r", *SMALL]
    done = subprocess.run(train, capture_output=True, text=True, check=True)
    assert "5000 sequences of 2 steps" in done.stdout
    assert done.stderr == ""
    predict = " ".join([*rnnx, "predict", "r", "wide.csv"])
    done = subprocess.run(
        ["sh", "-c", f"{predict} | head -n 1"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "row,prediction\n"
    assert "Traceback" not in done.stderr


def test_a_terminal_shows_a_bar(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless --quiet."""
    pytest.importorskip("tqdm", reason="needs tqdm")
    np.save("X.npy", np.zeros((6, 4)))
    np.save("y.npy", np.arange(6.0))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train = ["train", "regressor", "X.npy", "--target-file", "y.npy", "--epochs", 2, "--out"]
    assert "seq/s" in run(*train, "a")[2]
    assert run(*train, "b", "--quiet")[2] == ""


@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor, RNNForecaster, CharacterModel])
def test_every_parameter_is_an_option(cls: Any) -> None:
    """With its default, and with help; nothing else is."""
    name = {"CharacterModel": "characters"}.get(cls.__name__, cls.__name__[3:].lower())
    chosen = parser().parse_args(["train", name, "data", "--out", "r"])
    values = options.values(cls, chosen)
    defaults = {k: p.default for k, p in inspect.signature(cls).parameters.items()}
    assert values == {k: v for k, v in defaults.items() if k not in options.PYTHON}


def test_cores_says_which_core_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    """For a cell, a shape and a backend; of the others, why they would not."""
    assert main(["cores", "lstm"]) == 0
    found = rnnx.LSTM(1, 64).cores()
    assert f"numpy-step  {found['numpy-step']}" in capsys.readouterr().out.splitlines()
    command = ["cores", "leaky_rnn", "--shape", "256,16,8", "--backend", "array_api_strict"]
    assert main(command) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["core", "for", "this", "layer"]
    assert "portable    runs" in lines
    assert "persistent  runs on CuPy only, not on array_api_strict" in lines
    assert "numpy-step  takes single steps of a stream only" in lines
    assert main(["cores", "gru", "--shape", "256,16"]) == 2
    assert "must be three sizes T,B,I of at least 1, got '256,16'" in capsys.readouterr().err


def test_every_option_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """No option of any command stands without words."""
    kinds = ("classifier", "regressor", "forecaster", "characters")
    trains = [["train", kind] for kind in kinds]
    others = [[name] for name in ("train", "predict", "export", "info", "backends", "cores")]
    for words in (*trains, *others, []):
        with pytest.raises(SystemExit) as end:
            main([*words, "--help"])
        assert end.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("  -"):
                flag = line.split("  ")[1]
                assert line.strip() != flag or after.startswith(" " * 20), line
