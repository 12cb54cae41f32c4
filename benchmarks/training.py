"""Measure training: the overhead of `fit`, and the time to an accuracy beside torch and Keras.

python benchmarks/training.py [--seconds S] [--seeds N]

Everything is float32 on one core, in processor seconds. The first table gives the share of a
training step on long sequences that `fit` adds, measured against a plain loop and with a clock
around the four calls. The others compare classifiers trained from several seeds, each library in
its own process (`rivals.py`), in turn. Model, optimizer and batches are alike. Initial weights are
Glorot's and orthogonal, as is Keras's default; torch has its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from statistics import mean, median
from types import SimpleNamespace
from typing import Any

import numpy as np
from common import Process, environment, take_turns, write

import rnnx

PACKAGES = ("rnnx", "numpy", "array-api-compat", "torch", "jax", "keras", "scikit-learn", "sktime")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
CELLS, SHAPE, STEPS, CLIP = ("RNN", "GRU", "LSTM"), (100, 32, 16, 64), 100, 1.0  # T, B, I, H
RUNS = [("digits", "GRU"), ("digits", "RNN"), ("digits", "LSTM"), ("vowels", "GRU")]
TARGETS = {"digits": (0.95, 0.97), "vowels": (0.9, 0.95)}  # accuracies on held-out sequences
RIVALS = {  # by name: the library, Keras's backend, and what else the library is asked for
    "rnnx": ("rnnx", "", "numpy"),
    "torch": ("torch", "", "padded"),
    "torch, packed": ("torch", "", "packed"),
    "Keras on torch": ("keras", "torch", ""),
    "Keras on JAX": ("keras", "jax", ""),
}
ADDED, FASTER = 0.05, 1.5  # goals: of a step's time, at most; times as fast as a rival, at least


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="seconds per cell, for the overhead of fit"
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds per rival")
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when NumPy is imported
        env = os.environ | dict.fromkeys(THREADS, "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], env)
    added = [measure_added(kind, options.seconds) for kind in CELLS]
    with ExitStack() as stack:

        @cache
        def process(library: str, backend: str) -> Process:
            started = Process("rivals.py", library, KERAS_BACKEND=backend or "numpy")
            return stack.enter_context(started)

        runs = [row for run in RUNS for row in measure_run(process, *run, options.seeds)]
    result = {"added": added, "runs": runs, "goals": judge(added, runs)}
    write("training", {"environment": environment(PACKAGES)} | result)
    report(result)
    return 0


def measure_added(kind: str, seconds: float) -> dict[str, Any]:
    """Return the milliseconds of fit's steps and set-up, and the share of a step that fit adds."""
    T, B, I, H = SHAPE
    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, STEPS * B, I), dtype="float32")
    target = rng.integers(0, 10, (T, STEPS * B), dtype="int32")
    cuts = [slice(i, i + B) for i in range(0, STEPS * B, B)]
    batches = [(x[:, cut].copy(), target[:, cut].copy()) for cut in cuts]
    layer, linear = getattr(rnnx, kind)(I, H, seed=rng), rnnx.Linear(H, 10, seed=rng)
    model, adam = rnnx.Sequential(layer, linear), rnnx.optim.Adam()
    found = take_turns(
        {
            "fit": lambda: by_fit(model, (x, target), adam),
            "loop": lambda: (0.0, by_hand(model, batches, adam)),
            "fit, clipped": lambda: by_fit(model, (x, target), adam, clip=CLIP),
            "loop, clipped": lambda: (0.0, by_hand(model, batches, adam, clip=CLIP)),
            "outside": lambda: (0.0, by_clock(model, (x, target), adam)),
        },
        seconds=seconds,
    )
    before, steps = zip(*found["fit"], strict=True)
    share = {
        name: median(1 - loop / fit for (_, fit), (_, loop) in zip(*pair, strict=True))
        for name, pair in (
            ("beside a loop", (found["fit"], found["loop"])),
            ("clipped", (found["fit, clipped"], found["loop, clipped"])),
        )
    } | {"by a clock": median(value for _, value in found["outside"])}
    times = {
        "step, ms": round(1e3 * median(steps), 3), "before, ms": round(1e3 * median(before), 1)
    }  # fmt: skip
    return {"cell": kind} | times | {name: round(value, 4) for name, value in share.items()}


def by_fit(
    model: Any,
    data: Any,
    optimizer: Any,
    loss: Any = rnnx.losses.softmax_cross_entropy,
    clip: float | None = None,
) -> tuple[float, float]:
    """Return the seconds before the first step of an epoch, and the seconds per step."""
    begin, start = Begin(), time.process_time()
    rnnx.train.fit(
        model, data, loss=loss, optimizer=optimizer, epochs=1, batch_size=SHAPE[1],
        clip_norm=clip, callbacks=[begin], progress=False, seed=0,
    )  # fmt: skip
    return begin.at - start, (time.process_time() - begin.at) / STEPS


