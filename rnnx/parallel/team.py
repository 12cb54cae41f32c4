"""What processes say to each other: sums, objects and errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rnnx.backend import Array, Backend

# What another process's error is raised as here: the first that it is an instance of.
_KINDS: tuple[type[BaseException], ...] = (
    KeyboardInterrupt, NotImplementedError, TypeError, ValueError, ArithmeticError, LookupError,
    MemoryError, ImportError, RuntimeError, FileNotFoundError, FileExistsError, PermissionError,
    NotADirectoryError, IsADirectoryError, TimeoutError, OSError,
)  # fmt: skip


class Failure(NamedTuple):
    """An error of one process, as the others are told of it."""

    kind: type[BaseException]
    words: str
    number: int | None = None  # of an OSError, and its file
    file: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what to tell of an error."""
        if isinstance(error, OSError) and error.errno is not None:
            file = None if error.filename is None else str(error.filename)
            return cls(OSError, str(error.strerror), error.errno, file)
        kind = next((kind for kind in _KINDS if isinstance(error, kind)), RuntimeError)
        return cls(kind, str(error) or type(error).__name__)

    def raised(self, rank: int, size: int) -> BaseException:
        """Return the error to raise, which names the rank."""
        words = f"rank {rank} of {size}: {self.words}"
        if self.number is not None:  # OSError becomes FileNotFoundError and the like by itself
            return OSError(self.number, words, self.file)
        return self.kind(words)


class Team(ABC):
    """Processes that run the same program, each with a rank from 0.

    Every method must be called by all of them, in the same order.
    """

    rank: int
    size: int
    pending: BaseException | None = None  # an error of this process within a sum

    @property
    def leads(self) -> bool:
        """Whether this process has rank 0: it alone writes files and prints."""
        return self.rank == 0

    @abstractmethod
    def check(self, backend: Backend) -> None:
        """Raise ValueError if arrays of this backend cannot be summed."""

    @abstractmethod
    def summed(self, backend: Backend, flat: Array) -> Array:
        """Return the sum of all processes' arrays (n,), the same bits for each.

        What stops one process must not keep the others waiting: it is `pending` then.
        """

    @abstractmethod
    def gathered(self, value: Any) -> list[Any]:
        """Return every process's object, by rank."""

    def from_root(self, value: Any) -> Any:
        """Return the object of rank 0."""
        return self.gathered(value if self.leads else None)[0]

    def agree(self, error: BaseException | None = None) -> None:
        """Raise on all processes if one has an error: one message, which names the rank.

        If all have the same, each raises its own.
        """
        found = self.gathered(None if error is None else Failure.of(error))
        if error is not None and all(failure == found[0] for failure in found):
            raise error
        for rank, failure in enumerate(found):
            if failure is not None:
                raise failure.raised(rank, self.size) from error


@contextmanager
def together(team: Team | None) -> Iterator[None]:
    """Leave the block with an error in all processes of a team, or in none.

    Nothing in the block may wait for the others. Without a team, it does nothing.
    """
    error = None
    try:
        yield
    except BaseException as raised:
        if team is None:
            raise
        error = raised
    if team is not None:
        team.agree(error)
