"""The section of `docs/measured.md` on several processes, for `readme.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from parallel_model import GBIT, MICRO, NETWORKS, RANKS, SOURCES, Link, Step

SHARED_MEMORY, SHARED = "shared memory", 1024  # sequences in the batch of strong scaling
Result = dict[str, Any]


def section(result: Result) -> list[str]:
    """Return the lines of the section."""
    return [*measured(result), *modelled(result)]


def measured(result: Result) -> list[str]:
    """Return what was measured on this machine."""
    T, B, I, H = result["shape"]
    versions = result["environment"]["versions"] if "environment" in result else {}
    one = max(r["added, one process"] for r in result["rows"] if "added, one process" in r)
    return [
        "## Several processes",
        "",
        f"A training step at (T, B, I, H) = ({T}, {B}, {I}, {H}) in two processes of one thread",
        "and one core each, float32, beside one process that works alone. Weak scaling gives each",
        f"process {B} sequences, strong scaling {B // 2}. An efficiency is that of the two processes"
        ", and after",
        "the stroke that of two processes which do the same at the same time without a word to",
        "each other: what that lacks is lost to the machine. *Added* is what a step takes more",
        f"than theirs. torch is DistributedDataParallel {versions.get('torch', '')}".rstrip()
        + ", on its defaults.",
        "",
        "| | link | cell | step alone, ms | weak, ms | weak, % | strong, % | added, % "
        "| in the all-reduce, % |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(row, result["rows"]),
        "",
        f"With a communicator of one process, a step takes {100 * one:+.1f} % at most.",
        "",
    ]


def row(found: Result) -> str:
    """Return a line of the table."""
    cells = (
        found["library"],
        found["link"],
        found["cell"],
        f"{found['ms']['alone']:.2f}",
        f"{found['ms']['weak']:.2f}",
        *(f"{100 * found[k]:.0f} / {100 * found[f'{k}, machine']:.0f}" for k in ("weak", "strong")),
        f"{100 * found['added']:+.1f}",
        f"{100 * found['in the all-reduce']:.1f}" if "in the all-reduce" in found else "",
    )
    return f"| {' | '.join(cells)} |"


def modelled(result: Result) -> list[str]:
    """Return the fitted model, and how far it says that other networks scale."""
    B, model = result["shape"][1], result["model"]
    cells = list(model["steps"])
    return [
        "The model behind the picture: a step takes a + b·B seconds, and the all-reduce of n bytes",
        "in N processes 2·log2(N)·latency + 2·(N-1)/N·n/bandwidth. Fitted here: "
        + "; ".join(map(link_in_words, model["links"].items()))
        + ".",
        "By cell: " + "; ".join(step_in_words(c, model) for c in cells) + ".",
        "",
        "![Time of the all-reduce, efficiency by number of processes](pictures/parallel.png)",
        "",
        "Efficiencies by this model, with one such process per machine, on networks as their",
        f"sources give them. Weak scaling has {B} sequences per process; the batch in brackets",
        f"would reach 90 %. Strong scaling shares out {SHARED:,} sequences.",
        "",
        "| network | µs | Gbit/s | "
        + " | ".join(f"{c}, weak at 1,024" for c in cells)
        + " | "
        + " | ".join(f"{c}, strong: 90 %, 50 % up to" for c in cells)
        + " |",
        f"|---|---|---|{'---|' * 2 * len(cells)}",
        *(network(name, link, model["limits"]) for name, link in NETWORKS.items()),
        "",
        *advice(result),
        "Not in the model: several processes that share a machine's card, switches that are busy,",
        "processes that wait for the slowest, and sums inside the network.",
        "",
        "Sources: "
        + "; ".join(f"[{what}]({where})" for what, where in SOURCES.items())
        + ". The model is that of Thakur, Rabenseifner and Gropp, doi:10.1177/1094342005051521.",
        "",
    ]


def link_in_words(found: tuple[str, list[float]]) -> str:
    name, (latency, bandwidth) = found
    return f"{name} {latency / MICRO:.1f} µs and {bandwidth / 1e9:.1f} GB/s"


def step_in_words(cell: str, model: Result) -> str:
    fixed, per_sequence, size = model["steps"][cell]
    return (
        f"{cell} a = {1e3 * fixed:.2f} ms, b = {1e3 * per_sequence:.3f} ms "
        f"({model['gflops'][cell]:.0f} GFLOP/s), n = {size / 1e3:.0f} kB"
    )


def network(name: str, link: Link, limits: list[Result]) -> str:
    """Return a network's line of the table."""
    rows = [r for r in limits if r["network"] == name]
    cells = (
        name,
        f"{link.latency / MICRO:g}",
        f"{link.bandwidth / GBIT:g}",
        *(f"{100 * r['weak, 1024']:.0f} % ({r['batch for 90 %']})" for r in rows),
        *(f"{r['strong, 90 %']:,}, {r['strong, 50 %']:,}" for r in rows),
    )
    return f"| {' | '.join(cells)} |"


