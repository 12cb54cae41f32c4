"""Recurrent networks whose mathematics is written once and runs where the arrays are.

Importing rnnx imports NumPy and array-api-compat, and touches no device; the other array libraries
are imported when a backend of theirs is asked for. The rooms that few programs need, such as
`rnnx.train`, are imported when they are first named.
"""

import importlib
from types import ModuleType

from rnnx import cells, losses, optim
from rnnx._version import __version__
from rnnx.backend import Backend, BackendUnavailable, available_backends, convert, get_backend
from rnnx.bptt import chunked_bptt, tbptt
from rnnx.cells import Cell
from rnnx.checks import gradcheck
from rnnx.core import Core
from rnnx.core.threads import get_num_threads, set_num_threads
from rnnx.io import load, save
from rnnx.layers.activation import Activation
from rnnx.layers.base import Layer
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.pool import Pool
from rnnx.layers.recurrent import Recurrent
from rnnx.layers.rnn import RNN
from rnnx.layers.sequential import Sequential
from rnnx.models import build
from rnnx.simple import SimpleRNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Backend",
    "BackendUnavailable",
    "Cell",
    "Core",
    "Dropout",
    "Embedding",
    "Layer",
    "Linear",
    "Pool",
    "Recurrent",
    "Sequential",
    "SimpleRNN",
    "__version__",
    "available_backends",
    "build",
    "cells",
    "chunked_bptt",
    "convert",
    "get_backend",
    "get_num_threads",
    "gradcheck",
    "load",
    "losses",
    "optim",
    "save",
    "set_num_threads",
    "tbptt",
]

_LAZY = (
    "characters", "data", "diagnostics", "estimators", "interop", "metrics", "plots", "train",
)  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"rnnx.{name}")
    raise AttributeError(f"module 'rnnx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_LAZY])
