"""The verbs of a stack of recurrent layers: calls, BPTT, streaming, states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar

from rnnx.backend import Array
from rnnx.core import stack
from rnnx.core.direction import Plan, unread
from rnnx.core.sizes import Sizes, suffixes
from rnnx.core.stack import Cache
from rnnx.layers import forms, states
from rnnx.layers.base import OPTIONS, Layer, Params, Seed
from rnnx.layers.noise import Rates
from rnnx.layers.stepper import Runner, Stepper


class Stacked(Layer):
    """The verbs of `rnnx.Recurrent`, which makes one."""

    options: ClassVar[tuple[str, ...]] = OPTIONS

    sizes: Sizes
    rates: Rates
    core: str
    precision: str
    _stepper: Stepper | None = None
    _runner: Runner | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_stepper": None, "_runner": None}  # functions, which are made again

    @property
    def input_size(self) -> int:
        """The size I of x's last axis."""
        return self.sizes.input_size

    @property
    def _plan(self) -> Plan:
        return Plan(self.backend, self.sizes, self.core, self.precision)

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
        """Return the outputs and the final state, for inference: no dropout, no cache.

        Arguments and errors are those of `forward`.
        """
        if lengths is mask is reset is params is None and not isinstance(x, list | tuple):
            runner = self._runner
            if runner is None or runner.params is not self._params:
                runner = self._runner = Runner(self._plan, self._params)
            if runner.serves:
                bk = self.backend
                x, form = forms.read(bk, x, self.input_size, self.batch_first)
                y, final = runner(x, states.initial(bk, self.sizes, state, x.shape[1], form))
                return forms.write(bk, y, form), states.write(final, form)
        how = forms.Reading(lengths, mask, reset)
        y, state, _ = self._forward(x, state, params, {}, how, keep=False)
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
            B arrays (T_b, I) of any lengths, for which the outputs come as a list too. The cache
            shares the memory of x and of `state` where they need no conversion: leave both as they
            are until `backward`.
        state : array or tuple of arrays, optional
            The initial states, layers first: (L·D, B, P), for an LSTM the pair of that and c,
            (L·D, B, H); without B for one sequence. Default is zero.
        params : dict of arrays, optional
            Parameters to run with in place of the layer's own.
        masks : dict of arrays, optional
            What `draw_masks` returned. Drawn anew by default; ``{}`` runs without dropout.
        lengths : array of integers, shape (B,), optional
            The number of valid steps of each row, 0 included. What follows is padding; it may hold
            any value and has no effect. Lengths on a device are not checked, as that would wait
            for the device.
        mask : array of bool, shape (T, B) or (B, T) as x, optional
            The valid steps of each row, in any pattern. The others are skipped.
        reset : array of bool, shape (T, B) or (B, T) as x, optional
            The steps at which a new episode begins: the state restarts at zero before them.
        checkpoint : int or "sqrt", optional
            Keep the states of every so many steps only, ``"sqrt"`` for about √T, and compute the
            steps between them again in `backward`.

        Returns
        -------
        y : array or list of arrays
            h of the last layer, (T, B, D·P) in the form of x; zero at padded steps. The cache may
            share its memory, so do not write to it before `backward`; on NumPy it is read-only.
        state : array or tuple of arrays
            The states after each row's last valid step, in the form of `state`.
        cache : Cache
            For `backward` and `states`; arrays only, and a pytree under JAX.

        Raises
        ------
        ValueError, TypeError
            Where a shape, a dtype, a length, or a combination does not fit.
        """
        how = forms.Reading(lengths, mask, reset, checkpoint)
        return self._forward(x, state, params, masks, how, keep=True)

    def _forward(
        self, x: Any, state: Any, params: Any, masks: Any, how: forms.Reading, *, keep: bool
    ) -> tuple[Any, Any, Cache]:
        bk = self.backend
        params = self._chosen(params)
        with bk.scope():
            x, form = forms.read(bk, x, self.input_size, self.batch_first)
            lengths, mask, reset, chunks = how.read(bk, x.shape, form)
            T, B, _ = x.shape
            state0 = states.initial(bk, self.sizes, state, B, form)
            if masks is None and any(self.rates):
                bk.refuse_traced(x)
                masks = self.rates.draw(bk, self.sizes, T, B, None)
            masks = self.rates.check(self.sizes, T, B, masks or {})
            ways = stack.settings(bk.xp, x, self.directions, lengths, mask, reset)
            plan = self._plan._replace(chunks=chunks, keep=keep)
            y, final, kept = _compiled(plan)[0](params, x, state0, ways, masks)
            cache = Cache(params, x, masks, ways, kept, form)
            if keep:  # a view of what the cache holds
                y = bk.read_only(y)
            return forms.write(bk, y, form), states.write(final, form), cache

    def backward(self, dy: Any, cache: Cache, dstate: Any = None) -> tuple[Any, Any, Params]:
        """Return the gradients of a loss, from those of the outputs and of the final state.

        Parameters
        ----------
        dy : array, list of arrays or None
            The gradient with respect to y, in its form; None where the loss does not read y.
        cache : Cache
            What `forward` returned.
        dstate : array, tuple of arrays or None
            The gradient with respect to the final state; each array of a tuple may be None.

        Returns
        -------
        dx : array or list of arrays
            The gradient with respect to x, in its form; zero at padded steps.
        dstate0 : array or tuple of arrays
            The gradient with respect to the initial state.
        grads : dict of arrays
            The gradients with respect to the parameters, by name.

        Raises
        ------
        ValueError, TypeError
            Where a gradient's shape does not fit, the cache is not of such a layer, or both
            gradients are None.
        """
        found, _ = self._backward(dy, cache, dstate, want_h=False)
        with self.backend.scope():
            dx = forms.write(self.backend, found.x, cache.form)
            return dx, states.write(found.state0, cache.form), found.params

    def state_gradients(self, dy: Any, cache: Cache) -> tuple[Params, Any]:
        """Return the gradient with respect to every h_t, and that with respect to x.

        Returns
        -------
        dh : dict of arrays, shape (T, B, P)
            By name, ``h_l0``, ``h_l0_reverse``, ``h_l1``, ..., through all that is computed from
            h_t, with other state arrays held; time-major, in the order of time.
        dx : array or list of arrays
            As `backward` returns it.
        """
        found, dh = self._backward(dy, cache, None, want_h=True)
        with self.backend.scope():
            ordered = {f"h_{suffix}": dh[f"h_{suffix}"] for suffix in suffixes(self.sizes)}
            return ordered, forms.write(self.backend, found.x, cache.form)

    def _backward(self, dy: Any, cache: Cache, dstate: Any, *, want_h: bool) -> Any:
        bk = self.backend
        self._check_cache(cache)
        T, B, _ = cache.x.shape
        with bk.scope():
            if dy is not None:
                shape = (T, B, self.directions * self.sizes.output_size)
                dy = forms.read_like(bk, "dy", dy, shape, cache.form)
            expected = states.shapes(self.sizes, B, cache.form)
            dstates = states.read(bk, "dstate", dstate, expected)
            if dy is None and all(d is None for d in dstates):
                raise ValueError(
                    "expected a gradient with respect to y or the final state, got None for both"
                )
            _, run = _compiled(self._plan._replace(want_h=want_h))
            return run(cache._replace(form=()), dy, dstates)

    def step(self, x: Any, state: Any = None) -> tuple[Array, Any]:
        """Take one step of a stream: return y_t and the state after it, without dropout.

        Parameters
        ----------
        x : array, shape (I,) or (B, I)
            The input of this step.
        state : array or tuple of arrays, optional
            What the last step returned, (L, P) or (L, B, P), and (L, H) or (L, B, H) for an LSTM's
            c; zero by default. `forward` takes it too, and returns it.

        Returns
        -------
        y : array, shape (P,) or (B, P)
            h of the last layer.
        state : array or tuple of arrays
            The new state.

        Raises
        ------
        ValueError
            For a wrong shape, or a layer that also reads its input backward.
        """
        stepper = self._stepper
        if stepper is None or stepper.params is not self._params:
            stepper = self._stepper = Stepper(self._plan, self._params)
        return stepper(x, state)

    def states(self, cache: Cache) -> dict[str, Array]:
        """Return every state of every layer and direction, from a cache without checkpoints.

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
                layer, d = divmod(i, self.directions)
                kept = cache.kept[layer][d]
                if kept.checkpoints:
                    raise ValueError("expected a cache with all states, got one with checkpoints")
                for name, s in zip(self.sizes.state_sizes, kept.trace.states, strict=True):
                    aligned = unread(self.backend.xp, cache.settings[d].order, s)
                    written = forms.write(self.backend, aligned, form)
                    found[f"{name}_{suffix}"] = self.backend.read_only(written)
        return found

    def draw_masks(self, shape: Sequence[int], seed: Seed = None) -> Params:
        """Return dropout masks for an input of this shape, drawn on the host, for `forward`.

        Entries are zero with the layer's probability p, and 1/(1 - p) otherwise.

        Parameters
        ----------
        shape : sequence of int
            The shape of x; for a list of sequences, (T, B, I) of the longest.

        Returns
        -------
        dict of arrays
            By the names and of the shapes that `rnnx.layers.noise` lists.
        """
        T, B = (shape[0], 1) if len(shape) == 2 else (shape[0], shape[1])
        if self.batch_first and len(shape) == 3:
            T, B = B, T
        return self.rates.draw(self.backend, self.sizes, T, B, seed)

    def output_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return (..., D·P) for (..., I)."""
        return (*shape[:-1], self.directions * self.sizes.output_size)

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
def _compiled(plan: Plan) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a stack's forward and backward, compiled once where the backend compiles."""
    compiled = plan.backend.compile
    return compiled(partial(stack.forward, plan)), compiled(partial(stack.backward, plan))
