"""The equations of the cells' steps in C and in Python, side by side.

As in `rnnx.cells`, the two products are computed outside: ``p = W_ih x + b_ih`` and
``q = W_hh h + b_hh``. The functions receive p, q, the cell's own parameters and its states; those
in C write the states, and p and q where they need the memory. For a projection h is another array.
"""

from __future__ import annotations

from typing import NamedTuple

from rnnx.cells import (
    Cell,
    GRUCell,
    LayerNormLSTMCell,
    LeakyRNNCell,
    LSTMCell,
    ResetBeforeGRUCell,
    RNNCell,
)
from rnnx.cells.layer_norm_lstm import EPSILON

NAMES: dict[type[Cell], str] = {
    RNNCell: "rnn",
    GRUCell: "gru",
    LSTMCell: "lstm",
    ResetBeforeGRUCell: "gru_reset_before",
    LeakyRNNCell: "leaky_rnn",
    LayerNormLSTMCell: "layer_norm_lstm",
}


class Equations(NamedTuple):
    """A function of one step in C, with ``$`` before what depends on the model, and in Python."""

    c: str
    python: str


def written(cell: Cell) -> str:
    """Return the name of a cell's equations in `EQUATIONS`.

    Raises
    ------
    ValueError
        For a cell without.
    """
    name = NAMES.get(type(cell))
    if name is None:
        raise ValueError(
            f"expected a cell that can be exported, {', '.join(NAMES.values())}, got "
            f"{type(cell).__name__}"
        )
    return f"rnn_{cell.nonlinearity}" if isinstance(cell, RNNCell) else name


def _elman(apply: str, c: str, python: str) -> Equations:
    """Return the Elman cell with a nonlinearity, by its name and its two forms."""
    return Equations(
        f"""\
/* h = {apply}(p + q) */
static inline void ${{name}}_rnn_{apply}(int H, const $real *p, const $real *q, $real *h)
{{
    for (int i = 0; i < H; ++i) {{
        const $real a = p[i] + q[i];
        h[i] = {c};
    }}
}}
""",
        f'''\
def rnn_{apply}(p, q, h):
    """h = {apply}(p + q)."""
    return {python}
''',
    )


