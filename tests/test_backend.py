"""The selector: what it gives, what it refuses, and what it says then."""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CASES
from conftest import required

import rnnx
from rnnx import Backend, BackendUnavailable, available_backends, get_backend
from rnnx.backends import registry


def test_a_backend_is_what_was_asked_for(bk: Backend) -> None:
    """Arrays made by a backend have its dtype, shape and values; the dtype has one name."""
    x = bk.asarray([[1, 2], [3, 4]])
    assert x.dtype == bk.dtype
    assert bk.dtype_name in ("float32", "float64")
    np.testing.assert_array_equal(bk.to_numpy(x), [[1, 2], [3, 4]])
    assert bk.to_numpy(x).dtype == bk.dtype_name
    assert bk.zeros((2, 3)).shape == (2, 3)
    assert not np.any(bk.to_numpy(bk.zeros((2, 3))))
    bk.synchronize()
    assert get_backend(bk) is bk
    assert get_backend(bk, dtype=bk.dtype_name, device=bk.device) is bk
    assert repr(bk.name) in repr(bk)


def test_equal_requests_give_equal_backends(bk: Backend) -> None:
    """A backend is a value: the same request gives an equal one with an equal hash."""
    again = get_backend(bk.name, device=bk.device, dtype=bk.dtype_name)
    assert again == bk
    assert hash(again) == hash(bk)


def test_asarray_takes_what_users_hold(bk: Backend) -> None:
    """Own arrays, NumPy arrays of any layout, lists and lists of own arrays are accepted."""
    own = bk.asarray([1.0, 2.0])
    assert bk.asarray(own) is own
    for obj in ([[1, 2], [1, 2]], [own, own], np.asarray([[2.0, 1.0]] * 2)[:, ::-1],
                np.asarray([[1, 2]] * 2, dtype=">f8"), [(1.0, 2.0), own]):  # fmt: skip
        np.testing.assert_array_equal(bk.to_numpy(bk.asarray(obj)), [[1, 2], [1, 2]])
    integers = bk.asarray([0, 1], dtype="int32")
    assert integers.dtype == bk.xp.int32
    assert bk.asarray(integers).dtype == bk.dtype


def test_asarray_refuses_what_is_not_real(bk: Backend) -> None:
    """Complex numbers, text and ragged lists are refused by name."""
    with pytest.raises(TypeError, match="expected an array of real numbers, got dtype complex128"):
        bk.asarray(np.asarray([1j]))
    with pytest.raises(TypeError, match="expected an array of real numbers, got dtype <U"):
        bk.asarray(["a"])
    with pytest.raises(ValueError, match="expected a rectangular array of numbers"):
        bk.asarray([[1], [1, 2]])
    own = bk.asarray([1.0])
    with pytest.raises(TypeError, match="real numbers"):
        bk.asarray(bk.xp.astype(own, bk.xp.complex64))


def test_read_only_input_is_accepted(bk: Backend) -> None:
    """A read-only NumPy array is read, and stays as it was."""
    x = np.arange(6.0).reshape(2, 3)
    x.flags.writeable = False
    np.testing.assert_array_equal(bk.to_numpy(bk.asarray(x)), x)


def foreign_array(bk: Backend) -> Any:
    """Return an array of a device library that is not the backend's."""
    strict = pytest.importorskip("array_api_strict")
    if bk.name != "array_api_strict":
        return strict.asarray([1.0])
    return pytest.importorskip("torch", reason="needs a second device library").ones(1)


def test_a_foreign_array_is_refused(bk: Backend) -> None:
    """An array of another device library is refused, also inside a list; both are named."""
    foreign = foreign_array(bk)
    for obj in (foreign, [foreign, foreign]):
        with pytest.raises(TypeError, match=r"expected an array of .*NumPy, got one of"):
            bk.asarray(obj)


