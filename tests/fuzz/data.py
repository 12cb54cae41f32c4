"""CSV, NPY, NPZ and text files by hand."""

from __future__ import annotations

import gzip
import io as streams
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from fuzz.kinds import X, npy, npz

CELLS = [
    "", " ", "0", "-0", "1e3", "1e999", "-inf", "nan", "NaN", "1_000", "0x10", "1,5", "１", "١",
    "½", "1e", "--1", "+1", "1.", ".5", "9" * 400, "9" * 5000, "1" + "0" * 300, "now", "today",
    "NaT", "2024-01-31", "2024-02-30", "2024-01-31T25:00", "2024-01-31T12:00+01:00",
    "2024-01-31T12:00Z",
    "99999-01-01", "-2024-01-01", "20240131", "2024-W05", "a\0b", "a\nb", '"', '""', "'", "\\",
    "\t", "=1+1", "up", "ä", "\u2028", "\ufeff1", "None", "True", "a" * 200_000, "x;y", "\x1b[31m",
]  # fmt: skip
BYTES = [
    b"", b"\0", b"\n", b"\r", b"\n\n\n", b",", b'"', b'a,b\n"', b"\xef\xbb\xbf", b"\xff\xfe1\0,\0",
    b"\xfe\xff\0,", b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82",
    b"\xf8", b"PK\3\4", b"\x93NUMPY\1\0", b"a" * 140_000, b"," * 50_000, b"\0" * 50_000,
    b"a,a\n1,2\n", b"a,b\n1\n", b"a,b\n1,2,3\n", b"a\n", b"a", b'"' * 50_000, b"\r\n" * 50_000,
    b"way,way\n1,1\n",
    b"\x1a", b"\x0c", b"\xc2\x85", b"\xe2\x80\xa8", b"\xf0\x9f\x99\x82", b"\xcc\x88" * 50,
]  # fmt: skip


def by_hand(kind: str, whole: bytes) -> Iterator[bytes | Callable[[], bytes]]:
    """Yield files of a kind that are close to this good one, or far from any."""
    ways = {"CSV": _csv, "CSV.gz": _packed, "NPY": _npy, "NPZ": _npz, "text": _text}
    yield from ways[kind](whole)


def _packed(whole: bytes) -> Iterator[bytes | Callable[[], bytes]]:
    for raw in _csv(gzip.decompress(whole)):
        yield partial(gzip.compress, raw, mtime=0)
    for n in (1, 9, 10, 18, len(whole) - 8, len(whole) - 1):  # ends in each part
        yield whole[:n]
    yield whole + whole  # two members, which are one text
    yield whole + b"\0" * 40
    yield whole + b"more"


def _csv(whole: bytes) -> Iterator[bytes]:
    lines = [line.split(",") for line in whole.decode().splitlines()]
    for i in (0, 1, 2, len(lines) - 1):
        for j in range(len(lines[0])):
            for cell in CELLS:
                quoted = '"' + cell.replace('"', '""') + '"'
                for written in (cell, quoted):
                    yield _joined(lines, i, [*lines[i][:j], written, *lines[i][j + 1 :]])
            yield _joined(lines, i, lines[i][:j])
            yield _joined(lines, i, [*lines[i], lines[i][j]])
    yield from _text(whole)


def _joined(lines: list[list[str]], i: int, line: list[str]) -> bytes:
    rows = [*lines[:i], line, *lines[i + 1 :]]
    return "\n".join([*map(",".join, rows), ""]).encode()


