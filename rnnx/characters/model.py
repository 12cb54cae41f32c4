"""The character model, a recurrent network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np

from rnnx import validate
from rnnx.characters import alphabet
from rnnx.characters.sampling import bits, draw
from rnnx.data import Stream
from rnnx.networks.deployed import Deployed, inner_layers
from rnnx.networks.fitted import RecurrentModel
from rnnx.networks.options import Checks
from rnnx.optim import Adam, Cosine
from rnnx.parallel.stages import Stages
from rnnx.train import History, Run, evaluate, fit

HELD_OUT_STREAMS = 8  # few, as each starts knowing nothing; but one for each process
CHUNK = 1000  # characters at a time of a text that is only measured


@dataclass(eq=False, kw_only=True)
class CharacterModel(RecurrentModel):
    """Predict each next character of a text with a recurrent network.

    The network is an embedding, recurrent layers, a linear layer and a softmax. Truncated BPTT and
    Adam train it on several parts of the text side by side, while the learning rate falls to zero.
    The model's alphabet is the characters of the text given to `fit`; it refuses any other.

    Parameters
    ----------
    {network}
    embedding_size : int
        Length of the vector that represents a character.
    length : int
        Characters per chunk: how far back the gradients go.
    streams : int
        Number of parts of the text that are read side by side, as a mini-batch.
    validation_fraction : float
        Fraction in [0, 1) of the text, at its end, that `fit` holds out. It then keeps the
        parameters of the epoch with the lowest validation loss.
    {training}
    seed : None, int or numpy.random.Generator
        Seed for initial weights and dropout.
    {place}

    Attributes
    ----------
    characters_ : str
        The alphabet, sorted.
    model_ : rnnx.Sequential
        The trained network.
    history_ : rnnx.train.History
        The training history; losses are in bits per character.

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

    hidden_size: int = field(default=256, kw_only=False)
    embedding_size: int = 64
    length: int = 50
    streams: int = 16
    epochs: int = 5
    learning_rate: float = 0.004
    validation_fraction: float = 0.1
    seed: Any = None
    characters_: str = field(init=False, repr=False)

    _checks: ClassVar[Checks] = RecurrentModel._checks | dict.fromkeys(
        ("embedding_size", "length", "streams"), validate.size
    )
    _json: ClassVar[Checks] = {"characters_": alphabet.check}
    _embeds = True

    def fit(
        self,
        text: str,
        *,
        checkpoint_dir: str | PathLike[str] | None = None,
        resume: bool = False,
        callbacks: Iterable[Any] = (),
        comm: Any = None,
    ) -> Self:
        """Learn a text, starting from new weights.

        Parameters
        ----------
        text : str
            At least some ten thousand characters, if the model is to write words.
        checkpoint_dir, resume, callbacks, comm
            As for `rnnx.train.fit`. Resume a run with the same text. Processes that train together
            are given the same text, and share out the `streams`. More than 8 of them read what is
            held out in as many parts.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If the text is not a str or too short, or an option is out of range.
        ValueError, OSError, rnnx.train.Diverged
            As for `rnnx.train.fit`.
        """
        stages = Stages(comm)
        with stages.all():
            return self._fit(text, stages, callbacks, checkpoint_dir=checkpoint_dir, resume=resume)

    def _fit(self, text: str, stages: Stages, callbacks: Iterable[Any], **store: Any) -> Self:
        """Learn a text in the processes of these stages; `store` says where checkpoints are."""
        options, rng = self._read_options(), stages.from_root(validate.generator(self.seed))
        characters, ids = alphabet.learn(text)
        learned, last = alphabet.split(ids, self.validation_fraction, self.streams)
        data = _stream(learned, self.length, self.streams)
        beside = min(max(HELD_OUT_STREAMS, stages.size), len(last) - 1)
        held_out = _stream(last, self.length, beside) if len(last) else None
        new = type(self)(**options)
        new.characters_, new._options = characters, options
        new.model_ = new._network(rng)

        def keep(run: Run) -> None:  # after each epoch, in case the run is interrupted
            vars(self).update(vars(new), history_=run.history)

        with stages.together():
            history = fit(
                new.model_, data, loss=bits, optimizer=Adam(self.learning_rate),
                epochs=self.epochs, validation=held_out, clip_norm=self.clip_norm,
                schedule=Cosine(self.epochs * -(-len(data.x) // data.length)),
                patience=self.patience, callbacks=[keep, *callbacks], progress=bool(self.verbose),
                seed=rng, comm=stages.comm, **store,
            )  # fmt: skip
        vars(self).update(vars(new), history_=history)
        return self

    def bits_per_character(self, text: str) -> float:
        """Return the mean of -log₂ p over all characters after the first, each given those before.

        Raises
        ------
        ValueError, TypeError
            Before `fit`, or unless the text is a str of at least two characters of the alphabet.
        """
        ids = self._ids("text", text, 2)
        stream = Stream(ids[:-1, None], ids[1:, None], length=CHUNK)
        return evaluate(self.model_, stream, loss=bits)["loss"]

    def sample(
        self, prompt: str, count: int = 400, *, temperature: float = 1.0, seed: Any = None
    ) -> str:
        """Continue a prompt, drawing each character given those before it.

        Parameters
        ----------
        prompt : str
            At least one character, all from the alphabet. The result does not repeat it.
        count : int, default 400
            Number of characters to write.
        temperature : float, default 1.0
            Divides the logits: below 1, likely characters become more likely.
        seed : None, int or numpy.random.Generator
            Seed for the draws.

        Raises
        ------
        ValueError, TypeError
            Before `fit`, or if the prompt, the count or the temperature is not valid.
        """
        ids, rng = self._ids("prompt", prompt, 1), validate.generator(seed)
        temperature = validate.positive("temperature", temperature)
        drawn = draw(self.model_, ids, validate.size("count", count), temperature, rng)
        return "".join(self.characters_[k] for k in drawn)

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise ValueError("expected a fitted model, got a new one: call fit(text) first")

    def _deployed(self) -> Deployed:
        self._check_is_fitted()
        return Deployed(inner_layers(self.model_), about={"alphabet": self.characters_})

    def _sizes(self) -> tuple[int, int]:
        return self.embedding_size, len(self.characters_)

    def _forget(self) -> None:
        self.history_ = History()

    def _ids(self, name: str, text: str, least: int) -> np.ndarray:
        """Return the characters as indices of the alphabet."""
        self._check_is_fitted()
        return alphabet.numbers(self.characters_, name, text, least)


def _stream(ids: np.ndarray, length: int, streams: int) -> Stream:
    """Return characters (T,), with the characters that follow them as targets."""
    return Stream(ids[:-1], ids[1:], length=length, streams=streams)
