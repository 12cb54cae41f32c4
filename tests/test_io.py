"""Model files: whole or not at all, and never anything but ours."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnx import SimpleRNN, io


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.rnnx"
    SimpleRNN(3, 4, 2, seed=0).save(path)
    return path


def test_a_file_holds_plain_arrays_and_no_pickle(saved: Path) -> None:
    """Any program that reads npz reads the parameters; the header is JSON."""
    with np.load(saved, allow_pickle=False) as file:
        assert sorted(file.files) == ["Whh", "Why", "Wxh", "bh", "by", "rnnx"]
        header = json.loads(file["rnnx"].tobytes())
    assert header["model"] == "SimpleRNN"
    assert header["version"] == io.VERSION


def test_every_truncation_is_found(saved: Path) -> None:
    """Cut at any length, the file is refused, never half read."""
    whole = saved.read_bytes()
    for length in range(len(whole)):
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"expected a model file of rnnx, got .*truncated"):
            SimpleRNN.load(saved)


def test_a_damaged_byte_is_found(saved: Path) -> None:
    """A changed byte in a parameter fails the archive's checksum."""
    whole = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        start = archive.getinfo("Whh.npy").header_offset
    whole[start + 200] ^= 1
    saved.write_bytes(whole)
    with pytest.raises(ValueError, match="expected a model file of rnnx"):
        SimpleRNN.load(saved)


def test_no_flipped_bit_passes(saved: Path) -> None:
    """Whatever bit is wrong, the file is refused in one way, or holds what was written."""
    whole, rnn = saved.read_bytes(), SimpleRNN.load(saved)
    rng = np.random.default_rng(0)
    for place in rng.choice(8 * len(whole), 1500, replace=False):
        wrong = bytearray(whole)
        wrong[place // 8] ^= 1 << place % 8
        saved.write_bytes(wrong)
        with contextlib.suppress(ValueError):  # any other error fails the test
            for name, W in SimpleRNN.load(saved).params.items():
                np.testing.assert_array_equal(W, rnn.params[name])


@pytest.mark.parametrize(
    "header", [{}, {"sizes": [3, 4]}, {"sizes": [3, 4, 2, 1]}, {"sizes": [3, 4, 2]}], ids=str
)
def test_a_header_that_lacks_something_is_refused(saved: Path, header: dict[str, Any]) -> None:
    """Sizes, nonlinearity and dtype must be there."""
    io.save(saved, "SimpleRNN", header, {})
    with pytest.raises(ValueError, match="expected a model file of rnnx"):
        SimpleRNN.load(saved)


def test_missing_parameters_are_found(saved: Path) -> None:
    """A file without a parameter is refused, and not completed at random."""
    header, arrays = io.load(saved, "SimpleRNN")
    del arrays["Whh"]
    io.save(saved, "SimpleRNN", header, arrays)
    with pytest.raises(ValueError, match="expected a model file of rnnx"):
        SimpleRNN.load(saved)


def test_a_folder_is_not_a_damaged_file(tmp_path: Path) -> None:
    """What the system refuses is the system's error, not advice to save again."""
    with pytest.raises(IsADirectoryError):
        SimpleRNN.load(tmp_path)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x04N.", b"PK\x03\x04 not a zip"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Text, a pickle, a broken archive: one error, and no code of theirs is run."""
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected a model file of rnnx"):
        SimpleRNN.load(path)


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    """An npz or npy that is not ours, a pickled one too."""
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    np.save(tmp_path / "b.npy", np.zeros(3))
    np.savez(tmp_path / "c.npz", rnnx=np.asarray([{}], dtype=object))
    for name in ("a.npz", "b.npy", "c.npz"):
        with pytest.raises(ValueError, match="expected a model file of rnnx"):
            SimpleRNN.load(tmp_path / name)


def test_another_model_or_version_is_refused(saved: Path) -> None:
    """The error says what the file is."""
    with pytest.raises(ValueError, match="expected the file of a GRU, got that of a SimpleRNN"):
        io.load(saved, "GRU")
    header: dict[str, Any] = {"sizes": [3, 4, 2], "nonlinearity": "tanh", "dtype": "float32"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "VERSION", 99)
        io.save(saved, "SimpleRNN", header, {})
    with pytest.raises(ValueError, match="expected file version 1, got 99"):
        SimpleRNN.load(saved)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    """Not a model file is one thing, no file another."""
    with pytest.raises(FileNotFoundError, match="nothing here"):
        SimpleRNN.load(tmp_path / "nothing here")


def test_a_failed_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails while writing, the old file stays whole and nothing else is left behind."""
    before = saved.read_bytes()

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        SimpleRNN(3, 4, 2).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    missing = saved.parent / "no folder" / "model.rnnx"
    with pytest.raises(FileNotFoundError) as caught:
        SimpleRNN(3, 4, 2).save(missing)
    assert caught.value.filename == str(missing)
