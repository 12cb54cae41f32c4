"""Files: models, checkpoints and whatever else must be written whole or not at all.

`save` and `load` are for every model. `read`, `write` and `describe` are the format beneath them;
`tensors` reads the safetensors files of others. `regular` and `replacing` open any file, to read
and to write; `opened` and `naming` are for what reads files of other formats.
"""

from rnnx.io.files import damaged, regular, replacing
from rnnx.io.format import describe, finite, naming, opened, part, read, tensors, write
from rnnx.io.header import Description, Spec
from rnnx.io.lock import locked
from rnnx.io.models import Saved, layer_specs, load, restore_layer, save

__all__ = [
    "Description",
    "Saved",
    "Spec",
    "damaged",
    "describe",
    "finite",
    "layer_specs",
    "load",
    "locked",
    "naming",
    "opened",
    "part",
    "read",
    "regular",
    "replacing",
    "restore_layer",
    "save",
    "tensors",
    "write",
]
