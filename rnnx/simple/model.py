"""The class SimpleRNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnx import validate
from rnnx.backend import Array, Backend, get_backend, target_backend
from rnnx.layers.base import UNDRAWN, Outline, Params, Seed, read_only, replaced
from rnnx.layers.linear import Linear
from rnnx.layers.rnn import RNN
from rnnx.layers.sequential import Sequential
from rnnx.simple import vectors


class SimpleRNN:
    """An Elman network with a linear output, trained by backpropagation through time.

    The references are those of `rnnx.cells.rnn`.

    Forward, written for columns; arrays hold them as rows::

        h_t = φ(Wxh x_t + Whh h_{t-1} + bh)            φ = tanh or relu
        y_t = Why h_t + by

    Backward, from dy_t, t = T ... 1::

        dh_t = Whyᵀ dy_t + Whhᵀ da_{t+1}
        da_t = dh_t ⊙ φ'                               tanh: 1 - h_t², relu: [h_t > 0]
        dWhy = Σ dy_t h_tᵀ    dWxh = Σ da_t x_tᵀ    dWhh = Σ da_t h_{t-1}ᵀ
        dby = Σ dy_t          dbh = Σ da_t

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        The sizes I, H, O of x_t, h_t and y_t.
    nonlinearity : {"tanh", "relu"}, default "tanh"
        The hidden units' φ.
    backend : str or Backend
        Where the arrays live; see `rnnx.get_backend`.
    device, dtype
        Passed to `rnnx.get_backend`.
    seed : None, int or numpy.random.Generator
        Seed of the initial weights, 0.01 times standard normal, drawn on the host: the same seed
        gives the same network on every backend. Biases start at zero.

    Attributes
    ----------
    params : dict of arrays
        `Wxh` (H, I), `Whh` (H, H), `Why` (O, H), `bh` (H, 1), `by` (O, 1), each of them also an
        attribute, ``rnn.Whh``. A new dict each time, of arrays that are read-only on NumPy: change
        them with `set_params`, or by ``rnn.Whh = ...``.

    Raises
    ------
    ValueError, BackendUnavailable
        For sizes below one, and as `rnnx.get_backend` does.

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
        seed: Seed = None,
    ) -> None:
        self.input_size = validate.size("input_size", input_size)
        self.hidden_size = validate.size("hidden_size", hidden_size)
        self.output_size = validate.size("output_size", output_size)
        self.nonlinearity = nonlinearity
        self.backend = get_backend(backend, device=device, dtype=dtype)
        place: dict[str, Any] = {"backend": self.backend, "seed": UNDRAWN}
        self._model = Sequential(
            RNN(self.input_size, self.hidden_size, nonlinearity=nonlinearity, **place),
            Linear(self.hidden_size, self.output_size, **place),
        )
        shapes = self._shapes()
        self._params: Params = {name: Outline(shape) for name, shape in shapes.items()}
        if seed is not UNDRAWN:
            rng = validate.generator(seed)
            drawn = {
                name: self.backend.asarray(
                    0.01 * rng.standard_normal(shape) if name.startswith("W") else np.zeros(shape)
                )
                for name, shape in shapes.items()
            }
            self._take(drawn)
        self._pass: _Pass | None = None
        self._final_state: Array | None = None

    def __repr__(self) -> str:
        return (
            f"SimpleRNN({self.input_size}, {self.hidden_size}, {self.output_size}, "
            f"nonlinearity={self.nonlinearity!r}, backend={self.backend})"
        )

    def __getattr__(self, name: str) -> Array:
        params = self.__dict__.get("_params", {})
        if name in params:
            return params[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_params", {}):
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
            x, form = vectors.read_inputs(self.backend, inputs, self.input_size)
            h0 = vectors.read_state(self.backend, state, x.shape[1], self.hidden_size)
            y, (h, _), cache = self._model.forward(x, (h0[None, ...], None), params=self._named())
            self._pass = _Pass(cache, tuple(y.shape), form)
            self._final_state = h[0, ...]
            return vectors.write_outputs(y, form)

    def backward(self, doutputs: Any, learning_rate: float = 0.01) -> Params:
        """Compute the gradients of the last forward pass and take a step of gradient descent.

        Parameters
        ----------
        doutputs : list or array
            The gradient of the loss with respect to the outputs, in their form.
        learning_rate : float, default 0.01
            At least zero. Every parameter W becomes W - learning_rate · dW.

        Returns
        -------
        dict of arrays
            The gradients that were applied, by the names of the parameters.

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
            self._take({name: W - rate * grads[name] for name, W in self._params.items()})
        self._pass = None
        return grads

    def gradients(self, doutputs: Any) -> Params:
        """Compute the gradients of the last forward pass, and change nothing.

        The gradients with respect to `Wxh`, `Whh`, `Why`, `bh`, `by`, in their shapes. Parameters
        and errors are those of `backward`.
        """
        cache, dy = self._arriving(doutputs)
        with self.backend.scope():
            _, _, found = self._model.backward(dy, cache)
            columns = {"bh": found["0.bias_ih_l0"], "by": found["1.bias"]}
            return {
                "Wxh": found["0.weight_ih_l0"],
                "Whh": found["0.weight_hh_l0"],
                "Why": found["1.weight"],
                **{name: db[:, None] for name, db in columns.items()},
            }

    def state_gradients(self, doutputs: Any) -> Array:
        """Compute dL/dh_t for every t, (T, B, H): how far back in time the loss is felt.

        The whole gradient of the loss with respect to h_t, through y_t and through all later
        states; B is 1 where the input had no batch axis. Parameters and errors as of `backward`.
        """
        cache, dy = self._arriving(doutputs)
        dh: Array = self._model.state_gradients(dy, cache)[0]["0.h_l0"]
        return dh

    @property
    def params(self) -> Params:
        """The parameters by name."""
        return dict(self._params)

    @property
    def final_state(self) -> Array:
        """The state after the last forward pass, (B, H); give it to the next as its `state`."""
        if self._final_state is None:
            raise RuntimeError("expected a forward pass first, got none: call forward(inputs)")
        return self._final_state

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Replace some or all parameters, by name; on an error, none. See `Layer.set_params`."""
        self._take(replaced(self.backend, self._params, params))
        self._pass = None

    def to(
        self, backend: str | Backend, *, device: Any = None, dtype: str | None = None
    ) -> SimpleRNN:
        """Return a copy on another backend, without a forward pass; arguments as of `Layer.to`."""
        own = self.backend.dtype_name
        target = target_backend(backend, device=device, dtype=dtype, own_dtype=own)
        copy = type(self)(
            self.input_size, self.hidden_size, self.output_size,
            nonlinearity=self.nonlinearity, backend=target, seed=0,
        )  # fmt: skip
        copy.set_params({name: self.backend.to_numpy(W).copy() for name, W in self.params.items()})
        return copy

    def config(self) -> dict[str, Any]:
        """Return what `rnnx.build` makes the same network of, without its parameters' values."""
        return {
            "layer": "SimpleRNN",
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "output_size": self.output_size,
            "nonlinearity": self.nonlinearity,
        }

    def _shapes(self) -> dict[str, tuple[int, int]]:
        features, hidden, out = self.input_size, self.hidden_size, self.output_size
        return {
            "Wxh": (hidden, features),
            "Whh": (hidden, hidden),
            "Why": (out, hidden),
            "bh": (hidden, 1),
            "by": (out, 1),
        }

    def _take(self, params: Params) -> None:
        """Make these arrays, which nobody else writes to, the parameters."""
        self._params = read_only(self.backend, params)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take(self._params)  # a pickle does not say that an array is read-only

    def _named(self) -> Params:
        """Return the parameters under the names of the layers; b_hh is zero."""
        p, zero = self.params, self.backend.zeros((self.hidden_size,))
        hidden = {"weight_ih": p["Wxh"], "weight_hh": p["Whh"], "bias_ih": p["bh"][:, 0]}
        named = {f"0.{name}_l0": W for name, W in (hidden | {"bias_hh": zero}).items()}
        return named | {"1.weight": p["Why"], "1.bias": p["by"][:, 0]}

    def _arriving(self, doutputs: Any) -> tuple[Any, Array]:
        """Return the cache of the last forward pass, and the gradient with respect to y."""
        if self._pass is None:
            raise RuntimeError("expected a forward pass first, got none since the parameters "
                               "last changed: call forward(inputs)")  # fmt: skip
        cache, shape, form = self._pass
        with self.backend.scope():
            return cache, vectors.read_doutputs(self.backend, doutputs, shape, form)


class _Pass(NamedTuple):
    """A forward pass: its cache, the shape of y, and the form of the outputs."""

    cache: Any
    shape: tuple[int, ...]
    form: str
