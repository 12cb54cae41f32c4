"""The Elman layer."""

from __future__ import annotations

from typing import Any

from rnnx.backend import Backend
from rnnx.cells.rnn import RNNCell
from rnnx.layers.parameters import Seed
from rnnx.layers.recurrent import Recurrent


class RNN(Recurrent):
    """A stack of Elman layers, with tanh or relu.

    The equation, φ being tanh or relu::

        h_t = φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    Equal to torch.nn.RNN in weights, outputs and gradients. Sizes: T time, B batch, I input, H
    hidden, L layers, D directions.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L.
    nonlinearity : {"tanh", "relu"}
        φ.
    bias : bool
        Whether there are b_ih and b_hh.
    batch_first : bool
        Whether x and y are (B, T, ·) instead of (T, B, ·); states never are.
    dropout : float
        Probability, in [0, 1), with which each number between two layers is zeroed in `forward`.
    recurrent_dropout : float
        The same for h in the recurrent product, with one mask for the whole sequence.
    weight_drop : float
        The same for the entries of weight_hh.
    bidirectional : bool
        Whether every layer reads backward in time, too: D = 2, both h side by side.
    weight_init, recurrent_init : {"uniform", "normal", "glorot", "orthogonal"}
        How weight_ih (with the biases) and weight_hh are drawn: U(±1/√H), torch's; N(0, 1/fan-in);
        Glorot's uniform; orthogonal by gate. Biases are zero but under "uniform".
    backend, device, dtype
        As for `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Of the weights, drawn on the host: one seed, one network on every backend.

    Attributes
    ----------
    params : dict of arrays
        ``weight_ih_l0`` (H, I), ``weight_hh_l0`` (H, H), ``bias_ih_l0``, ``bias_hh_l0`` (H,), and
        so on, with ``_l0_reverse`` and ``_l1`` as in torch's state_dict. Change them with
        `set_params`.

    Raises
    ------
    ValueError, BackendUnavailable
        For options outside their ranges, and as `rnnx.get_backend` does.

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), 179-211,
    doi:10.1207/s15516709cog1402_1. Recurrent dropout: Y. Gal and Z. Ghahramani, "A theoretically
    grounded application of dropout in recurrent neural networks", NeurIPS 2016,
    doi:10.48550/arXiv.1512.05287. Weight drop: S. Merity, N. S. Keskar and R. Socher, "Regularizing
    and optimizing LSTM language models", ICLR 2018, doi:10.48550/arXiv.1708.02182.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> rnn = rnnx.RNN(3, 5, num_layers=2, bidirectional=True, seed=0)
    >>> y, h_n, cache = rnn.forward(np.ones((7, 4, 3)), lengths=[7, 5, 0, 1])
    >>> y.shape, h_n.shape
    ((7, 4, 10), (4, 4, 5))
    >>> dx, dh0, grads = rnn.backward(y, cache)
    >>> dx.shape, grads["weight_hh_l1_reverse"].shape
    ((7, 4, 3), (5, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        bidirectional: bool = False,
        weight_init: str = "uniform",
        recurrent_init: str = "uniform",
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
        seed: Seed = None,
    ) -> None:
        super().__init__(
            RNNCell(nonlinearity),
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            weight_drop=weight_drop,
            bidirectional=bidirectional,
            weight_init=weight_init,
            recurrent_init=recurrent_init,
            backend=backend,
            device=device,
            dtype=dtype,
            seed=seed,
        )
