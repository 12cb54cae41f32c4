"""A character model: it learns a text, measures how likely another is, and writes more of it."""

from rnnx.characters.model import CharacterModel

__all__ = ["CharacterModel"]
