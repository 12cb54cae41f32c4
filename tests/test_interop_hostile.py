"""Files of other systems from anybody: the right layer or one line, nothing else."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

pytest.importorskip("sklearn", reason="needs scikit-learn")

from fuzz import bar, models
from fuzz.kinds import Good
from fuzz.mutations import mutated

import rnnx
from rnnx.interop import from_keras, from_torch

GRU = rnnx.GRU(3, 4, seed=0)
DENSE = rnnx.Linear(4, 2, seed=1)
MUTATIONS = 2000


def ends(folder: Path, good: Good, raws: Iterator[bytes], by_hand: bool) -> Counter[str]:
    """Count how files in the place of a good one end."""
    return Counter(bar._end(folder, good, raw, by_hand) for raw in raws)


# a state_dict in safetensors


def _state_dict(raw: bytes) -> dict[str, Any]:
    """Return what the package safetensors reads."""
    return {"arrays": safetensors.numpy.load(raw)}


def _layer_of_file(path: Path) -> dict[str, Any]:
    return {"arrays": dict(from_torch(path).params)}


def test_mutated_state_dicts(tmp_path: Path) -> None:
    """2,000 of them; some are still the file of a GRU, all others are refused."""
    whole = safetensors.numpy.save({k: np.array(W) for k, W in GRU.params.items()})
    other = safetensors.numpy.save({k: np.array(W) for k, W in DENSE.params.items()})
    good = Good("gru.safetensors", whole, _layer_of_file, _state_dict, False)
    rng = np.random.default_rng(0)
    found = ends(tmp_path, good, (mutated(whole, other, rng) for _ in range(MUTATIONS)), False)
    assert {*found} == {bar.RIGHT, bar.REFUSED}, found


def test_state_dicts_by_hand(tmp_path: Path) -> None:
    """Wrong headers, announced gigabytes, arrays in another order, a description of ours."""
    whole = safetensors.numpy.save({k: np.array(W) for k, W in GRU.params.items()})
    good = Good("gru.safetensors", whole, _layer_of_file, _state_dict, False)
    end = 8 + int.from_bytes(whole[:8], "little")
    head, data = json.loads(whole[8:end]), whole[end:]
    heads: list[Any] = [dict(reversed(head.items())), head | {"more": head["bias_ih_l0"]}]
    for name, entry in head.items():
        heads += [head | {name: entry | {key: value}} for key in entry for value in models.VALUES]
        heads += [head | {name: 3}, head | {name: entry | {"more": 1}}]
        heads += [head | {name: entry | {"shape": [2**39, 2**39]}}]
    texts = [json.dumps(h).encode() for h in heads] + models.HEADERS
    raws = [len(text).to_bytes(8, "little") + text + data for text in texts]
    raws += [length.to_bytes(8, "little") + whole[8:] for length in models.LENGTHS] + models.OTHERS
    found = ends(tmp_path, good, iter(raws), True)
    assert {*found} == {bar.RIGHT, bar.REFUSED}, found
    assert _layer_of_file(_written(tmp_path, raws[0]))["arrays"].keys() == GRU.params.keys()


def _written(folder: Path, raw: bytes) -> Path:
    (folder / "file").write_bytes(raw)
    return folder / "file"


# a .keras file

CONFIG = {
    "module": "keras", "class_name": "Sequential", "registered_name": "Sequential",
    "config": {"name": "s", "layers": [
        {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
         "config": {"name": "input", "batch_shape": [None, None, 3]}},
        {"module": "keras.layers", "class_name": "GRU", "registered_name": None, "config": {
            "name": "gru", "units": 4, "activation": "tanh", "recurrent_activation": "sigmoid",
            "use_bias": True, "return_sequences": True, "go_backwards": False, "stateful": False,
            "reset_after": True, "dropout": 0.0, "recurrent_dropout": 0.0}},
        {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {
            "name": "dense", "units": 2, "activation": "linear", "use_bias": True}},
    ]},
}  # fmt: skip
BLOCKS = [1, 0, 2]  # Keras's z, r, n from our r, z, n


def _weights(**more: Any) -> bytes:
    """Return the weights as Keras's HDF5 file; `more` are options of every array."""
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    gru = {name: np.array(W).reshape(3, 4, -1)[BLOCKS] for name, W in GRU.params.items()}
    kernels = [gru[f"weight_{side}_l0"].reshape(12, -1).T for side in ("ih", "hh")]
    bias = np.stack([gru[f"bias_{side}_l0"].reshape(12) for side in ("ih", "hh")])
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        for group, arrays in {
            "layers/gru/cell/vars": [*kernels, bias],
            "layers/dense/vars": [np.array(DENSE.params["weight"]).T, DENSE.params["bias"]],
        }.items():
            for i, array in enumerate(arrays):
                h5.create_dataset(f"{group}/{i}", data=np.array(array), **more)
    return file.getvalue()


