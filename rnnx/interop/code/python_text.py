"""The text of the module but for its step and its weights; ``$`` before what a model decides."""

HEAD = '''\
"""A recurrent network in NumPy, written by rnnx $version.

    $words

One step of a stream, and a whole sequence:

    import numpy as np

    import $name

    state = $name.initial_state()
    y, state = $name.step($one, state)
    ys, state = $name.run($many)

x $x may have axes in front: rows of a batch go in together.
"""

import base64
from typing import NamedTuple

import numpy as np

DTYPE = "$dtype"
INPUT_SIZE = $input_size  # $what
OUTPUT_SIZE = $output_size  # values of an answer
'''

STATE = '''\
class State(NamedTuple):
    """What a stream remembers."""

    steps: int
$fields

def initial_state():
    """Return the state at the beginning of a stream."""
    return State($zeros)
'''

RUN = '''\
def run(x, state=None):
    """Return the answers of all steps, (T, ...), and the state after the last."""
    if len(x) == 0:
        raise ValueError("expected at least one step, got none")
    state, y = initial_state() if state is None else state, []
    for x_t in x:
        y_t, state = step(x_t, state)
        y.append(y_t)
    return np.stack(y), state
'''

SAMPLE = '''\
def sample(prompt, count, temperature=1.0, seed=None):
    """Continue a prompt by so many characters, each drawn given those before it."""
    if not prompt or set(prompt) - set(ALPHABET):
        raise ValueError(f"expected a prompt of the characters {ALPHABET!r}, got {prompt!r}")
    rng = np.random.default_rng(seed)
    y, state = run([ALPHABET.index(character) for character in prompt])
    logits, text = y[-1], ""
    for _ in range(count):
        symbol = rng.choice(OUTPUT_SIZE, p=softmax(logits.astype("float64") / temperature))
        text += ALPHABET[symbol]
        logits, state = step(symbol, state)
    return text
'''

SOFTMAX = '''\
def softmax(y):
    """exp(y) / sum exp(y), where the largest exponent is 0."""
    e = np.exp(y - np.max(y, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)
'''

SIGMOID = '''\
def sigmoid(a):
    """1 / (1 + exp(-a)), 0 where exp overflows."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-a))
'''

MATRIX = '''\
class Matrix(NamedTuple):
    """y = W x + b."""

    W: np.ndarray
    b: np.ndarray  # or 0


def affine(m, x):
    """W x + b, for each row of x."""
    return x @ m.W.T + m.b


def array(dtype, shape, text):
    """Return an array of the bytes in a text."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
'''
