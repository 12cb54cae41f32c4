"""Count how hostile files end: as the right object, refused, or as anything else."""

from __future__ import annotations

import itertools
import tempfile
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fuzz import data, models
from fuzz.kinds import Good, Held, beside, good_files
from fuzz.mutations import mutated

MORE = 4 << 20  # bytes that a file may take beside its own size
RIGHT, REFUSED = "right object", "refused"


def run(mutations: int, hand_made: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Read so many damaged and hand-made files of all kinds together; count how they end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = good_files(folder)
        beside(folder)
        found = {}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "the checkpoint was written with")  # it says so
            for place, (kind, goods) in enumerate(kinds.items()):
                counts = _share(mutations, len(kinds), place), _share(hand_made, len(kinds), place)
                files = _files(kind, goods, kinds, counts, np.random.default_rng([seed, place]))
                found[kind] = Counter(_end(folder, *file) for file in files)
        return found


def table(found: dict[str, Counter[str]]) -> str:
    """Return the counts as a table, and what ended otherwise."""
    rows = [("kind", "files", RIGHT, REFUSED, "anything else")]
    for kind, counts in [*found.items(), ("all", sum(found.values(), Counter()))]:
        all_, right, refused = counts.total(), counts[RIGHT], counts[REFUSED]
        rows.append((kind, *(f"{n:,}" for n in (all_, right, refused, all_ - right - refused))))
    lines = [f"{row[0]:16}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows]
    for kind, counts in found.items():
        others = [(end, n) for end, n in counts.items() if end not in (RIGHT, REFUSED)]
        lines += [f"{kind}: {n} × {end}" for end, n in others]
    return "\n".join(lines)


def _share(count: int, kinds: int, place: int) -> int:
    return count // kinds + (place < count % kinds)


def _files(
    kind: str,
    goods: list[Good],
    kinds: dict[str, list[Good]],
    counts: tuple[int, int],
    rng: np.random.Generator,
) -> Iterator[tuple[Good, bytes, bool]]:
    """Yield good files with what takes their place, and whether that was made by hand."""
    everything = [good for found in kinds.values() for good in found]
    for i in range(counts[0]):
        good = goods[i % len(goods)]
        other = everything[int(rng.integers(len(everything)))].whole
        yield good, mutated(good.whole, other, rng), False
    strange = [
        (good, raw)
        for good in goods
        for raw in (models.by_hand(good.whole) if good.strict else data.by_hand(kind, good.whole))
    ]
    order = rng.permutation(len(strange)).tolist()
    for place in itertools.islice(itertools.cycle(order), counts[1]):
        good, raw = strange[place]
        yield good, raw if isinstance(raw, bytes) else raw(), True


def _end(folder: Path, good: Good, raw: bytes, by_hand: bool) -> str:
    """Return how reading a file ends."""
    path = folder / good.name
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        held = good.load(path)
    except (ValueError, OSError) as error:
        end = _one_line(path, error)
    except Exception as error:
        end = f"{type(error).__name__}: {error!s:.150}"
    else:
        end = _right(good, raw, held, by_hand)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    own = sum(array.nbytes for array in held.get("arrays", {}).values()) if end == RIGHT else 0
    if taken > len(raw) + MORE + 2 * own:
        return f"{end}, but {taken:,} bytes for a file of {len(raw):,}"
    return end


def _one_line(path: Path, error: Exception) -> str:
    """Return whether an error is one line that names the file."""
    text = str(error)
    if len(text) > 2000 or "\n" in text or not (str(path) in text or repr(str(path)) in text):
        return f"{type(error).__name__} that does not name the file in one line: {text:.150}"
    return REFUSED


def _right(good: Good, raw: bytes, held: Held, by_hand: bool) -> str:
    """Return whether what the package read is what the file holds."""
    try:
        expected = good.read(good.whole if good.strict and not by_hand else raw)
    except Exception as error:
        return f"accepted, where another reader says {type(error).__name__}: {error!s:.100}"
    wrong = _difference(expected, held, "")
    return f"another object than the file holds: {wrong}" if wrong else RIGHT


def _difference(expected: Any, found: Any, path: str) -> str:
    """Return where two values differ; the package may add options that a file lacks."""
    if isinstance(expected, dict) and isinstance(found, dict):
        pairs = [(key, value, found.get(key, "nothing")) for key, value in expected.items()]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [(i, *pair) for i, pair in enumerate(zip(expected, found, strict=True))]
    elif isinstance(expected, np.ndarray):
        dtypes = {part.dtype.newbyteorder("=") for part in (expected, found)}
        same = len(dtypes) == 1 and expected.shape == found.shape
        return "" if same and _bits(expected) == _bits(found) else path
    else:
        same = isinstance(expected, bool) == isinstance(found, bool) and expected == found
        return "" if same else f"{path}: {expected!r:.60}, {found!r:.60}"
    return next(filter(None, (_difference(a, b, f"{path}.{key}") for key, a, b in pairs)), "")


def _bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).tobytes()
