"""Streams: everything is done at once, but for calls that wait for other processes."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

_lock = threading.RLock()


class Call(Protocol):
    """A call that may have to wait."""

    def done(self) -> bool:
        """Go on as far as it gets; return whether that was to the end."""


class Stream:
    """A queue of work; entered, it is the current one."""

    def __init__(self) -> None:
        self.ptr = id(self)
        self.calls: list[Call] = []

    def __enter__(self) -> Stream:
        _here.streams.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _here.streams.pop()

    def put(self, call: Call) -> None:
        """Append a call, and start it if it is the first."""
        with _lock:
            self.calls.append(call)
            self.done  # noqa: B018

    @property
    def done(self) -> bool:
        """Whether all work is done; does not wait."""
        with _lock:
            while self.calls and self.calls[0].done():
                self.calls.pop(0)
            return not self.calls

    def run(self) -> None:
        """Do the work so far, as a GPU does before what comes next on the stream."""
        while self.calls and not self.done:
            time.sleep(1e-4)

    def synchronize(self) -> None:
        """Make the host wait for the work so far."""
        from cupy import EVENTS

        EVENTS.append("sync")
        self.run()


class Event:
    """A place in a stream."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self._behind: tuple[Stream, Call | None] = (null, None)

    def record(self, stream: Stream | None = None) -> None:
        """Put the event behind the work so far."""
        stream = stream or get_current_stream()
        self._behind = stream, stream.calls[-1] if stream.calls else None

    @property
    def done(self) -> bool:
        """Whether the work before it is done; does not wait."""
        stream, call = self._behind
        return stream.done or call not in stream.calls


class _Here(threading.local):
    """What is current in a thread."""

    def __init__(self) -> None:
        self.devices = [0]
        self.streams: list[Stream] = []


_here = _Here()
null = Stream()


def get_current_stream(device_id: int = -1) -> Any:
    """Return the stream whose context is entered, or the default one."""
    return _here.streams[-1] if _here.streams else null
