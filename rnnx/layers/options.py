"""The options that all recurrent layers share, and their documentation, written once."""

from __future__ import annotations

from typing import Any, TypedDict

from rnnx._doc import shared
from rnnx.backend import Backend
from rnnx.layers.base import Seed

SHARED = """
    bias : bool
        Whether the layer has b_ih and b_hh.
    batch_first : bool
        Whether x and y are (B, T, ·) instead of (T, B, ·); states never are.
    dropout : float
        Probability, in [0, 1), of zeroing each number that one layer hands to the next, in
        `forward`.
    recurrent_dropout : float
        The same for h in the recurrent product, with one mask for the whole sequence.
    weight_drop : float
        The same for the entries of weight_hh.
    bidirectional : bool
        Whether every layer also reads backward in time: D = 2, with both h side by side.
    weight_init, recurrent_init : {"uniform", "normal", "glorot", "orthogonal"}
        How weight_ih (with the biases) and weight_hh are drawn: U(±1/√H), as torch does;
        N(0, 1/fan-in); Glorot's uniform; orthogonal for each gate. Biases are zero except with
        "uniform".
    core : str
        ``"auto"`` for the fastest core that serves the call, or the name of the core to prefer,
        such as ``"portable"``. A call that it cannot serve falls back to the portable core.
    precision : {"float32", "tf32", "bfloat16"}
        What the operands of float32 matrix products may be rounded to on CuPy, 24, 11 or 8 bits;
        sums and all else stay float32. Other backends and the portable core do not round.
    backend, device, dtype
        As for `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Seed of the weights, drawn on the host: one seed gives one network on every backend.
"""

REFERENCES = """
    Recurrent dropout: Y. Gal and Z. Ghahramani, "A theoretically grounded application of dropout in
    recurrent neural networks", NeurIPS 2016, doi:10.48550/arXiv.1512.05287. Weight drop: S. Merity,
    N. S. Keskar and R. Socher, "Regularizing and optimizing LSTM language models", ICLR 2018,
    doi:10.48550/arXiv.1708.02182.
"""


class Options(TypedDict, total=False):
    """The keyword options that all recurrent layers share, as `Recurrent` documents them."""

    bias: bool
    batch_first: bool
    dropout: float
    recurrent_dropout: float
    weight_drop: float
    bidirectional: bool
    weight_init: str
    recurrent_init: str
    core: str
    precision: str
    backend: str | Backend
    device: Any
    dtype: str | None
    seed: Seed


documented = shared(shared=SHARED, references=REFERENCES)
