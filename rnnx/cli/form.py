"""How a CSV file is written: what separates cells, decimals, dates, characters."""

from __future__ import annotations

import codecs
import re
from argparse import Namespace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import numpy as np

_ISO = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?Z?)?)?", re.ASCII)
_SOME = datetime(2024, 1, 31, 12, 30, 15, 250000, UTC)
FORMAT = 100  # characters of a date format


class Form(NamedTuple):
    """The options of `rnnx.cli.task.COLUMNS` that say how a CSV file is written, checked."""

    delimiter: str | None = None  # None: a comma, and a hint if it looks like another
    decimal: str = "."
    date_format: str | None = None  # None: numbers, or dates in ISO 8601
    encoding: str = "utf-8-sig"

    @classmethod
    def of(cls, chosen: Namespace) -> Self:
        """Return the form that the options name; raise ValueError for one that is impossible."""
        mark = {"tab": "\t", "\\t": "\t"}.get(chosen.delimiter, chosen.delimiter)
        if mark is not None and (len(mark) != 1 or mark in '\r\n"'):
            raise ValueError(
                f"--delimiter must be one character, or tab, got {chosen.delimiter!r:.80}"
            )
        if chosen.decimal not in (None, ".", ","):
            raise ValueError(f"--decimal must be a point or a comma, got {chosen.decimal!r:.80}")
        if chosen.date_format is not None:
            _check_format(chosen.date_format)
        encoding = _encoding(chosen.encoding or "utf-8")
        return cls(mark, chosen.decimal or ".", chosen.date_format, encoding)

    def number(self, text: str) -> float:
        """Return a number; raise ValueError if it is not one."""
        if "_" in text or (self.decimal == "," and "." in text):  # Python reads 1_000
            raise ValueError(text)
        return float(text.replace(self.decimal, "."))

    def date(self, text: str) -> Any:
        """Return a date, or no date for an empty text; raise ValueError if it is not one."""
        if self.date_format is not None and text:
            found = datetime.strptime(text, self.date_format)
            offset = found.utcoffset()
            utc = np.datetime64(found.replace(tzinfo=None), "us")
            return utc if offset is None else utc - np.timedelta64(offset, "us")
        if text and not _ISO.fullmatch(text):  # NumPy reads "now", too
            raise ValueError(text)
        return np.datetime64(text.removesuffix("Z"), "us")

    def written(self, date: Any, like: str) -> str:
        """Return a date in the date format, with zeros before numbers if another cell has them."""
        text, again = (
            when.astype("M8[us]").item().replace(tzinfo=UTC).strftime(str(self.date_format))
            for when in (date, self.date(like))
        )
        bare = re.sub(r"\b0+(?=\d)", "", again)
        return re.sub(r"\b0+(?=\d)", "", text) if like == bare != again else text

    def hint(self, text: str) -> str:
        """Return what to do about a text that is no number, if it looks like a decimal comma."""
        other = "," if self.decimal == "." else "."
        looks = re.fullmatch(rf"[-+]?\d*{re.escape(other)}\d+(e[-+]?\d+)?", text, re.ASCII | re.I)
        return f": give --decimal {other!r}" if looks else ""


def _check_format(text: str) -> None:
    """Raise ValueError for a format that does not write and read a date."""
    try:
        if len(text) <= FORMAT and datetime.strptime(_SOME.strftime(text), text).year > 1900:
            return
    except (ValueError, re.error):  # re.error for a part that occurs twice
        pass
    raise ValueError(
        f"--date-format must be one of Python's strptime with a year, such as %d.%m.%Y or "
        f"%d/%m/%Y %H:%M, got {text!r:.80}"
    )


def _encoding(name: str) -> str:
    """Return the name of an encoding of texts; UTF-8 may begin with a byte-order mark."""
    try:
        found = codecs.lookup(name).name
        "".encode(name)  # no text: base64 and others are of bytes
    except (LookupError, ValueError):
        raise ValueError(
            f"--encoding must be the name of an encoding, such as utf-8, latin-1, cp1252 or "
            f"utf-16, got {name!r:.80}"
        ) from None
    return "utf-8-sig" if found == "utf-8" else name
