"""`rnnx.convert`: values, dtypes, sharing and refusals, between all libraries that are here."""

from __future__ import annotations

import gc
import itertools
import sys
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace, device
from cases import Case
from conftest import make

import rnnx
from rnnx import get_backend

PLACES = [
    Case("numpy", None, "float32"),
    Case("torch", None, "float32"),
    Case("jax", "cpu", "float32"),
    Case("array_api_strict", "CPU_DEVICE", "float32"),
    Case("array_api_strict", "device1", "float32"),
    Case("cupy", "0", "float32"),
    Case("cupy", "1", "float32"),
]
PAIRS = [(a, b) for a, b in itertools.product(PLACES, PLACES) if "cupy" in (a[0], b[0]) or a != b]
DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float16", "float32", "float64", "complex64", "complex128"]  # fmt: skip


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs torch")


@pytest.fixture
def jnp() -> Any:
    return pytest.importorskip("jax.numpy", reason="needs jax")


def place(case: Case) -> Any:
    """Return the backend of a case; skip where there is no such device."""
    try:
        return make(case)
    except ValueError as error:
        pytest.skip(f"needs {case}: {error}")


def aligned(n: int, dtype: str = "float32") -> np.ndarray:
    """Return 0, 1, ..., n - 1 in memory that JAX can share."""
    raw = np.zeros(n * 8 + 64, "uint8")
    start = -raw.ctypes.data % 64
    x = raw[start : start + n * np.dtype(dtype).itemsize].view(dtype)
    x[:] = np.arange(n)
    return x


@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3, 2)], ids=str)
@pytest.mark.parametrize(("one", "two"), PAIRS, ids=lambda case: f"{case[0]}{case[1] or ''}")
def test_numbers_arrive_on_every_device(one: Case, two: Case, shape: tuple[int, ...]) -> None:
    """In their own dtype whatever the backends compute in, with any value of copy, or as asked."""
    source, target = place(one), place(two)
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        if not (source.has_dtype(dtype) and target.has_dtype(dtype)):
            continue
        host = np.asarray(100 * rng.standard_normal(shape)).astype(dtype)
        x = rnnx.convert(host, source)
        for copy in (None, True):
            y = rnnx.convert(x, target, copy=copy)
            assert array_namespace(y) is target.xp
            assert device(y) == target.device
            assert y.dtype == getattr(target.xp, dtype)
            np.testing.assert_array_equal(target.to_numpy(y), host)
        if not dtype.startswith("complex"):
            y = rnnx.convert(x, target, dtype="float32")
            assert y.dtype == target.xp.float32
            np.testing.assert_array_equal(target.to_numpy(y), host.astype("float32"))


SHARING = [("numpy", "torch"), ("numpy", "jax"), ("torch", "numpy"), ("torch", "jax")]


@pytest.mark.parametrize(("one", "two"), SHARING)
def test_memory_is_shared(one: str, two: str) -> None:
    """What is written through one is read through the other, after the first is gone too."""
    source, target = place(Case(one, None, "float32")), place(Case(two, None, "float32"))
    host = aligned(6)
    x = rnnx.convert(host, source, copy=False)
    y = rnnx.convert(x, target, copy=False)
    other = rnnx.convert(x, target, copy=True)
    default = rnnx.convert(x, target)
    x[1] = 50
    for array in (y, default):
        assert target.to_numpy(array).tolist() == [0, 50, 2, 3, 4, 5]
    assert target.to_numpy(other)[1] == 1
    del x, host
    gc.collect()
    assert target.to_numpy(y).tolist() == [0, 50, 2, 3, 4, 5]
    if two != "jax":
        y[2] = 60
        assert target.to_numpy(default)[2] == 60


GPUS = [Case(*place, "float32") for place in (("cupy", "0"), ("torch", "cuda:0"), ("jax", "gpu:0"))]


def address(x: Any) -> int:
    """Return where an array on a GPU begins."""
    if hasattr(x, "data_ptr"):
        return int(x.data_ptr())
    return int(x.unsafe_buffer_pointer() if hasattr(x, "unsafe_buffer_pointer") else x.data.ptr)


