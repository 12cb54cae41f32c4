"""Weights of 8 bits, and what they change in the answers of a model."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnx.interop.code.stages import Program
from rnnx.layers.pool import Pool
from rnnx.networks.deployed import Deployed
from rnnx.networks.fitted import softmax

LEVELS = 127  # an int8 of either sign
STEPS = 100  # of the sequence that a loss is measured on by default


class Loss(NamedTuple):
    """What int8 weights change in the answers of every step of a sequence."""

    steps: int
    largest: float  # the largest absolute difference
    rms: float  # the root mean square of all differences
    scale: float  # the largest absolute answer with float weights
    agreement: float | None  # of classes or characters: in how many steps the likeliest is the same

    def __str__(self) -> str:
        text = (
            f"int8 weights change the answers of {self.steps} steps by at most {self.largest:.2g}, "
            f"rms {self.rms:.2g}, where the largest is {self.scale:.2g}"
        )
        if self.agreement is None:
            return text
        return f"{text}; the likeliest is the same in {self.agreement:.1%} of the steps"


def quantized(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix (N, K) as int8, and the scales (N,) of its rows.

    Row i is ``W[i] ≈ scale_i * round(W[i] / scale_i)`` with ``scale_i = max |W[i]| / 127``:
    symmetric, one scale per output.

    References
    ----------
    B. Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", CVPR 2018, doi:10.1109/CVPR.2018.00286. One scale per
    output: R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: a
    whitepaper", 2018, doi:10.48550/arXiv.1806.08342.
    """
    scale = np.max(np.abs(W), axis=1) / W.dtype.type(LEVELS)
    scale[scale == 0] = 1  # a row of zeros, or of numbers too small to divide
    return np.clip(np.rint(W / scale[:, None]), -LEVELS, LEVELS).astype("int8"), scale


def restored(W: np.ndarray) -> np.ndarray:
    """Return a matrix as its int8 weights mean it, in its own dtype."""
    levels, scale = quantized(W)
    return levels.astype(W.dtype) * scale[:, None]


def loss(program: Program, found: Deployed, x: Any = None) -> Loss:
    """Return what int8 weights change, measured on a sequence.

    Parameters
    ----------
    program, found
        The model, with float weights.
    x : array, shape (T, I), or symbols (T,), optional
        By default 100 steps of standard normal numbers as the network reads them, or of random
        symbols, of a fixed seed.

    Raises
    ------
    ValueError, TypeError
        For an x of another shape, or of numbers that are not finite.
    """
    x = _sample(program) if x is None else np.asarray(x)
    shape = (len(x), *(() if program.symbols else (program.input_size,))) if x.ndim else None
    if x.shape != shape or not x.size:
        expected = "(T,)" if program.symbols else f"(T, {program.input_size})"
        raise ValueError(f"x must have shape {expected}, got {x.shape}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError("x must hold finite numbers, got NaN or infinity")
    if x.dtype.kind in "iu" and not program.symbols:
        x = x.astype(program.dtype)
    layers = [layer.to("numpy") for layer in found.layers]
    for layer in layers:
        layer.set_params({k: restored(W) for k, W in layer.params.items() if W.ndim == 2})
    y, rounded = answers(found, x), answers(found._replace(layers=tuple(layers)), x)
    same = np.argmax(y, axis=-1) == np.argmax(rounded, axis=-1)
    named = program.classes is not None or program.alphabet is not None
    return Loss(
        len(x), float(np.max(np.abs(y - rounded))), float(np.sqrt(np.mean((y - rounded) ** 2))),
        float(np.max(np.abs(y))), float(np.mean(same)) if named else None,
    )  # fmt: skip


def answers(found: Deployed, x: np.ndarray) -> np.ndarray:
    """Return the answer after every step of a sequence, (T, O); that of a `Pool` is of all so far.

    Parameters
    ----------
    found : Deployed
        A model that reads a stream.
    x : array, shape (T, I), or symbols (T,)
        One sequence.
    """
    if found.before is not None:
        x = (x - found.before[0]) / found.before[1]
    for layer in found.layers:
        x = _so_far(layer.how, x) if isinstance(layer, Pool) else layer(x)[0]
    y = softmax(x) if found.softmax else x.astype("float64")
    return y if found.after is None else y * found.after[1] + found.after[0]


def _so_far(how: str, x: np.ndarray) -> np.ndarray:
    """Return what a `Pool` makes of the first 1, 2, ..., T steps of x (T, F)."""
    if how == "last":
        return x
    if how == "max":
        return np.maximum.accumulate(x, axis=0)
    return np.cumsum(x, axis=0) / np.arange(1, len(x) + 1, dtype=x.dtype)[:, None]


def _sample(program: Program) -> np.ndarray:
    """Return the sequence that a loss is measured on by default."""
    rng = np.random.default_rng(0)
    if program.symbols:
        return rng.integers(0, program.input_size, STEPS)
    z = rng.standard_normal((STEPS, program.input_size))
    return z if program.before is None else z * program.before[1] + program.before[0]
