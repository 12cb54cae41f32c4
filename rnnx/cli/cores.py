"""``rnnx cores CELL``: which core would run a layer, and why the others would not."""

from __future__ import annotations

from argparse import Namespace

from rnnx.cells import CELLS
from rnnx.cli.backends import table
from rnnx.cli.parser import Parser, sizes
from rnnx.layers.recurrent import Recurrent

EPILOG = """\
examples:
  rnnx cores gru                              one step of a stream
  rnnx cores lstm --shape 256,16,64 --hidden-size 128 --dtype float64
"""


def fill(leaf: Parser) -> None:
    """Add the arguments."""
    leaf.description = "Say which core would run a layer of a cell, and why the others would not."
    leaf.epilog = EPILOG
    leaf.add_argument("cell", choices=CELLS, metavar="CELL", help=f"one of {', '.join(CELLS)}")
    leaf.add_argument(
        "--shape", metavar="T,B,I", help="shape of the input (default: one step of a stream)"
    )
    leaf.add_argument("--hidden-size", type=int, default=64, metavar="H", help="default: 64")
    leaf.add_argument("--backend", default="numpy", help="array library (default: numpy)")
    leaf.add_argument("--dtype", metavar="NAME", help="float32 or float64 (default: float32)")
    leaf.add_argument(
        "--precision", default="float32", metavar="NAME",
        help="of products on CuPy: float32, tf32 or bfloat16 (default: float32)",
    )  # fmt: skip
    leaf.add_argument(
        "--recurrent-dropout", type=float, default=0.0, metavar="P", help="default: 0"
    )
    leaf.add_argument("--reset", action="store_true", help="with resets inside the sequences")
    leaf.set_defaults(run=run)


def run(chosen: Namespace) -> None:
    """Print a table of the cores."""
    shape = None if chosen.shape is None else sizes(chosen.shape, "T,B,I")
    layer = Recurrent(
        chosen.cell, shape[2] if shape else 1, chosen.hidden_size, backend=chosen.backend,
        dtype=chosen.dtype, precision=chosen.precision,
        recurrent_dropout=chosen.recurrent_dropout, seed=0,
    )  # fmt: skip
    found = layer.cores(shape, reset=chosen.reset)
    print(table([("core", "for this layer"), *found.items()]))