def by_hand(model: Any, batches: Any, optimizer: Any, clip: float | None = None) -> float:
    """Return the seconds per step of a plain loop over prepared batches."""
    params, state = model.params, optimizer.init(model.params)
    start = time.process_time()
    for x, target in batches:
        y, _, cache = model.forward(x, params=params)
        _, dy = rnnx.losses.softmax_cross_entropy(y, target)
        _, _, grads = model.backward(dy, cache)
        if clip is not None:
            grads, _ = rnnx.optim.clip_by_global_norm(grads, clip)
        params, state = optimizer.update(params, grads, state)
    return (time.process_time() - start) / STEPS


def by_clock(model: Any, data: Any, optimizer: Any) -> float:
    """Return the share of fit's steps outside the model, the loss and the optimizer."""
    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            nonlocal spent
            start = time.process_time()
            found = function(*args, **options)
            spent += time.process_time() - start
            return found

        return run

    watched: Any = rnnx.Sequential(*model.layers)
    watched.forward, watched.backward = timed(model.forward), timed(model.backward)
    rate, update = optimizer.learning_rate, timed(optimizer.update)
    steps = SimpleNamespace(init=optimizer.init, update=update, learning_rate=rate)
    _, step = by_fit(watched, data, steps, timed(rnnx.losses.softmax_cross_entropy))
    return 1 - spent / STEPS / step


class Begin(rnnx.train.Callback):
    """Records when the first step began."""

    def begin(self, run: Any) -> None:
        """Read the clock."""
        self.at = time.process_time()


def measure_run(
    process: Callable[[str, str], Process], problem: str, cell: str, seeds: int
) -> list[dict[str, Any]]:
    """Return one row per rival: its times, and how many times ours they are."""
    names = [name for name in RIVALS if problem == "vowels" or name != "torch, packed"]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            library, backend, form = RIVALS[name]
            request = {"problem": problem, "cell": cell, "form": form, "seed": seed}
            found[name].append(process(library, backend).ask(**request))
    rows = [
        {"problem": problem, "cell": cell, "rival": name} | summary(found[name], TARGETS[problem])
        for name in names
    ]
    for row in rows[1:]:
        row |= {f"{k} / rnnx": round(row[k] / rows[0][k], 2) for k in compared(rows[0])}
    return rows


def summary(answers: list[dict[str, Any]], targets: tuple[float, ...]) -> dict[str, Any]:
    """Return a rival's times: per epoch, and to each target with and without the set-up.

    The set-up is the time before the first epoch (compiling, for JAX) plus the extra time of the
    first epoch over the median of the others.
    """
    typical = [median(answer["seconds"][1:]) for answer in answers]
    set_up = [a["before"] + a["seconds"][0] - t for a, t in zip(answers, typical, strict=True)]
    row = {"epoch, ms": round(1e3 * median(typical), 2), "set-up, s": round(mean(set_up), 3)}
    for target in targets:
        epochs = [reached(answer["accuracy"], target) for answer in answers]
        row[f"epochs to {target}"] = round(mean(epochs), 1)
        whole = [a["before"] + sum(a["seconds"][:n]) for a, n in zip(answers, epochs, strict=True)]
        row[f"s to {target}"] = round(mean(whole), 3)
        row[f"s to {target}, set up"] = round(mean(whole) - mean(set_up), 3)
    return row | {"accuracy": round(mean(answer["accuracy"][-1] for answer in answers), 3)}


def reached(accuracy: list[float], target: float) -> int:
    """Return the number of epochs to reach an accuracy; all of them if it was never reached."""
    return next((i for i, value in enumerate(accuracy, 1) if value >= target), len(accuracy))


def compared(row: dict[str, Any]) -> list[str]:
    """Return the columns that hold training times."""
    return [key for key in row if key == "epoch, ms" or key.startswith("s to ")]


def judge(added: list[dict[str, Any]], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the measurement for every goal, and whether the goal is met."""
    goals = {}
    for row in added:
        value = max(row[way] for way in ("beside a loop", "clipped", "by a clock"))
        goals[f"added by fit to a step, {row['cell']}"] = (value, ADDED, value <= ADDED)
    for row in runs:
        for key in [key for key in row if key.endswith(" / rnnx")]:
            name = f"{row['problem']}, {row['cell']}, {row['rival']}: {key}"
            goals[name] = (row[key], FASTER, row[key] >= FASTER)
    return {
        name: {"measured": value, "goal": goal, "met": met}
        for name, (value, goal, met) in goals.items()
    }


def report(result: dict[str, Any]) -> None:
    """Print the tables in Markdown, and which goals are met."""
    tables = {"Overhead of fit per step at (T, B, I, H) = " + str(SHAPE): result["added"]}
    for problem, cell in RUNS:
        rows = [r for r in result["runs"] if (r["problem"], r["cell"]) == (problem, cell)]
        tables[f"{problem}, {cell}"] = rows
    for title, rows in tables.items():
        known = ("problem", "cell") if "rival" in rows[-1] else ()
        head = [key for key in rows[-1] if key not in known]
        print(f"{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(str(row.get(key, '')) for key in head)} |")
        print()
    for name, goal in result["goals"].items():
        verdict = "met" if goal["met"] else "missed"
        print(f"{name}: {goal['measured']} (goal {goal['goal']:g}: {verdict})")


if __name__ == "__main__":
    raise SystemExit(main())
