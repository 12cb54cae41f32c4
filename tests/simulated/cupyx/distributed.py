"""`cupyx.distributed` between real processes, each with one simulated GPU.

The arrays go by files, which all processes see at once. A call is put on a stream, and is done when
all processes have made it; sums are in the order of the ranks. What NCCL would take in silence and
compute nonsense from is an error: another GPU, counts or dtypes that differ.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from cupyx.store import Store, StoreProxy

DTYPES = "bBiIlLqQefdFD"
OPERATIONS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}


def init_process_group(
    n_devices: int, rank: int, *, backend: str = "nccl", host: str | None = None,
    port: int | None = None, use_mpi: bool = False,
) -> Communicator:  # fmt: skip
    """Meet the other processes; return the communicator, on the current GPU."""
    if n_devices <= 0 or not 0 <= rank < n_devices or backend != "nccl":
        raise ValueError(f"rank {rank} of {n_devices} devices, backend {backend}")
    host = host or os.environ.get("CUPYX_DISTRIBUTED_HOST", "127.0.0.1")
    port = port or int(os.environ.get("CUPYX_DISTRIBUTED_PORT", "13333"))
    return Communicator(n_devices, rank, host, port, use_mpi)


class Communicator:
    """What processes call each other by."""

    def __init__(self, n_devices: int, rank: int, host: str, port: int, use_mpi: bool) -> None:
        self._n_devices, self.rank, self._use_mpi = n_devices, rank, use_mpi
        self._store_proxy = StoreProxy((host, port))
        self._store = Store(n_devices) if rank == 0 else None
        name = tempfile.mkdtemp(prefix="nccl-").encode() if rank == 0 else None
        if use_mpi:
            from mpi4py import MPI

            self._mpi_comm = MPI.COMM_WORLD
            name = self._mpi_comm.bcast(name)
        elif self._store:
            self._store.run((host, port))
            self._store_proxy["nccl_id"] = name
        self.barrier()
        name = name or self._store_proxy["nccl_id"]
        self._comm = NcclCommunicator(n_devices, name, rank)

    def all_reduce(
        self, in_array: Any, out_array: Any, op: str = "sum", stream: Any = None
    ) -> None:
        """Put the sum, or another reduction, of all processes' arrays into `out_array`."""
        self._check(in_array, out_array)
        if out_array.size != in_array.size:
            raise RuntimeError(f"{in_array.size} values into {out_array.size}")
        call = ("all_reduce", in_array.dtype.char, in_array.size, op)
        self._comm.put(call, in_array, out_array, lambda a: reduce(OPERATIONS[op], a), stream)

    def all_gather(self, in_array: Any, out_array: Any, count: int, stream: Any = None) -> None:
        """Put `count` numbers of each process behind each other into `out_array`."""
        self._check(in_array, out_array)
        if in_array.size != count or out_array.size != count * self._n_devices:
            raise RuntimeError(f"{count} of {in_array.size} values into {out_array.size}")
        call = ("all_gather", in_array.dtype.char, count)
        self._comm.put(call, in_array, out_array, np.concatenate, stream)

    def broadcast(self, in_out_array: Any, root: int = 0, stream: Any = None) -> None:
        """Put the array of one process into those of all."""
        self._check(in_out_array)
        call = ("broadcast", in_out_array.dtype.char, in_out_array.size, root)
        self._comm.put(call, in_out_array, in_out_array, lambda a: a[root], stream)

    def barrier(self) -> None:
        """Make the host wait until all processes have called it."""
        if self._use_mpi:
            self._mpi_comm.Barrier()
        else:
            self._store_proxy.barrier()

    def stop(self) -> None:
        """End the store."""
        if self._store:
            self._store.stop()

    def _check(self, *arrays: Any) -> None:
        for x in arrays:
            if not x.flags.c_contiguous and not x.flags.f_contiguous:
                raise RuntimeError("NCCL requires arrays to be either c- or f-contiguous")
            if x.dtype.char not in DTYPES or x.dtype != arrays[0].dtype:
                raise TypeError(f"Unknown dtype {x.dtype} for NCCL, or not {arrays[0].dtype}")
            gpus = {x.device.id, cupy.cuda.Device().id, self._comm.device_id()}
            if len(gpus) > 1:
                raise RuntimeError(f"array, current GPU and communicator are on GPUs {gpus}")


class NcclCommunicator:
    """The files of the processes, each in its turn."""

    def __init__(self, ndev: int, name: bytes, rank: int) -> None:
        self.size, self.rank = ndev, rank
        self.folder, self.calls, self.aborted = Path(name.decode()), 0, False
        self._gpu = cupy.cuda.Device().id
        gpus = cupy.empty(ndev, "int64")
        self.put(("init",), cupy.asarray([self._gpu]), gpus, np.concatenate, None)
        cupy.cuda.get_current_stream().run()
        if len({*gpus._host.tolist()}) < ndev:
            raise RuntimeError("NCCL_ERROR_INVALID_USAGE: two processes on one GPU")

    def device_id(self) -> int:
        """Return the GPU."""
        return self._gpu

    def abort(self) -> None:
        """End the calls under way; what they should have filled stays as it is."""
        self.aborted = True

    def put(
        self, call: tuple[Any, ...], sent: Any, found: Any,
        how: Callable[[list[np.ndarray]], np.ndarray], stream: Any,
    ) -> None:  # fmt: skip
        """Put a call on a stream."""
        if self.aborted:
            raise RuntimeError("NCCL_ERROR_INVALID_ARGUMENT: the communicator is aborted")
        self.calls += 1
        stream = stream or cupy.cuda.get_current_stream()
        stream.put(_Call(self, self.calls, call, sent, found, how))


class _Call:
    """A call on its stream."""

    def __init__(
        self, comm: NcclCommunicator, number: int, call: tuple[Any, ...], sent: Any, found: Any,
        how: Callable[[list[np.ndarray]], np.ndarray],
    ) -> None:  # fmt: skip
        self.comm, self.number, self.call, self.how = comm, number, call, how
        self.sent, self.found = (x._host.ravel(order="K") for x in (sent, found))
        self.written = False

    def path(self, rank: int, number: int) -> Path:
        return self.comm.folder / f"{number}-{rank}"

    def done(self) -> bool:
        """Write this process's part, and put the result together when all are there."""
        if self.comm.aborted:
            return True
        rank, paths = self.comm.rank, [self.path(r, self.number) for r in range(self.comm.size)]
        if not self.written:
            hidden = paths[rank].with_suffix(".new")
            hidden.write_bytes(pickle.dumps((self.call, self.sent)))
            hidden.replace(paths[rank])
            self.written = True
        if not all(path.exists() for path in paths):
            return False
        calls, parts = zip(*(pickle.loads(path.read_bytes()) for path in paths), strict=True)
        if len({*calls}) > 1:
            raise RuntimeError(f"the processes make different calls: {calls}")
        self.found[...] = self.how(list(parts))
        self.path(rank, self.number - 1).unlink(missing_ok=True)  # all have read it
        return True
