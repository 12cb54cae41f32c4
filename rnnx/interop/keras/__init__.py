"""Keras: layers, models and files of them from Keras, and our layers for it."""

from rnnx.interop.keras.reading import from_keras
from rnnx.interop.keras.writing import to_keras

__all__ = ["from_keras", "to_keras"]
