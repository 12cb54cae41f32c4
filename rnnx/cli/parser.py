"""The parser of the command and of each of its subcommands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn


def sizes(text: str, names: str) -> tuple[int, ...]:
    """Return the sizes in a text such as ``"256,16"``, one for each of the names, ``"T,B"``."""
    found = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    count = names.count(",") + 1
    if len(found) != count or min(found) < 1:
        words = {2: "two", 3: "three"}[count]
        raise ValueError(f"--shape must be {words} sizes {names} of at least 1, got {text!r}")
    return tuple(found)


class Parser(argparse.ArgumentParser):
    """A parser that adds its arguments when first used, and reports an error in one line.

    Parameters
    ----------
    fill : callable, optional
        Adds the arguments. Such a parser takes files before, between and after options.
    """

    def __init__(self, *, fill: Callable[[Parser], None] | None = None, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self._fill, self._between = fill, fill is not None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments that are known."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        if self._between:
            self._between = False
            try:
                return self.parse_known_intermixed_args(args, namespace)
            finally:
                self._between = True
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line."""
        text = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {text} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a message; argparse would hide that it could not."""
        (file or sys.stderr).write(message)
