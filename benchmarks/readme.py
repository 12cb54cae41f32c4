"""Write the measured sections of README.md and docs/measured.md, and their pictures.

python benchmarks/readme.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import estimator_picture
import estimator_report
import parallel_picture
import parallel_report
from picture import KINDS, THREADS, draw, pick

ROOT = Path(__file__).parents[1]
TRAININGS = [  # problem, cell, accuracy
    ("digits", "RNN", 0.97),
    ("digits", "GRU", 0.97),
    ("digits", "LSTM", 0.97),
    ("vowels", "GRU", 0.95),
]
ARTICLES = {"RNN": "an", "GRU": "a", "LSTM": "an"}
NAMES = {"torch": "torch", "jax": "JAX", "keras": "Keras", "onnxruntime": "ONNX Runtime"}
APART = ["Every library runs in a process of its own, in turn with the others."]
Result = dict[str, Any]
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def main() -> None:
    for name, text in sections().items():
        page = ROOT / name
        before, rest = page.read_text().split(BEGIN)
        page.write_text(before + BEGIN + text + END + rest.split(END)[1])
    draw(read("cpu"), tuple(ARTICLES), ROOT / "docs" / "pictures" / "cpu.png")
    estimator_picture.draw(
        read("estimators")["rows"], ROOT / "docs" / "pictures" / "estimators.png"
    )
    parallel_picture.draw(read("parallel"), ROOT / "docs" / "pictures" / "parallel.png")


def read(name: str) -> Result:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def sections() -> dict[str, str]:
    """Return the measured section of each page in Markdown."""
    names = ("cpu", "footprint", "layers", "training", "estimators", "parallel")
    results = {name: read(name) for name in names}
    return {"README.md": summary(**results), "docs/measured.md": details(**results)}


def summary(cpu: Result, footprint: Result, layers: Result, **_: Result) -> str:
    """Return the most telling numbers, those where others are faster included."""
    lines = [
        f"On one core of an {cpu['environment']['processor']}, in float32, with the compiled core.",
        "Training and inference have T = 256, B = 16 and H = 64; streaming steps have B = 1.",
        "",
        f"| | rnnx on NumPy | torch {cpu['environment']['versions']['torch']} | fastest rival |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in speeds(cpu)),
        *(f"| {' | '.join(row)} |  |" for row in beside_torch(cpu, footprint, layers)),
        "",
        "The fastest rival's time divided by ours; above 1, rnnx is faster:",
        "",
        "![Ratios by cell, shape and number of threads](docs/pictures/cpu.png)",
        "",
        *slower(cpu),
    ]
    return "\n".join(lines) + "\n"


def speeds(cpu: Result) -> Iterator[tuple[str, ...]]:
    """Yield what is measured, our time, torch's and that of the fastest rival."""
    known = {"threads": 1, "shape": [256, 16, 64, 64]}
    for run, what in (("training step", "training"), ("inference", "inference")):
        for cell, row in by_cell(cpu["rows"], run=what, **known).items():
            yield f"{run} of {ARTICLES[cell]} {cell}, µs per time step", *timed(row["us"])
    for cell, row in by_cell(cpu["step"], H=64).items():
        yield f"one streaming step of {ARTICLES[cell]} {cell}, µs", *timed(row["us"])


def beside_torch(cpu: Result, footprint: Result, layers: Result) -> Iterator[tuple[str, str, str]]:
    """Yield what is measured, our number and torch's."""
    ragged, cache = by_cell(cpu["ragged"], threads=1)["GRU"], by_cell(layers["cache"])["LSTM"]
    ms, processor = footprint["import_ms"], footprint["environment"]["processor"]
    yield (
        "training a ragged batch (GRU), relative to a padded one",
        f"{ragged['rnnx ragged / padded']:.2f}",
        f"{ragged['torch packed / padded']:.1f}",
    )
    yield (
        "kept for BPTT (LSTM), numbers per unit and step",
        f"{cache['rnnx']:.1f}",
        f"{cache['torch']:.1f}",
    )
    yield (
        f"import, ms more than NumPy, on an {processor}",
        f"{added(footprint):.0f}",
        f"{ms['torch'] - ms['numpy']:,.0f}",
    )


def slower(cpu: Result) -> list[str]:
    """Say at how many points of the grid a rival is faster, by kind of run."""
    counts = [
        f"{sum(r['ratio'] < 1 for r in rows)} of {len(rows)} points in {kind}"
        for kind in KINDS
        for rows in [pick(cpu["rows"], run=kind)]
    ]
    return [
        f"A rival is faster at {' and '.join(counts)}.",
        *APART,
    ]


