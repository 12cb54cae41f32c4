"""Good files of every kind, how the package reads them, and what they hold by another reader."""

from __future__ import annotations

import csv
import gzip
import io as streams
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import safetensors.numpy

import rnnx
from rnnx import io, losses, optim
from rnnx.cells import CELLS
from rnnx.characters import CharacterModel
from rnnx.cli.commands import parser
from rnnx.cli.tasks import TASKS
from rnnx.estimators import RNNClassifier, RNNForecaster, RNNRegressor
from rnnx.train import Callback, checkpoint, fit
from rnnx.train.snapshot import Snapshot

Held = dict[str, Any]  # what a file holds: JSON and arrays by name
X = np.random.default_rng(0).standard_normal((12, 4, 2))
TEXT = "to be or not to be,\nthat is the question: ä模🙂 " * 8


class Good(NamedTuple):
    """A good file."""

    name: str  # of the file
    whole: bytes
    load: Callable[[Path], Held]  # by the package
    read: Callable[[bytes], Held]  # by another reader; it may fail where the package does
    strict: bool  # whether a file with another content must be refused


def good_files(folder: Path) -> dict[str, list[Good]]:
    """Return good files by kind, in the same order and with the same content each time."""
    return {
        "layer": [_model(folder, layer) for layer in _layers()],
        "classifier": [_model(folder, model) for model in _classifiers()],
        "regressor": [_model(folder, RNNRegressor(3, cell="lstm", **SMALL).fit(X, X[:, 0, :]))],
        "forecaster": [_model(folder, model) for model in _forecasters()],
        "character model": [_model(folder, CharacterModel(3, **LEARNED).fit(TEXT))],
        "checkpoint": [_checkpoint(folder)],
        "CSV": _tables(),
        "CSV.gz": [_packed(good) for good in _tables()],
        "NPY": _arrays(),
        "NPZ": good_archives(),
        "text": [Good("a.txt", TEXT.encode(), _task("characters a.txt"), _text, False)],
    }


SMALL: dict[str, Any] = {"epochs": 1, "random_state": 0}
LEARNED: dict[str, Any] = {"epochs": 1, "seed": 0, "streams": 2, "length": 9}


def _layers() -> list[Any]:
    return [
        rnnx.RNN(3, 4, 2, nonlinearity="relu", bias=False, seed=0),
        rnnx.GRU(3, 4, 2, dropout=0.2, weight_drop=0.1, dtype="float64", seed=0),
        rnnx.LSTM(3, 5, 2, proj_size=2, batch_first=True, bidirectional=True, seed=0),
        *[rnnx.Recurrent(cell, 2, 3, seed=0) for cell in CELLS],
        rnnx.Embedding(7, 3, seed=0),
        rnnx.SimpleRNN(3, 4, 2, seed=0),
        rnnx.Pool("mean", bidirectional=True),
        rnnx.Sequential(
            rnnx.Sequential(rnnx.Embedding(7, 3, seed=0), rnnx.Dropout(0.1)),
            rnnx.Sequential(rnnx.GRU(3, 4, seed=0), rnnx.Pool("max")),
            rnnx.Linear(4, 2, seed=0),
        ),
    ]


def _classifiers() -> list[Any]:
    words = np.asarray(["up", "down", "ä"])[np.arange(12) % 3]
    per_step = RNNClassifier(3, per_step=True, bidirectional=True, **SMALL)
    return [
        RNNClassifier(3, **SMALL).fit(X, words),
        per_step.fit(X, np.arange(48).reshape(12, 4) % 2),
        RNNClassifier(3, **SMALL).fit(X[:, :, 0], np.arange(12) % 2 + 0.5 > 1),
    ]


def _forecasters() -> list[Any]:
    series, known = X.reshape(48, 2), X.reshape(48, 2)[:, :1]
    both = RNNForecaster(2, window=5, season=3, validation_fraction=0.2, **SMALL)
    return [
        RNNForecaster(2, window=5, scale="standard", **SMALL).fit(series[:, 0]),
        both.fit([series], exog=[known]),
    ]


# models


def _model(folder: Path, model: Any) -> Good:
    path = folder / "good"
    rnnx.save(path, model)
    return Good("model.safetensors", path.read_bytes(), _loaded, described, True)


def described(raw: bytes) -> Held:
    """Return the description and the arrays of a file, by the package safetensors."""
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    content = json.loads(header["__metadata__"]["rnnx"])
    return {k: content[k] for k in ("kind", "config", "dtype", "extra")} | {
        "arrays": safetensors.numpy.load(raw)
    }


def _loaded(path: Path) -> Held:
    model = rnnx.load(path)
    if hasattr(model, "_describe"):
        description, arrays = model._describe()
        _try(model)
    else:
        bk = model.backend
        description = io.Description("layer", model.config(), bk.dtype_name, {})
        arrays = {name: bk.to_numpy(w) for name, w in model.params.items()}
    names = ("kind", "config", "dtype", "extra")
    held = {name: getattr(description, name) for name in names} | {"arrays": arrays}
    return json.loads(json.dumps(held | {"arrays": 0})) | {"arrays": arrays}


