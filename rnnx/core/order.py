"""The order in which a direction of a layer reads each row's steps: padding, masks, reversal.

A direction reads the valid steps of every row first, forward or backward in time, and whatever is
left of the row after them. To the core that is a dense sequence; its states beyond a row's length
are zeroed here, and so is all that would flow back from them. One rule makes every order::

    key[t, b] = t or T - 1 - t where step t of row b is valid, else T + t

Sorted, the keys say by themselves which step is read s-th; so nothing but a plain sort is needed.

With lengths and no gaps, the forward order is the identity, and the backward order its own inverse.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from array_api_compat import device as device_of

from rnnx.backend import Array


class Order(NamedTuple):
    """How one direction reads a batch; None where nothing is to be done."""

    steps: Array | None  # (T, B) integer: the step read s-th
    places: Array | None  # (T, B) integer: when step t is read
    valid: Array | None  # (T, B, 1) bool: the s-th step read is a valid one
    lengths: Array | None  # (B, 1) integer: number of valid steps


DENSE = Order(None, None, None, None)


def from_lengths(xp: ModuleType, lengths: Array, T: int, reverse: bool) -> Order:
    """Return the order for rows valid up to their lengths (B,)."""
    t = _steps(xp, T, lengths)  # (T, 1)
    valid = t < lengths
    index = xp.where(valid, lengths - 1 - t, t) if reverse else None
    return Order(index, index, valid[..., None], lengths[:, None])


def from_mask(xp: ModuleType, mask: Array, reverse: bool) -> Order:
    """Return the order for rows valid where the mask (T, B) is True."""
    T = mask.shape[0]
    t = _steps(xp, T, mask)  # (T, 1)
    seen = xp.cumulative_sum(xp.astype(mask, xp.int32), axis=0, dtype=xp.int32)  # (T, B)
    lengths = seen[-1, ...]  # (B,)
    key = xp.sort(xp.where(mask, T - 1 - t if reverse else t, T + t), axis=0)
    steps = xp.where(key >= T, key - T, T - 1 - key if reverse else key)
    places = xp.where(mask, lengths - seen if reverse else seen - 1, lengths + t - seen)
    return Order(steps, places, (t < lengths)[..., None], lengths[:, None])


def dense(xp: ModuleType, like: Array, T: int, reverse: bool) -> Order:
    """Return the order for a batch (T, B, ·) without padding."""
    if not reverse:
        return DENSE
    index = xp.broadcast_to(T - 1 - _steps(xp, T, like), like.shape[:2])
    return Order(index, index, None, None)


def take(xp: ModuleType, x: Array, index: Array) -> Array:
    """Return x[index[s, b], b] of x (T, B, F), for an index (S, B)."""
    T, B, F = x.shape
    columns = xp.arange(B, dtype=index.dtype, device=device_of(index))
    flat = xp.reshape(index * B + columns, (-1,))
    return xp.reshape(xp.take(xp.reshape(x, (T * B, F)), flat, axis=0), (*index.shape, F))


def _steps(xp: ModuleType, T: int, like: Array) -> Array:
    return xp.arange(T, dtype=xp.int32, device=device_of(like))[:, None]


def restarts(xp: ModuleType, reset: Array, how: Order, reverse: bool) -> Array:
    """Return before which of the steps read a row's state restarts, (T, B).

    `reset` (T, B) says that a new episode begins at a step. A direction restarts where the step it
    reads is of another episode than the one before it; so the first step of an episode restarts the
    forward direction, and the last one the backward direction.
    """
    episode = xp.cumulative_sum(xp.astype(reset, xp.int32), axis=0, dtype=xp.int32)  # (T, B)
    if reverse:
        episode = episode[-1:, ...] - episode
    if how.steps is not None:
        episode = take(xp, episode[..., None], how.steps)[..., 0]
    earlier = xp.concat([xp.zeros_like(episode[:1, ...]), episode[:-1, ...]], axis=0)
    return episode != earlier
