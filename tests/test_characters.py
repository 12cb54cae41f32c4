"""The character model: it learns, on every backend, and its files and runs are whole."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Case
from conftest import make

import rnnx
from rnnx import io
from rnnx.characters import CharacterModel
from rnnx.train import Diverged

TEXT = "to be or not to be, " * 60
SMALL: dict[str, Any] = {
    "hidden_size": 24, "embedding_size": 8, "streams": 4, "epochs": 8, "learning_rate": 0.03,
    "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> CharacterModel:
    return CharacterModel(**SMALL).fit(TEXT)


def test_a_text_is_learned(model: CharacterModel) -> None:
    """Far below the alphabet's log₂, on what was held out too; what it writes is the text."""
    bits = model.history_["validation_loss"]
    assert bits[-1] < 0.1 * math.log2(len(model.characters_))
    assert model.characters_ == " ,benort"
    assert "not to be, to be" in model.sample("to b", 60, temperature=0.1, seed=0)


def test_bits_are_the_probabilities_of_the_characters(model: CharacterModel) -> None:
    """Equal to a softmax over outputs taken one by one, the state carried by hand."""
    text, total, state = "be to not, to", 0.0, None
    for now, after in pairwise(text):
        z, state = model.model_([[model.characters_.index(now)]], state)
        p = np.exp(z[0, 0]) / np.sum(np.exp(z[0, 0]))
        total -= math.log2(p[model.characters_.index(after)])
    assert model.bits_per_character(text) == pytest.approx(total / (len(text) - 1), rel=1e-5)


def test_long_texts_are_measured_in_one_piece(model: CharacterModel) -> None:
    """The state goes on from chunk to chunk: the mean of all characters' bits, however long."""
    ids = np.asarray([model.characters_.index(c) for c in 2 * TEXT])
    z = model.model_(ids[:-1, None])[0][:, 0].astype("float64")
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    expected = -np.mean(log_p[np.arange(len(z)), ids[1:]]) / math.log(2)
    assert model.bits_per_character(2 * TEXT) == pytest.approx(expected, rel=1e-5)


def test_samples_follow_the_seed_and_the_temperature(model: CharacterModel) -> None:
    """One seed, one text; the hotter, the less likely; the prompt is read, and not returned."""
    draws = [model.sample("t", 200, temperature=t, seed=1) for t in (1.0, 1.0, 5.0)]
    assert draws[0] == draws[1] != draws[2]
    assert [len(text) for text in draws] == [200] * 3
    assert model.bits_per_character(draws[2]) > model.bits_per_character(draws[0]) + 1
    assert model.sample("not to b", 3, temperature=0.05, seed=0) == "e, "


@pytest.mark.parametrize("place", ["numpy", "array_api_strict", "torch", "jax", "cupy"])
def test_every_backend_learns_and_writes_the_same(place: str) -> None:
    """One seed: NumPy's figures to tolerance, and its text."""
    options = SMALL | {"epochs": 2, "dropout": 0.2, "num_layers": 2, "cell": "lstm"}
    models = [CharacterModel(**options, backend=b).fit(TEXT)
              for b in (make(Case(place, None, "float32")), "numpy")]  # fmt: skip
    np.testing.assert_allclose(*(m.history_["validation_loss"] for m in models), rtol=1e-3)
    assert models[0].bits_per_character(TEXT) == pytest.approx(
        models[1].bits_per_character(TEXT), rel=1e-3
    )
    assert len(models[0].sample("to ", 9, seed=0)) == 9


def test_files_keep_everything(model: CharacterModel, tmp_path: Path) -> None:
    """Saved and loaded, on another library too: the same figures and texts."""
    model.save(tmp_path / "model.safetensors")
    loaded = CharacterModel.load(tmp_path / "model.safetensors")
    assert loaded.bits_per_character(TEXT) == model.bits_per_character(TEXT)
    assert loaded.sample("to ", 99, seed=3) == model.sample("to ", 99, seed=3)
    assert (loaded.hidden_size, loaded.seed) == (24, 0)
    strict = CharacterModel.load(
        tmp_path / "model.safetensors", backend="array_api_strict", dtype="float64"
    )
    assert strict.model_.backend.dtype_name == "float64"
    assert strict.bits_per_character(TEXT) == pytest.approx(
        model.bits_per_character(TEXT), rel=1e-5
    )
    rnnx.save(tmp_path / "other.safetensors", rnnx.Linear(2, 2))
    with pytest.raises(ValueError, match="expected a 'CharacterModel'"):
        CharacterModel.load(tmp_path / "other.safetensors")


