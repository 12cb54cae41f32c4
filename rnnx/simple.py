"""SimpleRNN: a hundred-line notebook's interface on the exact core.

The notebook's own backward passed h_t, already a tanh, to a derivative that applies tanh once more,
1 - tanh(h_t)²; its gradients were off by tens of percent. Here the derivative is 1 - h_t².
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rnnx import elman, forms, validate
from rnnx.backend import Array, Backend, get_backend, target_backend
from rnnx.cells.rnn import RNNCell
from rnnx.core.products import product
from rnnx.elman import Cache, Params
from rnnx.parameters import replaced


class SimpleRNN:
    """An Elman network with a linear output, trained by backpropagation through time.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        The sizes I, H, O of x_t, h_t and y_t.
    nonlinearity : {"tanh", "relu"}
        The hidden units' φ.
    backend : str or Backend
        Where the arrays live; see `rnnx.get_backend`.
    device, dtype
        Passed to `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Of the initial weights, 0.01 times standard normal, drawn on the host: the same seed gives
        the same network on every backend. Biases start at zero.

    Attributes
    ----------
    params : dict of arrays
        `Wxh` (H, I), `Whh` (H, H), `Why` (O, H), `bh` (H, 1), `by` (O, 1), each of them also an
        attribute, ``rnn.Whh``. Change them with `set_params`.

    Raises
    ------
    ValueError, BackendUnavailable
        For sizes below one, and as `rnnx.get_backend` does.

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), 179-211,
    doi:10.1207/s15516709cog1402_1. P. J. Werbos, "Backpropagation through time: what it does and
    how to do it", Proc. IEEE 78 (1990), 1550-1560, doi:10.1109/5.58337.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnx import SimpleRNN
    >>> rnn = SimpleRNN(input_size=3, hidden_size=5, output_size=2, seed=0)
    >>> outputs = rnn.forward([np.array([1, 0, 0]), np.array([0, 1, 0])])
    >>> len(outputs), outputs[0].shape
    (2, (2, 1))
    >>> grads = rnn.backward([np.ones((2, 1)) for _ in outputs], learning_rate=0.1)
    >>> grads["Whh"].shape
    (5, 5)
    >>> rnn.forward(np.ones((100, 16, 3))).shape       # (T, B, I) in, (T, B, O) out
    (100, 16, 2)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        nonlinearity: str = "tanh",
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.input_size = validate.size("input_size", input_size)
        self.hidden_size = validate.size("hidden_size", hidden_size)
        self.output_size = validate.size("output_size", output_size)
        self.cell = RNNCell(nonlinearity)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        rng = validate.generator(seed)
        self.params: Params = {
            name: self.backend.asarray(
                0.01 * rng.standard_normal(shape) if name.startswith("W") else np.zeros(shape)
            )
            for name, shape in self._shapes().items()
        }
        self._pass: _Pass | None = None
        self._final_state: Array | None = None

    def __repr__(self) -> str:
        return (
            f"SimpleRNN({self.input_size}, {self.hidden_size}, {self.output_size}, "
            f"nonlinearity={self.cell.nonlinearity!r}, backend={self.backend})"
        )

    def __getattr__(self, name: str) -> Array:
        params = self.__dict__.get("params", {})
        if name in params:
            return params[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("params", {}):
            self.set_params({name: value})
        else:
            super().__setattr__(name, value)

    def forward(self, inputs: Any, state: Array | None = None) -> Any:
        """Run a sequence, or a batch of sequences, and remember it for the backward pass.

        Parameters
        ----------
        inputs : list or array
            A list of T vectors of shape (I,) or (I, 1), of any real numbers; or a floating array of
            shape (T, I) or (T, B, I). NaN is allowed: it reaches the later outputs of its own row,
            and every gradient. An array is not copied where it need not be: leave it, and `state`,
            as they are until the backward pass.
        state : array, shape (B, H), (H,) or (H, 1), optional
            The initial state, such as another call's `final_state`; default is zero.

        Returns
        -------
        list or array
            For a list, T columns of shape (O, 1); for an array, an array (T, O) or (T, B, O).

        Raises
        ------
        ValueError, TypeError
            Where the shapes do not fit, the sequence is empty, or the numbers are not real.
        """
        with self.backend.scope():
            x, form = forms.read_inputs(self.backend, inputs, self.input_size)
            h0 = forms.read_state(self.backend, state, x.shape[1], self.hidden_size)
            run, _ = _compiled(self.backend, self.cell)
            y, cache = run(self.params, x, h0)
            self._pass = _Pass(cache, dict(self.params), form)
            self._final_state = cache.h[-1, ...]
            return forms.write_outputs(y, form)

    def backward(self, doutputs: Any, learning_rate: float = 0.01) -> Params:
        """Compute the gradients of the last forward pass and take a step of gradient descent.

        Parameters
        ----------
        doutputs : list or array
            The gradient of the loss by the outputs, in the form in which `forward` returned them.
        learning_rate : float
            At least zero. Every parameter W becomes W - learning_rate · dW.

        Returns
        -------
        dict of arrays
            The gradients that were applied, by the parameters' names.

        Raises
        ------
        RuntimeError
            Without a forward pass since the parameters last changed.
        ValueError, TypeError
            Where `doutputs` does not have the form of the outputs, or the rate is negative or not
            finite; no parameter is changed.
        """
        rate = validate.nonnegative("learning_rate", learning_rate)
        grads = self.gradients(doutputs)
        with self.backend.scope():
            self.params = {name: W - rate * grads[name] for name, W in self.params.items()}
        self._pass = None
        return grads

    def gradients(self, doutputs: Any) -> Params:
        """Compute the gradients of the last forward pass, and change nothing.

        Parameters and errors are those of `backward`.

        Returns
        -------
        dict of arrays
            The gradients by `Wxh`, `Whh`, `Why`, `bh`, `by`, in the parameters' shapes.
        """
        return self._backward(doutputs)[0]

    def state_gradients(self, doutputs: Any) -> Array:
        """Compute dL/dh_t for every t: how far back in time the loss is felt.

        Parameters and errors are those of `backward`.

        Returns
        -------
        array, shape (T, B, H)
            The whole gradient of the loss by h_t, through y_t and through all later states; B is 1
            where the input had no batch axis.
        """
        _, da, dy, params = self._backward(doutputs)
        with self.backend.scope():
            xp = self.backend.xp
            later = xp.concat([da[1:, ...], xp.zeros_like(da[:1, ...])], axis=0)
            return product(xp, dy, params["Why"]) + product(xp, later, params["Whh"])

    @property
    def final_state(self) -> Array:
        """The state after the last forward pass, (B, H); give it to the next as its `state`."""
        if self._final_state is None:
            raise RuntimeError("expected a forward pass first, got none: call forward(inputs)")
        return self._final_state

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Replace some or all parameters, by name; on an error, none.

        Raises
        ------
        ValueError, TypeError
            For an unknown name, a wrong shape, or numbers that are not real.
        """
        self.params = replaced(self.backend, self.params, params)
        self._pass = None

    def to(
        self, backend: str | Backend, *, device: Any = None, dtype: str | None = None
    ) -> SimpleRNN:
        """Return a copy on another backend, with the same weights, and without a forward pass.

        Parameters
        ----------
        backend, device
            As for `rnnx.get_backend`.
        dtype : {"float32", "float64"}, optional
            Default is this network's own, or that of the `Backend` given.
        """
        own = self.backend.dtype_name
        target = target_backend(backend, device=device, dtype=dtype, own_dtype=own)
        copy = type(self)(
            self.input_size, self.hidden_size, self.output_size,
            nonlinearity=self.cell.nonlinearity, backend=target, seed=0,
        )  # fmt: skip
        copy.set_params({name: self.backend.to_numpy(W).copy() for name, W in self.params.items()})
        return copy

    def config(self) -> dict[str, Any]:
        """Return what the network is built from, as JSON can hold it."""
        from rnnx.build import config

        return config(self)

    def _shapes(self) -> dict[str, tuple[int, int]]:
        features, hidden, out = self.input_size, self.hidden_size, self.output_size
        return {
            "Wxh": (hidden, features),
            "Whh": (hidden, hidden),
            "Why": (out, hidden),
            "bh": (hidden, 1),
            "by": (out, 1),
        }

    def _last_pass(self) -> _Pass:
        if self._pass is None:
            raise RuntimeError("expected a forward pass first, got none since the parameters "
                               "last changed: call forward(inputs)")  # fmt: skip
        return self._pass

    def _backward(self, doutputs: Any) -> tuple[Params, Array, Array, Params]:
        """Return the gradients, da, dy and the parameters of the last forward pass."""
        cache, params, form = self._last_pass()
        with self.backend.scope():
            shape = (*cache.x.shape[:2], self.output_size)
            dy = forms.read_doutputs(self.backend, doutputs, shape, form)
            _, run = _compiled(self.backend, self.cell)
            return (*run(params, cache, dy), dy, params)


class _Pass(NamedTuple):
    """A forward pass: its cache, the parameters it ran with, the form of its outputs."""

    cache: Cache
    params: Params
    form: str


@lru_cache(maxsize=16)
def _compiled(backend: Backend, cell: RNNCell) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the pure `forward` and `backward` on a backend, compiled once where it compiles."""

    def run_forward(params: Params, x: Array, h0: Array) -> tuple[Array, Cache]:
        return elman.forward(backend, cell, params, x, h0)

    def run_backward(params: Params, cache: Cache, dy: Array) -> tuple[Params, Array]:
        return elman.backward(backend, cell, params, cache, dy)

    return backend.compile(run_forward), backend.compile(run_backward)
