"""Train one model with several processes: a digit is read row by row, as in digits.py.

    python examples/parallel.py
    mpirun -n 2 python -m mpi4py examples/parallel.py
    python examples/parallel.py --processes 1,2,4

The first line trains in one process, the second in two. The third starts the second with each
number of processes, one thread each, and compares. Each process takes its part of every batch, and
one sum per step makes the gradient that of the whole batch: the losses are those of one process, to
rounding. The data are scikit-learn's bundled digits.

E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import common
import numpy as np
from matplotlib.figure import Figure

from rnnx import GRU, Backend, Linear, Pool, Sequential, optim, train
from rnnx.parallel.mpirun import mpirun

try:
    from sklearn.datasets import load_digits
except ImportError:
    common.fail("this example needs scikit-learn: pip install 'rnnx[examples]'")

HIDDEN, BATCH, RATE = 128, 128, 0.003
Run = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = common.parser(__doc__, epochs=20)
    parser.add_argument(
        "--processes", type=numbers, metavar="1,2,4", help="numbers of processes to compare"
    )
    options, backend = common.read(parser, given)
    if options.processes:
        runs = [start(n, given) for n in options.processes]
    else:
        comm = world()
        runs = [fit(options, backend, comm)]
        if comm is not None and comm.Get_rank() > 0:
            return 0  # rank 0 prints and writes
    report(runs)
    (options.out / "parallel.json").write_text(json.dumps(runs[0]))
    common.save_figure(draw(runs), options.out / "parallel.png")
    return common.verdict(runs[-1]["loss"][0], runs[-1]["loss"][-1])


def world() -> Any:
    """Return MPI's communicator of all processes; None without MPI."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):  # no mpi4py, or no MPI library that it can load
        return None
    return MPI.COMM_WORLD


def fit(options: argparse.Namespace, backend: Backend, comm: Any) -> Run:
    """Train together with the other processes; return how long it took, and every step's loss."""
    images, labels = load_digits(return_X_y=True)
    size = min(options.steps * BATCH, len(labels)) if options.steps else len(labels)
    x = np.swapaxes(images[:size].reshape(-1, 8, 8), 0, 1) / 8 - 1  # (T, N, F), in [-1, 1]
    rng = np.random.default_rng(options.seed)
    gru = GRU(8, HIDDEN, recurrent_init="orthogonal", backend=backend, seed=rng)
    pool, linear = Pool("last", backend=backend), Linear(HIDDEN, 10, backend=backend, seed=rng)
    history = train.fit(
        Sequential(gru, pool, linear), (x, labels[:size]), loss="cross_entropy",
        optimizer=optim.Adam(RATE), clip_norm=1.0, epochs=options.epochs, batch_size=BATCH,
        seed=options.seed, comm=comm,
    )  # fmt: skip
    return {
        "processes": 1 if comm is None else comm.Get_size(),
        "seconds": float(np.sum(history["seconds"])),
        "sequences": size * options.epochs,
        "loss": history.steps["loss"].tolist(),
    }


def start(processes: int, arguments: list[str]) -> Run:
    """Run this example in several processes; return what rank 0 found."""
    try:
        command, environment = mpirun(processes)
    except FileNotFoundError as error:
        common.fail(str(error))
    with TemporaryDirectory() as folder:
        alone = [*arguments, "--processes", "", "--out", folder]  # the last of an option counts
        done = subprocess.run(
            [*command, str(Path(__file__).resolve()), *alone],
            env=environment | {"RNNX_THREADS": "1"}, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            common.fail(f"{processes} processes ended with code {done.returncode}")
        found: Run = json.loads((Path(folder) / "parallel.json").read_text())
    return found


def report(runs: list[Run]) -> None:
    """Print speeds and losses, and how well the losses agree."""
    print("processes  seconds  sequences/s      loss")
    for run in runs:
        speed, loss = run["sequences"] / run["seconds"], run["loss"][-1]
        print(f"{run['processes']:9}  {run['seconds']:7.2f}  {speed:11,.0f}  {loss:8.5f}")
    losses = np.asarray([run["loss"] for run in runs])
    if len(runs) > 1:
        error = np.max(np.abs(losses / losses[0] - 1))
        print(f"the losses of a step differ by at most {error:.0e}, relatively")


def draw(runs: list[Run]) -> Figure:
    """Plot the losses, which lie on each other, and the speed by number of processes."""
    figure, (loss, speed) = common.panels(
        ("The same steps, with any number of processes", "step", "cross-entropy"),
        ("Speed", "processes", "sequences per second"),
    )
    for k, run in enumerate(runs):
        width = 2 * (len(runs) - k)  # the first is the widest, below the others
        label = f"{run['processes']} process{'es' if run['processes'] > 1 else ''}"
        loss.plot(run["loss"], linewidth=width, label=label)
    counts = [run["processes"] for run in runs]
    speeds = [run["sequences"] / run["seconds"] for run in runs]
    ideal = [speeds[0] * n / counts[0] for n in counts]
    speed.plot(counts, speeds, "o-", label="measured")
    speed.plot(counts, ideal, "--", color="gray", label="in proportion to the processes")
    speed.set_ylim(bottom=0)
    loss.legend()
    speed.legend()
    return figure


def numbers(text: str) -> list[int]:
    """Return the numbers of a list such as 1,2,4; a type for argparse."""
    return [common.positive(part) for part in text.split(",") if part]


if __name__ == "__main__":
    sys.exit(main())
