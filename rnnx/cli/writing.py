"""Character models: they learn a text, measure other texts, and write."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnnx.cli.task import Answer, Task

FORMS = """\
files:
  Texts in UTF-8, joined in order. Their characters are the alphabet; `predict` refuses all others.
"""
EXAMPLES = """\
examples:
  rnnx train characters book.txt --out book --epochs 10
  rnnx train characters book.txt --out book --epochs 10 --resume     after an interruption
  rnnx predict book --prompt "Once upon" --length 400 --temperature 0.7
  rnnx predict book another.txt                                      bits per character
"""


class Writing(Task):
    """`CharacterModel`."""

    name, model, room = "characters", "CharacterModel", "rnnx.characters"
    forms, examples = FORMS, EXAMPLES

    def add_options(self, group: Any) -> None:
        """Add nothing: texts have no columns."""

    def read(self, model: Any, chosen: Namespace) -> str:
        """Return the text of all files, joined."""
        return "".join(_read(path) for path in chosen.files)

    def fit(self, model: Any, data: str, chosen: Namespace) -> None:
        """Train the model, with a checkpoint in the results folder after each epoch."""
        try:
            model.fit(data, checkpoint_dir=chosen.out, resume=chosen.resume)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("continue with the same command and --resume") from None

    def columns(self, data: str, chosen: Namespace) -> dict[str, Any]:
        """Return nothing: texts have no columns."""
        return {}

    def describe(self, model: Any, data: str) -> dict[str, Any]:
        """Return the size of the text and of its alphabet."""
        return {"characters": len(data), "alphabet": len(model.characters_)}

    def pictures(self, model: Any, data: str) -> dict[str, Callable[[Any], None]]:
        """Return what draws the learning curves."""

        def curves(ax: Any) -> None:
            model.history_.plot(ax=ax).set_ylabel("bits per character")

        return {"learning_curves.png": curves}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the text and the results as sentences."""
        data = summary["data"]
        text = f"{data['characters']} characters, {data['alphabet']} different; losses are in bits"
        return [f"{text} per character", *super().sentences(summary)]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the text that the model writes, or the bits per character of each file."""
        if chosen.prompt is None and chosen.files:
            if (chosen.length, chosen.temperature, chosen.seed) != (None, None, None):
                raise ValueError("--length, --temperature and --seed go with --prompt")
            texts = {path: _read(path) for path in chosen.files}
            rows = [[str(p), len(t), model.bits_per_character(t)] for p, t in texts.items()]
            return Answer(["file", "characters", "bits_per_character"], rows)
        if chosen.prompt is None or chosen.files:
            raise ValueError("give either --prompt to let the model write, or files to measure")
        more = model.sample(
            chosen.prompt, 400 if chosen.length is None else chosen.length,
            temperature=1.0 if chosen.temperature is None else chosen.temperature,
            seed=chosen.seed,
        )  # fmt: skip
        return Answer([], [], text=chosen.prompt + more)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a text in UTF-8, got other bytes at {error.start}: convert it"
        ) from None