def details(
    cpu: Result,
    footprint: Result,
    layers: Result,
    training: Result,
    estimators: Result,
    parallel: Result,
) -> str:
    """Return all the tables."""
    lines = [
        *against_rivals(cpu),
        *other_layers(cpu),
        *streams_and_ragged(cpu, by_cell(layers["cache"])),
        *fitting(training),
        *parallel_report.section(parallel),
        *estimator_report.section(estimators),
        "## Import",
        "",
        f"`import rnnx` takes {added(footprint):.0f} ms more than `import numpy`, on an "
        f"{footprint['environment']['processor']}.",
    ]
    return "\n".join(lines) + "\n"


def against_rivals(cpu: Result) -> list[str]:
    """Return how the layers are compared, and the grid of ratios."""
    machine, versions = cpu["environment"], cpu["environment"]["versions"]
    return [
        "## One layer against its rivals",
        "",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, NumPy "
        f"{versions['numpy']}, torch {versions['torch']}, JAX {versions['jax']}, Keras "
        f"{versions['keras']} on JAX,",
        f"ONNX Runtime {versions['onnxruntime']}, float32. All libraries run in turn on the same "
        "weights and data, and are first",
        "checked to compute the same numbers. A training step is the forward pass and BPTT to the",
        "gradients with respect to x and all parameters. torch, JAX (`jit` and `scan`) and Keras",
        "run training steps. torch, JAX and ONNX Runtime run inference.",
        "",
        "![Ratios by cell, shape and number of threads](pictures/cpu.png)",
        "",
        "Each number is the fastest rival's time divided by ours. Above 1, rnnx is faster. The",
        "last two columns give the rate of our training step, relative to the best matrix product",
        f"of NumPy, torch and JAX in the same run ({rates(cpu)}).",
        *slower(cpu),
        "",
        "| cell | T, B, I, H | training, 1 thread | 2 threads | inference, 1 thread | 2 threads "
        "| rate, 1 thread | 2 threads |",
        "|---|---|---|---|---|---|---|---|",
        *grid(cpu),
        "",
    ]


def other_layers(cpu: Result) -> list[str]:
    """Return the means over the grid, and the layers with more weights."""
    return [
        "Geometric means over these shapes of each library's time divided by ours. *Portable* is",
        "our core without compiled code.",
        "",
        "| run | threads | cell | fastest rival | torch | JAX | Keras | ONNX Runtime | portable |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(mean_row, cpu["means"]),
        "",
        "Two stacked layers and two directions, at (T, B, I, H) = (256, 16, 64, 64), without",
        "Keras:",
        "",
        "| cell | | training, 1 thread | 2 threads | inference, 1 thread | 2 threads |",
        "|---|---|---|---|---|---|",
        *stacked(cpu),
        "",
    ]


def streams_and_ragged(cpu: Result, cache: dict[str, Result]) -> list[str]:
    """Return the steps of streams, and the ragged batches."""
    return [
        "One streaming step from Python (B = 1, I = 8, one thread), in microseconds:",
        "",
        "| cell | H | rnnx | torch's cell | ONNX Runtime |",
        "|---|---|---|---|---|",
        *(
            f"| {r['cell']} | {r['H']} | {r['us']['rnnx']:.1f} | {r['us']['torch']:.1f} "
            f"| {r['us']['onnxruntime']:.1f} |"
            for r in cpu["step"]
        ),
        "",
        "Training steps on ragged batches, at (256, 16, 64, 64) with lengths between T/2 and T.",
        "What is kept for BPTT is in units of T·B·H numbers.",
        "",
        "| cell | threads | ragged / padded | torch packed / padded | torch packed / ours | kept "
        "| torch keeps |",
        "|---|---|---|---|---|---|---|",
        *(ragged_row(r, cache[r["cell"]]) for r in cpu["ragged"]),
        "",
    ]


def fitting(training: Result) -> list[str]:
    """Return the times of training to an accuracy."""
    return [
        "## Training with `rnnx.train.fit`",
        "",
        "Processor seconds until a held-out accuracy is reached, on NumPy with one thread. The",
        "rivals' times are multiples of ours. The numbers in brackets leave out the time before",
        "the first epoch, which JAX spends compiling. Model, optimizer and batches are alike, and",
        "initial weights are drawn as Keras draws them.",
        f"The machine is an {training['environment']['processor']}.",
        "",
        "| | accuracy | rnnx, s | torch | Keras on torch | Keras on JAX |",
        "|---|---|---|---|---|---|",
        *map(partial(training_row, training["runs"]), TRAININGS),
        "",
        "At (T, B, I, H) = (100, 32, 16, 64), a step of a plain loop, which calls the same layers,",
        f"loss and optimizer, takes {loop_takes(training)} times as long as one of `fit`.",
        "",
    ]


