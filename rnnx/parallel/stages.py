"""Work of several processes, which each does alone and then all do together, in turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rnnx.parallel import team_of

Value = TypeVar("Value")


class Stages:
    """The stages of one piece of work, which all processes of a communicator do alike.

    An error of one process, in a stage that it does alone, is raised on all of them when they come
    to the next stage together, or to the end. Without a communicator all of this costs nothing.

    Parameters
    ----------
    comm : communicator, optional
        As `team_of` takes it.
    """

    def __init__(self, comm: Any = None) -> None:
        self._team = team_of(comm)
        self.comm = None if self._team is None else comm
        self.size = 1 if self._team is None else self._team.size
        self.leads = self._team is None or self._team.leads
        self._alone = True  # in this stage

    @contextmanager
    def all(self) -> Iterator[None]:
        """Do all of the work: it ends with an error on all processes, or on none."""
        error = None
        try:
            yield
        except BaseException as raised:
            if not self._alone:  # then the others have one, too
                raise
            error = raised
        self._agree(error)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do what calls the other processes, and itself fails on all of them or on none."""
        self._agree()
        self._alone = False
        yield
        self._alone = True

    def from_root(self, value: Value) -> Value:
        """Return the value of rank 0."""
        if self._team is None:
            return value
        with self.together():
            found: Value = self._team.from_root(value)
        return value if self.leads else found

    def _agree(self, error: BaseException | None = None) -> None:
        """Raise on all processes if one has an error."""
        self._alone = False
        if self._team is not None:
            self._team.agree(error)
        elif error is not None:
            raise error
        self._alone = True
