"""The picture of several processes, for `readme.py`: the all-reduce, and how far it scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from parallel_model import MICRO, NETWORKS, RANKS, Link, Step


def draw(result: dict[str, Any], path: Path, cell: str = "GRU") -> None:
    """Save the picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (sums, weak, strong) = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    draw_sums(sums, result)
    step, B, shared = Step(*result["model"]["steps"][cell]), result["shape"][1], result["shared"]
    weak.set_title(f"{cell}: {B} sequences per process")
    strong.set_title(f"{cell}: {shared:,} sequences in all")
    for k, (name, link) in enumerate(NETWORKS.items()):
        style: dict[str, Any] = {"color": f"C{k}", "label": name}
        style |= {"linestyle": "--" if "GbE" in name else "-"}
        style |= {"linewidth": 4 if name.endswith("HDR") else 1.8}  # NDR lies on it
        weak.plot(RANKS, [100 * step.weak(link, B, n) for n in RANKS], **style)
        strong.plot(RANKS, [100 * step.strong(link, shared, n) for n in RANKS], **style)
    for axis in (weak, strong):
        axis.set_xscale("log", base=2)
        axis.set_xticks(RANKS[::2], [f"{n:,}" for n in RANKS[::2]])
        axis.set(xlabel="processes, one per machine", ylabel="efficiency, %", ylim=(0, 104))
        for level in (50, 90):
            axis.axhline(level, color="black", linewidth=0.8, linestyle=":")
    strong.legend(loc="lower left")
    for axis in (sums, weak, strong):
        axis.grid(alpha=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def draw_sums(axis: Any, result: dict[str, Any]) -> None:
    """Plot the time of the all-reduce in two processes by bytes, measured and fitted."""
    for k, (name, found) in enumerate(result["sums"].items()):
        sizes, link = np.asarray([float(n) for n in found]), Link(*result["model"]["links"][name])
        fitted = [link.all_reduce(size, 2) / MICRO for size in sizes]
        axis.plot(sizes, np.asarray(list(found.values())) / MICRO, "o", color=f"C{k}", label=name)
        axis.plot(sizes, fitted, color=f"C{k}", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel="bytes", ylabel="µs", ylim=(1, None))
    for cell, (*_, size) in result["model"]["steps"].items():
        axis.axvline(size, color="gray", linestyle=":", linewidth=1)
        axis.text(size, 1.15, f"{cell} ", rotation=90, va="bottom", ha="right", fontsize=8)
    axis.set_title("The all-reduce in two processes here, and the model")
    axis.legend(loc="upper left")
