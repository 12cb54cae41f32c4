"""Model files: whole or not at all, exact on every backend, and safe whoever wrote them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import KINDS, recurrent
from safetensors.numpy import load_file

import rnnx
from rnnx import (
    GRU,
    LSTM,
    RNN,
    Backend,
    Dropout,
    Embedding,
    Linear,
    Pool,
    Sequential,
    SimpleRNN,
    io,
)
from rnnx.io import Description, header

Make = Callable[..., Any]
LAYERS: dict[str, Make] = {
    "RNN, no bias": lambda **o: RNN(3, 4, 2, nonlinearity="relu", bias=False, **o),
    "GRU, dropped": lambda **o: GRU(3, 4, 2, dropout=0.2, weight_drop=0.1, **o),
    "LSTM, stacked": lambda **o: LSTM(3, 5, 2, proj_size=2, batch_first=True, dropout=0.5, **o),
    "Linear": lambda **o: Linear(3, 2, **o),
    "Linear without bias": lambda **o: Linear(3, 2, bias=False, **o),
    "Embedding": lambda **o: Embedding(7, 3, **o),
    "Pool": lambda seed, **o: Pool("mean", bidirectional=True, **o),
    "Dropout": lambda seed, **o: Dropout(0.25, **o),
    "SimpleRNN": lambda **o: SimpleRNN(3, 4, 2, nonlinearity="relu", **o),
    **{kind: partial(recurrent, kind, 3, 4, bidirectional=True) for kind in KINDS},
    "nested Sequential": lambda seed, **o: Sequential(
        Sequential(Embedding(7, 3, seed=seed, **o), Dropout(0.1, **o)),
        Sequential(GRU(3, 4, seed=seed, **o), Sequential(Pool("max", **o))),
        Linear(4, 2, seed=seed, **o),
    ),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    rnnx.save(path, SimpleRNN(3, 4, 2, seed=0))
    return path


def raw(content: Any, data: bytes = b"") -> bytes:
    """Return a file with this header, a JSON text or what JSON can hold."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return the header of a file without its description, the description, and the data."""
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    head = json.loads(whole[8:end])
    return head, json.loads(head.pop("__metadata__")["rnnx"]), whole[end:]


