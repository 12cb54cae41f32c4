"""Optimizers as pure functions: parameters, gradients and state are dicts of arrays.

Nothing is changed in place or read back to the host, so a whole training step can be compiled.
Pass a changing learning rate to the compiled step as an argument: it is then compiled only once.
A hyperparameter that is out of range raises ValueError.

Examples
--------
>>> import numpy as np
>>> sgd, schedule, params = SGD(0.5), Step(2, factor=0.5), {"w": np.asarray([8.0])}
>>> state = sgd.init(params)
>>> for t in range(4):
...     rate = sgd.learning_rate * schedule(t)
...     params, state = sgd.update(params, {"w": params["w"]}, state, rate)
...     print(rate, params["w"].tolist())
0.5 [4.0]
0.5 [2.0]
0.25 [1.5]
0.25 [1.125]
"""

from rnnx.optim.clip import clip_by_global_norm, global_norm
from rnnx.optim.optimizers import SGD, Adam, AdamW, RMSprop
from rnnx.optim.schedules import Constant, Cosine, Step, WarmUp

OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW}  # by name

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "RMSprop",
    "Step",
    "WarmUp",
    "clip_by_global_norm",
    "global_norm",
]
