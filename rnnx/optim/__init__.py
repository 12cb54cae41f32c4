"""Optimizers as pure functions: parameters, gradients and state are dicts of arrays.

``state = optimizer.init(params)``, then at every step
``params, state = optimizer.update(params, grads, state)``. Nothing is changed in place and nothing
is read back to the host, so a whole training step can be compiled.
"""

from rnnx.optim.adam import Adam, AdamW
from rnnx.optim.clip import clip_by_global_norm
from rnnx.optim.rmsprop import RMSprop
from rnnx.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "RMSprop", "clip_by_global_norm"]
