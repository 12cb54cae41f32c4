"""Every wrong use of the layers: one line that says expected and got, and nothing changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_layers import make

import rnnx
from rnnx import Backend, get_backend

X = np.ones((5, 3, 2))
CALLS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    (
        "wide input",
        {"x": np.ones((5, 3, 4))},
        ValueError,
        r"\(T, B, 2\) or \(T, 2\).*got \(5, 3, 4\)",
    ),
    ("rank", {"x": np.ones(2)}, ValueError, r"got \(2,\)"),
    ("no step", {"x": np.ones((0, 3, 2))}, ValueError, r"T and B at least 1, got \(0, 3, 2\)"),
    ("integers", {"x": np.ones((5, 3, 2), int)}, TypeError, "real floating array, got dtype int64"),
    ("complex", {"x": X * 1j}, TypeError, "complex128"),
    ("empty list", {"x": []}, ValueError, "at least one sequence, got an empty list"),
    (
        "list of vectors",
        {"x": [np.ones(2)]},
        ValueError,
        r"x\[0\] must have shape \(T, 2\), got \(2,\)",
    ),
    ("no steps in list", {"x": [np.ones((0, 2))]}, ValueError, "only empty sequences"),
    (
        "list and lengths",
        {"x": [X[:, 0]], "lengths": [5]},
        ValueError,
        "a list of sequences has its",
    ),
    ("state shape", {"state": np.ones((1, 2, 3))}, ValueError, r"\(1, 3, 3\), got \(1, 2, 3\)"),
    ("integer state", {"state": np.ones((1, 3, 3), int)}, TypeError, "real floating array"),
    ("lengths beyond T", {"lengths": [5, 6, 1]}, ValueError, "between 0 and T = 5, got 6"),
    ("negative lengths", {"lengths": [5, -1, 1]}, ValueError, "between 0 and T = 5, got -1"),
    ("few lengths", {"lengths": [5, 1]}, ValueError, r"lengths must have shape \(3,\), got \(2,\)"),
    ("float lengths", {"lengths": [5.0, 1.0, 1.0]}, TypeError, "integers, got dtype float64"),
    (
        "both",
        {"lengths": [5, 1, 1], "mask": np.ones((5, 3), bool)},
        ValueError,
        "lengths or mask, got",
    ),
    (
        "mask shape",
        {"mask": np.ones((3, 5), bool)},
        ValueError,
        r"mask must have shape \(5, 3\), got",
    ),
    (
        "mask dtype",
        {"mask": np.ones((5, 3))},
        TypeError,
        "mask must be a boolean array, got dtype float64",
    ),
    (
        "reset shape",
        {"reset": np.ones((5,), bool)},
        ValueError,
        r"reset must have shape \(5, 3\), got",
    ),
    (
        "checkpoint 0",
        {"checkpoint": 0},
        ValueError,
        "checkpoint must be an integer of at least 1, got 0",
    ),
    ("checkpoint text", {"checkpoint": "all"}, ValueError, "number of steps or 'sqrt', got 'all'"),
    ("masks name", {"masks": {"m": X}}, ValueError, "masks must be of .*, got 'm': use draw_masks"),
    (
        "params names",
        {"params": {"W": X}},
        ValueError,
        r"params must have the names \['weight_ih_l0'",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS]
)
@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_a_wrong_call_is_one_line(
    kind: str, call: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Of forward and of the inference call alike."""
    layer = make(kind)
    call = dict(call)  # shared by the parametrized runs
    x = call.pop("x", X)
    for verb in (layer.forward, layer):
        options = {
            k: v for k, v in call.items() if verb is not layer or k not in ("checkpoint", "masks")
        }
        if verb is layer and len(options) < len(call):
            continue
        with pytest.raises(error, match=message) as caught:
            verb(x, **options)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be an integer of at least 1, got 0"),
        ({"input_size": -2}, "input_size must be an integer of at least 1"),
        ({"num_layers": 1.5}, "num_layers must be an integer of at least 1, got 1.5"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"recurrent_dropout": 2}, r"recurrent_dropout must be in \[0, 1\), got 2"),
        ({"weight_drop": "a"}, r"weight_drop must be in \[0, 1\), got 'a'"),
        ({"proj_size": 3}, "proj_size must be below hidden_size = 3, or 0 for none, got 3"),
        ({"proj_size": -1}, "proj_size must be an integer of at least 1, got -1"),
        (
            {"weight_init": "he"},
            "weight_init must be one of uniform, normal, glorot, orthogonal, got",
        ),
        ({"recurrent_init": None}, "recurrent_init must be one of"),
        ({"forget_bias": "1"}, "forget_bias must be a finite number, got '1'"),
        ({"seed": -1}, "seed must be None, an integer of at least 0"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """Every option has its range."""
    with pytest.raises(ValueError, match=message):
        rnnx.LSTM(**{"input_size": 2, "hidden_size": 3} | options)


def test_a_wrong_nonlinearity_is_refused() -> None:
    """tanh or relu."""
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        rnnx.RNN(2, 3, nonlinearity="gelu")


def test_wrong_gradients_are_refused() -> None:
    """Of outputs and of states, by shape; both None; a list of other lengths."""
    lstm = make("LSTM")
    _, (h, c), cache = lstm.forward(X)
    with pytest.raises(ValueError, match=r"dy must have shape \(5, 3, 3\), got \(5, 3, 2\)"):
        lstm.backward(X, cache)
    with pytest.raises(
        ValueError, match=r"dstate, c, must have shape \(1, 3, 3\), got \(1, 3, 2\)"
    ):
        lstm.backward(None, cache, (h, c[..., :2]))
    with pytest.raises(ValueError, match=r"dstate must be a pair \(h, c\), got ndarray"):
        lstm.backward(None, cache, h)
    with pytest.raises(ValueError, match="got None for both"):
        lstm.backward(None, cache)
    with pytest.raises(ValueError, match="got None for both"):
        lstm.backward(None, cache, (None, None))
    rows = [X[:, 0], X[:2, 0]]
    ys, _, cache = lstm.forward(rows)
    with pytest.raises(ValueError, match="dy must be a list of 2 arrays"):
        lstm.backward(ys[:1], cache)
    with pytest.raises(ValueError, match=r"lengths \[5, 2\], got \[2, 5\]"):
        lstm.backward(ys[::-1], cache)


def test_a_cache_of_another_layer_is_refused() -> None:
    """Of another kind, of other sizes, of another library; or no cache at all."""
    gru = make("GRU")
    y, _, cache = gru.forward(X)
    for other in (make("RNN"), make("GRU", num_layers=2), rnnx.GRU(2, 4, dtype="float64")):
        with pytest.raises(ValueError, match="expected a cache of this layer, got another's"):
            other.backward(y, cache)
    strict = gru.to("array_api_strict")
    with pytest.raises(TypeError, match="got one of another library"):
        strict.backward(strict.backend.asarray(y), cache)
    with pytest.raises(TypeError, match="expected the cache that forward returned, got tuple"):
        gru.backward(y, ())


def test_wrong_steps_are_refused(bk: Backend) -> None:
    """Both directions, wrong sizes, half a state."""
    with pytest.raises(ValueError, match="got a bidirectional one"):
        rnnx.GRU(2, 3, bidirectional=True, backend=bk).step(np.ones(2))
    lstm = rnnx.LSTM(2, 3, backend=bk)
    with pytest.raises(ValueError, match=r"x must have shape \(2,\) or \(B, 2\), got \(3,\)"):
        lstm.step(np.ones(3))
    with pytest.raises(ValueError, match=r"state must be a pair \(h, c\)"):
        lstm.step(np.ones(2), np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"state must have shape \(1, 3\), got \(1, 4\)"):
        lstm.step(np.ones(2), (np.ones((1, 4)), np.ones((1, 4))))
    with pytest.raises(TypeError, match="real floating array"):
        lstm.step(np.ones(2, dtype=int))


def test_a_compiled_function_never_bakes_a_mask_in() -> None:
    """Under jax.jit, dropout without given masks is refused."""
    jax = pytest.importorskip("jax", reason="needs JAX")
    layer = rnnx.GRU(2, 3, num_layers=2, dropout=0.5, backend="jax", seed=0)
    x = layer.backend.asarray(X)
    with pytest.raises(ValueError, match="same dropout mask in every call: draw masks outside"):
        jax.jit(lambda x: layer.forward(x)[0])(x)
    jax.jit(lambda x, masks: layer.forward(x, masks=masks)[0])(x, layer.draw_masks(X.shape, 0))


def test_layers_of_one_chain_share_a_backend() -> None:
    """And there is at least one of them."""
    with pytest.raises(ValueError, match="layers must be of one backend, got"):
        rnnx.Sequential(rnnx.RNN(2, 3), rnnx.Linear(3, 1, dtype="float64"))
    with pytest.raises(ValueError, match="expected at least one layer, got none"):
        rnnx.Sequential()
    model = rnnx.Sequential(rnnx.RNN(2, 3), rnnx.Linear(3, 1))
    with pytest.raises(ValueError, match="state must be a sequence of 2"):
        model(X, [None])
    first = rnnx.Sequential(rnnx.RNN(2, 3, batch_first=True))
    with pytest.raises(ValueError, match="needs layers with batch_first=False"):
        first([X[:, 0]])
    with pytest.raises(ValueError, match="give neither lengths nor mask"):
        model([X[:, 0]], lengths=[5])


def test_wrong_input_of_the_small_layers_is_refused() -> None:
    """Linear, Embedding, Dropout."""
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3\), got \(5, 3, 2\)"):
        rnnx.Linear(3, 1)(X)
    linear = rnnx.Linear(2, 1)
    _, _, cache = linear.forward(X)
    with pytest.raises(ValueError, match=r"dy must have shape \(5, 3, 1\), got \(5, 3, 2\)"):
        linear.backward(X, cache)
    embedding = rnnx.Embedding(4, 2)
    for wrong in (4, -1):
        with pytest.raises(ValueError, match=f"x must be between 0 and 3, got {wrong}"):
            embedding([[0, wrong]])
    with pytest.raises(TypeError, match="x must be integers, got dtype float64"):
        embedding([0.5])
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\), got 1"):
        rnnx.Dropout(1)
    with pytest.raises(
        ValueError, match=r"masks\['mask'\] must have shape \(5, 3, 2\), got \(3, 2\)"
    ):
        rnnx.Dropout(0.5).forward(X, masks={"mask": X[0]})


