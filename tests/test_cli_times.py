"""The command and what a file means: times ahead, gaps, layouts of arrays, saved indexes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from test_cli import OPTIONS, SMALL, Run, here, run, table, write

import rnnx
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor

__all__ = ["here", "run"]  # fixtures

SERIES = np.sin(np.arange(40) / 3)
COLUMNS = ["--time", "t", "--target", "y"]
TRAIN = [*COLUMNS, "--horizon", 3, "--out", "r", *SMALL]


def dates(start: str, number: int, unit: Any) -> list[str]:
    """Return 43 times from a start, as NumPy writes them."""
    return [str(np.datetime64(start) + k * np.timedelta64(number, unit)) for k in range(43)]


ENDS = [str((np.datetime64("2020-01") + k + 1).astype("M8[D]") - 1) for k in range(43)]
TIMES: dict[str, list[str]] = {
    "months": dates("1957-09", 1, "M"),
    "quarters": dates("1957-10", 3, "M"),
    "first days": [f"{month}-01" for month in dates("1957-09", 1, "M")],
    "last days": ENDS,
    "days": dates("2023-12-23", 1, "D"),
    "weeks": dates("2023-12-23", 7, "D"),
    "workdays": [str(np.busday_offset("2024-01-01", k)) for k in range(43)],
    "hours": dates("2023-12-31T05", 1, "h"),
    "minutes": [text.replace("T", " ") for text in dates("2023-12-31T05:00", 90, "m")],
    "seconds": [f"{text}Z" for text in dates("2023-12-31T23:59:30", 1, "s")],
    "fractions": [text[:-2] for text in dates("2023-12-31T23:59:30.000", 100, "ms")],
    "years": [str(1821 + k) for k in range(43)],
    "tens": [str(-20 + 10 * k) for k in range(43)],
    "decimals": [f"{0.1 * k:.1f}" for k in range(43)],
    "decimal years": [f"{1961 + k / 12:.3f}" for k in range(43)],
}  # fmt: skip


@pytest.mark.parametrize("kind", TIMES)
def test_the_times_ahead_are_written_as_in_the_file(run: Run, kind: str) -> None:
    """Without rows ahead, with one of them, and with all; in any order of the rows."""
    at = TIMES[kind]
    expected = RNNForecaster(3, **OPTIONS).fit(SERIES)
    expected.save("model.safetensors")
    for known in (40, 41, 43):
        cells = [*SERIES, "", "", ""][:known]
        rows = [[t, y] for t, y in zip(at[:known], cells, strict=True)]
        write("s.csv", ["t", "y"], rows[::-1])
        code, out, err = run("predict", "model.safetensors", "s.csv", *COLUMNS)
        assert (code, err) == (0, "")
        assert [row["t"] for row in table(out)] == at[40:]
    found = [float(row["prediction"]) for row in table(out)]
    np.testing.assert_array_equal(found, expected.predict(SERIES))


FORMS = {
    "%d.%m.%Y": [f"{d[8:]}.{d[5:7]}.{d[:4]}" for d in dates("2023-12-23", 1, "D")],
    "%m/%d/%Y %H:%M": [
        f"{int(d[5:7])}/{int(d[8:10])}/{d[:4]} {int(d[11:13])}:30"
        for d in dates("2023-12-31T22:30", 60, "m")
    ],
    None: [f"{0.25 * k:.2f}".replace(".", ",") for k in range(43)],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_times_ahead_have_the_form_of_other_countries(run: Run, form: str | None) -> None:
    """Days first, no zeros before hours, decimal commas."""
    RNNForecaster(3, **OPTIONS).fit(SERIES).save("model.safetensors")
    values = [f"{y}".replace(".", ",") for y in SERIES]
    write("s.csv", ["t", "y"], zip(FORMS[form][:40], values, strict=True), delimiter=";")
    words = [*COLUMNS, "--delimiter", ";", "--decimal", ","]
    words += ["--date-format", form] if form else []
    code, out, err = run("predict", "model.safetensors", "s.csv", *words)
    assert (code, err) == (0, "")
    assert [row["t"] for row in table(out)] == FORMS[form][40:]


@pytest.mark.parametrize("kind", TIMES)
def test_a_gap_is_named_with_its_line(run: Run, kind: str) -> None:
    """In training and in forecasting: what was expected, after which line."""
    at = TIMES[kind]
    RNNForecaster(3, **OPTIONS).fit(SERIES).save("model.safetensors")
    write("gap.csv", ["t", "y"], zip([*at[:20], *at[21:41]], SERIES, strict=True))
    predict = ["predict", "model.safetensors", "gap.csv", *COLUMNS]
    for words in (["train", "forecaster", "gap.csv", *TRAIN], predict):
        code, out, err = run(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"gap.csv, line 22, column 't': expected {at[20]}, " in err
        assert f" after {at[19]} in line 21, got {at[21]!r}: add the rows between, or leave" in err


def test_series_of_other_times_have_one_step(run: Run) -> None:
    """Each is continued from its own end; another step is refused where it begins."""
    y = [*SERIES, *SERIES]
    keys = ["a"] * 40 + ["b"] * 40
    months = dates("1957-09", 1, "M")[:40] + dates("2001-02", 1, "M")[:40]
    write("s.csv", ["id", "t", "y"], zip(keys, months, y, strict=True))
    assert run("train", "forecaster", "s.csv", *TRAIN, "--id", "id")[0] == 0
    found = [(row["id"], row["t"]) for row in table(run("predict", "r", "s.csv")[1])]
    assert found == [
        *[("a", t) for t in ("1961-01", "1961-02", "1961-03")],
        *[("b", t) for t in ("2004-06", "2004-07", "2004-08")],
    ]
    mixed = [f"{t}-01" for t in months[:40]] + dates("2001-02-01", 1, "D")[:40]
    write("mixed.csv", ["id", "t", "y"], zip(keys, mixed, y, strict=True))
    code, _, err = run("train", "forecaster", "mixed.csv", *TRAIN, "--id", "id", "--force")
    assert code == 2
    assert "mixed.csv, line 43, column 't': expected 2001-03-01, 1 month after 2001-02-01" in err


def test_sequences_may_have_irregular_times(run: Run) -> None:
    """A classifier only sorts by them."""
    rows = [[f"s{i}", t * t, i * t, "ab"[i % 2]] for i in range(8) for t in range(4)]
    write("long.csv", ["id", "t", "x", "y"], rows)
    columns = ["--id", "id", "--time", "t", "--target", "y", "--out", "r", *SMALL]
    assert run("train", "classifier", "long.csv", *columns)[0] == 0


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_arrays_with_features_first(run: Run, padded: bool, per_step: bool) -> None:
    """--layout FT: the Python API with this option, which the model file remembers."""
    rng = np.random.default_rng(0)
    X, lengths = rng.standard_normal((10, 2, 6)), rng.integers(2, 7, size=10)
    y = np.cumsum(X[:, 0], axis=1) if per_step else X[:, 0, 0]
    arrays = {"X": X, "y": y}
    rows, targets = X, y
    if padded:
        for row, n in zip(X, lengths, strict=True):
            row[:, n:] = np.nan
        arrays["lengths"] = lengths
        if per_step:
            for values, n in zip(y, lengths, strict=True):
                values[n:] = np.nan
            targets = [values[:n] for values, n in zip(y, lengths, strict=True)]
        rows = [row[:, :n] for row, n in zip(X, lengths, strict=True)]
    np.savez("data.npz", **arrays)
    flags = ["--per-step"] * per_step
    train = ["train", "regressor", "data.npz", "--out", "r", *SMALL, *flags]
    code, _, err = run(*train)
    assert code == 2
    assert "data.npz has shape (10, 2, 6), which has two readings: give --layout TF for (s" in err
    code, out, _ = run(*train, "--layout", "FT")
    assert code == 0
    assert "10 sequences of 2 to 6 steps" in out if padded else "10 sequences of 6 steps" in out
    expected = RNNRegressor(**OPTIONS, per_step=per_step, layout="FT").fit(rows, targets)
    code, out, err = run("predict", "r", "data.npz")
    assert err == f"R² {expected.score(rows, targets):.4g} of 10 sequences\n"
    values = expected.predict(rows)
    np.testing.assert_array_equal(
        [float(row["prediction"]) for row in table(out)],
        np.concatenate(values) if per_step else values,
    )
    assert rnnx.load("r/model.safetensors").layout == "FT"


def test_a_wrong_number_is_named_by_its_place_in_the_file(run: Run) -> None:
    """Whatever the layout."""
    X = np.zeros((4, 2, 5))
    X[3, 1, 4] = np.inf
    np.savez("bad.npz", X=X, y=np.arange(4.0), lengths=np.full(4, 5))
    train = ["train", "regressor", "bad.npz", "--layout", "FT", "--out", "r", *SMALL]
    assert "X[3, 1, 4] in bad.npz must be a finite number" in run(*train)[2]


def test_series_with_features_first(run: Run) -> None:
    """A forecaster's X and exog; a file with a row per step has no other layout."""
    rng = np.random.default_rng(0)
    exog = rng.standard_normal((2, 1, 43))
    X = np.stack([np.stack([SERIES, np.cos(SERIES)])] * 2)
    np.savez("past.npz", X=X, exog=exog[:, :, :40])
    np.savez("all.npz", X=X, exog=exog)
    words = ["train", "forecaster", "past.npz", "--horizon", 3, "--out", "r", *SMALL]
    assert "two readings" in run(*words)[2]
    code, out, _ = run(*words, "--layout", "FT")
    assert code == 0
    assert "2 series of 40 steps" in out
    model = RNNForecaster(3, **OPTIONS, layout="FT").fit(X, exog=exog[:, :, :40])
    found = table(run("predict", "r", "all.npz")[1])
    for k in range(2):
        values = [float(row[f"prediction_X[{k}]"]) for row in found]
        np.testing.assert_array_equal(values, model.predict(X, exog=exog)[:, k].ravel())
    write("s.csv", ["t", "y"], enumerate(SERIES))
    code, _, err = run("train", "forecaster", "s.csv", *TRAIN, "--force", "--layout", "FT")
    assert code == 2
    assert "--layout FT is for files of arrays: a CSV file has a row per step" in err


