"""Tables and goals of `estimators.py`, for the terminal and for `readme.py`."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import Any

import estimator_series
from estimator_rivals import LEAK, RADIUS, UNITS
from estimator_sets import MOST
from estimator_torch import BATCH, EPOCHS, HIDDEN, RATE

Row = dict[str, Any]
OURS, BEFORE = "rnnx", "rnnx before"
DTW, SIMPLE = "1-NN DTW", ("seasonal naive", "AR", "smoothing")
TASKS = {  # the score, and the method whose error is the unit of the spread
    "classification": ("Accuracy", None),
    "regression": ("Root of the mean squared error", "linear"),
    "series": ("Mean absolute error, relative to that of the seasonal naive", "seasonal naive"),
}
PARTS = {"chosen": "settings were chosen on these", "judged": "looked at once"}
INTERVAL = (0.05, 0.95)  # quantiles
SHARE, POINTS, BEHIND, SPREAD, SECONDS = 2 / 3, 0.03, 1.1, 0.5, 60.0
Scores = dict[str, dict[str, Row]]  # by set and method


def by_set(rows: list[Row], task: str, part: str | None = None) -> Scores:
    """Return the rows of a task by set and method."""
    found: Scores = {}
    for row in rows:
        if row["task"] == task and part in (None, row["part"]):
            found.setdefault(row["set"], {})[row["method"]] = row
    return found


def goals(rows: list[Row]) -> list[Row]:
    """Return each goal with its measurement on either part; None where ours are not measured."""
    return [
        {"part": part, "goal": goal, "measured": measured, "met": met}
        for part in PARTS
        for goal, measured, met in (
            *against_warping(by_set(rows, "classification", part)),
            *against_simple(by_set(rows, "series", part)),
            *(spreads(task, by_set(rows, task, part)) for task in TASKS),
            coverages(by_set(rows, "series", part)),
            longest([row for row in rows if row["part"] == part and row["method"] == OURS]),
        )
    ]


Goal = tuple[str, str | None, bool | None]


def against_warping(found: Scores) -> list[Goal]:
    lead = [
        methods[OURS]["mean"] - methods[DTW]["mean"]
        for methods in found.values()
        if {OURS, DTW} <= methods.keys()
    ]
    return lead_of(
        lead,
        (f"accuracy of at least {DTW}'s on two thirds of the sets", lambda v: v >= 0),
        (f"never more than {100 * POINTS:g} points behind {DTW}", lambda v: v >= -POINTS),
        lambda v: f"{100 * v:+.1f} points",
    )


def against_simple(found: Scores) -> list[Goal]:
    ratios = [
        methods[OURS]["mean"] / best
        for methods in found.values()
        if {OURS, *SIMPLE} <= methods.keys()
        and (best := min(methods[name]["mean"] for name in SIMPLE)) > 0
    ]
    return lead_of(
        [-ratio for ratio in ratios],
        (
            "error below the best of naive, AR and smoothing on two thirds of the series",
            lambda v: v > -1,
        ),
        ("never more than 10 % behind the best of naive, AR and smoothing", lambda v: v >= -BEHIND),
        lambda v: f"{-v:.2f} times its error",
    )


def lead_of(
    leads: list[float],
    often: tuple[str, Callable[[float], bool]],
    always: tuple[str, Callable[[float], bool]],
    text: Callable[[float], str],
) -> list[Goal]:
    """Return the goal for two thirds of the sets, and the one for all of them."""
    if not leads:
        return [(often[0], None, None), (always[0], None, None)]
    ahead = sum(map(often[1], leads))
    return [
        (often[0], f"{ahead} of {len(leads)}", ahead >= SHARE * len(leads)),
        (always[0], f"worst: {text(min(leads))}", always[1](min(leads))),
    ]


def spreads(task: str, found: Scores) -> Goal:
    """Return the goal of half the spread, as a mean over the sets in units of a rival's error."""
    goal = f"half the spread over seeds of before, {task}"
    unit = TASKS[task][1]
    pairs = [
        (methods[OURS]["spread"] / size, methods[BEFORE]["spread"] / size)
        for methods in found.values()
        if {OURS, BEFORE} <= methods.keys() and (size := unit_of(methods, unit))
    ]
    if not pairs:
        return goal, None, None
    now, before = (mean(values) for values in zip(*pairs, strict=True))
    return goal, f"{now:.4f}, before {before:.4f}, {len(pairs)} sets", now <= SPREAD * before


def unit_of(methods: dict[str, Row], unit: str | None) -> float:
    """Return what errors on a set are measured in; 0 if that is not known."""
    return 1.0 if unit is None else methods[unit]["mean"] if unit in methods else 0.0


def coverages(found: Scores) -> Goal:
    """Return the goal of intervals that hold what they say, as a mean over the series."""
    stated = INTERVAL[1] - INTERVAL[0]
    goal = (
        f"{stated:.0%} intervals hold {stated - POINTS:.0%} to {stated + POINTS:.0%} of the truth"
    )
    held = [methods[OURS]["coverage"] for methods in found.values()
            if "coverage" in methods.get(OURS, {})]  # fmt: skip
    if not held:
        return goal, None, None
    return goal, f"{mean(held):.1%}, {len(held)} series", abs(mean(held) - stated) <= POINTS


def longest(rows: list[Row]) -> Goal:
    goal = f"no fit on defaults above {SECONDS:g} s"
    if not rows:
        return goal, None, None
    row = max(rows, key=lambda row: row["longest fit, s"])
    seconds = row["longest fit, s"]
    return goal, f"{seconds:.1f} s on {row['set']}, {row['cores']} cores", seconds <= SECONDS


