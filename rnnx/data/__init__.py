"""Data for training: sequences in mini-batches, or streams in chunks.

Data stays where it is, on the host or on the backend's device. One batch at a time goes to the
device.
"""

from rnnx.data.batch import Batch, Layout, Whole
from rnnx.data.sequences import Sequences
from rnnx.data.stream import Stream

__all__ = ["Batch", "Layout", "Sequences", "Stream", "Whole"]