def test_a_long_table_has_a_row_per_step(run: Run) -> None:
    """More features than steps are no question there."""
    X = np.random.default_rng(0).standard_normal((8, 2, 3))
    rows = [[f"s{i}", *x, "ab"[i % 2]] for i, row in enumerate(X) for x in row]
    write("long.csv", ["id", "p", "q", "r", "y"], rows)
    code, out, _ = run("train", "classifier", "long.csv", "--id", "id", "--target", "y",
                       "--out", "r", *SMALL)  # fmt: skip
    assert code == 0
    assert "8 sequences of 2 steps, 3 features" in out
    assert "\nfeatures: p, q, r\n" in out
    expected = RNNClassifier(**OPTIONS, layout="TF").fit(X, ["ab"[i % 2] for i in range(8)])
    found = [row["prediction"] for row in table(run("predict", "r", "long.csv")[1])]
    assert found == expected.predict(X).tolist()


@pytest.mark.parametrize(("name", "start"), [("Unnamed: 0", 0), ("index", 1), ("level_0", 0)])
def test_a_saved_index_is_left_out_with_a_note(run: Run, name: str, start: int) -> None:
    """Of a wide and of a long file; named in --features it is one; other numbers are, too."""
    X = np.random.default_rng(0).standard_normal((12, 3))
    rows = [[start + i, *row] for i, row in enumerate(X)]
    write("wide.csv", [name, "a", "b", "y"], rows)
    train = ["train", "regressor", "wide.csv", "--target", "y", *SMALL, "--out"]
    code, out, err = run(*train, "r")
    assert code == 0
    assert err.startswith(f"rnnx: note: column {name!r} counts the rows, like a saved index, and")
    assert err.count("\n") == 1
    assert "\nsteps: a, b\n" in out
    assert json.loads(Path("r/summary.json").read_text())["columns"]["features"] == ["a", "b"]
    assert run("predict", "r", "wide.csv")[2].startswith("R²")
    code, out, err = run(*train, "s", "--features", f"{name},a")
    assert (code, err) == (0, "")
    assert f"\nsteps: {name}, a\n" in out
    write("other.csv", [name, "a", "y"], [[i * i, *row[1:]] for i, row in enumerate(X)])
    assert f"\nsteps: {name}, a\n" in run(*train[:2], "other.csv", *train[3:], "t")[1]
    long = [["uv"[i // 6], start + i % 6, *row] for i, row in enumerate(X)]
    write("long.csv", ["id", name, "a", "b", "y"], long)
    words = ["long.csv", "--id", "id", "--target", "y", "--per-step", *SMALL, "--out", "u"]
    assert "\nfeatures: a, b\n" in run("train", "regressor", *words)[1]