def assert_refused(path: Path, words: str = "cannot load") -> None:
    """Assert that a file is refused in one line, which names it."""
    with pytest.raises(ValueError, match=words) as caught:
        rnnx.load(path)
    assert str(caught.value).startswith(f"cannot load {str(path)!r}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_comes_back_bit_for_bit(kind: str, bk: Backend, tmp_path: Path) -> None:
    """Configuration, parameters, their order, and outputs; from any backend to any."""
    model = LAYERS[kind](backend=bk, seed=3)
    path = tmp_path / "model"
    rnnx.save(path, model)
    for place in (bk, "numpy"):
        loaded = rnnx.load(path, backend=place)
        assert type(loaded) is type(model)
        assert loaded.config() == model.config()
        assert loaded.backend == (bk if place is bk else rnnx.get_backend(dtype=bk.dtype_name))
        assert list(loaded.params) == list(model.params)
        for name, W in loaded.params.items():
            found, expected = loaded.backend.to_numpy(W), bk.to_numpy(model.params[name])
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
    rnnx.save(tmp_path / "again", loaded)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_torch_reads_the_file(kind: str, tmp_path: Path) -> None:
    """The tensors' names are those of torch's state_dict, and so is what they compute."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from safetensors.torch import load_file as load_torch

    model = getattr(rnnx, kind)(3, 5, 2, bidirectional=True, dtype="float64", seed=0)
    rnnx.save(tmp_path / "model", model)
    other = getattr(torch.nn, kind)(3, 5, 2, bidirectional=True, dtype=torch.float64)
    other.load_state_dict(load_torch(tmp_path / "model"))
    x = np.random.default_rng(0).standard_normal((7, 2, 3))
    expected = other(torch.from_numpy(x))[0].detach().numpy()
    np.testing.assert_allclose(model(x)[0], expected, rtol=1e-12)


def test_a_file_holds_plain_arrays_and_json(saved: Path) -> None:
    """Any program that reads safetensors reads the parameters; the metadata are JSON."""
    arrays = load_file(saved)
    assert sorted(arrays) == ["Whh", "Why", "Wxh", "bh", "by"]
    _, description, _ = parts(saved)
    assert description["kind"] == "layer"
    assert description["version"] == header.VERSION
    assert description["config"] == SimpleRNN(3, 4, 2).config()
    assert io.describe(saved).specs["Wxh"] == ("float32", (4, 3))


def test_another_dtype_is_rounded(tmp_path: Path) -> None:
    """float64 onto float32 as NumPy rounds; float32 onto float64 exactly; no overflow."""
    model = Linear(3, 2, dtype="float64", seed=0)
    rnnx.save(tmp_path / "model", model)
    narrow = rnnx.load(tmp_path / "model", dtype="float32")
    np.testing.assert_array_equal(narrow.params["weight"], model.params["weight"].astype("float32"))
    rnnx.save(tmp_path / "narrow", narrow)
    wide = rnnx.load(tmp_path / "narrow", dtype="float64")
    assert wide.params["weight"].dtype == np.float64
    np.testing.assert_array_equal(wide.params["weight"], narrow.params["weight"])
    model.set_params({"bias": [1e300, 0.0]})
    rnnx.save(tmp_path / "model", model)
    assert rnnx.load(tmp_path / "model").params["bias"][0] == 1e300
    with pytest.raises(ValueError, match="expected finite numbers in 'bias'"):
        rnnx.load(tmp_path / "model", dtype="float32")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_neither_saved_nor_loaded(saved: Path, value: float) -> None:
    """A model that has diverged; a file from somebody else."""
    model = Linear(2, 1, seed=0)
    model.set_params({"bias": [value]})
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="expected finite numbers in 'bias'"):
        rnnx.save(saved, model)
    assert saved.read_bytes() == before
    description, arrays = io.read(saved)
    io.write(saved, description, arrays | {"by": np.full((2, 1), value, "float32")})
    assert_refused(saved, "expected finite numbers in 'by'")


def test_only_models_are_saved(tmp_path: Path) -> None:
    """Another object is said to be none."""
    with pytest.raises(TypeError, match="expected a layer, an estimator"):
        rnnx.save(tmp_path / "model", {"weight": np.ones(3)})
    with pytest.raises(TypeError, match="dtype object"):
        io.write(tmp_path / "model", Description("layer", {}, "float32", {}), {"x": np.array([{}])})
    with pytest.raises(ValueError, match="at most"):
        io.write(
            tmp_path / "model", Description("x", {}, "float32", {"x": [0] * header.VALUE_LIMIT}), {}
        )
    assert list(tmp_path.iterdir()) == []


def test_every_dtype_and_order_comes_back(tmp_path: Path) -> None:
    """Of the format: in any memory layout, with no entries, without axes."""
    rng = np.random.default_rng(0)
    arrays = {name: (100 * rng.random((3, 4, 2))).astype(name).T for name in header.DTYPES.values()}
    arrays |= {
        "empty": np.zeros((0, 3)),
        "number": np.asarray(2.5),
        "big": np.arange(3.0, dtype=">f8"),
    }
    io.write(tmp_path / "file", Description("x", {}, "float32", {"text": "ä\ud800"}), arrays)
    description, found = io.read(tmp_path / "file")
    assert description.extra == {"text": "ä\ud800"}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.name == array.dtype.name
        assert found[name].flags.writeable


# damaged files


def test_every_truncation_is_found(saved: Path) -> None:
    """Cut at any length, the file is refused, never half read."""
    whole = saved.read_bytes()
    for length in range(len(whole)):
        saved.write_bytes(whole[:length])
        assert_refused(saved, "truncated")


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Between the header and the arrays, as by another program that writes it."""
    path = tmp_path / "model"
    rnnx.save(path, Linear(300, 200, seed=0))

    def cut(description: Description) -> Any:
        os.truncate(path, 100_000)
        return description.specs

    with pytest.raises(ValueError, match="it became shorter while it was read"):
        io.read(path, expect=cut)


def test_a_damaged_byte_is_found(saved: Path) -> None:
    """A changed byte in a parameter fails the checksum."""
    whole = bytearray(saved.read_bytes())
    whole[-20] ^= 1
    saved.write_bytes(whole)
    assert_refused(saved, "its checksum does not match its content")


def assert_same_or_refused(path: Path, expected: Any) -> bool:
    """Assert that a file holds this model or is refused; return which."""
    found = None
    with contextlib.suppress(ValueError):
        found = rnnx.load(path)
    if found is None:
        assert_refused(path)
        return False
    assert found.config() == expected.config()
    for name, W in found.params.items():
        np.testing.assert_array_equal(W, expected.params[name])
    return True


def test_no_flipped_bit_passes(saved: Path) -> None:
    """Whatever bit is wrong, the file is refused in one way, or holds what was written."""
    whole, model = saved.read_bytes(), rnnx.load(saved)
    rng = np.random.default_rng(0)
    for place in rng.choice(8 * len(whole), 1500, replace=False):
        wrong = bytearray(whole)
        wrong[place // 8] ^= 1 << place % 8
        saved.write_bytes(wrong)
        assert_same_or_refused(saved, model)


@pytest.mark.parametrize("kind", ["GRU", "nested Sequential", "SimpleRNN"])
def test_no_mutation_passes(kind: str, tmp_path: Path) -> None:
    """Bytes that are inserted, deleted, repeated, exchanged or set: refused, or without effect."""
    path = tmp_path / "model"
    model = LAYERS[kind](seed=0)
    rnnx.save(path, model)
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    start = 8 + int.from_bytes(whole[:8], "little")
    passed = 0
    for trial in range(700):
        end = start if trial % 4 else len(whole)  # mostly in the header
        a, b = sorted(int(i) for i in rng.integers(0, end, 2))
        b = min(b, a + int(rng.choice([1, 4, 40])))
        wrong = [
            whole[:a] + rng.bytes(b - a) + whole[b:],
            whole[:a] + whole[b:],
            whole[:a] + whole[a:b] * 2 + whole[b:],
            whole[:a] + bytes(rng.choice(list(b'0123456789,:{}[]"-eE.'), b - a)) + whole[b:],
            whole[:a] + whole[a:b][::-1] + whole[b:],
        ][trial % 5]
        path.write_bytes(wrong)
        passed += assert_same_or_refused(path, model) and wrong != whole
    assert passed < 70


def test_another_file_is_refused(tmp_path: Path) -> None:
    """Text, a pickle, npz and npy, a safetensors file of somebody else: one error, no code run."""
    from safetensors.numpy import save_file

    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    np.save(tmp_path / "b.npy", np.zeros(3))
    save_file({"x": np.zeros(3)}, tmp_path / "c.safetensors")
    save_file({"x": np.zeros(3)}, tmp_path / "d.safetensors", {"format": "pt"})
    (tmp_path / "e").write_bytes(b"hello, I am a text")
    (tmp_path / "f").write_bytes(b"\x80\x04N.")
    (tmp_path / "g").write_bytes(b"")
    words = {"a.npz": "it is a zip archive, as of numpy.savez and torch.save"}
    words |= {"c.safetensors": "not a file of rnnx", "d.safetensors": "not a file of rnnx"}
    for path in tmp_path.iterdir():
        assert_refused(path, words.get(path.name, "truncated, or not a safetensors file"))


# hand-made files: each names a way to fool a reader


METADATA = {"__metadata__": {"rnnx": "{}"}}
ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "must be a JSON object"),
        (b"{" * 3000, "cannot load"),
        (b"[" * 100_000, "cannot load"),
        (b'{"a": ' * 3000, "cannot load"),
        (b"{}" + b" " * (header.HEADER_LIMIT + 1), "its header has"),
        (b'{"a":[' + b"[]," * header.VALUE_LIMIT + b"[]]}", "values"),
        (b'{"a": 1, "a": 1}', "repeats a name"),
        (b'{"a": NaN}', "must hold finite numbers"),
        (b'{"a": -Infinity}', "must hold finite numbers"),
        (b'{"a": 1e999}', "must hold finite numbers"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot load"),
        (b'{"a": "\xff"}', "cannot load"),
        (b"\x00\x00", "cannot load"),
        ({"a": ONE}, "not a file of rnnx"),
        ({"__metadata__": [1]}, "not a file of rnnx"),
        ({"__metadata__": {"rnnx": "{}", "more": "x"}}, "not a file of rnnx"),
        ({"__metadata__": {"rnnx": 3}}, "expected file version 1, got None"),
        ({"__metadata__": {"rnnx": "[]"}}, "must be a JSON object"),
        ({"__metadata__": {"rnnx": "{" * 3000}}, "cannot load"),
        ({"__metadata__": {"rnnx": '{"version": true}'}}, "expected file version 1, got True"),
        ({"__metadata__": {"rnnx": '{"version": 99}'}}, "expected file version 1, got 99"),
        ({"__metadata__": {"rnnx": '{"version": 1}'}}, "its description must have"),
    ],
    ids=range(22),
)  # fmt: skip
def test_a_header_that_is_none(content: Any, words: str, tmp_path: Path) -> None:
    """Of another structure, too deep, too long, of numbers that are none."""
    (tmp_path / "file").write_bytes(raw(content, b"1234"))
    assert_refused(tmp_path / "file", words)


