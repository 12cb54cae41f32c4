"""SimpleRNN: a hundred-line notebook's interface on the exact core.

`model` is the class, `network` the same mathematics as pure functions, `vectors` the forms in which
sequences come and go. The notebook's own backward passed h_t, already a tanh, to a derivative that
applies tanh once more, 1 - tanh(h_t)²; its gradients were off by tens of percent. Here the
derivative is 1 - h_t².
"""

from rnnx.simple.model import SimpleRNN

__all__ = ["SimpleRNN"]