def _try(model: Any) -> None:
    """Use a model: what was let in must work, or raise a ValueError."""
    with suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of numbers that are too large
        _use(model)


def _use(model: Any) -> None:
    if isinstance(model, CharacterModel):
        model.sample(model.characters_[:1], 2, seed=0)
        return
    steps = getattr(model, "window_", 4)
    if steps > 100 or model.n_features_in_ > 100:
        return
    if getattr(model, "_steps_in", None):
        steps = 1
        model.predict(np.zeros((2, model.n_features_in_)))
    elif not getattr(model, "_exog_size", 0):
        model.predict(np.zeros((2, steps, model.n_features_in_)))


RESTORED = ("epoch", "step", "position", "seconds", "rng", "epoch_rng")


class _Restored(Exception):
    """The end of a run that was restored."""


class _Look(Callback):
    """A callback that ends a run before its first step."""

    held: Held

    def begin(self, run: Any) -> None:
        seconds, found = run.seconds, Snapshot.of(run)
        self.held = {
            "extra": {name: found.extra[name] for name in RESTORED} | {"seconds": seconds},
            "arrays": found.arrays | found.tables,
        }
        raise _Restored


def _train(folder: Path, **options: Any) -> None:
    gru, linear = rnnx.GRU(2, 3, seed=0), rnnx.Linear(3, 2, seed=0)
    model = rnnx.Sequential(gru, rnnx.Pool("last"), rnnx.Dropout(0.2), linear)
    data = [row[: 2 + i % 3] for i, row in enumerate(X)], np.arange(12) % 2
    fit(
        model, data, validation=data, loss=losses.softmax_cross_entropy,
        optimizer=optim.Adam(0.01), batch_size=5, clip_norm=1.0, progress=False, seed=0,
        checkpoint_dir=folder, **options,
    )  # fmt: skip


def _checkpoint(folder: Path) -> Good:
    def stop(run: Any) -> None:
        if run.epoch == 2:
            raise _Restored

    good = folder / "run"
    with suppress(_Restored), patch("time.perf_counter", return_value=0.0):  # always the same file
        _train(good, epochs=3, checkpoint_every=2, callbacks=[stop])
    whole = (good / checkpoint.NAME).read_bytes()
    return Good(f"run/{checkpoint.NAME}", whole, _resumed, _run_described, True)


def _run_described(raw: bytes) -> Held:
    held = described(raw)
    extra = {name: held["extra"][name] for name in RESTORED}
    return {"extra": extra, "arrays": held["arrays"]}


def _resumed(path: Path) -> Held:
    look = _Look()
    with suppress(_Restored):
        _train(path.parent, epochs=3, resume=True, callbacks=[look])
    return look.held


# data of the command line


def _task(line: str) -> Callable[[Path], Held]:
    """Return what reads a file as ``rnnx train`` does."""
    chosen = parser().parse_args(["train", *line.split(), "--out", "never"])
    task = next(task for task in TASKS if task.name == line.split()[0])

    def load(path: Path) -> Held:
        options = copy(chosen)
        options.files = [path]
        if getattr(options, "target_file", None) is not None:
            options.target_file = path.with_name(options.target_file.name)
            if options.target_file == path:
                options.files = [path.with_name("X.npy")]
        return _plain(task.read(options))

    return load


def _plain(data: Any) -> Held:
    """Return what a task read: a text, or the arrays of its fields."""
    if isinstance(data, str):
        return {"text": data}
    fields = data._asdict()
    held: Held = {"keys": fields["keys"], "arrays": {}}
    for name in ("X", "y", "exog"):
        value = fields.get(name)
        rows = value if isinstance(value, list) else [] if value is None else [value]
        held["arrays"] |= {f"{name}{i}": np.asarray(row) for i, row in enumerate(rows)}
    return held


def _text(raw: bytes) -> Held:
    text = raw.decode("utf-8-sig")
    return {"text": text.replace("\r\n", "\n").replace("\r", "\n")}


def _rows(raw: bytes) -> tuple[list[str], list[list[str]]]:
    text = streams.StringIO(raw.decode("utf-8-sig"), newline="")
    rows = [[cell.strip() for cell in row] for row in csv.reader(text, strict=True) if row]
    return rows[0], rows[1:]


def _labels(cells: list[str]) -> np.ndarray:
    whole = all(cell.removeprefix("-").isdigit() and str(int(cell)) == cell for cell in cells)
    return np.asarray([int(cell) for cell in cells] if whole else cells)


def _wide(raw: bytes) -> Held:
    """Read one sequence per row, the label in the column way."""
    names, rows = _rows(raw)
    used = [j for j, name in enumerate(names) if name not in ("way", "")]
    table = np.asarray([[float(row[j]) for j in used] for row in rows])
    y = _labels([row[names.index("way")] for row in rows])
    keys = [str(i) for i in range(len(rows))]
    return {"keys": keys, "arrays": {"X0": table, "y0": y}}