@pytest.mark.parametrize("length", [2, 10**3, 2**31, 2**63, 2**64 - 1])
def test_a_length_beyond_the_file(length: int, tmp_path: Path) -> None:
    """Nothing is read where nothing is."""
    (tmp_path / "file").write_bytes(length.to_bytes(8, "little") + b"{")
    assert_refused(tmp_path / "file", "truncated, or not a safetensors file")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (3, "must have a dtype, a shape and data_offsets"),
        (ONE | {"more": 1}, "must have a dtype, a shape and data_offsets"),
        (ONE | {"dtype": "F16"}, "unknown dtype 'F16'"),
        (ONE | {"dtype": "object"}, "unknown dtype 'object'"),
        (ONE | {"dtype": ["F32"]}, "unknown dtype"),
        (ONE | {"shape": 1}, "wrong shape"),
        (ONE | {"shape": [-1]}, "wrong shape"),
        (ONE | {"shape": [True]}, "wrong shape"),
        (ONE | {"shape": [1.0]}, "wrong shape"),
        (ONE | {"shape": [1] * 9}, "wrong shape"),
        (ONE | {"shape": [0, 2**70]}, "wrong shape"),
        (ONE | {"shape": [2]}, r"must have data_offsets \[0, 8\], got \[0, 4\]"),
        (ONE | {"shape": [2**38]}, r"must have data_offsets \[0, 1099511627776\], got \[0, 4\]"),
        (ONE | {"data_offsets": [4, 0]}, r"must have data_offsets \[0, 4\], got \[4, 0\]"),
        (ONE | {"data_offsets": [0, 4, 8]}, r"must have data_offsets \[0, 4\], got \[0, 4, 8\]"),
        (ONE | {"data_offsets": [-4, 0]}, r"must have data_offsets \[0, 4\], got \[-4, 0\]"),
        (ONE | {"data_offsets": [1, 5]}, r"must have data_offsets \[0, 4\], got \[1, 5\]"),
        (ONE | {"shape": [2], "data_offsets": [0, 8]}, "truncated or too long"),
        (ONE | {"shape": [2**37], "data_offsets": [0, 2**39]}, "truncated or too long"),
        (ONE | {"shape": [0], "data_offsets": [0, 0]}, "truncated or too long"),
        (ONE | {"shape": [0, 2**39, 2**39, 2**39], "data_offsets": [0, 0]}, "cannot load"),
    ],
    ids=range(21),
)  # fmt: skip
def test_an_array_that_is_none(entry: Any, words: str, saved: Path) -> None:
    """Of unknown dtypes, wrong shapes, places outside the file."""
    description = json.dumps(parts(saved)[1])
    for name in ("x", "x\n" * 50):
        content = {"__metadata__": {"rnnx": description}, name: entry}
        saved.write_bytes(raw(content, b"1234"))
        assert_refused(saved, words)