def test_an_array_of_another_device_is_refused() -> None:
    """A device is never changed silently."""
    one = get_backend("array_api_strict", device="device1")
    two = get_backend("array_api_strict", device="device2")
    with pytest.raises(TypeError, match=r"expected an array on device .*device2.*, got one on"):
        two.asarray(one.zeros((2,)))


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_lax_scan(bk: Backend, reverse: bool) -> None:
    """The carry runs in the asked direction; the outputs keep the order of the inputs."""
    xs = (bk.asarray([1.0, 2.0, 3.0, 4.0]), bk.asarray([[1.0], [0.0], [0.0], [2.0]]))

    def step(carry: Any, x: Any) -> Any:
        carry = 2 * carry + x[0] + x[1]
        return carry, (carry, x[0] * x[1])

    carry, ys = bk.scan(step, bk.zeros((1,)), xs, reverse=reverse)
    x, extra, c, outs = [1, 2, 3, 4], [1, 0, 0, 2], 0.0, [0.0] * 4
    for t in reversed(range(4)) if reverse else range(4):
        c = 2 * c + x[t] + extra[t]
        outs[t] = c
    np.testing.assert_array_equal(bk.to_numpy(ys[0]), [[value] for value in outs])
    np.testing.assert_array_equal(bk.to_numpy(ys[1]), [[1], [0], [0], [8]])
    np.testing.assert_array_equal(bk.to_numpy(carry), [c])


def test_compile_keeps_the_values(bk: Backend) -> None:
    """A compiled function returns what the function returns."""
    x = bk.asarray([1.0, 2.0])
    np.testing.assert_array_equal(bk.to_numpy(bk.compile(lambda a: a * 2)(x)), [2, 4])


def test_options_that_contradict_a_backend_are_refused() -> None:
    """A Backend is all of it: another dtype or device beside it is a mistake, not a wish."""
    bk = get_backend(dtype="float64")
    with pytest.raises(ValueError, match=r"without contradicting options, .*pass the Backend or"):
        get_backend(bk, dtype="float32")
    with pytest.raises(ValueError, match=r"without contradicting options, .*pass the Backend or"):
        rnnx.SimpleRNN(1, 1, 1, backend=bk, device="cuda")
    assert rnnx.SimpleRNN(1, 1, 1, backend=bk).Whh.dtype == np.float64


def test_a_backend_survives_pickle_and_copy(bk: Backend) -> None:
    """What holds a backend can be sent to another process."""
    assert pickle.loads(pickle.dumps(bk)) == bk
    assert copy.deepcopy(bk) == bk


@pytest.mark.parametrize("dtype", [np.float64, np.dtype("float64"), "float64", "f8"])
def test_a_dtype_may_be_numpys(dtype: Any) -> None:
    """By name or as NumPy's type."""
    assert get_backend(dtype=dtype).dtype_name == "float64"


@pytest.mark.parametrize(
    "obj",
    [np.asarray([1, None], dtype=object), np.asarray(["1.5"]), np.zeros(2, "M8[s]"), [["a", "b"]],
     [[1, [2], 3]], np.ma.masked_array([1.0, 2.0], [True, False]), {"a": 1}],
    ids=str,
)  # fmt: skip
def test_what_is_no_array_of_numbers_is_refused(bk: Backend, obj: Any) -> None:
    """Objects, text, times, masked and ragged arrays: one line on every backend."""
    with pytest.raises((TypeError, ValueError), match="expected a") as caught:
        bk.asarray(obj)
    assert "\n" not in str(caught.value)


def test_torch_tensors_that_record_are_left_alone() -> None:
    """PyTorch is used outside autograd: nothing that comes out is recorded for it."""
    torch = pytest.importorskip("torch", reason="needs torch")
    rnn = rnnx.SimpleRNN(3, 4, 2, backend="torch", seed=0)
    x = torch.ones(5, 2, 3, requires_grad=True)
    assert not rnn.forward(x).requires_grad
    grads = rnn.backward(torch.ones(5, 2, 2))
    assert not any(g.requires_grad for g in grads.values())


def test_unknown_names_are_refused() -> None:
    """Unknown backend, dtype and device: expected, got, what to do."""
    with pytest.raises(
        ValueError, match=r"backend must be one of auto, numpy, .* got 'tensorflow'"
    ):
        get_backend("tensorflow")
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got 'float16'"):
        get_backend(dtype="float16")
    with pytest.raises(ValueError, match="device of backend 'numpy' must be None or 'cpu'"):
        get_backend(device="cuda")


@pytest.mark.parametrize("name", ["array_api_strict", "torch", "jax", "cupy"])
def test_an_unknown_device_is_refused(name: str) -> None:
    """The devices there are stand in the error."""
    reason = available_backends()[name]
    if reason:
        pytest.skip(reason)
    with pytest.raises(ValueError, match=f"device of backend '{name}' must be .*got 'warp:7'"):
        get_backend(name, device="warp:7")


