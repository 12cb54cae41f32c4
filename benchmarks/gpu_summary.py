"""What the rows of the GPU benchmark say: ratios, geometric means, and whether the goals are met.

A ratio is torch's time divided by ours. Ours is the core that runs by default, `row["auto"]`; what
the fastest core of each point would reach stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from statistics import geometric_mean
from typing import Any

from gpu_plan import BEFORE, CELLS, CORES, KINDS, Point

Row = dict[str, Any]


def ratio(row: Row, kind: str, core: str = "auto", rival: str = "torch") -> float | None:
    """Return a rival's time divided by ours; None where one of them has none.

    `core` is a core's name, ``"auto"``, or ``"best"`` for the fastest of all that ran.
    """
    us = row["us"].get(kind, {})
    names = [core]
    if core == "auto":
        names = [row["auto"]]
    elif core == "best":
        names = [name for name in us if name != "torch"]
    times = [us[name] for name in names if name in us]
    return us[rival] / min(times) if rival in us and times else None


def summary(rows: list[Row]) -> dict[str, Any]:
    """Return the means by precision, form of batch and kind of run, and the goals.

    The means over the portable core are of the points where it was to be timed.
    """
    groups = dict.fromkeys((row["precision"], row["ragged"]) for row in rows)
    means = [
        {"precision": precision, "ragged": ragged, "run": kind, **mean(part, kind)}
        for (precision, ragged), kind in product(groups, KINDS)
        for part in [pick(rows, precision=precision, ragged=ragged)]
    ]
    before = [
        {"run": kind, **mean(part, kind, "portable")}
        for part in [[row for row in rows if point(row).before]]
        for kind in KINDS
        if part
    ]
    return {"means": means, "over portable": before, "goals": list(goals(means, before))}


def point(row: Row) -> Point:
    return Point(*(row[key] for key in Point._fields))


def mean(rows: list[Row], kind: str, rival: str = "torch") -> dict[str, Any]:
    """Return how the ratios of these rows are distributed."""
    found = [r for row in rows if (r := ratio(row, kind, rival=rival)) is not None]
    best = [r for row in rows if (r := ratio(row, kind, "best", rival)) is not None]
    measured = {
        "geometric mean": round(geometric_mean(found), 3),
        "least": round(min(found), 3),
        "below 1": sum(r < 1 for r in found),
        "geometric mean of the fastest core": round(geometric_mean(best), 3),
        "least of the fastest core": round(min(best), 3),
    }
    return {"points": len(rows), "not measured": len(rows) - len(found)} | (
        measured if found else {}
    )


def goals(means: list[Row], before: list[Row]) -> Iterator[dict[str, Any]]:
    """Yield each goal, what was measured for it, and whether it is met.

    A goal is open (None) where a point was not measured and all others meet it.
    """
    for m in means:
        name = f"{m['precision']}{', ragged' if m['ragged'] else ''}, {m['run']}"
        if m["ragged"] or (m["run"] == "training" and m["precision"] != "bfloat16"):
            yield goal(f"{name}: at least 1.0 at every point", m, "least", 1.0)
            yield goal(f"{name}: at least 2 in geometric mean", m, "geometric mean", 2.0)
        elif m["run"] == "training":
            yield goal(f"{name}: at least 1.0 in geometric mean", m, "geometric mean", 1.0)
    for m in before:
        name = f"float32, H up to {BEFORE}, {m['run']}"
        yield goal(f"{name}: at least 10 times as fast as portable", m, "least", 10.0)


def goal(name: str, m: Row, key: str, least: float) -> dict[str, Any]:
    found = m.get(key)
    met = found is not None and found >= least
    if met and m["not measured"]:
        met = None
    measured = {"measured": found, "fastest core": m.get(f"{key} of the fastest core")}
    return {"goal": name, **measured, "not measured": m["not measured"], "met": met}


def report(result: dict[str, Any]) -> None:
    """Print the tables in Markdown, the goals, and what was not measured."""
    print("\n".join(lines(result)))


def lines(result: dict[str, Any]) -> Iterator[str]:
    rows, device = result["rows"], result["device"]
    yield f"\n{device.get('name')}, torch {device.get('torch')}, cuDNN {device.get('cudnn')}"
    yield "\nLatencies in microseconds:\n"
    yield from (f"- {name}: {us}" for name, us in result["latencies, us"].items())
    for precision, ragged in dict.fromkeys((row["precision"], row["ragged"]) for row in rows):
        yield f"\nTime of torch / ours, {precision}{', ragged batches' if ragged else ''}:\n"
        yield from table(pick(rows, precision=precision, ragged=ragged))
    yield from means_table(result["summary"])
    yield "\nGoals:\n"
    states = {True: "met", False: "MISSED", None: "open"}
    for g in result["summary"]["goals"]:
        measured = f"default core {g['measured']}, fastest core {g['fastest core']}"
        yield f"- {states[g['met']]}: {g['goal']} ({measured})"
    yield from failures(rows)
    yield from accuracy(rows)
    yield f"\n{result.get('minutes')} minutes"


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the grid of ratios: a line for each H and B, a column for each cell and run."""
    columns = [(cell, kind) for cell in CELLS for kind in KINDS if pick(rows, cell=cell)]
    yield f"| H | B | {' | '.join(f'{cell}, {kind}' for cell, kind in columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    found = {(row["H"], row["B"], row["cell"]): row for row in rows}
    for H, B in sorted({key[:2] for key in found}):
        texts = [cell_text(found.get((H, B, cell)), kind) for cell, kind in columns]
        yield f"| {H} | {B} | {' | '.join(texts)} |"


