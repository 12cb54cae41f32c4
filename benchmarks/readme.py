"""Write README's measured section from the CPU's result files.

python benchmarks/readme.py
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TRAININGS = [  # problem, cell, accuracy
    ("digits", "RNN", 0.97),
    ("digits", "GRU", 0.97),
    ("digits", "LSTM", 0.97),
    ("vowels", "GRU", 0.95),
]
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def main() -> None:
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + section() + END + rest.split(END)[1])


def section() -> str:
    """Return the section in Markdown."""
    cpu, footprint, layers, training = (
        json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
        for name in ("cpu", "footprint", "layers", "training")
    )
    machine, versions = cpu["environment"], cpu["environment"]["versions"]
    lines = [
        "The tanh RNN's training step (forward and BPTT to all weight gradients, float32, on",
        "NumPy), in microseconds per time step; each rival in the same run on the same numbers:",
        "",
        "| T, B, I, H | threads | rnnx | torch.nn.RNN | JAX | torch / rnnx | JAX / rnnx |",
        "|---|---|---|---|---|---|---|",
        *map(row, cpu["rows"]),
        "",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, NumPy "
        f"{versions['numpy']}, torch {versions['torch']}, JAX {versions['jax']}.",
        "JAX, which compiles the whole loop, is ahead where a step is small; here it is a backend.",
        f"The largest error of our float32 gradients is {worst(cpu):.0e} of the largest entry.",
        "A step at B = 1, I = H = 32 costs",
        f"{lengths(cpu)}.",
        "",
        "The layers, float32 on one thread: training a ragged batch (T = 1000, B = 32, H = 64,",
        "lengths between T/2 and T) as a multiple of the padded one's time; what is kept for BPTT,",
        "in units of T·B·H numbers; one step of a stream (B = 1, I = 8, H = 64) in microseconds.",
        "",
        "| | ragged / padded | torch packed / padded | kept | torch | step | torch's cell |",
        "|---|---|---|---|---|---|---|",
        *map(layer_row, layers["cache"], layers["step"], short(layers["ragged"])),
        "",
        "Dense training steps of the GRU and the LSTM, torch's time over ours, at (T, B, I, H):",
        f"{dense(layers)}.",
        "torch's LSTM is oneDNN's, compiled; ours on NumPy is not.",
        "",
        "Training with `rnnx.train.fit` on NumPy, one thread: the seconds of the processor until a",
        "held-out accuracy is reached, as multiples of ours; in brackets without what comes before",
        "the first epoch, which for JAX is compiling. Model, optimizer and batches are alike.",
        "",
        "| | accuracy | rnnx, s | torch | Keras on torch | Keras on JAX |",
        "|---|---|---|---|---|---|",
        *map(partial(training_row, training["runs"]), TRAININGS),
        "",
        "What `fit` adds to a step of (T, B, I, H) = (100, 32, 16, 64), beside a plain loop:",
        f"{fit_adds(training)}.",
        "",
        f"`import rnnx` takes {added(footprint):.0f} ms more than `import numpy`. "
        "`make bench` prints all of it for your machine.",
    ]
    return "\n".join(lines) + "\n"


def row(result: dict[str, Any]) -> str:
    ours, torch, jax = (result["training"][name] for name in ("rnnx", "torch", "jax"))
    return (
        f"| {', '.join(map(str, result['shape']))} | {result['threads']} "
        f"| {ours:.1f} | {torch:.1f} | {jax:.1f} | {torch / ours:.1f} | {jax / ours:.1f} |"
    )


def short(ragged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in ragged if row["T"] == 1000]


def layer_row(cache: dict[str, Any], step: dict[str, Any], ragged: dict[str, Any]) -> str:
    ours = f"{ragged['rnnx ratio']:.2f} | {ragged['torch ratio']:.1f}"
    kept = f"{cache['rnnx']:.1f} | {cache['torch']:.1f}"
    steps = f"{step['rnnx (I,)']:.1f} | {step['torch cell']:.1f}"
    return f"| {cache['cell']} | {ours} | {kept} | {steps} |"


def dense(layers: dict[str, Any]) -> str:
    return "; ".join(
        f"{row['cell']} {tuple(row['T, B, I, H'])} {row['torch / rnnx']:.1f}"
        for row in layers["dense"]
    )


def training_row(runs: list[dict[str, Any]], run: tuple[str, str, float]) -> str:
    problem, cell, target = run
    found = {r["rival"]: r for r in runs if (r["problem"], r["cell"]) == (problem, cell)}
    key, ours = f"s to {target}", found["rnnx"]
    cells = [
        f"{found[name][f'{key} / rnnx']:.1f} ({found[name][f'{key}, set up / rnnx']:.1f})"
        for name in ("torch", "Keras on torch", "Keras on JAX")
    ]
    return f"| {problem}, {cell} | {target} | {ours[key]:.2f} | {' | '.join(cells)} |"


def fit_adds(training: dict[str, Any]) -> str:
    return ", ".join(
        f"{row['cell']} {100 * row['beside a loop']:.0f} %" for row in training["added"]
    )


def worst(cpu: dict[str, Any]) -> float:
    return max(float(row["largest_relative_error"]["rnnx"]) for row in cpu["rows"])


def lengths(cpu: dict[str, Any]) -> str:
    return ", ".join(f"{row['training']:.1f} µs at T = {row['T']:,}" for row in cpu["by_length"])


def added(footprint: dict[str, Any]) -> float:
    return float(footprint["import_ms"]["rnnx"] - footprint["import_ms"]["numpy"])


if __name__ == "__main__":
    main()
