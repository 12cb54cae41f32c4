"""The section of `docs/measured.md` on several processes, for `readme.py`."""

from __future__ import annotations

from typing import Any

from parallel_model import GBIT, MICRO, NETWORKS, SOURCES, Link

Result = dict[str, Any]


def section(result: Result) -> list[str]:
    """Return the lines of the section."""
    return [*measured(result), *modelled(result)]


def measured(result: Result) -> list[str]:
    """Return what was measured on this machine."""
    (T, B, I, H), facts = result["shape"], result["environment"]
    one = [r["added, one process"] for r in result["rows"] if "added, one process" in r]
    return [
        "## Several processes",
        "",
        f"Training steps at (T, B, I, H) = ({T}, {B}, {I}, {H}), float32, in two processes of one",
        f"thread and one core each; a shared {facts['processor']}. Weak scaling gives each",
        f"process {B} sequences per step, strong scaling {B // 2}. The efficiency is relative to",
        "one process that works alone. The second number is that of two processes which do the",
        "same work at the same time without a word to each other: what it lacks is lost to the",
        "machine. *Added* is what communication adds to the step of those two. The time in the",
        "all-reduce includes waiting for the slower process; in brackets, what it takes if both",
        "come at once. torch is DistributedDataParallel of torch "
        f"{facts['versions']['torch']}, on its defaults.",
        "",
        "| | link | cell | a step alone, ms | weak, ms | weak, % | strong, % | added, % "
        "| in the all-reduce, % |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(row, result["rows"]),
        "",
        f"A communicator of one process adds {100 * min(one):+.1f} to {100 * max(one):+.1f} %.",
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
        f"{100 * found['in the all-reduce']:.1f} ({100 * found['transfer']:.1f})"
        if "transfer" in found
        else "",
    )
    return f"| {' | '.join(cells)} |"


def modelled(result: Result) -> list[str]:
    """Return the fitted model, and how far it says that other networks scale."""
    B, shared, model = result["shape"][1], result["shared"], result["model"]
    cells, limits = list(model["steps"]), model["limits"]
    least = min(limits, key=lambda r: r["weak, 1024"])
    return [
        "In the model, a step on B sequences takes a + b·B, and the all-reduce of n bytes in N",
        "processes 2·log2(N)·latency + 2·(N-1)/N·n/bandwidth. Fitted here:",
        "",
        *(f"- {link_in_words(*found)}" for found in model["links"].items()),
        *(f"- {step_in_words(cell, model)}" for cell in cells),
        "",
        "![The all-reduce, and efficiency by number of processes](pictures/parallel.png)",
        "",
        "Efficiency by this model, with one such process per machine. *Weak* is at 1,024 processes",
        f"with {B} sequences each; in brackets, the sequences that each needs for 90 %. *Strong*",
        f"is up to how many processes {shared:,} sequences are shared out at 90 and at 50 %.",
        "",
        "| network | latency, µs | Gbit/s | "
        + " | ".join(f"{kind}, {cell}" for kind in ("weak", "strong") for cell in cells)
        + " |",
        f"|---|---|---|{'---|' * 2 * len(cells)}",
        *(network(name, link, limits) for name, link in NETWORKS.items()),
        "",
        f"At 1,024 processes with {B} sequences each, the least efficiency is "
        f"{100 * least['weak, 1024']:.0f} % ({least['cell']}, {least['network']}).",
        "A larger H changes little: the step and the gradient both grow as H². One batch that is",
        "shared out stops paying where each process has few sequences left. Then larger batches",
        "help first. Next would be to sum a layer's gradient while BPTT is in the layers below it,",
        "which hides all but the last layer's sum; rnnx sums once per step, after BPTT. The model",
        "leaves out that processes share a machine's card, that switches are busy, and that all",
        "wait for the slowest.",
        "",
        "Sources: " + "; ".join(f"[{what}]({where})" for what, where in SOURCES.items()) + ".",
        "The all-reduce is the one of R. Thakur, R. Rabenseifner and W. Gropp,",
        "doi:10.1177/1094342005051521.",
        "",
    ]


def link_in_words(name: str, link: list[float]) -> str:
    latency, bandwidth = link
    return f"{name}: {latency / MICRO:.1f} µs, {bandwidth / 1e9:.1f} GB/s"


def step_in_words(cell: str, model: Result) -> str:
    fixed, per_sequence, size = model["steps"][cell]
    return (
        f"{cell}: a = {1e3 * fixed:.2f} ms, b = {1e3 * per_sequence:.3f} ms "
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
