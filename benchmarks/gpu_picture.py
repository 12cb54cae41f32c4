"""The picture of the GPU benchmark: a panel of ratios for each precision, cell and kind of run."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from gpu_plan import CELLS, KINDS
from gpu_summary import pick, ratio
from matplotlib.colors import LogNorm


def draw(result: dict[str, Any], path: Path) -> None:
    """Save the picture of torch's time divided by ours, on batches without padding."""
    rows = pick(result["rows"], ragged=False)
    precisions = list(dict.fromkeys(row["precision"] for row in rows))
    sizes, batches = (sorted({row[key] for row in rows}) for key in "HB")
    columns = list(product([c for c in CELLS if pick(rows, cell=c)], KINDS))
    width, height = 1.2 + 1.9 * len(columns), 1.2 + 2.3 * len(precisions)
    fig, axes = plt.subplots(
        len(precisions), len(columns), figsize=(width, height), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for (r, precision), (c, (cell, kind)) in product(enumerate(precisions), enumerate(columns)):
        grid = np.full((len(sizes), len(batches)), np.nan)
        for row in pick(rows, precision=precision, cell=cell):
            grid[sizes.index(row["H"]), batches.index(row["B"])] = ratio(row, kind) or np.nan
        image = panel(axes[r, c], grid, sizes, batches)
        if r == 0:
            axes[r, c].set_title(f"{cell}, {kind}", fontsize=10)
        if c == 0:
            axes[r, c].set_ylabel(f"{precision}\nH")
        if r == len(precisions) - 1:
            axes[r, c].set_xlabel("B")
    fig.colorbar(image, ax=axes, shrink=0.6, ticks=TICKS, format="%g")
    fig.suptitle(
        f"{result['device'].get('name')}: time of torch {result['device'].get('torch')} "
        "divided by ours; above 1, rnnx is faster"
    )
    fig.savefig(path, dpi=110)
    plt.close(fig)


TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)


def panel(axis: Any, grid: np.ndarray, sizes: list[int], batches: list[int]) -> Any:
    """Draw one panel: a number in each field, grey where there is none."""
    axis.set_facecolor("lightgrey")
    image = axis.imshow(grid, cmap="RdBu", norm=LogNorm(0.1, 10), aspect="auto")
    axis.set_xticks(range(len(batches)), [str(B) for B in batches])
    axis.set_yticks(range(len(sizes)), [str(H) for H in sizes])
    for (k, j), value in np.ndenumerate(grid):
        text = "" if np.isnan(value) else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
        dark = not 0.3 < value < 3.3
        axis.text(
            j, k, text, ha="center", va="center", fontsize=8, color="white" if dark else "black"
        )
    return image