def _archive(config: bytes, weights: bytes, **names: bytes) -> bytes:
    """Return a `.keras` file with right checksums over whatever it holds."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
        for name, raw in names.items():
            archive.writestr(name, raw)
    return file.getvalue()


def _keras_arrays(raw: bytes) -> dict[str, Any]:
    """Return the weights that h5py reads in a file, by our names, without their order of gates."""
    import h5py

    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        weights = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(weights)) as h5:
        arrays = {
            "0.weight_ih_l0": h5["layers/gru/cell/vars/0"][()].T,
            "0.weight_hh_l0": h5["layers/gru/cell/vars/1"][()].T,
            "1.weight": h5["layers/dense/vars/0"][()].T,
        }
    return {"arrays": {name: np.sort(array, axis=0) for name, array in arrays.items()}}


def _chain_of_file(path: Path) -> dict[str, Any]:
    model = from_keras(path)
    (dense,) = [layer for layer in model.layers if isinstance(layer, rnnx.Linear)]
    params = {f"0.{k}": W for k, W in model.layers[0].params.items() if k.startswith("weight")}
    params["1.weight"] = dense.params["weight"]
    return {"arrays": {name: np.sort(W, axis=0) for name, W in params.items()}}


def test_mutated_keras_files(tmp_path: Path) -> None:
    """2,000: of whole archives, and of each member with a right checksum over the damage."""
    config, weights = json.dumps(CONFIG).encode(), _weights()
    whole = _archive(config, weights)
    good = Good("model.keras", whole, _chain_of_file, _keras_arrays, False)
    assert bar._end(tmp_path, good, whole, False) == bar.RIGHT
    rng = np.random.default_rng(0)

    def raws() -> Iterator[bytes]:
        for i in range(MUTATIONS):
            if i % 3 == 0:
                yield mutated(whole, weights, rng)
            elif i % 3 == 1:
                yield _archive(mutated(config, weights, rng), weights)
            else:
                yield _archive(config, mutated(weights, whole, rng))

    found = ends(tmp_path, good, raws(), False)
    assert {*found} == {bar.RIGHT, bar.REFUSED}, found


def _linked(tmp_path: Path) -> Iterator[bytes]:
    """Yield weights that are elsewhere, or are not there at all."""
    import h5py

    outside = tmp_path / "outside.h5"
    outside.write_bytes(_weights())
    raw_numbers = tmp_path / "numbers"
    raw_numbers.write_bytes(np.ones(36, "float32").tobytes())
    for change in ("soft", "external", "loop", "virtual", "storage", "huge", "text", "missing"):
        file = io.BytesIO(_weights())
        with h5py.File(file, "r+") as h5:
            group = h5["layers/gru/cell/vars"]
            del group["0"]
            if change == "soft":
                group["0"] = h5py.SoftLink("/layers/gru/cell/vars/1")
            elif change == "external":
                group["0"] = h5py.ExternalLink(str(outside), "/layers/gru/cell/vars/0")
            elif change == "loop":
                group["0"] = h5["layers"]
            elif change == "virtual":
                layout = h5py.VirtualLayout((3, 12), "float32")
                layout[...] = h5py.VirtualSource(outside, "/layers/gru/cell/vars/0", (3, 12))
                group.create_virtual_dataset("0", layout)
            elif change == "storage":
                group.create_dataset("0", (3, 12), "float32", external=[(str(raw_numbers), 0, 144)])
            elif change == "huge":
                group.create_dataset("0", (10**6, 10**6), "float32", chunks=(10, 10))
            elif change == "text":
                group["0"] = ["a", "b"]
        yield file.getvalue()


def test_keras_files_by_hand(tmp_path: Path) -> None:
    """Links, weights that are elsewhere or compressed, bombs, other configurations: all refused."""
    config, weights = json.dumps(CONFIG).encode(), _weights()
    raws = [_archive(config, raw) for raw in _linked(tmp_path)]
    raws.append(_archive(config, _weights(chunks=True, compression="gzip")))
    raws += [_archive(text, weights) for text in models.HEADERS if text != b"{}"]
    raws += [_archive(config, other) for other in models.OTHERS] + models.OTHERS
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", bytes(50 << 20))
    raws.append(bomb.getvalue())
    with pytest.warns(UserWarning, match="Duplicate name"):
        raws.append(_archive(config, weights, **{"config.json": config}))
    good = Good("model.keras", raws[0], _chain_of_file, _keras_arrays, False)
    found = ends(tmp_path, good, iter(raws), True)
    assert {*found} == {bar.REFUSED}, found


def test_other_values_in_the_configuration(tmp_path: Path) -> None:
    """Each value replaced by many: the arrays of the file, or one line."""
    weights = _weights()
    good = Good("model.keras", _archive(b"{}", weights), _chain_of_file, _keras_arrays, False)

    def raws() -> Iterator[bytes]:
        for path in models._paths(CONFIG):
            for value in models.VALUES[::3]:
                copy = json.loads(json.dumps(CONFIG))
                place = copy
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = value
                yield _archive(json.dumps(copy).encode(), weights)

    found = ends(tmp_path, good, raws(), True)
    assert {*found} == {bar.RIGHT, bar.REFUSED}, found
