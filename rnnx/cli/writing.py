"""Character models: they learn a text, measure other texts, and write."""

from __future__ import annotations

from argparse import Namespace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rnnx import io
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

    name, model, help = "characters", "CharacterModel", "the next character of a text"
    predicting = ("prompt", "length", "temperature", "seed")
    forms, examples = FORMS, EXAMPLES
    loss_label = "bits per character"

    def read(self, chosen: Namespace, model: Any = None) -> str:
        """Return the text of all files, joined."""
        return "".join(_read(path) for path in chosen.files)

    def fit(self, model: Any, data: str, chosen: Namespace, comm: Any) -> None:
        """Train the model, with a checkpoint in the results folder after each epoch."""
        try:
            model.fit(data, checkpoint_dir=chosen.out, resume=chosen.resume, comm=comm)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("continue with the same command and --resume") from None

    def describe(self, data: str) -> dict[str, Any]:
        """Return the size of the text and of its alphabet."""
        return {"characters": len(data), "alphabet": len({*data})}

    def sentences(self, summary: dict[str, Any]) -> list[str]:
        """Return the text and the results as sentences."""
        data = summary["data"]
        text = f"{data['characters']} characters, {data['alphabet']} different; losses are in bits"
        return [f"{text} per character", *super().sentences(summary)]

    def predict(self, model: Any, chosen: Namespace) -> Answer:
        """Return the text that the model writes, or the bits per character of each file."""
        if chosen.prompt is None and chosen.files:
            if {chosen.length, chosen.temperature, chosen.seed} != {None}:
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
        with io.regular(path) as file, TextIOWrapper(file, encoding="utf-8-sig") as lines:
            return lines.read()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a text in UTF-8, got other bytes at {error.start}: convert it"
        ) from None