def test_a_dtype_that_a_device_lacks_is_refused() -> None:
    """No silent float32 where float64 was asked for."""
    with pytest.raises(BackendUnavailable, match="device no_float64 has no float64"):
        get_backend("array_api_strict", device="no_float64", dtype="float64")


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a missing library holds the command that installs it; `auto` goes on."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"needs the package cupy.*pip install 'rnnx\[cu"):
        get_backend("cupy")
    assert "pip install 'rnnx[jax]'" in available_backends()["jax"]
    monkeypatch.setattr(registry, "why_not", lambda name: "no" * (name == "cupy"))
    assert get_backend("auto").name == "numpy"


def test_a_new_backend_is_one_file_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file in rnnx/backends and a line in its registry: layers train on it, and it pickles."""
    (tmp_path / "plain.py").write_text(
        "from rnnx.backends.base import Backend\n"
        "from rnnx.backends.numpy import devices, xp\n"
        "def make(device, dtype):\n"
        "    return Backend('plain', xp, 'cpu', getattr(xp, dtype))\n"
    )
    monkeypatch.setattr(rnnx.backends, "__path__", [*rnnx.backends.__path__, str(tmp_path)])
    monkeypatch.setitem(registry.LIBRARIES, "plain", ("numpy", "pip install numpy"))
    assert available_backends()["plain"] == ""
    x, found = np.random.default_rng(0).standard_normal((5, 2, 3)), []
    for name in ("numpy", "plain"):
        gru = rnnx.GRU(3, 4, backend=name, dtype="float64", seed=0)
        y, _, cache = gru.forward(x)
        found.append({"y": y, **gru.backward(y, cache)[2]})
    assert gru.backend.name == pickle.loads(pickle.dumps(gru.backend)).name == "plain"
    for key, value in found[0].items():
        np.testing.assert_allclose(found[1][key], value, rtol=1e-12, atol=1e-14)


def test_auto_prefers_a_usable_gpu() -> None:
    """`auto` is CuPy where it is usable, NumPy elsewhere."""
    expected = "numpy" if available_backends()["cupy"] else "cupy"
    assert get_backend("auto").name == expected


def test_a_broken_library_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that fails at import makes its own backend unavailable and no other."""

    def broken(name: str) -> Any:
        raise OSError("libfoo.so\nis missing")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(registry, "module", broken)
    reason = available_backends()["torch"]
    assert "cannot be imported (libfoo.so is missing)" in reason
    assert "\n" not in reason


@pytest.mark.skipif(
    importlib.util.find_spec("cupy") is None, reason="needs CuPy, installed, without a GPU"
)
def test_cupy_without_a_gpu_is_unavailable() -> None:
    """CuPy imports on a machine without a GPU; the selector says so instead of failing later."""
    reason = available_backends()["cupy"]
    if not reason:
        pytest.skip("this machine has a usable GPU")
    assert "finds no usable CUDA device" in reason
    with pytest.raises(BackendUnavailable, match="check the driver with nvidia-smi"):
        get_backend("cupy")
    assert get_backend("auto").name == "numpy"


def test_jax_float64_needs_the_users_own_flag() -> None:
    """Without x64, float64 is refused, and JAX's process-wide flag stays as it was."""
    pytest.importorskip("jax", reason="needs JAX")
    code = (
        "import jax, rnnx\n"
        "try:\n    rnnx.get_backend('jax', dtype='float64')\n"
        "except rnnx.BackendUnavailable as error:\n    print(error)\n"
        "assert not jax.config.jax_enable_x64\n"
        "rnnx.get_backend('jax')\n"
        "assert not jax.config.jax_enable_x64\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "use dtype='float32'" in done.stdout


def test_the_required_backends_are_there() -> None:
    """RNNX_REQUIRE names backends of the table, and each of them is usable."""
    names = required()
    assert names <= {case.backend for case in CASES}
    assert {name: available_backends()[name] for name in names} == dict.fromkeys(names, "")


def test_the_command_prints_every_backend(capsys: pytest.CaptureFixture[str]) -> None:
    """`rnnx` shows one row a backend with version and devices, or what to install."""
    from rnnx.cli import main

    assert main([]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()}
    for name, reason in available_backends().items():
        assert (reason or "yes") in lines[name]
    assert f"rnnx {rnnx.__version__}" in out
    assert np.__version__ in lines["numpy"]


def test_the_module_is_the_command() -> None:
    """`python -m rnnx --version` prints the version."""
    command = [sys.executable, "-m", "rnnx", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"rnnx {rnnx.__version__}"
