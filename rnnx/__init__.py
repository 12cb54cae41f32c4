"""Recurrent networks whose mathematics is written once and runs where the arrays are.

Importing rnnx imports NumPy and array-api-compat, and touches no device; the other array libraries
are imported when a backend of theirs is asked for.
"""

from rnnx import losses, optim
from rnnx._version import __version__
from rnnx.backend import Backend, BackendUnavailable, available_backends, get_backend
from rnnx.bptt import chunked_bptt, tbptt
from rnnx.checks import gradcheck
from rnnx.layers.dropout import Dropout
from rnnx.layers.embedding import Embedding
from rnnx.layers.gru import GRU
from rnnx.layers.linear import Linear
from rnnx.layers.lstm import LSTM
from rnnx.layers.pool import Pool
from rnnx.layers.rnn import RNN
from rnnx.layers.sequential import Sequential
from rnnx.simple import SimpleRNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Backend",
    "BackendUnavailable",
    "Dropout",
    "Embedding",
    "Linear",
    "Pool",
    "Sequential",
    "SimpleRNN",
    "__version__",
    "available_backends",
    "chunked_bptt",
    "get_backend",
    "gradcheck",
    "losses",
    "optim",
    "tbptt",
]
