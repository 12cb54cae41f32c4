"""One of the processes of `test_parallel_nccl`, on its own simulated GPU: cases, rank, size."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cupy
import cupyx.distributed
import numpy as np
import pytest
from cases import NOISE, assert_near
from cupyx.store import StoreProxy

import rnnx
from rnnx.parallel import Team, team_of, together, watch
from rnnx.train import sums

CASE, RANK, SIZE = sys.argv[1], *map(int, sys.argv[2:4])
if USE_MPI := RANK < 0:  # mpirun says which rank it is
    from mpi4py import MPI

    RANK = MPI.COMM_WORLD.Get_rank()
cupy._CARDS[2:] = [cupy._CARDS[1]] * (SIZE - 2)
FLAG = Path(os.environ["TMPDIR"]) / "flag"  # that one process raises for another
ERRORS: dict[Any, type[BaseException]] = {  # of one process, and its kind on the others
    KeyboardInterrupt("stop"): KeyboardInterrupt,
    NotImplementedError("no"): NotImplementedError,
    TypeError("a str"): TypeError,
    UnicodeEncodeError("ascii", "x", 0, 1, "no"): ValueError,
    ZeroDivisionError("0"): ArithmeticError,
    KeyError("loss"): LookupError,
    MemoryError("1 TiB"): MemoryError,
    ModuleNotFoundError("scipy"): ImportError,
    RecursionError("deep"): RuntimeError,
    Exception("odd"): RuntimeError,
    FileNotFoundError(2, "No such file", "x.npy"): FileNotFoundError,
    OSError(28, "Full", "/d"): OSError,
}


def backend() -> Any:
    return rnnx.get_backend("cupy", device=RANK, dtype="float64")


def until(found: Any) -> None:
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.005)


def talk(team: Team) -> None:
    """Sums and objects, by rank; of any length, and with another GPU current."""
    assert (team.rank, team.size, team.leads) == (RANK, SIZE, RANK == 0)
    bk = backend()
    team.check(bk)
    for n in (1, 1000):
        flat = np.random.default_rng(n).standard_normal((SIZE, n))
        with cupy.cuda.Device(1 - RANK):
            total = team.summed(bk, bk.asarray(flat[RANK]))
            assert team.gathered("x" * n * RANK) == ["x" * n * rank for rank in range(SIZE)]
            assert team.from_root({"rank": RANK, "b": b"1" * n}) == {"rank": 0, "b": b"1" * n}
        assert total.device.id == RANK
        np.testing.assert_array_equal(bk.to_numpy(total), sum(flat))
    single = rnnx.get_backend("cupy", device=RANK)
    total = team.summed(single, single.asarray([0.1 * (RANK + 1)]))
    assert bk.to_numpy(total).tolist() == [np.float32(0.1) + np.float32(0.2)]


def refuse(team: Team) -> None:
    """A model on the host, or on another GPU."""
    with pytest.raises(ValueError, match="got a model on numpy: give it backend='cupy'"):
        team.check(rnnx.get_backend("numpy"))
    other = rnnx.get_backend("cupy", device=1 - RANK)
    wrong = rf"made on GPU {RANK}, got a model on GPU {1 - RANK}: call cupy.cuda.Device\({1 - RANK}"
    with pytest.raises(ValueError, match=wrong):
        team.check(other)


def errors(team: Team) -> None:
    """Each kind of error, on one process or on both."""
    team.agree()
    for error, kind in ERRORS.items():
        for rank in range(SIZE):
            mine = error if rank == RANK else None
            named = pytest.raises(kind, match=f"rank {rank} of {SIZE}: ")
            with named as caught:
                team.agree(mine)
            assert caught.type is kind
            assert str(error.args[-1]) in str(caught.value)
            assert caught.value.__cause__ is mine
            with named, together(team):
                if mine:
                    raise mine
        with pytest.raises(type(error)) as both, together(team):
            raise error
        assert both.value is error
    with pytest.raises(ValueError, match="rank 0 of 2: mine 0"):
        team.agree(ValueError(f"mine {RANK}"))
    with together(team):
        pass


def ahead(team: Team) -> None:
    """Rank 0 has returned from its sums before rank 1 makes one, and nothing reads or waits."""
    bk = backend()
    one, two = bk.asarray([1.0, 2.0]), bk.asarray([10.0])
    if RANK == 1:
        until(FLAG.exists)
    cupy.EVENTS.clear()
    first, second = team.summed(bk, one), team.summed(bk, two)
    if RANK == 0:
        assert not cupy.cuda.get_current_stream().done
        assert np.isnan(first._host).all()
        FLAG.touch()
    assert cupy.EVENTS == []
    again = team.summed(bk, first)  # of a sum that is not there yet
    assert [bk.to_numpy(x).tolist() for x in (first, second, again)] == [[2, 4], [20], [4, 8]]


def fit(bk: Any, of_steps: bool, comm: Any = None) -> tuple[Any, dict[str, Any]]:
    """Return the history and the parameters of a training on a `Stream`, or on ragged sequences."""
    rng, step = np.random.default_rng(3), {"num_layers": 2, **NOISE}
    if of_steps:
        layers = rnnx.GRU(2, 4, backend=bk, seed=0, **step), rnnx.Linear(4, 2, backend=bk, seed=1)
        x, y = rng.standard_normal((2, 23, 5, 2))
        data = held_out = rnnx.data.Stream(x, y, length=4)
    else:
        x = [rng.standard_normal((T, 2)) for T in (6, 2, 4, 1, 5, 3, 3, 8, 2, 7, 1)]
        data = held_out = x, np.arange(11) % 2
        last = rnnx.Pool("last", backend=bk), rnnx.Linear(4, 2, backend=bk, seed=1)
        layers = rnnx.GRU(2, 4, backend=bk, seed=0, **step), *last
    model = rnnx.Sequential(*layers)
    history = rnnx.train.fit(
        model, data, validation=held_out, loss="squared_error" if of_steps else "cross_entropy",
        optimizer=rnnx.optim.AdamW(0.02), epochs=4, batch_size=4, clip_norm=0.1, progress=False,
        seed=RANK if comm else 0, comm=comm,
    )  # fmt: skip
    return history, {name: bk.to_numpy(W) for name, W in model.params.items()}


def fits(team: Team) -> None:
    """The training of one process to 1e-12, and steps in which no host waits for a GPU."""
    taken = []

    def take(step: Any, *arguments: Any) -> None:
        before = [*cupy.EVENTS]
        of_both(step, *arguments)
        taken.append(1)
        assert before == cupy.EVENTS

    of_both, sums.SharedStep.take = sums.SharedStep.take, take  # type: ignore[method-assign]
    comm = team._comm  # type: ignore[attr-defined]
    for of_steps, steps in ((False, 3), (True, 6)):
        taken.clear()
        history, params = fit(backend(), of_steps, comm)
        expected, exact = fit(rnnx.get_backend(dtype="float64"), of_steps)
        assert len(taken) == 4 * steps
        for name in set(expected) - {"seconds"}:
            assert_near(history[name], expected[name], 1e-12, name)
        for name, W in exact.items():
            assert_near(params[name], W, 1e-12, name)


def raises(work: Any, who: str) -> None:
    """Assert the message, the same on every process, in bounded time."""
    words = f"{who} of {SIZE} gave no answer for . s: it died or hangs; end all processes, and "
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=words):
        work()
    assert time.monotonic() - began < 60


def die(*ranks: int) -> None:
    if RANK in ranks:
        os.kill(os.getpid(), signal.SIGKILL)


def killed_ahead(team: Team) -> None:
    """Ranks 1 and 2 are killed when their hosts have called for sums that no GPU began."""
    bk = backend()
    one, flags = bk.asarray([1.0]), [FLAG.with_suffix(f".{rank}") for rank in range(SIZE)]
    if RANK > 0:
        for _ in range(9):
            team.summed(bk, one)
        time.sleep(2 * watch.BEAT)  # their threads report it
        flags[RANK].touch()
        die(1, 2)
    until(lambda: all(flag.exists() for flag in flags[1:]))
    team.summed(bk, one)
    raises(team.agree, "rank 1 and 2")


def killed_in_a_step(team: Team) -> None:
    """Rank 1 is killed while the others read a sum, which holds the host."""
    bk = backend()
    bk.to_numpy(team.summed(bk, bk.asarray([1.0])))
    die(1)
    bk.to_numpy(team.summed(bk, bk.asarray([1.0])))
    raises(lambda: team.summed(bk, bk.asarray([1.0])), "rank 1")
    raises(team.agree, "rank 1")


def killed_in_a_fit(team: Team) -> None:
    """Rank 1 is killed within an epoch."""
    comm, taken = team._comm, []  # type: ignore[attr-defined]

    def take(step: Any, *arguments: Any) -> None:
        taken.append(1)
        if len(taken) == 5:
            die(1)
        of_both(step, *arguments)

    of_both, sums.SharedStep.take = sums.SharedStep.take, take  # type: ignore[method-assign]
    for _ in range(2):  # whatever is tried then
        raises(lambda: fit(backend(), False, comm), "rank 1")


def killed_root(team: Team) -> None:
    """Rank 0 is killed, and its store goes on."""
    die(0)
    for _ in range(2):  # whatever is tried then
        raises(team.agree, "rank 0")


def killed_root_and_store(team: Team) -> None:
    """Rank 0 is killed with its store."""
    if RANK == 0:
        team._comm._store._process.kill()  # type: ignore[attr-defined]
    die(0)
    raises(team.agree, "rank 0")


def hangs(team: Team) -> None:
    """Rank 1 is there and does nothing: it is named, and ended."""
    if RANK == 1:
        time.sleep(60)
    raises(team.agree, "rank 1")


def main() -> None:
    cupy.cuda.Device(RANK).use()
    comm = cupyx.distributed.init_process_group(SIZE, RANK, use_mpi=USE_MPI)
    watch.PATIENCE, watch.BEAT = 30.0, 0.4
    if CASE.startswith(("killed", "hangs")):
        watch.PATIENCE = 5.0 if "fit" in CASE else 2.0  # a machine may be busy
        StoreProxy.RETRIES = 5
    try:
        team = team_of(comm)
        assert team is not None
        team.agree()
        for case in CASE.split("+"):
            globals()[case](team)
        print("done")
    finally:
        comm.stop()  # rank 0 does not end before


if __name__ == "__main__":
    main()
