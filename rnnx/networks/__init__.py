"""The network, the options and the files that the estimators and the character model share."""

from rnnx.networks.build import CELLS, build, softmax
from rnnx.networks.model import RecurrentModel
from rnnx.networks.options import Options, flag, one_of, optional, texts

__all__ = [
    "CELLS",
    "Options",
    "RecurrentModel",
    "build",
    "flag",
    "one_of",
    "optional",
    "softmax",
    "texts",
]
