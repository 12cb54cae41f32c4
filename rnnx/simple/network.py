"""An Elman network with a linear output, as pure functions: to be compiled, or composed.

Forward, written for columns; arrays hold them as rows::

    h_t = φ(Wxh x_t + Whh h_{t-1} + bh)            φ = tanh or relu
    y_t = Why h_t + by

Backward, from dy_t, t = T ... 1::

    dh_t = Whyᵀ dy_t + Whhᵀ da_{t+1}
    da_t = dh_t ⊙ φ'                               tanh: 1 - h_t², relu: [h_t > 0]
    dWhy = Σ dy_t h_tᵀ    dWxh = Σ da_t x_tᵀ    dWhh = Σ da_t h_{t-1}ᵀ
    dby = Σ dy_t          dbh = Σ da_t
"""

from __future__ import annotations

from typing import NamedTuple

from rnnx.backend import Array, Backend
from rnnx.cells.rnn import RNNCell
from rnnx.core import maker, select
from rnnx.core.contract import NONE, Arriving, Job, Params, Trace
from rnnx.core.products import affine, bias_gradient, product, weight_gradient


class Cache(NamedTuple):
    """What `backward` needs of a forward pass."""

    x: Array  # (T, B, I)
    trace: Trace

    @property
    def h(self) -> Array:
        """All states, (T, B, H)."""
        h: Array = self.trace.states[0]
        return h


class Network(NamedTuple):
    """An Elman network without its parameters: where it runs, and its nonlinearity."""

    backend: Backend
    cell: RNNCell = RNNCell()

    def forward(self, params: Params, x: Array, h0: Array) -> tuple[Array, Cache]:
        """Return the outputs and a cache: a pure function, to be compiled into a training step.

        Parameters
        ----------
        params : dict
            `Wxh` (H, I), `Whh` (H, H), `Why` (O, H), `bh` (H, 1), `by` (O, 1).
        x : array, shape (T, B, I)
            The input.
        h0 : array, shape (B, H)
            The initial state.

        Returns
        -------
        y : array, shape (T, B, O)
            The output of every step.
        cache : Cache
            For `backward`; ``cache.h[-1]`` is the final state.
        """
        with self.backend.scope():
            job, hidden = self._job(params, x), _hidden(params)
            trace = select(job).forward(job, hidden, x, (h0,), NONE, True)
            y = affine(self.backend.xp, trace.states[0], params["Why"], params["by"][:, 0])
            return y, Cache(x, trace)

    def backward(
        self, params: Params, cache: Cache, dy: Array, want_h: bool = False
    ) -> tuple[Params, Array | None]:
        """Return the gradients with respect to the parameters and to every state: a pure function.

        Parameters
        ----------
        params : dict
            As given to `forward`.
        cache : Cache
            As returned by `forward`.
        dy : array, shape (T, B, O)
            The gradient of the loss with respect to every output.
        want_h : bool
            Whether to return the gradient with respect to every state as well.

        Returns
        -------
        grads : dict
            The gradients with respect to the parameters, by name, in the parameters' shapes.
        dh : array, shape (T, B, H), or None
            The gradient with respect to every h_t, through y_t and through all later states.
        """
        with self.backend.scope():
            xp, (x, trace) = self.backend.xp, cache
            dh = product(xp, dy, params["Why"])  # (T, B, H), what y_t sends to h_t
            arriving = Arriving((dh,), (xp.zeros_like(trace.state0[0]),))
            job, core = self._job(params, x), maker(trace.saved)
            d = core.backward(job, _hidden(params), x, trace, arriving, NONE, want_h)
            return {
                "Wxh": d.params["weight_ih"],
                "Whh": d.params["weight_hh"],
                "Why": weight_gradient(xp, dy, cache.h),
                "bh": d.params["bias_ih"][:, None],
                "by": bias_gradient(xp, dy)[:, None],
            }, d.h

    def _job(self, params: Params, x: Array) -> Job:
        """Return the job of running x (T, B, I)."""
        (T, B, features), H = x.shape, params["Whh"].shape[0]
        return Job(self.backend, self.cell, T, B, features, H, H, True)


def _hidden(params: Params) -> Params:
    """Return the hidden layer's parameters under the names of `rnnx.core.contract`."""
    return {"weight_ih": params["Wxh"], "weight_hh": params["Whh"], "bias_ih": params["bh"][:, 0]}
