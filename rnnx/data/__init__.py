"""Data for training: sequences in mini-batches, or streams in chunks.

Both are held as they come, on the host or on the backend's device, and a batch at a time is handed
to the device.
"""

from rnnx.data.batch import Batch, Layout
from rnnx.data.sequences import Sequences
from rnnx.data.stream import Stream

__all__ = ["Batch", "Layout", "Sequences", "Stream"]
