"""The Elman layer."""

from __future__ import annotations

from typing import Unpack

from rnnx.cells.rnn import RNNCell
from rnnx.layers.options import Options, documented
from rnnx.layers.recurrent import Recurrent


@documented
class RNN(Recurrent):
    """A stack of Elman layers, with tanh or relu.

    The equation, φ being tanh or relu::

        h_t = φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    Equal to torch.nn.RNN in weights, outputs and gradients. Sizes: T time, B batch, I input, H
    hidden, L layers, D directions.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L, the number of stacked layers.
    nonlinearity : {"tanh", "relu"}
        φ.
    {shared}

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
    doi:10.1207/s15516709cog1402_1.
    {references}

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
        **options: Unpack[Options],
    ) -> None:
        cell = RNNCell(nonlinearity)
        super().__init__(cell, input_size, hidden_size, num_layers, **options)
        self._rename({"nonlinearity": nonlinearity}, "proj_size", "gate_bias")