EQUATIONS = {
    "rnn_tanh": _elman("tanh", "$tanh(a)", "np.tanh(p + q)"),
    "rnn_relu": _elman("relu", "a < 0 ? 0 : a", "np.maximum(p + q, 0)"),
    "gru": Equations(
        """\
/* r = sigmoid(p_r + q_r)
 * z = sigmoid(p_z + q_z)
 * n = tanh(p_n + r q_n)
 * h = (1 - z) n + z h
 */
static inline void ${name}_gru(int H, const $real *p, const $real *q, $real *h)
{
    for (int i = 0; i < H; ++i) {
        const $real r = ${name}_sigmoid(p[i] + q[i]);
        const $real z = ${name}_sigmoid(p[H + i] + q[H + i]);
        const $real n = $tanh(p[2 * H + i] + r * q[2 * H + i]);
        h[i] = n + z * (h[i] - n);
    }
}
""",
        '''\
def gru(p, q, h):
    """h = (1 - z) n + z h, with gates r and z, and n = tanh(p_n + r q_n)."""
    p_r, p_z, p_n = np.split(p, 3, axis=-1)
    q_r, q_z, q_n = np.split(q, 3, axis=-1)
    r = sigmoid(p_r + q_r)
    z = sigmoid(p_z + q_z)
    n = np.tanh(p_n + r * q_n)
    return n + z * (h - n)
''',
    ),
    "gru_reset_before": Equations(
        """\
/* r = sigmoid(p_r + q_r)
 * z = sigmoid(p_z + q_z)
 * n = tanh(p_n + W_hn (r h))
 * h = (1 - z) n + z h
 */
static inline void ${name}_gru_reset_before(int H, const $real *p, $real *q,
                                            const ${name}_matrix *W_hn, $real *h)
{
    $real u[${NAME}_GATES];
    for (int i = 0; i < H; ++i) {
        q[i] = ${name}_sigmoid(p[i] + q[i]) * h[i]; /* r h */
    }
    ${name}_affine(W_hn, q, u);
    for (int i = 0; i < H; ++i) {
        const $real z = ${name}_sigmoid(p[H + i] + q[H + i]);
        const $real n = $tanh(p[2 * H + i] + u[i]);
        h[i] = n + z * (h[i] - n);
    }
}
""",
        '''\
def gru_reset_before(p, q, W_hn, h):
    """h = (1 - z) n + z h, with gates r and z, and n = tanh(p_n + W_hn (r h))."""
    p_r, p_z, p_n = np.split(p, 3, axis=-1)
    q_r, q_z = np.split(q, 2, axis=-1)
    r = sigmoid(p_r + q_r)
    z = sigmoid(p_z + q_z)
    n = np.tanh(p_n + affine(W_hn, r * h))
    return n + z * (h - n)
''',
    ),
    "leaky_rnn": Equations(
        """\
/* h = (1 - alpha) h + alpha tanh(p + q), with alpha = sigmoid(leak) */
static inline void ${name}_leaky_rnn(int H, const $real *p, const $real *q, const $real *leak,
                                     $real *h)
{
    for (int i = 0; i < H; ++i) {
        h[i] += ${name}_sigmoid(leak[i]) * ($tanh(p[i] + q[i]) - h[i]);
    }
}
""",
        '''\
def leaky_rnn(p, q, leak, h):
    """h = (1 - alpha) h + alpha tanh(p + q), with alpha = sigmoid(leak)."""
    return h + sigmoid(leak) * (np.tanh(p + q) - h)
''',
    ),
    "lstm": Equations(
        """\
/* i, f, o = sigmoid(p + q), g = tanh(p + q), each of its own rows
 * c = f c + i g
 * h = o tanh(c)
 */
static inline void ${name}_lstm(int H, const $real *p, const $real *q, $real *h, $real *c)
{
    for (int k = 0; k < H; ++k) {
        const $real i = ${name}_sigmoid(p[k] + q[k]);
        const $real f = ${name}_sigmoid(p[H + k] + q[H + k]);
        const $real g = $tanh(p[2 * H + k] + q[2 * H + k]);
        const $real o = ${name}_sigmoid(p[3 * H + k] + q[3 * H + k]);
        c[k] = f * c[k] + i * g;
        h[k] = o * $tanh(c[k]);
    }
}
""",
        '''\
def lstm(p, q, h, c):
    """c = f c + i g, h = o tanh(c), with gates i, f, o, and g = tanh(p_g + q_g)."""
    i, f, g, o = np.split(p + q, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c
''',
    ),
    "layer_norm_lstm": Equations(
        f"""\
/* v = (v - mean v) / sqrt(var v + {EPSILON:g}) */
static inline void ${{name}}_normalise(int n, $real *v)
{{
    $real mean = 0, var = 0;
    for (int i = 0; i < n; ++i) {{
        mean += v[i];
    }}
    mean /= n;
    for (int i = 0; i < n; ++i) {{
        v[i] -= mean;
        var += v[i] * v[i];
    }}
    var /= n;
    for (int i = 0; i < n; ++i) {{
        v[i] /= $sqrt(var + ($real){EPSILON:g});
    }}
}}

/* With N the normalisation above,
 * a = gain_ih N(p) + gain_hh N(q) + bias
 * i, f, o = sigmoid(a), g = tanh(a), each of its own rows
 * c = f c + i g
 * h = o tanh(gain_c N(c) + bias_c)
 */
static inline void ${{name}}_layer_norm_lstm(
    int H, $real *p, $real *q, const $real *gain_ih, const $real *gain_hh, const $real *bias,
    const $real *gain_c, const $real *bias_c, $real *h, $real *c)
{{
    $real m[${{NAME}}_GATES];
    ${{name}}_normalise(4 * H, p);
    ${{name}}_normalise(4 * H, q);
    for (int k = 0; k < 4 * H; ++k) {{
        p[k] = gain_ih[k] * p[k] + gain_hh[k] * q[k] + bias[k]; /* a */
    }}
    for (int k = 0; k < H; ++k) {{
        const $real i = ${{name}}_sigmoid(p[k]);
        const $real f = ${{name}}_sigmoid(p[H + k]);
        const $real g = $tanh(p[2 * H + k]);
        m[k] = c[k] = f * c[k] + i * g;
    }}
    ${{name}}_normalise(H, m);
    for (int k = 0; k < H; ++k) {{
        h[k] = ${{name}}_sigmoid(p[3 * H + k]) * $tanh(gain_c[k] * m[k] + bias_c[k]);
    }}
}}
""",
        f'''\
def normalised(v):
    """(v - mean v) / sqrt(var v + {EPSILON:g})."""
    v = v - np.mean(v, axis=-1, keepdims=True)
    return v / np.sqrt(np.mean(v * v, axis=-1, keepdims=True) + {EPSILON:g})


def layer_norm_lstm(p, q, gain_ih, gain_hh, bias, gain_c, bias_c, h, c):
    """c = f c + i g, h = o tanh(gain_c N(c) + bias_c), with normalised pre-activations."""
    a = gain_ih * normalised(p) + gain_hh * normalised(q) + bias
    i, f, g, o = np.split(a, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(gain_c * normalised(c) + bias_c), c
''',
    ),
}