@pytest.mark.parametrize(("one", "two"), list(itertools.permutations(GPUS, 2)), ids=str)
def test_memory_is_shared_on_a_gpu(one: Case, two: Case) -> None:
    """By all that write; what JAX has is copied unless it is to be shared."""
    try:  # a library that must be there may be there without a GPU
        source, target = (
            get_backend(c.backend, device=c.device, dtype=c.dtype) for c in (one, two)
        )
    except (rnnx.BackendUnavailable, ValueError) as error:
        pytest.skip(f"needs a GPU: {error}")
    x = rnnx.convert(np.arange(6, dtype="float32"), source)
    if not hasattr(x, "__dlpack__"):
        pytest.skip("needs a GPU: the imitation of cupy has no DLPack")
    for copy in (None, False, True):
        y = rnnx.convert(x, target, copy=copy)
        shared = copy is False or (copy is None and one.backend != "jax")
        assert (address(y) == address(x)) is shared
        assert target.to_numpy(y).tolist() == [0, 1, 2, 3, 4, 5]


def test_own_arrays_are_returned(bk: Any) -> None:
    """On their own device and in their own dtype: themselves, or a copy."""
    x = bk.asarray([1.0, 2.0])
    assert rnnx.convert(x, bk) is x
    assert rnnx.convert(x, bk, dtype=bk.dtype_name, copy=False) is x
    y = rnnx.convert(x, bk, copy=True)
    assert y is not x
    if bk.name != "jax":
        y[0] = 5.0
    assert bk.to_numpy(x).tolist() == [1, 2]


def test_between_devices_there_is_a_copy() -> None:
    """Also of one library; copy=False says so."""
    one = get_backend("array_api_strict", device="device1")
    x = one.asarray([1.0, 2.0])
    y = rnnx.convert(x, "array_api_strict", device="device2")
    y[0] = 5.0
    assert one.to_numpy(x).tolist() == [1, 2]
    for target in ("array_api_strict", "numpy"):
        with pytest.raises(ValueError, match=r"expected an array .*share.*: give copy=None"):
            rnnx.convert(x, target, copy=False)


def test_jax_arrays_stay_as_they_are(jnp: Any, torch: Any) -> None:
    """Read-only in NumPy, copied for torch, and shared with it only when that is asked for."""
    x = jnp.arange(4.0)
    y = rnnx.convert(x, "numpy", copy=False)
    assert not y.flags.writeable
    assert rnnx.convert(x, "numpy", copy=True).flags.writeable
    rnnx.convert(x, "torch")[0] = 9
    rnnx.convert(x, "torch", copy=True)[0] = 9
    assert x.tolist() == [0, 1, 2, 3]
    assert rnnx.convert(x, "torch", copy=False).data_ptr() == x.unsafe_buffer_pointer()
    with pytest.raises(ValueError, match=r"of numpy whose memory .*it is read-only"):
        rnnx.convert(y, "torch", copy=False)


def layouts() -> dict[str, np.ndarray]:
    """Return arrays of NumPy that some library cannot share."""
    x = aligned(24).reshape(4, 6)
    frozen = x.copy()
    frozen.flags.writeable = False
    fields = np.zeros(3, np.dtype([("a", "i1"), ("b", "f4")]))
    return {
        "negative": x[::-1], "negative columns": x[:, ::-1], "strided": x[:, ::2],
        "read-only": frozen, "broadcast": np.broadcast_to(x[0], (4, 6)), "big": x.astype(">f4"),
        "unaligned": np.frombuffer(bytearray(33), "f4", offset=1, count=8), "field": fields["b"],
        "fortran": np.asfortranarray(x), "0-d": np.asarray(3.0), "negative 0": x[:0][::-1],
        "scalar": np.float32(3),
    }  # fmt: skip


REFUSED = {  # what copy=False refuses
    "torch": {"negative", "negative columns", "read-only", "broadcast", "big", "field"},
    "jax": {"negative", "negative columns", "strided", "read-only", "broadcast", "big", "field",
            "unaligned"},
}  # fmt: skip


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict", "cupy"])
def test_any_layout_arrives(name: str, layout: str) -> None:
    """Strides, order of bytes, read-only memory: never a crash, never a way to write into it."""
    target = place(Case(name, None, "float32"))
    x = layouts()[layout]
    expected = np.array(x)
    for copy in (None, True):
        y = rnnx.convert(x, target, copy=copy)
        assert y.dtype == getattr(target.xp, expected.dtype.name)
        np.testing.assert_array_equal(target.to_numpy(y), expected)
        if name == "torch" and y.numel() and layout in REFUSED["torch"]:
            y.fill_(7)
            np.testing.assert_array_equal(x, expected)
    if layout in REFUSED.get(name, ()):
        with pytest.raises(ValueError, match=r"expected an array .*: give copy=None"):
            rnnx.convert(x, target, copy=False)


