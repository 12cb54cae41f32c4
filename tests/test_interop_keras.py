"""Weights from Keras and for Keras, compared on Keras's own outputs; files need h5py alone."""

from __future__ import annotations

import itertools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import assert_near

import rnnx
from rnnx.interop import from_keras, to_keras

keras = pytest.importorskip("keras", reason="needs keras")
pytest.importorskip("h5py", reason="needs h5py")
# Keras's own call of NumPy on its variables
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

X = np.random.default_rng(0).standard_normal((3, 7, 4)).astype("float32")
IDS = np.random.default_rng(1).integers(0, 9, (3, 7))
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "tanh": ("SimpleRNN", {}),
    "relu": ("SimpleRNN", {"activation": "relu"}),
    "GRU": ("GRU", {"reset_after": True}),
    "GRU before": ("GRU", {"reset_after": False}),
    "LSTM": ("LSTM", {"unit_forget_bias": False}),
}
CASES = [*itertools.product(KINDS, [1, 2], [True, False], [True, False], [True, False])]


@pytest.fixture(autouse=True)
def one_seed() -> None:
    """Let Keras draw the same weights in every run."""
    keras.utils.set_random_seed(1)


def output(model: Any, x: np.ndarray) -> np.ndarray:
    """Return what a model of Keras computes."""
    return keras.ops.convert_to_numpy(model(x))


def theirs(kind: str, layers: int, both: bool, bias: bool, sequences: bool) -> Any:
    """Return a model of Keras; every bias is drawn."""
    name, options = KINDS[kind]
    model = keras.Sequential([keras.layers.Input((None, 4))])
    for k in range(layers):
        one = getattr(keras.layers, name)(
            5, use_bias=bias, bias_initializer="glorot_uniform",
            return_sequences=sequences or k < layers - 1, **options,
        )  # fmt: skip
        model.add(keras.layers.Bidirectional(one) if both else one)
    return model


@pytest.mark.parametrize(("kind", "layers", "both", "bias", "sequences"), CASES)
def test_keras_computes_the_same(
    kind: str, layers: int, both: bool, bias: bool, sequences: bool, tmp_path: Path
) -> None:
    """A model, its file, and the model that we make of it: one output."""
    model = theirs(kind, layers, both, bias, sequences)
    expected = output(model, X)
    ours = from_keras(model)
    assert_near(ours(X)[0], expected, 1e-5)
    model.save(tmp_path / "model.keras")
    from_file = from_keras(tmp_path / "model.keras")
    assert from_file.config() == ours.config()
    np.testing.assert_array_equal(from_file(X)[0], ours(X)[0])
    twin = to_keras(ours)
    assert_near(output(twin, X), expected, 1e-5)
    assert from_keras(twin).config() == ours.config()


@pytest.mark.parametrize("cell", ["rnn", "gru", "gru_reset_before", "lstm"])
def test_stacks_of_ours_in_keras(cell: str) -> None:
    """Two layers in one, both directions, time-major, float64, dropout: Keras's output is ours."""
    ours = rnnx.Recurrent(
        cell, 4, 5, 2, bidirectional=True, dropout=0.5, dtype="float64", seed=0
    )  # fmt: skip
    x = X.astype("float64")
    expected = np.swapaxes(ours(np.swapaxes(x, 0, 1))[0], 0, 1)
    twin = to_keras(ours)
    assert_near(output(twin, x), expected, 1e-6)  # on torch, Keras multiplies float64 in float32
    assert [type(layer).__name__ for layer in twin.layers][1] == "Dropout"