def test_files_that_lack_something_are_refused(model: CharacterModel, tmp_path: Path) -> None:
    """A parameter, the alphabet, the options: never completed at random."""
    path = tmp_path / "model.safetensors"
    model.save(path)
    description, arrays = io.read(path)
    for lost in ("model.1.weight_hh_l0", "characters_", "streams", "cell"):
        config, extra, fewer = (
            {k: v for k, v in part.items() if k != lost}
            for part in (description.config, description.extra, arrays)
        )
        io.write(path, description._replace(config=config, extra=extra), fewer)
        with pytest.raises(ValueError, match=r"cannot load .*model.safetensors': .*expected"):
            CharacterModel.load(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("characters_", " ,benotr", "sorted, each once"),
        ("characters_", " ,benorr", "sorted, each once"),
        ("characters_", "", "sorted, each once"),
        ("characters_", None, "must be a str"),
        ("characters_", " ,benorz", None),
        ("characters_", " ,benortz", r"expected float32 of shape \(9, 8\)"),
        ("embedding_size", 10**9, r"expected float32 of shape \(8, 1000000000\)"),
        ("streams", 0, "streams must be an integer"),
        ("seed", "x", "seed must be an integer"),
        ("learning_rate", True, "learning_rate must be above 0"),
    ],
)
def test_files_that_say_something_impossible_are_refused(
    model: CharacterModel, tmp_path: Path, name: str, value: Any, words: str | None
) -> None:
    """Alphabet and options are checked before they are used."""
    description, arrays = model._describe()
    part = description.extra if name in description.extra else description.config
    part[name] = value
    io.write(tmp_path / "model.safetensors", description, arrays)
    if words is None:
        assert rnnx.load(tmp_path / "model.safetensors").characters_ == value
        return
    with pytest.raises(ValueError, match=words):
        CharacterModel.load(tmp_path / "model.safetensors")


def test_a_generator_as_seed_is_not_kept(tmp_path: Path) -> None:
    """The file holds None in its place."""
    options = SMALL | {"epochs": 1, "seed": np.random.default_rng(0)}
    CharacterModel(**options).fit(TEXT).save(tmp_path / "model.safetensors")
    assert CharacterModel.load(tmp_path / "model.safetensors").seed is None


class Interrupted(Exception):
    """The end of a process, as a test makes it."""


def test_an_interrupted_run_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    """From its checkpoint; the model at the interruption is what had been reached."""

    def interrupt(run: Any) -> None:
        if run.epoch == 2:
            raise Interrupted

    options = SMALL | {"epochs": 4, "dropout": 0.2}
    whole, half = CharacterModel(**options).fit(TEXT), CharacterModel(**options)
    with pytest.raises(Interrupted):
        half.fit(TEXT, checkpoint_dir=tmp_path, callbacks=[interrupt])
    assert half.bits_per_character(TEXT) < 3
    half.fit(TEXT, checkpoint_dir=tmp_path, resume=True)
    np.testing.assert_array_equal(half.history_["loss"], whole.history_["loss"])
    assert half.bits_per_character(TEXT) == whole.bits_per_character(TEXT)


def test_all_of_the_text_may_be_learned() -> None:
    """Without a part held out: no validation, the last parameters."""
    options = SMALL | {"validation_fraction": 0, "epochs": 2}
    assert "validation_loss" not in CharacterModel(**options).fit(TEXT).history_


def test_a_diverged_training_keeps_the_last_good_model() -> None:
    """The error of `fit`, and finite figures after it."""
    model = CharacterModel(**SMALL | {"epochs": 2}).fit(TEXT)
    model.learning_rate, model.clip_norm = 1e38, None
    with pytest.raises(Diverged, match="training diverged at step"):
        model.fit(TEXT)
    assert math.isfinite(model.bits_per_character(TEXT))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.bits_per_character("to be\nor é"), r"got '\\n' in line 1, column 6"),
        (lambda m: m.bits_per_character("to bé"), "8 characters .* got 'é' in line 1, column 5"),
        (lambda m: m.bits_per_character("t"), "text must have at least 2 characters, got 1"),
        (lambda m: m.bits_per_character(b"to be"), "text must be a str, got bytes"),
        (lambda m: m.sample(""), "prompt must have at least 1 characters"),
        (lambda m: m.sample("?"), r"prompt must consist of the 8 characters .* got '\?'"),
        (lambda m: m.sample("to", 0), "count must be an integer of at least 1"),
        (lambda m: m.sample("to", temperature=0), "temperature must be above 0"),
        (lambda m: m.fit(3), "text must be a str, got int"),
        (lambda m: m.fit("abc"), "text must have more characters to learn than the 4 streams"),
        (lambda m: m.fit("abcdefgh"), "at least 2 to hold out, got 8 and 0"),
        (lambda m: CharacterModel(cell="transformer").fit(TEXT), "cell must be one of rnn, gru"),
        (lambda m: CharacterModel(streams=0).fit(TEXT), "streams must be"),
        (lambda m: CharacterModel(length=0).fit(TEXT), "length must be"),
        (lambda m: CharacterModel(dropout=1).fit(TEXT), "dropout must be in"),
        (lambda m: CharacterModel(embedding_size=0).fit(TEXT), "embedding_size must be"),
        (lambda m: CharacterModel(clip_norm=-1).fit(TEXT), "clip_norm must be"),
        (lambda m: CharacterModel().sample("a"), r"call fit\(text\) first"),
        (lambda m: CharacterModel().save("model.safetensors"), r"call fit\(text\) first"),
    ],
)  # fmt: skip
def test_wrong_calls_are_named_and_change_nothing(
    model: CharacterModel, call: Any, words: str
) -> None:
    """Expected, got, what to do; the model stays as it was."""
    before = model.model_.params
    with pytest.raises((ValueError, TypeError), match=words):
        call(model)
    assert all(model.model_.params[name] is w for name, w in before.items())
