"""Files: models, checkpoints and whatever else must be written whole or not at all.

`save` and `load` are for every model. `read`, `write` and `describe` are the format beneath them,
and `replacing` is how any file is written.
"""

from rnnx.io.format import damaged, describe, finite, part, read, write
from rnnx.io.header import Description, Spec
from rnnx.io.models import Saved, layer_specs, load, restore_layer, save
from rnnx.io.replacing import PART, replacing

__all__ = [
    "PART",
    "Description",
    "Saved",
    "Spec",
    "damaged",
    "describe",
    "finite",
    "layer_specs",
    "load",
    "part",
    "read",
    "replacing",
    "restore_layer",
    "save",
    "write",
]
