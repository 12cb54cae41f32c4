"""A thread that finds the process that died, while the others wait for it on their GPUs."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
import zlib
from contextlib import suppress
from typing import Any, NamedTuple, Self

PATIENCE = 600.0  # seconds to wait for the other processes
BEAT = 5.0  # seconds between two looks
NAMED = 16  # ranks that a message names at most


class Report(NamedTuple):
    """What a process says of itself."""

    beats: int = 0
    calls: int = 0  # of NCCL


class Watch:
    """The thread of one process, for one communicator.

    NCCL waits for a dead process without end, and so does a host that reads from its GPU or has
    filled its queue. The thread waits `PATIENCE` for a call. Then it looks up in the store of
    ``cupyx.distributed`` which process no longer beats, tells the others' threads, and aborts NCCL:
    GPU and host go on, to the error that the next `check` raises. With MPI there is no store, and
    ``mpirun`` ends all processes if one dies.
    """

    def __init__(self, comm: Any, gpu: int) -> None:
        self._nccl, self._gpu, self._size = comm._comm, gpu, int(comm._n_devices)
        self._store = getattr(comm, "_store", None)  # not comm: it must die without a collector
        self._notes = None if comm._use_mpi else Notes(comm._store_proxy, int(comm.rank))
        self._teams, self._beats, self._calls = 0, 0, 0
        self._newest: tuple[int, Any] = (0, None)  # number of the call, event behind it
        self._words = ""  # of the error
        self._ended: threading.Event | None = None  # that ends the thread, if there is one
        self._heard, self._freed = threading.Event(), threading.Event()

    @classmethod
    def of(cls, comm: Any, team: Any) -> Self:
        """Return the one watch of a communicator, for as long as a team lives."""
        if not hasattr(comm, "_rnnx_watch"):
            comm._rnnx_watch = cls(comm, int(comm._comm.device_id()))
        watch: Self = comm._rnnx_watch
        watch._teams += 1
        weakref.finalize(team, watch._leave)
        return watch

    def _leave(self) -> None:
        self._teams -= 1
        if self._ended and not self._teams:
            self._ended.set()
            self._ended = None

    def add(self, event: Any) -> None:
        """Watch a call of NCCL, by the event that follows it."""
        self._calls += 1
        self._newest = self._calls, event
        if self._ended is None:
            self._ended = threading.Event()
            threading.Thread(target=self._run, args=(self._ended,), daemon=True).start()

    def wait(self, event: Any) -> None:
        """Wait for an event; raise if another process died."""
        pause = 1e-5
        while not event.done:
            self.check()
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
        self.check()

    def check(self) -> None:
        """Raise TimeoutError, which names the rank, if another process died."""
        if self._words:
            self._heard.set()
            self._freed.wait(BEAT)
            raise TimeoutError(self._words)

    def _run(self, ended: threading.Event) -> None:
        """Look at a call until it is done, then at what is the newest then."""
        import cupy as cp

        with cp.cuda.Device(self._gpu):
            (call, event), since = self._newest, time.monotonic()
            while not ended.wait(BEAT):
                self._beat()
                told = self._notes.told() if self._notes else ""
                if told:
                    return self._fail(told, ended)
                if event.done:
                    (call, event), since = self._newest, time.monotonic()
                elif time.monotonic() - since > PATIENCE:
                    who = self._missing(call)
                    if not event.done:
                        return self._fail(who, ended)

    def _beat(self) -> None:
        """Show the others that this process is there."""
        self._beats += 1
        if self._notes:
            self._notes.report(Report(self._beats, self._calls))

    def _missing(self, call: int) -> str:
        """Return in words who no longer beats, or else who did not make a call."""
        if not self._notes:
            return "another rank"
        try:
            before = self._notes.reports(self._size)
            for _ in range(3):
                time.sleep(BEAT)
                self._beat()
            after = self._notes.reports(self._size)
        except OSError:
            return "rank 0"  # whose store is gone
        found = [r for r in range(self._size) if before[r].beats == after[r].beats]
        found = found or [r for r in range(self._size) if after[r].calls < call]
        return "rank " + " and ".join(map(str, found[:NAMED])) if found else "another rank"

    def _fail(self, who: str, ended: threading.Event) -> None:
        """Tell the others, and free the host from its GPU, to raise an error."""
        if self._notes:
            self._notes.tell(who)
        for _ in range(2):  # the others read who it is before the store ends, with rank 0
            self._beat()
            time.sleep(BEAT)
        if self._store:
            with suppress(Exception):  # whatever ended the store before
                self._store.stop()
        self._words = (
            f"{who} of {self._size} gave no answer for {PATIENCE:.0f} s: it died or hangs; end all "
            "processes, and resume from the last checkpoint"
        )
        threading.Thread(target=self._free, daemon=True).start()
        if not self._heard.wait(PATIENCE) and not ended.is_set():
            print(self._words, file=sys.stderr, flush=True)  # an abort may hang: NVIDIA/nccl#549
            os._exit(1)

    def _free(self) -> None:
        self._nccl.abort()
        self._freed.set()


class Notes:
    """What the processes of a communicator write for each other, in rank 0's store."""

    def __init__(self, store: Any, rank: int) -> None:
        self._store, self._rank = store, rank
        self._name = f"rnnx {zlib.crc32(store['nccl_id']):08x}"  # a store may outlive its run

    def report(self, report: Report) -> None:
        """Write this process's report, if the store is still there."""
        self._write(str(self._rank), " ".join(map(str, report)))

    def reports(self, size: int) -> list[Report]:
        """Return the newest report of each process; raise OSError if there is no store."""
        return [Report(*map(int, self._read(str(rank)).split())) for rank in range(size)]

    def tell(self, who: str) -> None:
        """Write which process is missing."""
        self._write("missing", who)

    def told(self) -> str:
        """Return what a process told, or ``""``."""
        try:
            return self._read("missing")
        except OSError:
            return ""

    def _write(self, key: str, text: str) -> None:
        with suppress(OSError, RuntimeError, ValueError):
            self._store[f"{self._name} {key}"] = text.encode()

    def _read(self, key: str) -> str:
        """Return a text, ``""`` if nobody wrote it; raise OSError if there is no store."""
        try:
            found: bytes = self._store[f"{self._name} {key}"]
        except (RuntimeError, ValueError) as error:
            if self._name in str(error):  # the store's KeyError
                return ""
            raise ConnectionError(str(error)) from error
        return found.decode()