def advice(result: Result) -> Iterator[str]:
    """Yield where it stops paying, and what is then to be done."""
    rows = result["model"]["limits"]
    worst = min(rows, key=lambda r: r["weak, 1024"])
    low = [r for r in rows if r["weak, 90 %"] < RANKS[-1]]
    yield (
        f"Weak scaling stays above 50 % everywhere: the least is {100 * worst['weak, 1024']:.0f} % "
        f"({worst['cell']}, {worst['network']})."
        if all(r["weak, 50 %"] == RANKS[-1] for r in rows)
        else "Weak scaling falls below 50 % for "
        + listed(r for r in rows if r["weak, 50 %"] < RANKS[-1])
        + "."
    )
    if low:
        yield (
            "It falls below 90 % beyond "
            + ", ".join(f"{r['weak, 90 %']} ({r['cell']}, {r['network']})" for r in low)
            + "."
        )
    yield "Then larger batches pay first, as the table says. Next, the sum of a layer's gradient can"
    yield "run while BPTT is in the layers below, which hides all of it but that of the last one;"
    yield "rnnx sums once per step, after BPTT. A shared batch pays only as long as each process has"
    yield "several sequences: more processes then want a larger batch, with a higher learning rate."
    yield ""


def listed(rows: Iterator[Result]) -> str:
    return ", ".join(f"{r['cell']} on {r['network']}" for r in rows)


def draw(result: Result, path: Path, cell: str = "GRU") -> None:
    """Save the picture of the all-reduce and of the two kinds of scaling."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (sums, weak, strong) = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    for k, (name, found) in enumerate(result["sums"].items()):
        sizes = np.asarray([float(size) for size in found])
        link = Link(*result["model"]["links"][name])
        sums.plot(sizes, np.asarray(list(found.values())) / MICRO, "o", color=f"C{k}", label=name)
        fitted = [link.all_reduce(size, 2) / MICRO for size in sizes]
        sums.plot(sizes, fitted, color=f"C{k}", linewidth=1)
    for c, (fixed, per_sequence, size) in result["model"]["steps"].items():
        sums.axvline(size, color="gray", linestyle=":", linewidth=1)
        sums.text(size, 1, f" {c}", rotation=90, va="bottom", ha="right", fontsize=8)
    step, B = Step(*result["model"]["steps"][cell]), result["shape"][1]
    for k, (name, link) in enumerate(NETWORKS.items()):
        style = {"color": f"C{k}", "linestyle": "--" if "GbE" in name else "-", "label": name}
        weak.plot(RANKS, [100 * step.weak(link, B, n) for n in RANKS], **style)
        strong.plot(RANKS, [100 * step.strong(link, SHARED, n) for n in RANKS], **style)
    sums.set(
        title="All-reduce in two processes here: measured, fitted", xlabel="bytes", ylabel="µs",
        xscale="log", yscale="log", ylim=(1, None),
    )  # fmt: skip
    sums.legend()
    weak.set_title(f"{cell}: {B} sequences per process")
    strong.set_title(f"{cell}: {SHARED:,} sequences in all")
    for axis in (weak, strong):
        axis.set_xscale("log", base=2)
        axis.set_xticks(RANKS[::2], [f"{n:,}" for n in RANKS[::2]])
        axis.set(xlabel="processes, one per machine", ylabel="efficiency, %", ylim=(0, 104))
        for level in (50, 90):
            axis.axhline(level, color="black", linewidth=0.8, linestyle=":")
    weak.legend(loc="lower left")
    for axis in (sums, weak, strong):
        axis.grid(alpha=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)
