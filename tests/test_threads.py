"""The number of threads: what the user, the environment, the machine and threadpoolctl say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rnnx
from rnnx.core import native, threads
from rnnx.core.threads import available, get_num_threads, set_num_threads


@pytest.fixture(autouse=True)
def without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin as in a program that has not imported threadpoolctl; restore the number afterwards."""
    monkeypatch.delitem(sys.modules, "threadpoolctl", raising=False)
    before = get_num_threads()
    yield
    set_num_threads(before)


def use(monkeypatch: pytest.MonkeyPatch, *libraries: SimpleNamespace, **contents: Any) -> None:
    """Import a stand-in for threadpoolctl that finds these BLAS libraries."""

    class ThreadpoolController:
        def select(self, *, user_api: str) -> SimpleNamespace:
            assert user_api == "blas"
            return SimpleNamespace(lib_controllers=list(libraries))

    module = ModuleType("threadpoolctl")
    vars(module).update(contents or {"ThreadpoolController": ThreadpoolController})
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)


def test_the_user_is_asked_first() -> None:
    """`set_num_threads` takes integers of at least 1."""
    set_num_threads(3)
    assert get_num_threads() == 3
    for wrong in (0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match="threads must be an integer of at least 1"):
            set_num_threads(wrong)  # type: ignore[arg-type]


def test_then_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Affinity, and the quota of the control group."""
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(threads, "_QUOTAS", ((str(quota),),))
    processors = available()
    for text, expected in (("100000 100000", 1), ("max 100000", processors), ("bad", processors)):
        quota.write_text(text)
        assert available() == expected


@pytest.mark.parametrize(("given", "code"), [("2", 0), ("none", 1)])
def test_the_environment_replaces_the_machine(given: str, code: int) -> None:
    """RNNX_THREADS is read in a fresh process, which does not import threadpoolctl itself."""
    program = "import rnnx, sys; print(rnnx.get_num_threads(), 'threadpoolctl' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"RNNX_THREADS": given}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    wrong = "RNNX_THREADS must be an integer of at least 1, got 'none'"
    assert ("2 False" if code == 0 else wrong) in done.stdout + done.stderr


def test_threadpoolctl_limits_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest count of a BLAS library with threads holds, read at each call; it never adds."""
    blas, other = SimpleNamespace(num_threads=8), SimpleNamespace(num_threads=8)
    unknown = SimpleNamespace(num_threads=None)
    serial = SimpleNamespace(num_threads=1, threading_layer="disabled")
    use(monkeypatch, blas, other, unknown, serial)
    set_num_threads(3)
    assert get_num_threads() == 3
    for other.num_threads, expected in ((2, 2), (1, 1), (8, 3)):
        assert get_num_threads() == expected


def test_a_threadpoolctl_that_knows_nothing_limits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No BLAS library found, or a version before 3, which has no controller."""
    set_num_threads(3)
    use(monkeypatch)
    assert get_num_threads() == 3
    use(monkeypatch, version="2")
    assert get_num_threads() == 3


def test_the_real_threadpoolctl_limits_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside `threadpool_limits(1)` a layer runs on one thread; outputs are the same bits."""
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="needs threadpoolctl")
    if not threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers:
        pytest.skip("threadpoolctl finds no BLAS library here")
    if native._native is None:
        pytest.skip("the core was not compiled")
    counts: list[int] = []
    how = native._how
    monkeypatch.setattr(native, "_how", lambda *a: (counts.append(how(*a)[1]), how(*a))[1])
    monkeypatch.setattr(native, "WORTH_A_THREAD", 0)
    set_num_threads(3)
    layer, x = rnnx.GRU(2, 3, seed=0), np.ones((4, 5, 2), "float32")
    outputs = []
    for count in (2, 1, 2):
        with threadpoolctl.threadpool_limits(count, user_api="blas"):
            assert get_num_threads() == count
            outputs.append(layer(x)[0])
    assert counts == [2, 1, 2]
    np.testing.assert_array_equal(outputs[0], outputs[1])
