"""The class SimpleRNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from rnnx import validate
from rnnx.backend import Array, Backend, get_backend, target_backend
from rnnx.cells.rnn import RNNCell
from rnnx.core.contract import Params
from rnnx.layers.base import UNDRAWN, Outline, Seed, replaced
from rnnx.simple import vectors
from rnnx.simple.network import Cache, Network


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
        Seed of the initial weights, 0.01 times standard normal, drawn on the host: the same seed
        gives the same network on every backend. Biases start at zero.

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
        seed: Seed = None,
    ) -> None:
        self.input_size = validate.size("input_size", input_size)
        self.hidden_size = validate.size("hidden_size", hidden_size)
        self.output_size = validate.size("output_size", output_size)
        self.cell = RNNCell(nonlinearity)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        shapes = self._shapes()
        self.params: Params = {name: Outline(shape) for name, shape in shapes.items()}
        if seed is not UNDRAWN:
            rng = validate.generator(seed)
            self.params = {
                name: self.backend.asarray(
                    0.01 * rng.standard_normal(shape) if name.startswith("W") else np.zeros(shape)
                )
                for name, shape in shapes.items()
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
            x, form = vectors.read_inputs(self.backend, inputs, self.input_size)
            h0 = vectors.read_state(self.backend, state, x.shape[1], self.hidden_size)
            run = _compiled(self.backend, self.cell)[0]
            y, cache = run(self.params, x, h0)
            self._pass = _Pass(cache, dict(self.params), form)
            self._final_state = cache.h[-1, ...]
            return vectors.write_outputs(y, form)

    def backward(self, doutputs: Any, learning_rate: float = 0.01) -> Params:
        """Compute the gradients of the last forward pass and take a step of gradient descent.

        Parameters
        ----------
        doutputs : list or array
            The gradient of the loss with respect to the outputs, in their form.
        learning_rate : float
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
            self.params = {name: W - rate * grads[name] for name, W in self.params.items()}
        self._pass = None
        return grads

    def gradients(self, doutputs: Any) -> Params:
        """Compute the gradients of the last forward pass, and change nothing.

        Parameters and errors are those of `backward`.

        Returns
        -------
        dict of arrays
            The gradients with respect to `Wxh`, `Whh`, `Why`, `bh`, `by`, in their shapes.
        """
        return self._backward(doutputs)[0]

    def state_gradients(self, doutputs: Any) -> Array:
        """Compute dL/dh_t for every t: how far back in time the loss is felt.

        Parameters and errors are those of `backward`.

        Returns
        -------
        array, shape (T, B, H)
            The whole gradient of the loss with respect to h_t, through y_t and through all later
            states; B is 1 where the input had no batch axis.
        """
        return self._backward(doutputs, want_h=True)[1]

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

    @property
    def network(self) -> Network:
        """The same network as pure functions of its parameters."""
        return Network(self.backend, self.cell)

    def config(self) -> dict[str, Any]:
        """Return what `rnnx.build` makes the same network of, without its parameters' values."""
        return {
            "layer": "SimpleRNN",
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "output_size": self.output_size,
            "nonlinearity": self.cell.nonlinearity,
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

    def _last_pass(self) -> _Pass:
        if self._pass is None:
            raise RuntimeError("expected a forward pass first, got none since the parameters "
                               "last changed: call forward(inputs)")  # fmt: skip
        return self._pass

    def _backward(self, doutputs: Any, want_h: bool = False) -> tuple[Params, Any]:
        """Return the gradients with respect to the parameters and, if asked for, to every state."""
        cache, params, form = self._last_pass()
        with self.backend.scope():
            shape = (*cache.x.shape[:2], self.output_size)
            dy = vectors.read_doutputs(self.backend, doutputs, shape, form)
            _, *runs = _compiled(self.backend, self.cell)
            found: tuple[Params, Any] = runs[want_h](params, cache, dy)
            return found


class _Pass(NamedTuple):
    """A forward pass: its cache, the parameters it ran with, the form of its outputs."""

    cache: Cache
    params: Params
    form: str


@lru_cache(maxsize=16)
def _compiled(backend: Backend, cell: RNNCell) -> tuple[Callable[..., Any], ...]:
    """Return the pure forward and both backwards, compiled once where the backend compiles."""
    network = Network(backend, cell)
    runs = (network.forward, network.backward, partial(network.backward, want_h=True))
    return tuple(backend.compile(run) for run in runs)
