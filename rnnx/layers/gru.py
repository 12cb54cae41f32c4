"""The layer of gated recurrent units."""

from __future__ import annotations

from typing import Unpack

from rnnx.cells import Cell
from rnnx.cells.gru import GRUCell
from rnnx.cells.gru_reset_before import ResetBeforeGRUCell
from rnnx.layers.options import Options, documented
from rnnx.layers.recurrent import Recurrent


@documented
class GRU(Recurrent):
    """A stack of layers of gated recurrent units.

    The equations::

        r_t = σ(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
        z_t = σ(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
        n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_{t-1} + b_hn))
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    With ``reset_after=False`` the reset comes before the product, as Cho et al. wrote it::

        n_t = tanh(W_in x_t + b_in + W_hn (r_t ⊙ h_{t-1}))

    The backward's equations are in `rnnx.cells.gru` and `rnnx.cells.gru_reset_before`. Equal to
    torch.nn.GRU in weights, outputs and gradients; with ``reset_after=False`` to Keras's GRU.
    Sizes: T time, B batch, I input, H hidden, L layers, D directions.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L, the number of stacked layers.
    reset_after : bool
        Whether the reset comes after the recurrent product, as in torch and cuDNN.
    {shared}

    Attributes
    ----------
    params : dict of arrays
        ``weight_ih_l0`` (3H, I), ``weight_hh_l0`` (3H, H), ``bias_ih_l0``, ``bias_hh_l0`` (3H,),
        rows in the order r, z, n, and so on, with ``_l0_reverse`` and ``_l1`` as in torch's
        state_dict. With ``reset_after=False``, ``weight_hh_l0`` (2H, H) and ``bias_hh_l0`` (2H,)
        have the rows r, z, and ``weight_hn_l0`` (H, H) is W_hn. Change them with `set_params`.

    Raises
    ------
    ValueError, BackendUnavailable
        For options outside their ranges, and as `rnnx.get_backend` does.

    References
    ----------
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", EMNLP 2014, doi:10.3115/v1/D14-1179.
    {references}

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
        reset_after: bool = True,
        **options: Unpack[Options],
    ) -> None:
        cell: Cell = GRUCell() if reset_after else ResetBeforeGRUCell()
        super().__init__(cell, input_size, hidden_size, num_layers, **options)
        self._rename({"reset_after": bool(reset_after)}, "proj_size", "gate_bias")
