"""What RNN, GRU and LSTM share: parameters, checks, and the verbs of every layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from rnnx import validate
from rnnx.backend import Array, Backend, get_backend
from rnnx.core.layer import Params
from rnnx.core.portable import States
from rnnx.layers import forms, parameters, stack, states
from rnnx.layers.base import OPTIONS, Layer
from rnnx.layers.direction import unread
from rnnx.layers.noise import Rates
from rnnx.layers.parameters import Seed, Sizes, suffixes
from rnnx.layers.stack import Cache
from rnnx.layers.stepper import Stepper


class Recurrent(Layer):
    """The common part of `rnnx.RNN`, `rnnx.GRU` and `rnnx.LSTM`; made through these.

    A call changes nothing on a layer, so one layer may serve several threads.
    """

    options: ClassVar[tuple[str, ...]] = (*OPTIONS, "masks")

    def __init__(
        self,
        cell: Any,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        proj_size: int = 0,
        bias: bool,
        batch_first: bool,
        dropout: float,
        recurrent_dropout: float,
        weight_drop: float,
        bidirectional: bool,
        weight_init: str,
        recurrent_init: str,
        forget_bias: float | None = None,
        backend: str | Backend,
        device: Any,
        dtype: str | None,
        seed: Seed,
    ) -> None:
        self.cell = cell
        self.sizes = Sizes(
            cell.gates,
            validate.size("input_size", input_size),
            validate.size("hidden_size", hidden_size),
            _proj_size(proj_size, hidden_size),
            validate.size("num_layers", num_layers),
            2 if bidirectional else 1,
            bool(bias),
        )
        self.batch_first = bool(batch_first)
        self.rates = Rates(
            validate.fraction("dropout", dropout),
            validate.fraction("recurrent_dropout", recurrent_dropout),
            validate.fraction("weight_drop", weight_drop),
        )
        for name, value in (("weight_init", weight_init), ("recurrent_init", recurrent_init)):
            validate.one_of(name, value, parameters.INITIALIZERS)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        if forget_bias is not None:
            forget_bias = validate.finite("forget_bias", forget_bias)
        rng = validate.generator(seed)
        drawn = parameters.draw(self.sizes, rng, weight_init, recurrent_init, forget_bias)
        self.params: Params = {name: self.backend.asarray(W) for name, W in drawn.items()}
        self._stepper: Stepper | None = None

    def __repr__(self) -> str:
        s = self.sizes
        extra = [f"proj_size={s.proj_size}"] * bool(s.proj_size)
        extra += ["bidirectional=True"] * (s.directions == 2)
        options = "".join(f", {text}" for text in extra)
        name = type(self).__name__
        return f"{name}({s.input_size}, {s.hidden_size}, {s.num_layers}{options}, {self.backend})"

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_stepper": None}  # it is made of functions, and made again in `step`

    @property
    def directions(self) -> int:  # type: ignore[override]
        """2 for a bidirectional layer."""
        return self.sizes.directions

    @property
    def input_size(self) -> int:
        """The size I of x's last axis."""
        return self.sizes.input_size

    def __call__(
        self,
        x: Any,
        state: Any = None,
        *,
        params: Params | None = None,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
    ) -> tuple[Any, Any]:
        """Return the outputs and the final state, for inference: no dropout, nothing kept.

        Arguments and errors are those of `forward`.
        """
        y, state, _ = self._forward(x, state, params, {}, lengths, mask, reset, None, keep=False)
        return y, state

    def forward(
        self,
        x: Any,
        state: Any = None,
        *,
        params: Params | None = None,
        masks: Params | None = None,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        checkpoint: int | str | None = None,
    ) -> tuple[Any, Any, Cache]:
        """Return the outputs, the final state, and a cache for `backward`.

        Parameters
        ----------
        x : array or list of arrays
            Shape (T, B, I), with `batch_first` (B, T, I), or (T, I) for one sequence; or a list of
            B arrays (T_b, I) of any lengths, for which the outputs come as a list too.
        state : array, or for an LSTM a pair of arrays, optional
            The initial states, (L·D, B, P) and for the LSTM's c (L·D, B, H), with L layers, D
            directions, layers first; without B for one sequence. Default is zero.
        params : dict of arrays, optional
            Parameters to run with in place of the layer's own.
        masks : dict of arrays, optional
            What `draw_masks` returned. By default drawn anew; ``{}`` is without dropout.
        lengths : array of integers, shape (B,), optional
            The number of valid steps of each row, 0 included; what follows them is padding, of any
            value, and has no effect. On a device they are not checked, as that would wait for it.
        mask : array of bool, shape (T, B) or (B, T) as x, optional
            The valid steps of each row, in any pattern: as if the others were not there.
        reset : array of bool, shape (T, B) or (B, T) as x, optional
            The steps at which a new episode begins: before it the state restarts at zero.
        checkpoint : int or "sqrt", optional
            Keep the states of every so many steps only, ``"sqrt"`` for about √T, and compute what
            lies between again in `backward`.

        Returns
        -------
        y : array or list of arrays
            h of the last layer, (T, B, D·P) in the form of x; zero at padded steps.
        state : array or pair of arrays
            The states after each row's last valid step, in the form of `state`.
        cache : Cache
            For `backward`, `states`; arrays only, and a pytree under JAX.

        Raises
        ------
        ValueError, TypeError
            Where a shape, a dtype, a length, or a combination does not fit.
        """
        return self._forward(x, state, params, masks, lengths, mask, reset, checkpoint, keep=True)

    def _forward(
        self,
        x: Any,
        state: Any,
        params: Params | None,
        masks: Params | None,
        lengths: Any,
        mask: Any,
        reset: Any,
        checkpoint: int | str | None,
        *,
        keep: bool,
    ) -> tuple[Any, Any, Cache]:
        bk = self.backend
        params = self._chosen(params)
        with bk.scope():
            x, form = forms.read(bk, x, self.input_size, self.batch_first)
            lengths, mask = forms.read_padding(bk, lengths, mask, x.shape, form)
            reset = forms.read_flags(bk, "reset", reset, x.shape, form)
            T, B, _ = x.shape
            state0 = self._state0(state, B, form)
            if masks is None and any(self.rates):
                bk.refuse_traced(x)
                masks = self.rates.draw(bk, self.sizes, T, B, None)
            masks = self.rates.check(self.sizes, T, B, masks or {})
            directions = self.sizes.directions
            ways = stack.settings(bk.xp, x, directions, lengths, mask, reset)
            chunks = _chunks(checkpoint, T)
            run, _ = _compiled(bk, self.cell, self.sizes, chunks, keep)
            y, final, kept = run(params, x, state0, ways, masks)
            cache = Cache(params, x, masks, ways, kept, form)
            return forms.write(bk, y, form), states.write(final, form), cache

    def backward(self, dy: Any, cache: Cache, dstate: Any = None) -> tuple[Any, Any, Params]:
        """Return the gradients of a loss, from those by the outputs and by the final state.

        Parameters
        ----------
        dy : array, list of arrays or None
            The gradient by y, in its form; None where the loss does not read it.
        cache : Cache
            What `forward` returned.
        dstate : array, pair of arrays or None
            The gradient by the final state; for an LSTM a pair, each of which may be None.

        Returns
        -------
        dx : array or list of arrays
            The gradient by x, in its form; zero at padded steps.
        dstate0 : array or pair of arrays
            The gradient by the initial state.
        grads : dict of arrays
            The gradients by the parameters, by name.

        Raises
        ------
        ValueError, TypeError
            Where a gradient's shape does not fit, the cache is not of such a layer, or both
            gradients are None.
        """
        bk = self.backend
        self._check_cache(cache)
        T, B, _ = cache.x.shape
        with bk.scope():
            if dy is not None:
                shape = (T, B, self.sizes.directions * self.sizes.output_size)
                dy = forms.read_like(bk, "dy", dy, shape, cache.form)
            expected = states.shapes(self.sizes, self.cell.state_size, B, cache.form)
            dstates = states.read(bk, "dstate", dstate, expected)
            if dy is None and all(d is None for d in dstates):
                raise ValueError(
                    "expected a gradient by y or by the final state, got None for both"
                )
            _, run = _compiled(bk, self.cell, self.sizes, 0, True)
            dx, dstate0, grads = run(cache._replace(form=()), dy, dstates)
            return forms.write(bk, dx, cache.form), states.write(dstate0, cache.form), grads

    def step(self, x: Any, state: Any = None) -> tuple[Array, Any]:
        """Take one step of a stream: return y_t and the state after it, without dropout.

        Parameters
        ----------
        x : array, shape (I,) or (B, I)
            The input of this step.
        state : array or pair of arrays, optional
            What the last step returned, (L, P) or (L, B, P), and (L, H) or (L, B, H) for an LSTM's
            c; zero by default. `forward` takes it too, and gives it.

        Returns
        -------
        y : array, shape (P,) or (B, P)
            h of the last layer.
        state : array or pair of arrays
            The new state.

        Raises
        ------
        ValueError
            For a wrong shape, or a layer that reads its input backward, too. Shapes and dtypes that
            a step has had before are not checked again.
        """
        stepper = self._stepper
        if stepper is None or stepper.params is not self.params:
            stepper = self._stepper = Stepper(self.backend, self.cell, self.sizes, self.params)
        return stepper(x, state)

    def states(self, cache: Cache) -> dict[str, Array]:
        """Return every state of every layer and direction at every step, by name.

        Parameters
        ----------
        cache : Cache
            What `forward` returned, without checkpoints.

        Returns
        -------
        dict of arrays
            ``h_l0``, ``h_l0_reverse``, ``h_l1``, ... (T, B, P), for an LSTM ``c_l0``, ... (T, B, H)
            too, in the form of x but never as lists; aligned with time, zero at padded steps.
        """
        self._check_cache(cache)
        form = forms.TimeMajor() if isinstance(cache.form, forms.Listed) else cache.form
        found = {}
        with self.backend.scope():
            for i, suffix in enumerate(suffixes(self.sizes)):
                layer, d = divmod(i, self.sizes.directions)
                kept = cache.kept[layer][d]
                if kept.checkpoints:
                    raise ValueError("expected a cache with all states, got one with checkpoints")
                for letter, s in zip("hc", kept.states, strict=False):
                    aligned = unread(self.backend.xp, cache.settings[d].order, s)
                    found[f"{letter}_{suffix}"] = forms.write(self.backend, aligned, form)
        return found

    def draw_masks(self, shape: Sequence[int], seed: Seed = None) -> Params:
        """Return dropout masks for an input of this shape, for `forward` to use.

        Drawn on the host, so that the same seed gives the same masks on every backend. Entries are
        zero with the layer's probability p and 1/(1 - p) else.

        Parameters
        ----------
        shape : sequence of int
            The shape of x; for a list of sequences, (T, B, I) of the longest.
        seed : None, int or numpy.random.Generator

        Returns
        -------
        dict of arrays
            By the names and of the shapes that `rnnx.layers.noise` lists.
        """
        T, B = (shape[0], 1) if len(shape) == 2 else (shape[0], shape[1])
        if self.batch_first and len(shape) == 3:
            T, B = B, T
        return self.rates.draw(self.backend, self.sizes, T, B, seed)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return (..., D·P) for (..., I)."""
        return (*shape[:-1], self.sizes.directions * self.sizes.output_size)

    def _state0(self, state: Any, batch: int, form: Any) -> States:
        """Return the initial state's arrays, (L·D, B, ·) each; zeros for None."""
        count = self.cell.state_size
        given = states.read(
            self.backend, "state", state, states.shapes(self.sizes, count, batch, form)
        )
        wide = states.shapes(self.sizes, count, batch)
        return tuple(
            self.backend.zeros(shape) if array is None else array
            for shape, array in zip(wide, given, strict=True)
        )

    def _check_cache(self, cache: Any) -> None:
        if not isinstance(cache, Cache):
            raise TypeError(f"expected the cache that forward returned, got {type(cache).__name__}")
        try:
            self._chosen(cache.params)
        except ValueError as error:
            raise ValueError(f"expected a cache of this layer, got another's: {error}") from None
        if not self.backend.is_own(cache.x):
            raise TypeError(
                f"expected a cache of {self.backend}, got one of another library: run forward of "
                "this copy of the layer"
            )


