"""The picture of the CPU benchmark, for `readme.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

KINDS, THREADS = ("training", "inference"), (1, 2)


def draw(cpu: dict[str, Any], cells: Sequence[str], path: Path) -> None:
    """Save the picture of the ratios."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(10, 5.2), sharey=True, layout="constrained")
    shapes = list(dict.fromkeys(tuple(r["shape"]) for r in cpu["rows"]))
    for axis, run in zip(axes, KINDS, strict=True):
        for k, cell in enumerate(cells):
            for threads in THREADS:
                rows = pick(cpu["rows"], run=run, threads=threads, cell=cell)
                axis.plot(
                    [r["ratio"] for r in rows],
                    [shapes.index(tuple(r["shape"])) + 0.22 * (k - 1) for r in rows],
                    marker="o",
                    linestyle="none",
                    color=f"C{k}",
                    markerfacecolor="none" if threads > 1 else None,
                    label=f"{cell}, {threads} thread{'s'[: threads - 1]}",
                )
        axis.axvline(1, color="black", linewidth=1)
        axis.set_xscale("log")
        ticks = (0.2, 0.5, 1, 2, 5, 10, 20)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(axis="x", alpha=0.3)
        axis.set_xlabel("fastest rival's time / rnnx's; right of 1, rnnx is faster")
        axis.set_title("training step" if run == "training" else run)
    axes[0].set_yticks(range(len(shapes)), [f"T={T}, B={B}, H={H}" for T, B, _, H in shapes])
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=6, loc="outside lower center")
    fig.savefig(path, dpi=110)


def pick(rows: list[dict[str, Any]], **facts: Any) -> list[dict[str, Any]]:
    """Return the rows in which all of these facts hold."""
    return [r for r in rows if all(r[key] == fact for key, fact in facts.items())]
