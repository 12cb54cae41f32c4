"""Time training steps in two processes, for `parallel.py`, which starts them by mpirun.

parallel_worker.py rnnx|torch TURNS CORES FOLDER

Rank 0 prints what was measured. The ranks take turns in the modes of `modes`: one works while the
other sleeps, or both work, each on its own or together. A process that waits for its turn sleeps,
because a wait inside MPI takes a whole core.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

T, B, I, H, CLASSES = 100, 32, 32, 128, 10
CELLS = ("RNN", "GRU", "LSTM")
STEPS = {"rnnx": 12, "torch": 6}  # per measurement
SIZES = (256, 1 << 12, 1 << 14, 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 22)  # bytes
REPEATS = 60  # all-reduces of each size


class Mode(NamedTuple):
    """Who works on how many sequences per step, and how."""

    ranks: int
    batch: int  # over all processes, if they work together
    comm: str = ""  # "", "self" or "world"


def modes(library: str) -> dict[str, Mode]:
    """Return the modes to measure, by name; some only of ours."""
    every = {
        "alone": Mode(1, B),
        "alone, half": Mode(1, B // 2),
        "apart": Mode(2, B),
        "apart, half": Mode(2, B // 2),
        "weak": Mode(2, 2 * B, "world"),
        "strong": Mode(2, B, "world"),
    }
    ours = {
        "alone, quarter": Mode(1, B // 4),
        "alone, double": Mode(1, 2 * B),
        "comm of one": Mode(1, B, "self"),
    }
    return every | (ours if library == "rnnx" else {})


def main() -> int:
    library, turns, cores, folder = sys.argv[1:]
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    os.sched_setaffinity(0, {json.loads(cores)[world.rank]})  # before the libraries count them
    trainer = {"rnnx": Ours, "torch": Torch}[library](world, Path(folder))
    found: list[dict[str, Any]] = []
    for turn in range(int(turns) + 1):  # the first warms up
        steps = STEPS[library] if turn else 2
        for cell in CELLS:
            for name, mode in modes(library).items():
                row = measure(world, mode, partial(trainer.run, cell, mode, steps))
                found.append({"turn": turn, "cell": cell, "mode": name} | row)
    sums = trainer.sums()
    if world.rank == 0:
        print(json.dumps({"rows": found, "sums": sums, "numbers": trainer.numbers()}))
    return 0


def measure(world: Any, mode: Mode, run: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return the slower rank's seconds per step, and the mean of those in the all-reduce."""
    asleep(world)
    mine = run() if world.rank < mode.ranks else None
    asleep(world)
    rows = [row for row in world.allgather(mine) if row is not None]
    return {
        "seconds": max(row["seconds"] for row in rows),
        "waited": sum(row.get("waited", 0.0) for row in rows) / len(rows),
        "loss": rows[0]["loss"],
    }


def asleep(world: Any) -> None:
    """Wait for the other processes without taking a core."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(2e-4)


def data(steps: int, batch: int) -> tuple[Any, Any]:
    """Return sequences (T, N, I) and a class for each of their steps."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, steps * batch, I), dtype="float32")
    return x, rng.integers(0, CLASSES, (T, steps * batch))


class Ours:
    """`rnnx.train.fit`."""

    def __init__(self, world: Any, folder: Path) -> None:
        import rnnx
        from rnnx.parallel import team_of
        from rnnx.parallel.mpi import MPITeam

        self.world, self.team, self.rnnx, self.waited = world, team_of(world), rnnx, 0.0
        summed = MPITeam.summed

        def timed(team: MPITeam, *arguments: Any) -> Any:
            start = time.perf_counter()
            total = summed(team, *arguments)
            self.waited += time.perf_counter() - start
            return total

        MPITeam.summed = timed

    def model(self, cell: str) -> Any:
        """Return a model with its first parameters."""
        layer = getattr(self.rnnx, cell)(I, H, seed=0)
        return self.rnnx.Sequential(layer, self.rnnx.Linear(H, CLASSES, seed=1))

    def run(self, cell: str, mode: Mode, steps: int) -> dict[str, float]:
        """Train one epoch; return the seconds of a step, and those in the all-reduce."""
        from mpi4py import MPI

        class Begin(self.rnnx.train.Callback):
            def begin(begin, run: Any) -> None:  # noqa: N805
                self.since, self.waited = time.perf_counter(), 0.0

        comm = {"": None, "self": MPI.COMM_SELF, "world": self.world}[mode.comm]
        history = self.rnnx.train.fit(
            self.model(cell), data(steps, mode.batch), loss="cross_entropy", optimizer="adam",
            epochs=1, batch_size=mode.batch, callbacks=[Begin()], progress=False, seed=0, comm=comm,
        )  # fmt: skip
        seconds = time.perf_counter() - self.since
        loss = float(history["loss"][-1])
        return {"seconds": seconds / steps, "waited": self.waited / steps, "loss": loss}

    def sums(self) -> dict[int, float]:
        """Return the median seconds of an all-reduce by its bytes; all ranks come to it at once."""
        import numpy as np

        backend, found = self.rnnx.get_backend("numpy"), {}
        for size in SIZES:
            flat, times = np.ones(size // 4, "float32"), []
            for _ in range(REPEATS):
                self.world.Barrier()
                self.waited = 0.0
                self.team.summed(backend, flat)
                times.append(self.world.allreduce(self.waited) / self.world.size)
            found[size] = float(np.median(times))
        return found

    def numbers(self) -> dict[str, int]:
        """Return how many parameters each model has."""
        return {cell: sum(W.size for W in self.model(cell).params.values()) for cell in CELLS}


class Torch:
    """DistributedDataParallel on gloo, and a plain loop."""

    def __init__(self, world: Any, folder: Path) -> None:
        import torch

        torch.set_num_threads(1)
        self.world, self.torch = world, torch
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder / 'store'}", rank=world.rank, world_size=world.size
        )

    def model(self, cell: str) -> Any:
        """Return a model that gives a class's score for each step."""
        nn = self.torch.nn

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.linear = getattr(nn, cell)(I, H), nn.Linear(H, CLASSES)

            def forward(self, x: Any) -> Any:
                return self.linear(self.layer(x)[0])

        self.torch.manual_seed(0)
        return Network()

    def run(self, cell: str, mode: Mode, steps: int) -> dict[str, float]:
        """Train one epoch; return the seconds of a step."""
        torch, together = self.torch, mode.comm == "world"
        x, y = map(torch.tensor, data(steps, mode.batch))
        model: Any = self.model(cell)
        if together:
            model = torch.nn.parallel.DistributedDataParallel(model)
        adam = torch.optim.Adam(model.parameters())
        share = slice(self.world.rank, None, self.world.size) if together else slice(None)
        start = time.perf_counter()
        for rows in torch.randperm(steps * mode.batch).split(mode.batch):
            mine = rows[share]
            scores = model(x[:, mine]).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(scores, y[:, mine].flatten())
            adam.zero_grad()
            loss.backward()
            adam.step()
        return {"seconds": (time.perf_counter() - start) / steps, "loss": loss.item()}

    def sums(self) -> dict[int, float]:
        """Return nothing: its all-reduce runs beside the backward pass."""
        self.torch.distributed.destroy_process_group()
        return {}

    def numbers(self) -> dict[str, int]:
        """Return how many parameters each model has."""
        return {cell: sum(W.numel() for W in self.model(cell).parameters()) for cell in CELLS}


if __name__ == "__main__":
    raise SystemExit(main())