def test_layouts_of_tensors_arrive(torch: Any, jnp: Any) -> None:
    """Strided, transposed, expanded, conjugated and negated tensors, in NumPy and in JAX."""
    x = torch.arange(24.0).reshape(4, 6)
    z = torch.complex(x, x + 1).conj()
    for tensor in (x[:, ::2], x.T, x[:1].expand(4, 6), x[1:], z, z.imag, x[2, 3]):
        for name in ("numpy", "jax", "array_api_strict"):
            y = rnnx.convert(tensor, name)
            np.testing.assert_array_equal(
                np.asarray(y), tensor.resolve_conj().resolve_neg().numpy()
            )
    for tensor in (z, z.imag):
        with pytest.raises(ValueError, match=r"got an order of bytes or signs to resolve"):
            rnnx.convert(tensor, "numpy", copy=False)
    with pytest.raises(ValueError, match=r"of torch whose memory .*'jax'.* can share"):
        rnnx.convert(x[:, ::2], "jax", copy=False)


def test_bfloat16(torch: Any, jnp: Any) -> None:
    """Shared by torch and JAX; refused by NumPy, which has none, unless another dtype is given."""
    x = torch.tensor([1.0, 2.5, -3.0], dtype=torch.bfloat16)
    y = rnnx.convert(x, "jax")
    assert y.dtype == jnp.bfloat16
    again = rnnx.convert(y, "torch")
    assert again.dtype == torch.bfloat16
    assert rnnx.convert(torch.stack([x, x], 1)[:, 0], "jax").tolist() == [1, 2.5, -3]
    for array in (x, y, again):
        assert rnnx.convert(array, "numpy", dtype="float32").tolist() == [1, 2.5, -3]
        for target in ("numpy", "array_api_strict"):
            with pytest.raises(TypeError, match=r"has no bfloat16: give the dtype to convert to"):
                rnnx.convert(array, target)
    for target in ("torch", "jax"):
        found = rnnx.convert(np.asarray([1.0, 2.5]), target, dtype="bfloat16")
        assert found.dtype == get_backend(target).xp.bfloat16
    with pytest.raises(TypeError, match="expected an array of numbers, got dtype bfloat16"):
        rnnx.convert(np.asarray(y), "torch")


def test_dtypes_that_are_missing_are_named(torch: Any) -> None:
    """On the side that lacks them; no silent change to one of fewer bits."""
    with pytest.raises(TypeError, match=r"no_float64.* has no float64: give the dtype"):
        rnnx.convert(np.zeros(3), "array_api_strict", device="no_float64")
    y = rnnx.convert(np.ones(3), "array_api_strict", device="no_float64", dtype="float32")
    assert str(y.dtype) == "array_api_strict.float32"
    if np.dtype("longdouble").itemsize > 8:
        with pytest.raises(TypeError, match=r"has no (longdouble|float\d+): give the dtype"):
            rnnx.convert(np.zeros(3, "longdouble"), "torch")
    with pytest.raises(TypeError, match="has no float7"):
        rnnx.convert(np.zeros(3), "numpy", dtype="float7")
    for dtype in (np.float32, "zeros", "object_"):
        with pytest.raises(TypeError, match=r"dtype must be the name of a dtype, .*got"):
            rnnx.convert(np.zeros(3), "numpy", dtype=dtype)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected real numbers for float32, got complex128"):
        rnnx.convert(np.zeros(3, complex), "numpy", dtype="float32")
    with pytest.raises(ValueError, match="got float32 from float64: give copy=None"):
        rnnx.convert(np.zeros(3), "numpy", dtype="float32", copy=False)


