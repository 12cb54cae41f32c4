"""Layers: parameters and checks around the core, and what composes.

Every layer, stateless ones included, has the same verbs: ``forward(x, state) -> y, state, cache``,
``backward(dy, cache, dstate) -> dx, dstate0, grads``, and a call for inference, ``y, state``.

`recurrent` is the shared class of `rnn`, `gru`, `lstm`; `stack` the pure functions under it, over
`direction`, one layer one way, and `order`, how that reads a batch with padding.
"""