def chain() -> Any:
    """Return a chain of every other layer, of Keras."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(9, 4),
            layers.Dropout(0.3),
            layers.Bidirectional(layers.GRU(5, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(3, activation="relu")),
            layers.GRU(6, return_sequences=True),
            layers.GlobalMaxPooling1D(),
            layers.Dense(5, use_bias=False),
            layers.ReLU(),
            layers.Activation("sigmoid"),
            layers.Dense(2),
            layers.Softmax(),
        ]
    )


def test_chains(tmp_path: Path) -> None:
    """Of the other layers too, by object and by file; the same again from ours."""
    model = chain()
    model.save(tmp_path / "model.keras")
    expected = output(model, IDS)
    for source in (model, tmp_path / "model.keras", str(tmp_path / "model.keras")):
        ours = from_keras(source)
        assert_near(ours(IDS)[0], expected, 1e-5)
    assert_near(output(to_keras(ours), IDS), expected, 1e-5)


def test_functional_models(tmp_path: Path) -> None:
    """A chain is one; of any other model a single layer can be taken."""
    layers = keras.layers
    start = keras.Input((None, 4))
    hidden = layers.LSTM(5, return_sequences=True, name="lower")(start)
    end = layers.GlobalAveragePooling1D()(hidden)
    model = keras.Model(start, end)
    model.save(tmp_path / "chain.keras")
    for source in (model, tmp_path / "chain.keras"):
        assert_near(from_keras(source)(X)[0], output(model, X), 1e-5)
    branched = keras.Model(
        start, layers.Add()([hidden, layers.LSTM(5, return_sequences=True)(hidden)])
    )
    branched.save(tmp_path / "branched.keras")
    lower = output(keras.Model(start, hidden), X)
    for source in (branched, tmp_path / "branched.keras"):
        with pytest.raises(
            ValueError, match="a model of another structure: choose one with layer="
        ):
            from_keras(source)
        assert_near(from_keras(source, layer="lower")(X)[0], lower, 1e-5)
        with pytest.raises(ValueError, match=r"layer must be one of .*lower"):
            from_keras(source, layer="upper")
    twice = layers.GRU(4, return_sequences=True)
    shared = keras.Model(start, twice(twice(start)))
    with pytest.raises(ValueError, match="another structure"):
        from_keras(shared)


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "the final state": lambda k, x: k.LSTM(5, return_state=True)(x)[2],
    "a state inside": lambda k, x: k.Dense(2)(k.LSTM(5, return_state=True)(x)[2]),
    "a constant state": lambda k, x: k.GRU(5)(x, initial_state=keras.ops.ones((3, 5))),
    "a constant mask": lambda k, x: k.GRU(5)(x, mask=np.arange(21).reshape(3, 7) % 7 < 4),
    "training": lambda k, x: k.Dropout(0.5)(x, training=True),
    "two outputs": lambda k, x: list(k.GRU(5, return_state=True)(x)),
}


@pytest.mark.parametrize("call", CALLS)
def test_calls_that_a_chain_lacks_are_refused(call: str, tmp_path: Path) -> None:
    """A state in place of the output, and what is given beside the input, are not ignored."""
    start = keras.Input((7, 4), batch_size=3)
    model = keras.Model(start, CALLS[call](keras.layers, start))
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        with pytest.raises(ValueError, match="another structure"):
            from_keras(source)


def test_layers_without_weights_yet() -> None:
    """The error says how they come to have them."""
    for make in (lambda k: k.GRU(3), lambda k: k.Dense(2), lambda k: k.Bidirectional(k.LSTM(3))):
        layer = make(keras.layers)
        for source in (layer, keras.Sequential([layer])):
            with pytest.raises(ValueError, match="has no weights yet: call the model or the layer"):
                from_keras(source)


def test_operations_beside_layers() -> None:
    """A model with operations is no chain; a layer of it can be taken."""
    start = keras.Input((None, 4))
    hidden = keras.layers.GRU(5, return_sequences=True, name="lower")(start)
    model = keras.Model(start, hidden * 2.0)
    with pytest.raises(ValueError, match="another structure"):
        from_keras(model)
    expected = output(keras.Model(start, hidden), X)
    assert_near(from_keras(model, layer="lower")(X)[0], expected, 1e-5)


@keras.saving.register_keras_serializable("mine")
class Sequential(keras.Sequential):
    """A model of another's, which has the name of one of Keras."""


def test_models_of_others_are_refused(tmp_path: Path) -> None:
    """Their call may compute anything."""
    model = Sequential([keras.layers.Input((7, 4)), keras.layers.GRU(3)])
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        with pytest.raises(ValueError, match="functional model of Keras, got a 'Sequential'"):
            from_keras(source)


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda k: k.LSTM(3, activation="relu"), "LSTM with activation='tanh', got 'relu'"),
    (lambda k: k.GRU(3, recurrent_activation="hard_sigmoid"), "recurrent_activation='sigmoid'"),
    (lambda k: k.SimpleRNN(3, activation="gelu"), "activation='tanh' or 'relu', got 'gelu'"),
    (lambda k: k.LSTM(3, go_backwards=True), "go_backwards=False, got True"),
    (lambda k: k.LSTM(3, stateful=True), "stateful=False"),
    (lambda k: k.Bidirectional(k.LSTM(3), merge_mode="sum"), "merge_mode='concat', got 'sum'"),
    (
        lambda k: k.Bidirectional(k.LSTM(3), backward_layer=k.GRU(3, go_backwards=True)),
        "a Bidirectional of two of one",
    ),
    (
        lambda k: k.Bidirectional(
            k.SimpleRNN(3), backward_layer=k.SimpleRNN(3, activation="relu", go_backwards=True)
        ),
        "SimpleRNN with activation='tanh'",
    ),
    (lambda k: k.TimeDistributed(k.LayerNormalization()), "a TimeDistributed of a Dense"),
    (lambda k: k.Dense(3, activation="gelu"), "Dense with activation="),
    (lambda k: k.LayerNormalization(), "got 'LayerNormalization'"),
    (lambda k: k.RNN(k.LSTMCell(3)), "got 'RNN'"),
    (lambda k: k.Dropout(0.1, noise_shape=(None, 1, None)), "noise_shape=None"),
    (lambda k: k.ReLU(max_value=6.0), "max_value=None, got 6"),
    (lambda k: k.Softmax(axis=1), "axis=-1, got 1"),
    (lambda k: k.GlobalMaxPooling1D(keepdims=True), "keepdims=False"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED, ids=[words for _, words in REFUSED])
