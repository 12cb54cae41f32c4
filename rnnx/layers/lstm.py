"""The layer of long short-term memory."""

from __future__ import annotations

from typing import Unpack

from rnnx import validate
from rnnx.cells.lstm import LSTMCell
from rnnx.layers.options import Options, documented
from rnnx.layers.recurrent import Recurrent


@documented
class LSTM(Recurrent):
    """A stack of layers of long short-term memory, with an optional projection.

    The equations::

        i_t = σ(W_ii x_t + b_ii + W_hi h_{t-1} + b_hi)      f_t, o_t likewise
        g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ tanh(c_t)                               times W_hrᵀ with a projection

    The backward's equations are in `rnnx.cells.lstm`. The state is the pair (h, c). Equal to
    torch.nn.LSTM in weights, outputs and gradients. Sizes: T time, B batch, I input, H
    hidden, L layers, D directions.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L, the number of stacked layers.
    proj_size : int
        The size P of h after a projection, below H; 0 for none, and P = H.
    forget_bias : float, optional
        Initial b_ih of the forget gate, whose b_hh is then zero; 1 helps to remember.
    {shared}

    Attributes
    ----------
    params : dict of arrays
        ``weight_ih_l0`` (4H, I), ``weight_hh_l0`` (4H, P), ``bias_ih_l0``, ``bias_hh_l0`` (4H,),
        rows in the order i, f, g, o, ``weight_hr_l0`` (P, H) with a projection, and so on, with
        ``_l0_reverse`` and ``_l1`` as in torch's state_dict. Change them with `set_params`.

    Raises
    ------
    ValueError, BackendUnavailable
        For options outside their ranges, and as `rnnx.get_backend` does.

    References
    ----------
    S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997),
    1735-1780, doi:10.1162/neco.1997.9.8.1735. The projection: H. Sak, A. Senior and F. Beaufays,
    "Long short-term memory based recurrent neural network architectures for large vocabulary speech
    recognition", 2014, doi:10.48550/arXiv.1402.1128. The forget bias: R. Jozefowicz, W. Zaremba and
    I. Sutskever, "An empirical exploration of recurrent network architectures", ICML 2015.
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> lstm = rnnx.LSTM(3, 5, proj_size=2, forget_bias=1.0, seed=0)
    >>> y, (h_n, c_n), cache = lstm.forward(np.ones((7, 4, 3)), checkpoint="sqrt")
    >>> y.shape, h_n.shape, c_n.shape
    ((7, 4, 2), (1, 4, 2), (1, 4, 5))
    >>> dx, (dh0, dc0), grads = lstm.backward(None, cache, dstate=(None, c_n))
    >>> dc0.shape
    (1, 4, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        proj_size: int = 0,
        forget_bias: float | None = None,
        **options: Unpack[Options],
    ) -> None:
        gate_bias = None
        if forget_bias is not None:
            forget_bias = validate.finite("forget_bias", forget_bias)
            gate_bias = {"f": forget_bias}
        super().__init__(
            LSTMCell(), input_size, hidden_size, num_layers,
            proj_size=proj_size, gate_bias=gate_bias, **options,
        )  # fmt: skip
        self._rename({"forget_bias": forget_bias}, "gate_bias")