def tables(rows: list[Row]) -> list[str]:
    """Return the tables of scores and of times in Markdown."""
    lines = []
    for task, (score, _) in TASKS.items():
        for part, what in PARTS.items():
            if found := by_set(rows, task, part):
                lines += [f"{score} in {task}: {part} sets, {what}.", ""]
                lines += table(task, found, score_cell)
        if found := by_set(rows, task):
            lines += [f"Seconds to fit + to predict in {task}, medians over the seeds.", ""]
            lines += table(task, found, seconds_cell)
    return lines


def table(task: str, found: Scores, cell: Callable[..., str]) -> list[str]:
    """Return a table with a row per set and a column per method, ours first."""
    names = dict.fromkeys(name for methods in found.values() for name in methods)
    names.pop(BEFORE, None)
    first = [OURS] if OURS in names else []
    names = dict.fromkeys([*first, *names])
    unit = TASKS[task][1] if task == "series" and cell is score_cell else None
    more = [f"{unit}, unit of the data", "held by our 90 % intervals"] if unit else []
    head = ["", *names, *more]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, methods in found.items():
        size = unit_of(methods, unit)
        cells = [cell(methods.get(method), size) for method in names]
        if unit:
            held = methods.get(OURS, {}).get("coverage")
            cells += [f"{size:.4g}", "" if held is None else f"{held:.0%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def score_cell(row: Row | None, size: float) -> str:
    """Return the mean and spread, in the unit of a rival's error."""
    if row is None or not size:
        return ""
    text = f"{row['mean'] / size:.3f}"
    return f"{text} ± {row['spread'] / size:.3f}" if row["seeds"] > 1 else text


def seconds_cell(row: Row | None, size: float) -> str:
    return "" if row is None else f"{row['fit, s']:.1f} + {row['predict, s']:.1f}"


def goal_lines(goals: list[Row]) -> list[str]:
    """Return each goal with what was measured, and yes, no, or not measured."""
    verdicts = {True: "yes", False: "no", None: "not measured"}
    return [
        f"{g['part']} sets, {g['goal']}: {verdicts[g['met']]}"
        + (f" ({g['measured']})" if g["measured"] else "")
        for g in goals
    ]


def section(result: dict[str, Any]) -> list[str]:
    """Return the section of docs/measured.md: what is compared, the picture, tables and goals."""
    machine, seeds = result["environment"], max(row["seeds"] for row in result["rows"])
    versions, counts = machine["versions"], sorted({row["cores"] for row in result["rows"]})
    cores = [f"{n} core{'s'[: n - 1]}" for n in counts]
    return [
        "## Estimators on their defaults",
        "",
        "`RNNClassifier`, `RNNRegressor` and `RNNForecaster` with no option but the horizon, on",
        "all small data sets that sktime, scikit-learn and statsmodels bundle. Defaults were",
        "chosen on some of the sets, and judged on the others, once. Numbers are means ± standard",
        f"deviations over {seeds} seeds; methods without chance run once. Classification and",
        "regression have the archives' training and test parts. A series is learned once, up to",
        f"its last quarter, and forecast from up to {MOST} origins there. Rivals are told its",
        "season; `RNNForecaster` is not.",
        f"Times are those of a shared {machine['processor']}, on {' or '.join(cores)}.",
        "",
        "| method | what it is |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in described(versions)),
        "",
        "Mean ranks on the judged sets, the best on the left. A bar joins methods that these sets",
        "do not tell apart (Nemenyi's test at 5 %). Every series counts, also where a source has",
        "more.",
        "",
        "![Mean ranks and critical differences](pictures/estimators.png)",
        "",
        *tables(result["rows"]),
        *first_looks(result["rows"]),
        "What was aimed at:",
        "",
        *(f"- {line}" for line in goal_lines(result["goals"])),
        "",
    ]


def first_looks(rows: list[Row]) -> list[str]:
    """Return which judged sets led to a change, and what the first look at them had shown."""
    seen = [
        f"{row['set']} ({row['first look']:.3g} at first)" for row in rows if "first look" in row
    ]
    if not seen:
        return []
    return [
        "After the first look at the judged sets, classifiers and regressors got one more choice,",
        f"to scale sequences one by one. It changed {' and '.join(seen)} alone.",
        "",
    ]


def described(versions: dict[str, str]) -> list[tuple[str, str]]:
    """Return each rival with its settings."""
    return [
        ("1-NN", "nearest training sequence, Euclidean distance"),
        (DTW, f"the same, dynamic time warping of all channels together, without a limit "
         f"(dtaidistance {versions['dtaidistance']})"),
        ("linear", f"logistic or ridge regression on all values (scikit-learn "
         f"{versions['scikit-learn']})"),
        ("torch GRU", f"torch {versions['torch']}, {HIDDEN} units, Adam, learning rate "
         f"{RATE}, batches of {BATCH}, {EPOCHS} epochs, standardized data"),
        ("echo state", f"ReservoirPy {versions['reservoirpy']}, {UNITS} units, spectral "
         f"radius {RADIUS}, ridge regression; leak {LEAK}, but {estimator_series.LEAK} for series, "
         "whose changes it reads"),
        ("MiniRocket", f"of sktime {versions['sktime']}, ridge regression"),
        ("seasonal naive", "the value one season earlier"),
        ("AR", f"autoregression, lags by AIC (statsmodels {versions['statsmodels']})"),
        ("smoothing", "exponential smoothing; error, trend and season by AICc (statsmodels)"),
    ]  # fmt: skip


def report(rows: list[Row]) -> None:
    """Print the tables, and which goals are met."""
    print("\n".join([*tables(rows), *goal_lines(goals(rows))]))