def test_a_backend_says_where_and_not_in_which_dtype() -> None:
    """Ids and masks stay what they are."""
    bk = get_backend("numpy", dtype="float64")
    assert rnnx.convert(np.zeros(3, "int32"), bk).dtype == "int32"
    assert rnnx.convert(np.zeros(3, bool), bk).dtype == "bool"
    assert rnnx.convert(np.zeros(3, "int32"), bk, dtype=bk.dtype_name).dtype == "float64"


def test_what_is_no_array_of_numbers_is_refused(torch: Any) -> None:
    """Objects, text, times, masks, and tensors without values of their own."""
    tensors = [
        torch.eye(3).to_sparse(),
        torch.zeros(3, device="meta"),
        torch.zeros(3).to_mkldnn(),
        torch.zeros(3, requires_grad=True),
        torch.nn.Parameter(torch.zeros(3)),
        torch.zeros(3, requires_grad=True) * 2,
    ]
    arrays = [np.asarray([None]), np.asarray(["a"]), np.zeros(2, "M8[s]"), np.zeros(2, "V4"),
              np.ma.masked_array([1.0]), object(), *tensors]  # fmt: skip
    for x, target in itertools.product(arrays, ["numpy", "torch", "array_api_strict"]):
        with pytest.raises(TypeError, match="expected a") as caught:
            rnnx.convert(x, target)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match=r"gradient would be lost: call detach\(\) first"):
        rnnx.convert(torch.zeros(3, requires_grad=True), "numpy")


def test_tracers_are_refused(jnp: Any) -> None:
    """Inside jit there are no values to convert."""
    import jax

    for target in ("numpy", "jax"):
        with pytest.raises(TypeError, match="got a tracer of JAX: convert outside the function"):
            jax.jit(lambda x, target=target: rnnx.convert(x, target))(jnp.ones(3))


class OnlyDLPack:
    """An array that has nothing but the protocol."""

    def __init__(self, x: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self._x, self._device = x, device

    def __dlpack__(self, **options: Any) -> Any:
        return self._x.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


def test_other_libraries_are_read_by_their_protocols(torch: Any) -> None:
    """`__dlpack__` alone, `__array__` alone, lists: shared where that is possible."""
    x = np.arange(3.0)
    y = rnnx.convert(OnlyDLPack(x), "torch", copy=False)
    x[0] = 5
    assert y.tolist() == [5, 1, 2]
    with pytest.raises(TypeError, match=r"expected an array on the host .*got a OnlyDLPack"):
        rnnx.convert(OnlyDLPack(x, (2, 0)), "numpy")
    assert rnnx.convert([[1, 2], [3, 4]], "torch").tolist() == [[1, 2], [3, 4]]
    assert rnnx.convert(memoryview(x), "torch", copy=False).data_ptr() == x.ctypes.data


def test_columns_are_read_by_their_protocols(torch: Any) -> None:
    """Those of pandas, Arrow and polars; memory that is theirs alone is not written to."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    pl = pytest.importorskip("polars", reason="needs polars")
    for column in (pd.Series([1.0, 2.0]), pa.array([1.0, 2.0]), pl.Series([1.0, 2.0])):
        y = rnnx.convert(column, "torch")
        y[0] = 7
        assert np.asarray(column).tolist() == [1, 2]
        with pytest.raises(ValueError, match="it is read-only"):
            rnnx.convert(column, "torch", copy=False)


def test_a_float64_array_is_not_made_smaller_by_jax(jnp: Any) -> None:
    """Without its x64 mode JAX would do it without a word."""
    import jax

    if not hasattr(jax, "enable_x64"):
        pytest.skip("needs jax with enable_x64 as a context")
    with jax.enable_x64(False):
        with pytest.raises(TypeError, match=r"'jax'.* has no float64: give the dtype"):
            rnnx.convert(np.zeros(3), "jax")
        assert rnnx.convert(np.ones(3), "jax", dtype="float32").tolist() == [1, 1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_given_back() -> None:
    """A hundred copies of ten megabytes, each dropped at once, do not fill the memory."""
    target = place(Case("torch", None, "float32"))

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    x = np.zeros(2_500_000, "f4")
    rnnx.convert(x, target, copy=True)
    before = resident()
    for _ in range(100):
        rnnx.convert(x, target)
        rnnx.convert(x, target, copy=True)
    assert resident() - before < 300e6
