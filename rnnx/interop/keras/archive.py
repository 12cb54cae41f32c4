"""The `.keras` file: a zip archive of a configuration as JSON and of weights in HDF5.

Nothing in it is called by name, no link is followed, and no memory is taken for what is not there.
"""

from __future__ import annotations

import io as memory
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from rnnx import io
from rnnx.interop.needed import needed
from rnnx.io.header import HEADER_LIMIT, check_size, parsed


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Open a file: its configuration, and its weights as an HDF5 file.

    Whatever is wrong with it becomes one line that names it.
    """
    h5py = needed("h5py")
    with io.regular(path) as file:
        if file.read(4) != b"PK\3\4":
            raise io.damaged(path, "it is not a .keras file: save the model as one")
        try:
            with zipfile.ZipFile(file) as archive:
                config = _member(archive, "config.json")
                check_size(config)
                raw = _member(archive, "model.weights.h5")
            with h5py.File(memory.BytesIO(raw), "r") as weights:
                yield parsed(config.decode()), weights
        except Exception as error:  # zipfile, zlib and h5py raise a dozen kinds
            raise io.damaged(path, error) from None


def variables(weights: Any, *groups: str) -> list[np.ndarray]:
    """Return the variables of a layer: the group of its names holds them as "0", "1", ..."""
    node = weights
    for name in (*groups, "vars"):
        node = _entry(node, name)
    if len(node) > 3:
        raise ValueError(f"expected at most three arrays in {'/'.join(groups)!r}, got {len(node)}")
    return [_array(_entry(node, str(i))) for i in range(len(node))]


def group_names(classes: list[str]) -> list[str]:
    """Return the names of the layers' groups: the classes in snake case, numbered."""
    found: list[str] = []
    seen: dict[str, int] = {}
    for name in classes:
        snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
        snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
        number = seen.get(snake, 0)
        seen[snake] = number + 1
        found.append(f"{snake}_{number}" if number else snake)
    return found


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member that is there once, and as long as it says."""
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        raise ValueError(f"expected one {name} in the archive, got {len(found)}")
    (info,) = found
    if info.compress_type != zipfile.ZIP_STORED and info.file_size > HEADER_LIMIT:
        raise ValueError(f"expected {name} without compression, as Keras stores it")
    with archive.open(info) as member:
        return member.read(info.file_size)


def _entry(group: Any, name: str) -> Any:
    """Return what a group holds under a name itself, not by a link to somewhere else."""
    import h5py

    if not isinstance(group, h5py.Group):
        raise ValueError(f"expected a group that holds {name!r}")
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(
            f"expected {name!r} in the group {group.name!r:.200}, not a link or nothing"
        )
    return group[name]


def _array(dataset: Any) -> np.ndarray:
    """Return an array that is wholly in the file, uncompressed."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
        raise ValueError(f"expected an array of floating numbers, got {dataset!r:.100}")
    plain = dataset.id.get_create_plist().get_nfilters() == 0 and dataset.external is None
    if dataset.is_virtual or not plain or dataset.id.get_storage_size() != dataset.nbytes:
        raise ValueError(
            f"expected the whole array {dataset.name!r:.200} in the file, uncompressed"
        )
    return dataset[()]
