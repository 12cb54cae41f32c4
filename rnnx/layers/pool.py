"""The pooling layer: one vector for each sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from rnnx import validate
from rnnx._doc import shared
from rnnx.backend import Array, Backend, get_backend
from rnnx.core import pooling
from rnnx.layers import forms
from rnnx.layers.base import Layer, Params

HOWS = ("last", "mean", "max")


class Cache(NamedTuple):
    """What `Pool.backward` needs."""

    y: Array  # (B, F)
    share: Array  # (T,) or (T, B) integer, as `rnnx.core.pooling` says
    at: Array | None  # (B, F) integer: the steps of the maxima
    form: Any


@shared()
class Pool(Layer):
    """One vector for each sequence: its last output, or the mean or the maximum of all.

    With n valid steps in a row, the last of them at t = e, the first at t = s::

        last   y = x_e                     dx_e = dy
        mean   y = 1/n Σ x_t               dx_t = dy / n
        max    y = max_t x_t               dx_t = dy at the first t with x_t = y

    A row without a valid step gives zeros, and its gradient is zero; so is that at padded steps. Of
    equal maxima the first alone has the gradient; it is never split.

    Parameters
    ----------
    how : {"last", "mean", "max"}
        What to take.
    batch_first : bool
        Whether x is (B, T, F) instead of (T, B, F).
    bidirectional : bool
        Whether x is that of both directions, side by side. ``"last"`` then takes the second half of
        the features, those of the reverse direction, from x_s, where that direction ends: both h_n
        of the layer below.
    backend, device, dtype
        As for `rnnx.get_backend`.

    Raises
    ------
    ValueError, BackendUnavailable
        For an unknown `how`, and as `rnnx.get_backend` does.

    Examples
    --------
    >>> import numpy as np
    >>> import rnnx
    >>> model = rnnx.Sequential(
    ...     rnnx.GRU(3, 8, bidirectional=True, seed=0),
    ...     rnnx.Pool("last", bidirectional=True),
    ...     rnnx.Linear(16, 2, seed=1),
    ... )
    >>> y, _, cache = model.forward(np.ones((7, 4, 3)), lengths=[7, 2, 5, 1])
    >>> dx, _, _ = model.backward(y, cache)
    >>> y.shape, dx.shape
    ((4, 2), (7, 4, 3))
    """

    options: ClassVar[tuple[str, ...]] = ("lengths", "mask")

    def __init__(
        self,
        how: str = "last",
        *,
        batch_first: bool = False,
        bidirectional: bool = False,
        backend: str | Backend = "numpy",
        device: Any = None,
        dtype: str | None = None,
    ) -> None:
        self.how = validate.one_of("how", how, HOWS)
        self.batch_first = bool(batch_first)
        self.bidirectional = bool(bidirectional)
        self.backend = get_backend(backend, device=device, dtype=dtype)
        self._params = {}
        self._config = {
            "how": self.how, "batch_first": self.batch_first, "bidirectional": self.bidirectional,
        }  # fmt: skip

    @property
    def reduces_time(self) -> bool:
        """True: the output is one vector per sequence."""
        return True

    def __call__(
        self,
        x: Any,
        state: None = None,
        *,
        params: Params | None = None,
        lengths: Any = None,
        mask: Any = None,
    ) -> tuple[Array, None]:
        """Return y (B, F) and None for a state; arguments as for `forward`."""
        y, _, _ = self.forward(x, params=params, lengths=lengths, mask=mask)
        return y, None

    def forward(
        self,
        x: Any,
        state: None = None,
        *,
        params: Params | None = None,
        lengths: Any = None,
        mask: Any = None,
    ) -> tuple[Array, None, Cache]:
        """Return y (B, F), None for a state, and a cache.

        Parameters
        ----------
        x : array or list of arrays
            Shape (T, B, F), with `batch_first` (B, T, F), or (T, F) for one sequence, which gives y
            (F,); or a list of B arrays (T_b, F) of any lengths.
        state : None
            There is none.
        params : dict, optional
            There are none.
        lengths : array of integers, shape (B,), optional
            The number of valid steps of each row, 0 included; what follows them is padding, of any
            value. On a device they are not checked, as that would wait for it.
        mask : array of bool, shape (T, B) or (B, T) as x, optional
            The valid steps of each row, in any pattern.

        Raises
        ------
        ValueError, TypeError
            Where a shape, a dtype or a length does not fit, both lengths and mask are given, or
            features of two directions are of odd number.
        """
        self._chosen(params)
        bk = self.backend
        with bk.scope():
            x, form = forms.read(bk, x, None, self.batch_first)
            lengths, mask = forms.read_padding(bk, lengths, mask, x.shape, form)
            if self.bidirectional and x.shape[-1] % 2:
                raise ValueError(
                    "x must have an even number of features, half of them of each direction, got "
                    f"{x.shape[-1]}: use bidirectional=False for one direction"
                )
            valid, at = pooling.valid_steps(bk.xp, x, lengths, mask), None
            if self.how == "last":
                y, share = pooling.last(bk.xp, x, valid, self.bidirectional)
            elif self.how == "mean":
                y, share = pooling.mean(bk.xp, x, valid)
            else:
                y, share, at = pooling.maximum(bk.xp, x, valid)
            written = y[0, :] if isinstance(form, forms.Unbatched) else y
            return written, None, Cache(y, share, at, form)

    def backward(self, dy: Any, cache: Cache, dstate: None = None) -> tuple[Any, None, Params]:
        """Return dx in the form of x, None, and no gradients, from dy (B, F), or (F,) as y."""
        bk = self.backend
        with bk.scope():
            dy = bk.floating("dy", dy)
            alone = isinstance(cache.form, forms.Unbatched)
            expected = tuple(cache.y.shape)[1 if alone else 0 :]
            if tuple(dy.shape) != expected:
                raise ValueError(f"dy must have shape {expected}, got {tuple(dy.shape)}")
            dy = dy[None, :] if alone else dy
            if self.how == "last":
                dx = pooling.last_backward(bk.xp, dy, cache.share, self.bidirectional)
            elif self.how == "mean":
                dx = pooling.mean_backward(bk.xp, dy, cache.share)
            else:
                dx = pooling.maximum_backward(bk.xp, dy, cache.share, cache.at)
            return forms.write(bk, dx, cache.form), None, {}

    def output_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return (B, F) for (T, B, F), or (B, T, F) batch first; (F,) for (T, F)."""
        return (shape[0 if self.batch_first else 1], shape[2]) if len(shape) == 3 else (shape[1],)