def test_arrays_that_overlap_are_refused(saved: Path) -> None:
    """Two names for the same bytes."""
    description = json.dumps(parts(saved)[1])
    saved.write_bytes(raw({"__metadata__": {"rnnx": description}, "x": ONE, "y": ONE}, b"1234"))
    assert_refused(saved, r"array 'y' must have data_offsets \[4, 8\], got \[0, 4\]")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 3}, {"config": []}, {"dtype": "float16"}, {"dtype": None}, {"extra": None},
        {"more": 1}, {"checksum": ""}, {"kind": "GRU"}, {"kind": "training run"},
        {"kind": "os"}, {"kind": "numpy:load"}, {"config": {}}, {"config": {"layer": "os.system"}},
        {"config": {"layer": ["GRU"]}}, {"config": {"layer": "SimpleRNN"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_description_that_is_none(change: dict[str, Any], saved: Path) -> None:
    """Of other fields, types, kinds and layers: no name in it is looked up anywhere."""
    head, description, data = parts(saved)
    text = json.dumps(description | change)
    saved.write_bytes(raw(head | {"__metadata__": {"rnnx": text}}, data))
    assert_refused(saved)


CONFIG = SimpleRNN(3, 4, 2).config()


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 10**9}, {"hidden_size": 5}, {"hidden_size": -4}, {"hidden_size": 4.0},
        {"hidden_size": "4"}, {"hidden_size": None}, {"nonlinearity": "sin"}, {"more": 1},
        {"nonlinearity": ["tanh"]}, {"layer": "GRU"}, {"layer": "Sequential"}, {"backend": "torch"},
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_does_not_fit_its_arrays(change: Any, saved: Path) -> None:
    """With a checksum that is right: the values are checked all the same."""
    description, arrays = io.read(saved)
    io.write(saved, description._replace(config=CONFIG | change), arrays)
    assert_refused(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Whh": None}, "'Whh': expected float32 of shape .4, 4., got none"),
        ({"more": np.zeros(3)}, "'more': expected none, got float64 of shape"),
        ({"Whh": np.zeros((4, 5), "float32")}, r"got float32 of shape \(4, 5\)"),
        ({"by": np.zeros((), "float32")}, r"got float32 of shape \(\)"),
        ({"Whh": np.zeros((4, 4))}, "got float64"),
        ({"Whh": np.zeros((4, 4), "bool")}, "got bool"),
    ],
)
def test_arrays_that_do_not_fit_the_configuration(change: Any, words: str, saved: Path) -> None:
    """Names, dtypes and shapes are the layer's own; nothing is completed at random."""
    description, arrays = io.read(saved)
    wrong = {name: array for name, array in (arrays | change).items() if array is not None}
    io.write(saved, description, wrong)
    assert_refused(saved, words)


