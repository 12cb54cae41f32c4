"""Layers: parameters and checks around the core, and what composes.

Every layer, stateless ones included, has the verbs of `rnnx.Layer`: ``forward(x, state)`` returns
y, state, cache; ``backward(dy, cache, dstate)`` returns dx, dstate0, grads; ``step`` streams; and a
call is inference and returns y, state.

`recurrent` makes a layer of any cell, with the verbs of `verbs`; `rnn`, `gru` and `lstm` give it
the names and options of the usual ones.
"""