def _time(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return np.datetime64(cell.removesuffix("Z"), "us")


def _long(raw: bytes) -> Held:
    """Read one step per row: columns id, t, a, b and the value way."""
    names, rows = _rows(raw)
    groups: dict[str, list[list[str]]] = {}
    for row in rows:
        groups.setdefault(row[names.index("id")], []).append(row)
    arrays, y = {}, []
    for i, group in enumerate(groups.values()):
        group.sort(key=lambda row: _time(row[names.index("t")]))
        a, b = names.index("a"), names.index("b")
        arrays[f"X{i}"] = np.asarray([[float(row[a]), float(row[b])] for row in group])
        y.append(float(group[0][names.index("way")]))
    return {"keys": list(groups), "arrays": arrays | {"y0": np.asarray(y)}}


def _series(raw: bytes) -> Held:
    """Read a series: the column y by the time t, with the known values e."""
    names, rows = _rows(raw)
    rows.sort(key=lambda row: _time(row[names.index("t")]))
    y, e = ([row[names.index(name)] for row in rows] for name in "ye")
    while y[-1] == "" and len(y) > 1:
        y.pop()
    X0 = np.asarray([[float(cell)] for cell in y])
    E = np.asarray([[float(cell)] for cell in e])[: len(y)]
    return {"keys": [""], "arrays": {"X0": X0, "exog0": E}}


def _tables() -> list[Good]:
    flat = X.reshape(12, 8)
    wide = [",".join(f"s{j}" for j in range(8)) + ",way"]
    wide += [",".join(f"{v:.3g}" for v in row) + f",{'ab'[i % 2]}" for i, row in enumerate(flat)]
    long, series = ["id,t,a,b,way"], ["t,y,e"]
    for i, row in enumerate(X[:5]):
        long += [f"r{i},{t},{a:.3g},{b:.3g},{i / 2}" for t, (a, b) in enumerate(row)]
    start = np.datetime64("2020-01-31")
    series += [f"{start + i},{v:.4g},{i % 3}" for i, v in enumerate(X.ravel()[:30])]
    series += [f"{start + 30},,1"]
    lines = {
        "classifier wide.csv --target way": (wide, _wide),
        "regressor long.csv --id id --time t --features a,b --target way": (long, _long),
        "forecaster series.csv --time t --target y --exog e": (series, _series),
    }
    return [
        Good(line.split()[1], "\n".join([*rows, ""]).encode(), _task(line), read, False)
        for line, (rows, read) in lines.items()
    ]


def _packed(good: Good) -> Good:
    """Return a good file as gzip packs it."""

    def read(raw: bytes) -> Held:
        return good.read(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)

    whole = gzip.compress(good.whole, mtime=0)
    return good._replace(name=f"{good.name}.gz", whole=whole, read=read)


def npy(array: Any) -> bytes:
    """Return an NPY file."""
    file = streams.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    """Return an NPZ file."""
    file = streams.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def _y_is(name: str) -> Callable[[bytes], Held]:
    """Return what reads one array beside the good other one."""

    def read(raw: bytes) -> Held:
        found = np.load(streams.BytesIO(raw), allow_pickle=False)
        array = found if isinstance(found, np.ndarray) else found[name]
        both = {"X": X, "y": np.arange(12) % 2} | {name: array}
        return _held(both["X"], both["y"])

    return read


def _held(x: Any, y: Any) -> Held:
    keys = [str(i) for i in range(len(x))]
    x = [x.astype("float64")] if not isinstance(x, list) else x
    arrays = {f"X{i}": row for i, row in enumerate(x)}
    return {"keys": keys, "arrays": arrays | {"y0": y}}


def _padded(raw: bytes) -> Held:
    found = np.load(streams.BytesIO(raw), allow_pickle=False)
    x = found["X"].astype("float64")
    if "lengths" not in found.files:
        return _held(x, found["y"])
    rows = [row.reshape(len(row), -1)[:n] for row, n in zip(x, found["lengths"], strict=True)]
    return _held(rows, found["y"])


def _arrays() -> list[Good]:
    words = np.asarray(["up", "ä"])[np.arange(12) % 2]
    read_x = _task("classifier data.npy --target-file y.npy")
    read_y = _task("classifier X.npy --target-file labels.npy")
    xs, ys = (X, X.astype(">f4"), np.asfortranarray(X)), (np.arange(12) % 2, words)
    return [
        *[Good("data.npy", npy(x), read_x, _y_is("X"), False) for x in xs],
        *[Good("labels.npy", npy(y), read_y, _y_is("y"), False) for y in ys],
    ]


def good_archives() -> list[Good]:
    """Return good NPZ files."""
    arrays = {"X": X, "y": np.arange(12) % 2, "lengths": 1 + np.arange(12) % 4}
    return [
        Good("data.npz", npz(save, **arrays), _task("classifier data.npz"), _padded, False)
        for save in (np.savez, np.savez_compressed)
    ]


def beside(folder: Path) -> None:
    """Write the files that others are read together with."""
    (folder / "X.npy").write_bytes(npy(X))
    (folder / "y.npy").write_bytes(npy(np.arange(12) % 2))
    (folder / "run").mkdir(exist_ok=True)
