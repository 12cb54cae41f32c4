"""Cross-entropy of class labels under a softmax."""

from __future__ import annotations

from types import ModuleType

from array_api_compat import device as device_of

from rnnx.backend import Array, scope_of
from rnnx.losses.shared import averaged, checked, documented, takes


@takes("labels")
@documented
def softmax_cross_entropy(
    logits: Array, targets: Array, mask: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    """Return the mean negative log-likelihood of class labels under a softmax, and its gradient.

    Forward, for each position that counts, with logits z, target k and weight w::

        log p = (z - max z) - log Σ_j exp(z_j - max z)      no exponent above zero
        L = -Σ w log p_k / Σ w

    Backward::

        dz = w (p - onehot(k)) / Σ w

    Parameters
    ----------
    logits : array, shape (..., K)
        Unnormalised log-probabilities of K classes, floating.
    targets : array, shape (...)
        Integers in [0, K). Any other value at a position that counts makes the loss NaN.
    {counts}
        To weight classes, pass ``class_weights[targets]``.

    Returns
    -------
    loss : array, shape ()
        In nats per position.
    dlogits : array, shape (..., K)
        The gradient with respect to the logits; zero where the mask is False.

    {raises}

    Examples
    --------
    >>> import numpy as np
    >>> loss, dlogits = softmax_cross_entropy(np.zeros((1, 2)), np.asarray([0]))
    >>> round(float(loss), 4), dlogits.tolist()
    (0.6931, [[-0.5, 0.5]])
    """
    xp = checked("logits", logits, targets, mask, weights, "integral")
    with scope_of(logits):
        loss, dlogits = _cross_entropy(xp, logits, targets[..., None])
        mask, weights = (None if a is None else a[..., None] for a in (mask, weights))
        return averaged(xp, loss, dlogits, mask, weights)


def _cross_entropy(xp: ModuleType, logits: Array, k: Array) -> tuple[Array, Array]:
    """Return the loss at every position, (..., 1), and its gradient, (..., K)."""
    narrow = xp.iinfo(k.dtype).bits < 32  # too narrow, perhaps, to hold all classes
    k = xp.astype(k, xp.int32) if narrow else k
    hit = k == xp.arange(logits.shape[-1], dtype=k.dtype, device=device_of(logits))  # (..., K)
    inside = xp.any(hit, axis=-1, keepdims=True)  # (..., 1)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    log_p = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    loss = -xp.sum(xp.where(hit, log_p, xp.zeros_like(log_p)), axis=-1, keepdims=True)
    dlogits = xp.exp(log_p) - xp.astype(hit, logits.dtype)
    loss = xp.where(inside, loss, xp.full_like(loss, xp.nan))
    return loss, xp.where(inside, dlogits, xp.full_like(dlogits, xp.nan))
