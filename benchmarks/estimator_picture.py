"""The critical-difference picture of `estimators.py`, for `readme.py`.

Methods stand at their mean rank over the sets; the best are on the left. A bar joins methods whose
ranks differ by less than the critical difference of Nemenyi's test at 5 %: these sets do not tell
them apart.

References
----------
J. Demšar, "Statistical comparisons of classifiers over multiple data sets", Journal of Machine
Learning Research 7, 2006.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from estimator_report import BEFORE, OURS, Scores, by_set

LEVEL = 0.05
TITLES = {"classification": "classes of sequences", "series": "forecasts of series"}
Ranks = dict[str, float]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Save the picture of the mean ranks on the judged sets."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {}
    for task, title in TITLES.items():
        sets = complete(by_set(rows, task, "judged"))
        if len(sets) > 1:
            panels[f"{title}, {len(sets)} judged sets"] = sets, task == "classification"
    fig, axes = plt.subplots(
        len(panels), figsize=(9, 2.6 * len(panels)), layout="constrained", squeeze=False
    )
    for axis, (title, (sets, higher)) in zip(axes[:, 0], panels.items(), strict=True):
        ranks = mean_ranks(sets, higher_is_better=higher)
        draw_panel(axis, ranks, critical_difference(len(ranks), len(sets)))
        axis.set_title(title, fontsize=11)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def complete(found: Scores) -> list[dict[str, float]]:
    """Return the mean scores of each set on which all methods were measured."""
    scores = [
        {name: row["mean"] for name, row in methods.items() if name != BEFORE}
        for methods in found.values()
    ]
    names = {name for methods in scores for name in methods}
    return [methods for methods in scores if methods.keys() == names]


def mean_ranks(sets: list[dict[str, float]], *, higher_is_better: bool) -> Ranks:
    """Return each method's mean rank, the best first; equal scores share their ranks' mean."""
    from scipy.stats import rankdata

    names = list(sets[0])
    scores = np.asarray([[methods[name] for name in names] for methods in sets])
    ranks = rankdata(-scores if higher_is_better else scores, axis=1).mean(0)
    return dict(sorted(zip(names, map(float, ranks), strict=True), key=lambda item: item[1]))


def critical_difference(k: int, n: int) -> float:
    """Return q √(k (k + 1) / 6 n), the least difference of ranks that Nemenyi's test finds.

    k methods on n sets; q is the quantile of the studentized range, divided by √2.
    """
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - LEVEL, k, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * n)))


def alike(ranks: list[float], difference: float) -> Iterator[tuple[float, float]]:
    """Yield the ends of the widest groups of sorted ranks that differ by less."""
    end = 0
    for i, low in enumerate(ranks):
        last = max(j for j, high in enumerate(ranks) if high - low < difference)
        if last > max(i, end):
            yield low, ranks[last]
            end = last


def draw_panel(axis: Any, ranks: Ranks, difference: float) -> None:
    """Draw the axis of ranks, the names to both sides of it, and the bars."""
    k, half = len(ranks), (len(ranks) + 1) // 2
    axis.plot([1, k], [0, 0], color="black", linewidth=1)
    for tick in range(1, k + 1):
        axis.plot([tick, tick], [0, 0.12], color="black", linewidth=1)
        axis.text(tick, 0.2, tick, ha="center", va="bottom")
    bars = list(alike(list(ranks.values()), difference))
    below = -0.3 * (len(bars) + 1)
    for place, (name, rank) in enumerate(ranks.items()):
        left = place < half
        edge, level = (0.8, place) if left else (k + 0.2, k - 1 - place)
        y = below - 0.45 * level
        strong = {"color": "C3" if name == OURS else "black"}
        axis.plot([rank, rank, edge], [0, y, y], linewidth=1.2, **strong)
        side = {"ha": "right" if left else "left", "va": "center"}
        axis.text(edge + (-0.06 if left else 0.06), y, f"{name}  {rank:.1f}", **side, **strong)
    for i, (low, high) in enumerate(bars):
        y = -0.3 * (i + 1) + 0.05
        axis.plot([low - 0.04, high + 0.04], [y, y], color="0.3", linewidth=3.5)
    axis.plot([1, 1 + difference], [0.95, 0.95], color="0.3", linewidth=1.5, marker="|")
    axis.text(1 + difference / 2, 1.0, "critical difference", ha="center", va="bottom", fontsize=9)
    axis.set(xlim=(-0.6, k + 1.6), ylim=(below - 0.45 * half, 1.5))
    axis.axis("off")
