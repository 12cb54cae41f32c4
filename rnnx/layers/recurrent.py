"""A layer of any cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rnnx import validate
from rnnx.backend import Backend, get_backend
from rnnx.cells import Cell, get_cell
from rnnx.cells.base import recurrent_gates
from rnnx.core import PRECISIONS, check_name, report
from rnnx.core.sizes import Sizes, shapes
from rnnx.layers.base import Seed
from rnnx.layers.checks import check_sizes, read_proj_size
from rnnx.layers.initial import Initial
from rnnx.layers.noise import Rates
from rnnx.layers.options import documented
from rnnx.layers.stepper import streaming_job
from rnnx.layers.verbs import Stacked


@documented
class Recurrent(Stacked):
    """A stack of layers of any cell. `rnnx.RNN`, `rnnx.GRU` and `rnnx.LSTM` are this, with names.

    A call changes nothing on a layer, so one layer may serve several threads. Sizes: T time,
    B batch, I input, H hidden, L layers, D directions, P the size of h.

    Parameters
    ----------
    cell : str or Cell
        A name in `rnnx.cells.CELLS`, such as ``"leaky_rnn"``, or a `rnnx.Cell` of your own.
    input_size, hidden_size, num_layers : int
        I, H and L, the number of stacked layers.
    proj_size : int
        The size P of h after a projection, below H; 0 for none, and P = H. For cells that read h
        only through the recurrent product.
    gate_bias : mapping of str to float, optional
        Initial b_ih of a gate, by the gate's name; its b_hh is then zero.
    {shared}

    Attributes
    ----------
    params : dict of arrays
        ``weight_ih_l0`` (G·H, I), ``weight_hh_l0`` (G·H, P), ``bias_ih_l0``, ``bias_hh_l0`` (G·H,),
        then the cell's own, and so on, with ``_l0_reverse`` and ``_l1`` as in torch's state_dict.
        Change them with `set_params`.

    Raises
    ------
    ValueError, BackendUnavailable
        For options outside their ranges, a cell that does not keep the contract of `rnnx.Cell`, and
        as `rnnx.get_backend` does.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> leaky = rnnx.Recurrent("leaky_rnn", 3, 5, seed=0)
    >>> y, h_n, cache = leaky.forward(np.ones((7, 4, 3)))
    >>> dx, dh0, grads = leaky.backward(y, cache)
    >>> grads["leak_l0"].shape
    (5,)
    """

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        proj_size: int = 0,
        gate_bias: Mapping[str, float] | None = None,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        bidirectional: bool = False,
        weight_init: str = "uniform",
        recurrent_init: str = "uniform",
        core: str = "auto",
        precision: str = "float32",
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
        seed: Seed = None,
    ) -> None:
        self.sizes = Sizes(
            get_cell(cell),
            validate.size("input_size", input_size),
            validate.size("hidden_size", hidden_size),
            read_proj_size(proj_size, hidden_size),
            validate.size("num_layers", num_layers),
            2 if bidirectional else 1,
            bool(bias),
        )
        self.rates = Rates(
            validate.fraction("dropout", dropout),
            validate.fraction("recurrent_dropout", recurrent_dropout),
            validate.fraction("weight_drop", weight_drop),
        )
        check_sizes(self.sizes, any(self.rates[1:]))
        initial = Initial.read(weight_init, recurrent_init, self._gate_bias(gate_bias or {}))
        self.batch_first, self.directions = bool(batch_first), self.sizes.directions
        self.core = check_name(core)
        self.precision = validate.one_of("precision", precision, PRECISIONS)
        self._config = {
            "cell": self.sizes.cell,
            **{k: getattr(self.sizes, k) for k in ("input_size", "hidden_size", "num_layers")},
            "proj_size": self.sizes.proj_size,
            "gate_bias": dict(initial.gate_bias) or None,
            "bias": self.sizes.bias,
            "batch_first": self.batch_first,
            "dropout": self.rates.dropout,
            "recurrent_dropout": self.rates.recurrent,
            "weight_drop": self.rates.weight,
            "bidirectional": self.directions == 2,
            "weight_init": weight_init,
            "recurrent_init": recurrent_init,
        }
        self.backend = get_backend(backend, device=device, dtype=dtype)
        if precision != "float32" and self.backend.dtype_name != "float32":
            raise ValueError(
                f"precision {precision!r} is for layers of float32, got dtype "
                f"{self.backend.dtype_name}: leave it out, or give dtype='float32'"
            )
        self._draw(shapes(self.sizes), partial(initial.draw, self.sizes), seed)

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.sizes.cell

    def cores(self, x_shape: Sequence[int] | None = None, **options: Any) -> dict[str, str]:
        """Return, for each core, ``"runs"``, ``"could run"``, or why it declines this layer.

        Parameters
        ----------
        x_shape : sequence of int, optional
            The shape of x, (T, B, I) or as the layer reads it; by default a step of a stream.
        **options
            ``reset=True`` for a call with resets.

        Returns
        -------
        dict of str
            By the names of the cores, the fastest first, for the first layer of the stack.
        """
        job = streaming_job(self._plan, 0)
        if x_shape is not None:
            T, B = (x_shape[0], 1) if len(x_shape) == 2 else (x_shape[0], x_shape[1])
            T, B = (B, T) if self.batch_first and len(x_shape) == 3 else (T, B)
            used = {"recurrent": self.rates.recurrent, "weight": self.rates.weight, **options}
            job = job._replace(steps=T, batch=B, options=frozenset(k for k, v in used.items() if v))
        return report(job, self.core)

    def _brief(self) -> str:
        rounded = "" if self.precision == "float32" else f", precision={self.precision!r}"
        return f"{super()._brief()[:-1]}, core={self.core!r}{rounded})"

    def _gate_bias(self, gate_bias: Mapping[str, float]) -> dict[str, float]:
        gates = recurrent_gates(self.sizes.cell)
        if gate_bias and not (self.sizes.bias and self.sizes.cell.biased):
            raise ValueError("an initial bias of a gate needs a layer with b_ih: give bias=True")
        for gate in gate_bias:
            validate.one_of("gate_bias", gate, gates)
        return {gate: validate.finite(f"gate_bias[{gate!r}]", v) for gate, v in gate_bias.items()}

    def _rename(self, named: Mapping[str, Any], *gone: str) -> None:
        """Let the configuration say a layer's own options in place of the cell and others."""
        hidden = {"cell", *gone}
        rest = {k: v for k, v in self._config.items() if k not in hidden}
        sizes = {k: rest.pop(k) for k in ("input_size", "hidden_size", "num_layers")}
        self._config = {**sizes, **named, **rest}