@lru_cache(maxsize=64)
def _compiled(
    backend: Backend, cell: Any, sizes: Sizes, chunks: int, keep: bool
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a stack's forward and backward on a backend, compiled once where it compiles."""

    def forward(params: Params, x: Array, state0: States, ways: Any, masks: Params) -> Any:
        return stack.forward(backend, cell, sizes, params, x, state0, ways, masks, chunks, keep)

    def backward(cache: Cache, dy: Array | None, dstate: tuple[Array | None, ...]) -> Any:
        return stack.backward(backend, cell, sizes, cache, dy, dstate)

    return backend.compile(forward), backend.compile(backward)


def _chunks(checkpoint: int | str | None, T: int) -> int:
    """Return the number of chunks, 0 for none."""
    if checkpoint is None:
        return 0
    length = math.isqrt(T - 1) + 1 if checkpoint == "sqrt" else checkpoint
    if isinstance(length, str):
        raise ValueError(f"checkpoint must be a number of steps or 'sqrt', got {checkpoint!r}")
    return -(-T // validate.size("checkpoint", length))


def _proj_size(proj_size: int, hidden_size: int) -> int:
    if proj_size != 0 and not 0 < validate.size("proj_size", proj_size) < hidden_size:
        raise ValueError(
            f"proj_size must be below hidden_size = {hidden_size}, or 0 for none, got {proj_size}"
        )
    return int(proj_size)
