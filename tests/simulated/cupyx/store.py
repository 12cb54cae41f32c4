"""The store of `cupyx.distributed`: a process, the child of rank 0, that keeps bytes by key.

As the real one it outlives a killed parent, and its parent does not end before `Store.stop`.
"""

from __future__ import annotations

import atexit
import multiprocessing
import threading
import time
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

Address = tuple[str, int]
LONGEST = 256  # bytes of a message
_exiting = threading.Event()
atexit.register(_exiting.set)


class Store:
    """The process."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._process: Any = None

    def __del__(self) -> None:
        if not _exiting.is_set():
            self.stop()

    def run(self, address: Address) -> None:
        """Start it."""
        self._address = address
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_serve, args=(address, self._size))
        self._process.start()

    def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.is_alive():
            StoreProxy(self._address).ask("stop")
            self._process.join()


class StoreProxy:
    """What the processes reach the store by."""

    RETRIES, DELAY = 500, 0.05

    def __init__(self, address: Address) -> None:
        self._address = address

    def __getitem__(self, key: str) -> bytes | int:
        return self.ask("get", key)

    def __setitem__(self, key: str, value: bytes | int) -> None:
        if not isinstance(key, str) or type(value) not in (bytes, bytearray, int):
            raise ValueError(f"a str and an int or bytes, got {key!r} and {value!r}")
        length = 8 if isinstance(value, int) else len(value)
        if len(key.encode("ascii")) + length + 2 > LONGEST:
            raise ValueError("too long")
        self.ask("set", key, value)

    def barrier(self) -> None:
        """Wait until all processes have called it."""
        self.ask("barrier")

    def ask(self, *question: Any) -> Any:
        """Return the answer to one question."""
        for _ in range(self.RETRIES):
            try:
                with Client(self._address) as link:
                    link.send(question)
                    error, answer = link.recv()
            except ConnectionRefusedError:
                time.sleep(self.DELAY)
                continue
            if error is not None:
                raise RuntimeError(error)
            return answer
        raise RuntimeError("TCPStore is not available")


def _serve(address: Address, size: int) -> None:
    """Answer, each question in a thread."""
    kept: dict[str, Any] = {}
    barrier, ended = threading.Barrier(size), threading.Event()
    with Listener(address, backlog=64) as listener:
        while not ended.is_set():
            arguments = listener.accept(), kept, barrier, ended
            thread = threading.Thread(target=_answer, args=arguments, daemon=True)
            thread.start()
            thread.join(0.05)  # but a barrier takes longer


def _answer(
    link: Connection, kept: dict[str, Any], barrier: threading.Barrier, ended: threading.Event
) -> None:
    with link:
        what, *rest = link.recv()
        try:
            answer = None
            if what == "get":
                answer = kept[rest[0]]
            elif what == "set":
                kept[rest[0]] = rest[1]
            elif what == "barrier":
                barrier.wait()
            else:
                ended.set()
            link.send((None, answer))
        except KeyError as error:
            link.send((str(error), None))