@pytest.mark.parametrize(
    "config",
    [
        GRU(2, 3).config() | {"hidden_size": 10**6},
        GRU(2, 3).config() | {"num_layers": 10**12},
        {"layer": "Sequential", "layers": [GRU(2, 3).config() | {"num_layers": 10**12}]},
        Linear(2, 3).config() | {"output_size": 10**9},
        {"layer": "Embedding", "num_embeddings": 10**7, "size": 10**7},
    ],
    ids=str,
)
def test_no_memory_is_taken_for_what_is_not_there(config: Any, tmp_path: Path) -> None:
    """A small file that announces a large model is refused before it is built."""
    path = tmp_path / "model"
    rnnx.save(path, GRU(2, 3, seed=0))
    description, arrays = io.read(path)
    io.write(path, description._replace(config=config), arrays)
    assert_refused(path)  # whatever is imported is there
    tracemalloc.start()
    try:
        assert_refused(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("depth", [1, 50, 100, 150, 200, 250, 300, 350, 400, 10_000])
def test_layers_nested_too_deep(depth: int, tmp_path: Path) -> None:
    """Beyond what Python's recursion reads, checks or builds: loaded or refused."""
    path = tmp_path / "model"
    rnnx.save(path, Sequential(GRU(2, 3, seed=0)))
    head, description, data = parts(path)
    start, end = '{"layer": "Sequential", "layers": [', "]}"
    nested = start * depth + json.dumps(GRU(2, 3).config()) + end * depth
    text = json.dumps(description | {"config": 0}).replace('"config": 0', f'"config": {nested}')
    path.write_bytes(raw(head | {"__metadata__": {"rnnx": text}}, data))
    if depth == 1:
        assert rnnx.load(path).config() == description["config"]
    else:
        assert_refused(path)


# files that are none, and places where none can be


def test_a_folder_a_device_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    """What the system refuses is the system's error; nothing is read without end."""
    with pytest.raises(IsADirectoryError):
        rnnx.load(tmp_path)
    if os.path.exists("/dev/zero"):
        assert_refused(Path("/dev/zero"), "a device or a pipe, expected a file")
        with pytest.raises(ValueError, match="a folder or a device"):
            rnnx.save("/dev/zero", Linear(2, 1))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert_refused(tmp_path / "pipe", "a device or a pipe, expected a file")
    with pytest.raises(ValueError, match="a folder or a device"):
        rnnx.save(tmp_path, Linear(2, 1))


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    """Missing, in a loop, too long, with a null character."""
    with pytest.raises(FileNotFoundError, match="nothing here"):
        rnnx.load(tmp_path / "nothing here")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for action in (rnnx.load, lambda path: rnnx.save(path, Linear(2, 1))):
        with pytest.raises(OSError, match="loop") as caught:
            action(loop)
        assert caught.value.errno == errno.ELOOP
        with pytest.raises(OSError, match="too long"):
            action(tmp_path / ("x" * 256))
    with pytest.raises(ValueError, match="no null character"):
        rnnx.load("a\0b")


@pytest.mark.parametrize("name", ["x" * 240, "é" * 127, "模" * 85])
def test_a_long_name_is_a_name(name: str, tmp_path: Path) -> None:
    """Up to the system's limit of 255 bytes."""
    rnnx.save(tmp_path / name, Linear(2, 1, seed=0))
    assert rnnx.load(tmp_path / name).config() == Linear(2, 1).config()


def test_a_link_stays_a_link(saved: Path, tmp_path: Path) -> None:
    """The file that it leads to is replaced."""
    link = tmp_path / "link"
    link.symlink_to(saved)
    rnnx.save(link, Linear(2, 1, seed=0))
    assert link.is_symlink()
    assert rnnx.load(saved).config() == Linear(2, 1).config()


def test_permissions_are_kept(saved: Path, tmp_path: Path) -> None:
    """Those of the file that is replaced; a new one's are as the umask says."""
    for mode in (0o600, 0o640, 0o666):
        saved.chmod(mode)
        rnnx.save(saved, Linear(2, 1))
        assert saved.stat().st_mode & 0o777 == mode
    mask = os.umask(0o027)
    try:
        rnnx.save(tmp_path / "new", Linear(2, 1))
    finally:
        os.umask(mask)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_a_failed_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails while writing, the old file stays whole and nothing else is left behind."""
    before = saved.read_bytes()

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        rnnx.save(saved, SimpleRNN(3, 4, 2))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    missing = saved.parent / "no folder" / "model"
    with pytest.raises(FileNotFoundError) as caught:
        rnnx.save(missing, SimpleRNN(3, 4, 2))
    assert caught.value.filename == str(missing)


# kinds of models


class Model(io.Saved):
    """A model of another kind, by the two hooks."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def _describe(self) -> tuple[Description, Any]:
        bk, config = self.layer.backend, self.layer.config()
        arrays = {f"model.{k}": bk.to_numpy(w) for k, w in self.layer.params.items()}
        return Description(type(self).__name__, config, bk.dtype_name, {"classes": ["a"]}), arrays

    @classmethod
    def _expect(cls, description: Description) -> Any:
        if description.extra != {"classes": ["a"]}:
            raise ValueError("classes must be ['a']")
        return io.layer_specs(description, "model.")

    @classmethod
    def _restore(cls, description: Description, arrays: Any, backend: Backend) -> Any:
        return cls(io.restore_layer(description.config, io.part(arrays, "model"), backend))


def test_another_kind_of_model_has_two_hooks(bk: Backend, tmp_path: Path) -> None:
    """Its own `save` and `load`, with what it needs checked before it is built."""
    path = tmp_path / "model"
    model = Model(GRU(2, 3, backend=bk, seed=0))
    model.save(path)
    loaded = Model.load(path, backend=bk)
    for name, w in loaded.layer.params.items():
        np.testing.assert_array_equal(bk.to_numpy(w), bk.to_numpy(model.layer.params[name]))
    assert_refused(path, "it holds a 'Model', which this version does not know")
    description, arrays = io.read(path)
    io.write(path, description._replace(extra={"classes": ["b"]}), arrays)
    with pytest.raises(ValueError, match=r"cannot load .*: classes must be \['a'\]"):
        Model.load(path)
    rnnx.save(path, GRU(2, 3))
    with pytest.raises(ValueError, match="it holds a 'layer', expected a 'Model'"):
        Model.load(path)