def cell_text(row: Row | None, kind: str) -> str:
    """Return the default core's ratio with its name; the other core's, where that is faster."""
    if row is None:
        return ""
    own = {core: ratio(row, kind, core) for core in (*CORES, "portable")}
    found = ratio(row, kind)
    text = "none" if found is None else f"{found:.2f} {row['auto']}"
    others = {core: r for core, r in own.items() if r is not None and core != row["auto"]}
    better = {core: r for core, r in others.items() if found is None or r > found}
    return text + "".join(f" ({core} {r:.2f})" for core, r in better.items())


def means_table(found: dict[str, Any]) -> Iterator[str]:
    keys = ("geometric mean", "least", "below 1", "points", "not measured")
    keys += ("geometric mean of the fastest core", "least of the fastest core")
    yield f"\n| | run | {' | '.join(keys)} |\n|---|---|{'---|' * len(keys)}"
    for m in found["means"]:
        name = f"torch / ours, {m['precision']}{', ragged' if m['ragged'] else ''}"
        yield f"| {name} | {m['run']} | {' | '.join(str(m.get(k, '')) for k in keys)} |"
    for m in found["over portable"]:
        name = f"portable / ours, float32, H up to {BEFORE}"
        yield f"| {name} | {m['run']} | {' | '.join(str(m.get(k, '')) for k in keys)} |"


def failures(rows: list[Row]) -> Iterator[str]:
    """Yield what failed, and why the cores declined, once for each reason."""
    for key, title in (("failed", "Failed"), ("declined", "Declined by the cores")):
        counts: dict[str, list[str]] = {}
        for row in rows:
            where = f"{row['cell']} {row['precision']} H={row['H']} B={row['B']}"
            where += " ragged" * row["ragged"]
            for name, reason in row[key].items():
                counts.setdefault(f"{name}: {reason}", []).append(where)
        if counts:
            yield f"\n{title}:\n"
        for reason, where in counts.items():
            yield f"- {reason} ({len(where)} points, first {where[0]})"


def accuracy(rows: list[Row]) -> Iterator[str]:
    """Yield the largest errors by precision and contender, against torch in float64."""
    worst: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        for name, error in row["error"].items() if row.get("reference") == "torch float64" else ():
            known = worst.setdefault((row["precision"], name), dict.fromkeys(error, 0.0))
            known.update({part: max(known[part], e) for part, e in error.items()})
    if worst:
        yield "\nLargest errors against torch in float64, relative to the largest entry:\n"
    for (precision, name), error in worst.items():
        texts = ", ".join(f"{part} {e:.1e}" for part, e in error.items())
        yield f"- {precision}, {name}: {texts}"


def pick(rows: list[Row], **facts: Any) -> list[Row]:
    """Return the rows in which all of these facts hold."""
    return [row for row in rows if all(row[key] == fact for key, fact in facts.items())]