def _text(whole: bytes) -> Iterator[bytes]:
    places = sorted({0, 1, len(whole), *range(0, len(whole), max(1, len(whole) // 13))})
    for part in BYTES:
        yield part
        for at in places:
            yield whole[:at] + part + whole[at:]
            yield whole[:at] + part + whole[at + len(part) :]
    for encoding in ("utf-16", "utf-32", "utf-7", "utf-8-sig"):
        yield whole.decode().encode(encoding)
    for old, new in ((b"\n", b"\r\n"), (b"\n", b"\r"), (b" ", b"\xa0"), (b"e", b"\xe9")):
        yield whole.replace(old, new)


# NPY

DTYPES: list[Any] = [
    "<f8", ">f8", "|f8", "f8", "=f8", "<f4", "<f2", "<f16", "<c16", "|b1", "|i1", "|u1", "<i8",
    "<u8", "|O", "O", "|V8", "|S0", "<U0", "<U1", "<U100000000", "<M8[us]", "<m8[s]", "", "f", "x",
    "d" * 99, "f8,f8", "(2,)f8", "<f8\0", [("a", "<f8")], [("a", "|O")], [], [[]],
    ("<f8", (2,)), None, 3, {},
    [("a", [("b", "<f8")] * 30)], "<f9", "datetime64", "<U-1", "numpy.ndarray", "os.system",
]  # fmt: skip
SHAPES: list[Any] = [
    (12, 4, 2), (96,), (), (0,), (12, 0, 2), (12, 4, 3), (12, 4, 1), (-1,), (-12, -8), (96.0,),
    (True, 96), (2**40,), (2**62,), (2**63,), (2**64,), (10**30,), (2**32, 2**32),
    (0, 2**62, 2**62), (1,) * 32, (1,) * 33, (1,) * 70, [12, 4, 2], 96, None, "96",
    ((12,), 8), (12, None), {},
]  # fmt: skip
TEXTS = [
    "", "{", "{}", "[]", "None", "{'descr': '<f8'}", "-" * 9000, "(" * 190, "(" * 5000,
    "[" * 90 + "]" * 90,
    "{'descr': '<f8', 'fortran_order': 1, 'shape': (96,)}", "'\\d'", "1is 2", "0x1for", "\0",
    "é\xff",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (96L,), }", "{**{}}", "lambda: 0", "f'{1}'",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (9" + "9" * 5000 + ",), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (96,), 'more': 1}", "__import__('os')",
    "{'descr': '<f8', 'descr': '<f4', 'fortran_order': False, 'shape': (96,)}",
    "\"" * 3 + "x" * 900,
    " " * 9990, "x" * 20_000, "'" + "\\N{DIGIT ONE}" * 600 + "'", "1" + "+1" * 4000, "b'\\xff'",
]  # fmt: skip


def _header(descr: Any, order: Any, shape: Any) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {order!r}, 'shape': {shape!r}, }}"


def _framed(text: str, data: bytes, version: int = 1, length: int | None = None) -> bytes:
    raw = text.encode("latin-1", "replace")
    size = len(raw) if length is None else length
    width = 2 if version == 1 else 4
    start = b"\x93NUMPY" + bytes([version % 256, 0])
    return start + (size % 256**width).to_bytes(width, "little") + raw + data


def _npy(whole: bytes) -> Iterator[bytes]:
    data = X.tobytes()
    for descr in DTYPES:
        for shape in SHAPES:
            for order in (False, True):
                yield _framed(_header(descr, order, shape), data)
    for text in TEXTS:
        for version in (1, 2, 3):
            yield _framed(text, data, version)
    good = _header("<f8", False, X.shape)
    for version in (0, 1, 2, 3, 4, 255):
        for length in (None, 0, 1, 10, 10_001, 65_535, 2**31, 2**32 - 1):
            yield _framed(good, data, version, length)
    short = [data[:0], b"\x93", b"\x93NUMPY", b"\x93NUMPY\1\0\xff", b"PK", b"PK\3\4", b"\0" * 900]
    for raw in [*short, data]:
        yield raw
        yield raw + whole
    for array in _odd_arrays():
        yield npy(array)
    for value in (0, 1, 2, 3, 255):
        yield _framed(_header("|b1", False, (12, 4, 2)), bytes([value]) * 96)
        yield _framed(_header("<U1", False, (12,)), struct.pack("<I", value << 16) * 12)


def _odd_arrays() -> list[Any]:
    nan = X.copy()
    nan[3, 2, 1] = np.nan
    signalling = np.frombuffer(b"\x01\0\x80\x7f" * 96, "<f4").reshape(12, 4, 2)
    return [
        nan, X * np.inf, X.astype("f2"), np.full((12, 4, 2), np.longdouble("1e4000")), signalling,
        X > 0, X.astype("i1"), X.astype("u8"), X + 1j, X[:, :0], X[:0], X[0], X[0, 0], X[0, 0, 0],
        np.asarray(["a"] * 12), np.asarray([b"a"] * 12), np.asarray([""] * 12),
        np.arange(12) + 2**62, np.full(12, 2**64 - 1, "u8"), np.arange(12) - 0.5,
        np.full(12, np.nan), np.arange(24).reshape(12, 2), np.asarray(["\U0010ffff"] * 12),
        np.arange(12).astype("M8[s]"), X.astype(">f8"), np.full_like(X, 1e308),
    ]  # fmt: skip


# NPZ


def _npz(whole: bytes) -> Iterator[bytes]:
    y = np.arange(12) % 2
    ends = [b"PK\5\6" + b"\0" * 18, b"PK\6\7" + b"\0" * 90, b"PK\1\2" * 50]
    for raw in [b"", b"PK", b"PK\3\4", *ends]:
        yield raw
        yield raw + whole
        yield whole + raw
    arrays = [*_odd_arrays(), X, y, y * -1, y + 1, y + 100, X[:6]]
    for name in ("X", "y", "lengths"):
        for array in arrays:
            for save in (np.savez, np.savez_compressed):
                yield npz(save, **({"X": X, "y": y} | {name: array}))
    bad = [raw for i, raw in enumerate(_npy(npy(X))) if i % 29 == 0]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        for raw in bad if method < 9 else bad[:3]:
            yield _zipped({"X.npy": raw, "y.npy": npy(y)}, method)
    yield from _bombs()
    yield from _names(y)
    yield from _numbers(whole)


def _zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = streams.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, raw in members.items():
            packed.writestr(name, raw)
    return file.getvalue()


def _bombs() -> Iterator[bytes]:
    """Yield files that unpack to much more than they have, or announce it."""
    save = np.savez_compressed
    y = np.arange(12) % 2
    yield npz(save, X=np.zeros((12, 2**16, 8)), y=y)
    yield npz(save, X=np.zeros((12, 2**20), "i1"), y=y)
    yield npz(save, X=X, y=y, lengths=np.zeros(2**22, "i8"))
    yield npz(save, X=X, y=y, other=np.zeros(2**23))  # not read: no harm
    yield npz(save, X=X, y=np.full(12, "a" * 2**19))
    yield npz(save, X=X, y=y, **{f"a{i}": np.zeros(1) for i in range(9000)})
    huge = _framed(_header("<f8", False, (2**30,)), b"")
    yield _zipped({"X.npy": huge, "y.npy": npy(y)})
    yield _zipped({"X.npy": huge + b"\0" * 2**25, "y.npy": npy(y)})
    yield _zipped({"X.npy": _framed("", b"", 2, 2**25) + b" " * 2**25, "y.npy": npy(y)})


def _names(y: np.ndarray) -> Iterator[bytes]:
    """Yield files with members of other names, or of the same."""
    good = {"X.npy": npy(X), "y.npy": npy(y)}
    others = ["X", "x.npy", "X.NPY", "../X.npy", "/X.npy", "a\nb", "X.npy.npy", "é", "n" * 60_000]
    for name in others:
        yield _zipped({name: npy(X), "y.npy": npy(y)})
        yield _zipped(good | {name: npy(X)})
    for name in ("y.npy", "X.npy", "lengths.npy"):
        yield _zipped(good | {name: b""})
        yield _zipped(good | {name: b"\x80\x04N."})
    stored, other = _zipped(good), _zipped({"Q.npy": npy(2 * X), **good})
    yield other.replace(b"Q.npy", b"X.npy")
    yield stored.replace(b"y.npy", b"X.npy")
    yield _zipped({"X.npy": stored, "y.npy": stored})


def _numbers(whole: bytes) -> Iterator[bytes]:
    """Yield the file with other numbers in its directories: sizes, places, methods, flags."""
    starts = {b"PK\3\4": range(4, 30, 2), b"PK\1\2": range(4, 46, 2), b"PK\5\6": range(4, 22, 2)}
    for sign, fields in starts.items():
        at = whole.find(sign)
        while at >= 0:
            for field in fields:
                for value in (0, 1, 8, 9, 12, 99, 0x7FFF, 0xFFFF):
                    place = at + field
                    yield whole[:place] + value.to_bytes(2, "little") + whole[place + 2 :]
            at = whole.find(sign, at + 4)
    count = partial(int.to_bytes, length=4, byteorder="little")
    at = whole.find(b"PK\1\2") + 20
    for packed in (0, 1, 2**31, 2**32 - 1):
        for size in (0, 1, 2**31, 2**32 - 1):
            yield whole[:at] + count(packed) + count(size) + whole[at + 8 :]