def test_wrong_truncation_is_refused() -> None:
    """k1, k2 and targets of another length; no chunks."""
    layer, loss = make("GRU"), rnnx.losses.mean_squared_error
    for k1, k2, message in [
        (0, None, "k1 must be"),
        (2, 0, "k2 must be"),
        (4, 2, "at least k1 = 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            rnnx.tbptt(layer, [], loss, k1=k1, k2=k2)
    with pytest.raises(ValueError, match="target must have the length of its x, 5, got 4"):
        next(rnnx.tbptt(layer, [(X, X[:4])], loss))
    with pytest.raises(ValueError, match="at least one"):
        rnnx.chunked_bptt(layer, [], loss)
    with pytest.raises(ValueError, match="method must be 'complex-step' or 'central', got 'auto'"):
        rnnx.gradcheck(layer, X, method="auto")


def test_a_failed_call_changes_nothing() -> None:
    """The parameters after errors are those before them."""
    layer = make("LSTM")
    before = dict(layer.params)
    with pytest.raises(ValueError, match="parameter must be one of"):
        layer.set_params({"weight_hh_l0": 0 * before["weight_hh_l0"], "weight_hh_l1": 1})
    assert all(layer.params[name] is W for name, W in before.items())
    assert get_backend(layer.backend) is layer.backend