def by_cell(rows: list[Result], **facts: Any) -> dict[str, Result]:
    """Return each cell's row in which all of these facts hold."""
    return {r["cell"]: r for r in pick(rows, **facts)}


def timed(us: dict[str, float]) -> tuple[str, str, str]:
    """Return our time, torch's, and that of the fastest rival with its name."""
    rivals = {name: t for name, t in us.items() if not name.startswith("rnnx")}
    fastest = min(rivals, key=rivals.__getitem__)
    return f"{us['rnnx']:.1f}", f"{us['torch']:.1f}", f"{us[fastest]:.1f} ({NAMES[fastest]})"


def rates(cpu: Result) -> str:
    found = (
        f"{max(m['gflops'].values()):.0f} GFLOP/s on {m['threads']} thread{'s'[: m['threads'] - 1]}"
        for m in cpu["machine"]
    )
    return ", ".join(found)


def columns(rows: list[Result]) -> list[str]:
    """Return the ratios of one line with the rivals' names: training, inference; 1, 2 threads."""
    found = {(r["run"], r["threads"]): r for r in rows}
    keys = [(run, threads) for run in KINDS for threads in THREADS]
    return [
        f"{r['ratio']:.2f} ({NAMES[r['fastest rival']]})" if r else "not run"
        for r in map(found.get, keys)
    ]


def grid(cpu: Result) -> list[str]:
    lines = []
    shapes = dict.fromkeys(tuple(r["shape"]) for r in cpu["rows"])
    for cell, shape in product(ARTICLES, shapes):
        rows = pick(cpu["rows"], cell=cell, shape=list(shape))
        rate = {r["threads"]: r["of the product rate"] for r in pick(rows, run="training")}
        cells = [*columns(rows), *(f"{100 * rate[n]:.0f} %" if n in rate else "" for n in THREADS)]
        lines.append(f"| {cell} | {', '.join(map(str, shape))} | {' | '.join(cells)} |")
    return lines


def stacked(cpu: Result) -> list[str]:
    rows = cpu["stacked"]
    return [
        f"| {cell} | {form} | " + " | ".join(columns(pick(rows, cell=cell, form=form))) + " |"
        for cell, form in dict.fromkeys((r["cell"], r["form"]) for r in rows)
    ]


def mean_row(mean: Result) -> str:
    keys = ("torch", "jax", "keras", "onnxruntime", "rnnx portable")
    found = [mean.get(f"{name} / rnnx") for name in keys]
    cells = [mean["ratio"], *found]
    texts = ["" if value is None else f"{value:.1f}" for value in cells]
    return f"| {mean['run']} | {mean['threads']} | {mean['cell']} | {' | '.join(texts)} |"


def ragged_row(ragged: Result, cache: Result) -> str:
    cells = (
        f"{ragged['rnnx ragged / padded']:.2f}",
        f"{ragged['torch packed / padded']:.1f}",
        f"{ragged['ratio']:.1f}",
        f"{cache['rnnx']:.1f}",
        f"{cache['torch']:.1f}",
    )
    return f"| {ragged['cell']} | {ragged['threads']} | {' | '.join(cells)} |"


def training_row(runs: list[dict[str, Any]], run: tuple[str, str, float]) -> str:
    problem, cell, target = run
    found = {r["rival"]: r for r in runs if (r["problem"], r["cell"]) == (problem, cell)}
    key, ours = f"s to {target}", found["rnnx"]
    cells = [
        f"{found[name][f'{key} / rnnx']:.1f} ({found[name][f'{key}, set up / rnnx']:.1f})"
        for name in ("torch", "Keras on torch", "Keras on JAX")
    ]
    return f"| {problem}, {cell} | {target} | {ours[key]:.2f} | {' | '.join(cells)} |"


def loop_takes(training: Result) -> str:
    """Return a plain loop's time per step divided by that of `fit`, by cell."""
    return ", ".join(f"{r['cell']} {1 - r['beside a loop']:.2f}" for r in training["added"])


def added(footprint: dict[str, Any]) -> float:
    return float(footprint["import_ms"]["rnnx"] - footprint["import_ms"]["numpy"])


if __name__ == "__main__":
    main()
