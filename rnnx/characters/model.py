"""The character model, a recurrent network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, fields
from os import PathLike
from typing import Any, Self

import numpy as np

from rnnx import io, validate
from rnnx.backend import Backend, target_backend
from rnnx.characters import alphabet, network
from rnnx.data import Stream
from rnnx.layers.sequential import Sequential
from rnnx.optim import Adam, Cosine
from rnnx.train import History, Run, evaluate, fit

HELD_OUT_STREAMS = 8  # few, as each starts knowing nothing
CHUNK = 1000  # characters at a time of a text that is only measured
_PLACE = ("backend", "device", "dtype", "verbose")  # chosen anew where a file is loaded


@dataclass(eq=False)
class CharacterModel:
    """Predict the next character of a text from all before it, with a recurrent network.

    The network: an embedding, RNN, GRU or LSTM layers, a linear layer, a softmax; trained with Adam
    by truncated BPTT on parts of the text side by side, while the learning rate goes to zero. Its
    alphabet is the characters of the text that `fit` is given; any other is an error later.

    Parameters
    ----------
    hidden_size : int
        Units of a layer.
    cell : {"gru", "lstm", "rnn"}
        The recurrent layers' kind.
    num_layers : int
        How many are stacked.
    embedding_size : int
        Length of the vector that stands for a character.
    dropout : float
        In [0, 1): between layers, and before the linear layer.
    length : int
        Characters of a chunk: how far back gradients go.
    streams : int
        Parts of the text that are read side by side, as a mini-batch.
    epochs : int
        How many times `fit` reads the text.
    learning_rate : float
        Adam's, at the start.
    clip_norm : float or None
        The largest joint norm of the gradients.
    validation_fraction : float
        In [0, 1): the share of the text, at its end, that is held out in `fit`; the parameters that
        are best on it are kept.
    patience : int or None
        Stop after so many epochs without a lower loss on what is held out.
    backend, device, dtype
        As for `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Of weights and dropout.
    verbose : bool
        Whether to show a progress bar.

    Attributes
    ----------
    characters_ : str
        The alphabet, sorted.
    model_ : rnnx.Sequential
        The network.
    history_ : rnnx.train.History
        The figures of the training; losses are bits per character.

    References
    ----------
    I. Sutskever, J. Martens and G. E. Hinton, "Generating text with recurrent neural networks",
    ICML 2011.

    Examples
    --------
    >>> from rnnx.characters import CharacterModel
    >>> text = "to be or not to be, " * 100
    >>> model = CharacterModel(32, epochs=10, streams=4, learning_rate=0.02, seed=0).fit(text)
    >>> bool(model.bits_per_character("not to be or to be") < 1)
    True
    >>> model.sample("to b", 10, temperature=0.1, seed=0)
    'e or not t'
    """

    hidden_size: int = 256
    _: KW_ONLY
    cell: str = "gru"
    num_layers: int = 1
    embedding_size: int = 64
    dropout: float = 0.0
    length: int = 50
    streams: int = 16
    epochs: int = 5
    learning_rate: float = 0.004
    clip_norm: float | None = 1.0
    validation_fraction: float = 0.1
    patience: int | None = None
    backend: Any = "numpy"
    device: Any = None
    dtype: str | None = None
    seed: Any = None
    verbose: bool = False

    def fit(
        self,
        text: str,
        *,
        checkpoint_dir: str | PathLike[str] | None = None,
        resume: bool = False,
        callbacks: Iterable[Any] = (),
    ) -> Self:
        """Learn a text, from new weights.

        Parameters
        ----------
        text : str
            Some ten thousand characters at least, for words to come out of it.
        checkpoint_dir, resume, callbacks
            As for `rnnx.train.fit`. A run is resumed with the text it was begun with.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For what is no text or too short, and options outside their ranges.
        ValueError, OSError, rnnx.train.Diverged
            As `rnnx.train.fit` does.
        """
        characters, ids = alphabet.learn(text)
        streams = validate.size("streams", self.streams)
        learned, last = alphabet.split(ids, self.validation_fraction, streams)
        data = _stream(learned, self.length, streams)
        beside = min(HELD_OUT_STREAMS, len(last) - 1)
        held_out = _stream(last, self.length, beside) if len(last) else None
        rng, epochs = validate.generator(self.seed), validate.size("epochs", self.epochs)
        optimizer = Adam(validate.positive("learning_rate", self.learning_rate))
        model = network.build(self, len(characters), rng)

        def keep(run: Run) -> None:  # once there is something, also of a run that is interrupted
            self.characters_, self.model_, self.history_ = characters, model, run.history

        self.history_ = fit(
            model, data, loss=network.bits, optimizer=optimizer, epochs=epochs, validation=held_out,
            clip_norm=self.clip_norm, schedule=Cosine(epochs * -(-len(data.x) // data.length)),
            patience=self.patience, callbacks=[keep, *callbacks], progress=bool(self.verbose),
            checkpoint_dir=checkpoint_dir, resume=resume, seed=rng,
        )  # fmt: skip
        self.characters_, self.model_ = characters, model
        return self

    def bits_per_character(self, text: str) -> float:
        """Return the mean of -log₂ p of each character but the first, given all before it.

        Raises
        ------
        ValueError, TypeError
            Before `fit`; for what is no text of at least two characters, all of the alphabet.
        """
        ids = self._ids("text", text, 2)
        stream = Stream(ids[:-1, None], ids[1:, None], length=CHUNK)
        return evaluate(self.model_, stream, loss=network.bits)["loss"]

    def sample(
        self, prompt: str, count: int = 400, *, temperature: float = 1.0, seed: Any = None
    ) -> str:
        """Write on from a prompt, each character drawn given all before it.

        Parameters
        ----------
        prompt : str
            At least one character, all of the alphabet; not returned.
        count : int
            Characters to write.
        temperature : float
            Divides the logits: below 1, the likely is made likelier.
        seed : None, int or numpy.random.Generator
            Of the draws.

        Raises
        ------
        ValueError, TypeError
            Before `fit`; for another prompt, a count below 1, or a temperature not above 0.
        """
        ids, rng = self._ids("prompt", prompt, 1), validate.generator(seed)
        temperature = validate.positive("temperature", temperature)
        drawn = network.draw(self.model_, ids, validate.size("count", count), temperature, rng)
        return "".join(self.characters_[k] for k in drawn)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to a file that `load` reads, without pickle; whole or not."""
        model, bk = self._fitted(), self._fitted().backend
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _PLACE}
        if not isinstance(self.seed, int | None):
            options["seed"] = None  # a generator's state is not kept
        header = {"options": options, "dtype": bk.dtype_name, "characters": self.characters_}
        arrays = {name: bk.to_numpy(w) for name, w in model.params.items()}
        io.save(path, type(self).__name__, header, arrays)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
    ) -> Self:
        """Return the model that `save` wrote, on any backend.

        Raises
        ------
        OSError, ValueError
            Where there is no such file, or it is damaged or of another class.
        """
        header, arrays = io.load(path, cls.__name__)
        own = header.get("dtype", "float32")
        place = target_backend(backend, device=device, dtype=dtype, own_dtype=own)
        try:
            model = cls(**header["options"], backend=place)
            model.characters_, model.history_ = header["characters"], History()
            model.model_ = network.restored(model, len(model.characters_), arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise io.damaged(path, error) from None
        return model

    def _fitted(self) -> Sequential:
        if not hasattr(self, "model_"):
            raise ValueError("expected a fitted model, got a new one: call fit(text) first")
        return self.model_

    def _ids(self, name: str, text: str, least: int) -> np.ndarray:
        """Return the characters' numbers in the alphabet."""
        self._fitted()
        return alphabet.numbers(self.characters_, name, text, least)


def _stream(ids: np.ndarray, length: int, streams: int) -> Stream:
    """Return characters (T,) and, as targets, those that follow them."""
    return Stream(ids[:-1], ids[1:], length=length, streams=streams)
