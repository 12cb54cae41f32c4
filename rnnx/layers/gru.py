"""The layer of gated recurrent units."""

from __future__ import annotations

from typing import Any

from rnnx.backend import Backend
from rnnx.cells.gru import GRUCell
from rnnx.layers.parameters import Seed
from rnnx.layers.recurrent import Recurrent


class GRU(Recurrent):
    """A stack of layers of gated recurrent units, the reset after the product.

    The equations::

        r_t = σ(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
        u_t = σ(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
        n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_{t-1} + b_hn))
        h_t = (1 - u_t) ⊙ n_t + u_t ⊙ h_{t-1}

    The backward's equations are in `rnnx.cells.gru`. Equal to torch.nn.GRU in weights, outputs and
    gradients. Sizes: T time, B batch, I input, H hidden, L layers, D directions.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L.
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
        ``weight_ih_l0`` (3H, I), ``weight_hh_l0`` (3H, H), ``bias_ih_l0``, ``bias_hh_l0`` (3H,),
        rows in the order r, z, n, and so on, with ``_l0_reverse`` and ``_l1`` as in torch's
        state_dict. Change them with `set_params`.

    Raises
    ------
    ValueError, BackendUnavailable
        For options outside their ranges, and as `rnnx.get_backend` does.

    References
    ----------
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", EMNLP 2014, doi:10.3115/v1/D14-1179. Recurrent dropout: Y. Gal and Z.
    Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks",
    NeurIPS 2016, doi:10.48550/arXiv.1512.05287. Weight drop: S. Merity, N. S. Keskar and R. Socher,
    "Regularizing and optimizing LSTM language models", ICLR 2018, doi:10.48550/arXiv.1708.02182.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> gru = rnnx.GRU(3, 5, seed=0)
    >>> y, h_n = gru([np.ones((7, 3)), np.ones((2, 3))])       # a list in, a list out
    >>> [h.shape for h in y], h_n.shape
    ([(7, 5), (2, 5)], (1, 2, 5))
    >>> y_t, state = gru.step(np.ones(3, dtype="float32"))     # one step of a stream
    >>> y_t.shape
    (5,)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
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
            GRUCell(),
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
