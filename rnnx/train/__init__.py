"""Training: mini-batches, validation, schedules, progress, resumable runs.

To write your own loop, use the parts: `rnnx.losses`, `rnnx.optim`, `rnnx.data` and the layers.
"""

from rnnx.train.callbacks import Callback, CSVLogger, TensorBoard
from rnnx.train.evaluate import evaluate, predict
from rnnx.train.fit import fit
from rnnx.train.history import History
from rnnx.train.run import Diverged, Run

__all__ = [
    "CSVLogger",
    "Callback",
    "Diverged",
    "History",
    "Run",
    "TensorBoard",
    "evaluate",
    "fit",
    "predict",
]
