"""Read the lines of a CSV file, also of one that gzip has packed."""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO

from rnnx import io
from rnnx.cli.form import Form

PIECE = 1 << 16  # bytes that are unpacked at once
OTHERS = {";": "';'", "\t": "tab", "|": "'|'"}  # delimiters, as one types them


def read(path: Path, form: Form) -> list[tuple[list[str], int]]:
    """Return the cells of each line that is not empty, and its number."""
    mark = form.delimiter or ","
    try:
        with io.regular(path) as file, _text(path, file, form.encoding) as text:
            reader = csv.reader(text, delimiter=mark, strict=True)
            lines = [([cell.strip() for cell in row], reader.line_num) for row in reader if row]
    except UnicodeError:
        name = "UTF-8" if form.encoding == "utf-8-sig" else form.encoding
        raise ValueError(
            f"{path} must be a text file in {name}, got other bytes: name its encoding with "
            "--encoding, such as latin-1 or utf-16"
        ) from None
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} must be a file that gzip has packed: {error}") from None
    _check(path, lines, form)
    return lines


def _check(path: Path, lines: list[tuple[list[str], int]], form: Form) -> None:
    """Raise ValueError unless there is a table: a line of names, and rows of as many cells."""
    if lines and form.delimiter is None and len(lines[0][0]) == 1:
        for other, typed in OTHERS.items():
            if other in lines[0][0][0]:
                raise ValueError(
                    f"{path}, line {lines[0][1]}: expected names separated by commas, got "
                    f"{lines[0][0][0]!r:.80}: give --delimiter {typed}"
                )
    if len(lines) < 2:
        raise ValueError(
            f"{path} must have a line of column names and rows below it, got {len(lines)} line(s)"
        )
    for cells, line in lines:
        if len(cells) != len(lines[0][0]):
            raise ValueError(
                f"{path}, line {line}: expected {len(lines[0][0])} cells, one per column name, got "
                f"{len(cells)} (--delimiter is {form.delimiter or ','!r})"
            )


def _text(path: Path, file: IO[bytes], encoding: str) -> TextIOWrapper:
    """Return the text of an open file, unpacked if gzip has packed it."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return TextIOWrapper(_unpacked(path, file) if packed else file, encoding, newline="")


def _unpacked(path: Path, file: IO[bytes]) -> BytesIO:
    """Return what a file unpacks to, at most 16 times its size and 4 MB more."""
    most = 16 * os.fstat(file.fileno()).st_size + (4 << 20)
    packed, raw = gzip.GzipFile(fileobj=file), BytesIO()
    while piece := packed.read(PIECE):
        raw.write(piece)
        if raw.tell() > most:
            raise ValueError(
                f"{path} has more than {most:,} bytes unpacked, the most for a file of its size: "
                "unpack it with gunzip"
            )
    raw.seek(0)
    return raw
