"""Recurrent networks whose mathematics is written once and runs where the arrays are.

Importing rnnx imports NumPy and array-api-compat, and touches no device; the other array libraries
are imported when a backend of theirs is asked for.
"""

from rnnx import losses, optim
from rnnx._version import __version__
from rnnx.backend import Backend, BackendUnavailable, available_backends, get_backend
from rnnx.layers.gru import GRU
from rnnx.layers.lstm import LSTM
from rnnx.layers.rnn import RNN
from rnnx.simple import SimpleRNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Backend",
    "BackendUnavailable",
    "SimpleRNN",
    "__version__",
    "available_backends",
    "get_backend",
    "losses",
    "optim",
]