@pytest.mark.filterwarnings("ignore:.*Softmax over axis")
def test_what_has_no_equal_is_refused(make: Any, words: str) -> None:
    """By the name of the layer and of the option, never approximated."""
    model = keras.Sequential([keras.layers.Input((7, 4), batch_size=3), make(keras.layers)])
    with pytest.raises(ValueError, match=words):
        from_keras(model)


def test_symbols_that_mask_are_refused() -> None:
    """Embedding(mask_zero=True) makes a mask, which our layers take as an argument."""
    model = keras.Sequential(
        [keras.layers.Input((7,)), keras.layers.Embedding(9, 2, mask_zero=True)]
    )
    with pytest.raises(ValueError, match="mask_zero=False"):
        from_keras(model)
    with pytest.raises(TypeError, match="a Keras layer or a file name"):
        from_keras(3)


@keras.saving.register_keras_serializable("mine")
class LSTM(keras.layers.LSTM):
    """A layer of another's, which has the name of one of Keras."""


def test_layers_of_others_are_refused(tmp_path: Path) -> None:
    """Also under a name that Keras has, by object and by file."""
    model = keras.Sequential([keras.layers.Input((7, 4)), LSTM(3)])
    model.save(tmp_path / "model.keras")
    for source in (model, tmp_path / "model.keras"):
        with pytest.raises(ValueError, match="expected layers of Keras"):
            from_keras(source)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (rnnx.LSTM(3, 4, proj_size=2), "a layer that Keras lacks"),
        (rnnx.Recurrent("leaky_rnn", 3, 4), "a layer that Keras lacks"),
        (rnnx.Sequential(rnnx.Linear(3, 4), rnnx.Pool("last")), "right after a recurrent layer"),
        (
            rnnx.Sequential(rnnx.GRU(3, 4, bidirectional=True), rnnx.Pool("last")),
            "of the same directions",
        ),
        (rnnx.Sequential(rnnx.Pool("max"), rnnx.Linear(3, 4)), "a chain that begins with"),
    ],
)
def test_layers_that_keras_lacks(layer: Any, words: str) -> None:
    """Are refused by name."""
    with pytest.raises(ValueError, match=words):
        to_keras(layer)


def test_not_a_layer() -> None:
    """A layer of a class that nobody knows, and what is no layer."""

    class Mine(rnnx.Layer):
        input_size = 3

        def forward(self, x: Any, state: Any = None, *, params: Any = None) -> Any:
            return x, None, ()

        def backward(self, dy: Any, cache: Any, dstate: Any = None) -> Any:
            return dy, None, {}

    mine = Mine()
    mine.backend, mine._params = rnnx.get_backend("numpy"), {}
    for what in (mine, 3):
        with pytest.raises(TypeError, match="expected a layer"):
            to_keras(what)


def test_where_it_goes() -> None:
    """The dtype is that of the arrays, the backend that which was asked for."""
    model = theirs("GRU", 1, True, True, True)
    assert from_keras(model).backend.dtype_name == "float32"
    assert from_keras(model, dtype="float64").backend.dtype_name == "float64"


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    """One line that names it: no archive, no configuration, a subclassed model."""
    path = tmp_path / "model.keras"
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"cannot load .*model\.keras.*it is not a \.keras file"):
        from_keras(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Mine", "config": {}}))
    with pytest.raises(ValueError, match=r"model\.keras.*one model\.weights\.h5 .*, got 0"):
        from_keras(path)
