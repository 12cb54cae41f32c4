"""Write the measured sections of README.md and docs/measured.md from the result files.

python benchmarks/readme.py
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TRAININGS = [  # problem, cell, accuracy
    ("digits", "RNN", 0.97),
    ("digits", "GRU", 0.97),
    ("digits", "LSTM", 0.97),
    ("vowels", "GRU", 0.95),
]
Result = dict[str, Any]
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def main() -> None:
    for name, text in sections().items():
        page = ROOT / name
        before, rest = page.read_text().split(BEGIN)
        page.write_text(before + BEGIN + text + END + rest.split(END)[1])


def sections() -> dict[str, str]:
    """Return the measured section of each page in Markdown."""
    results = {
        name: json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
        for name in ("cpu", "footprint", "layers", "training")
    }
    return {"README.md": summary(**results), "docs/measured.md": details(**results)}


def summary(cpu: Result, footprint: Result, layers: Result, training: Result) -> str:
    """Return the most telling numbers, those where others are faster included."""
    shape = [256, 16, 64, 64]
    rnn = next(row for row in cpu["rows"] if (row["shape"], row["threads"]) == (shape, 1))
    dense = {row["cell"]: row for row in layers["dense"] if row["T, B, I, H"] == shape}
    per_step = {"RNN": (rnn["training"]["rnnx"], rnn["training"]["torch"])} | {
        cell: (1e3 * row["rnnx, ms"] / shape[0], 1e3 * row["torch, ms"] / shape[0])
        for cell, row in dense.items()
    }
    ragged = {row["cell"]: row for row in short(layers["ragged"])}
    cache = {row["cell"]: row for row in layers["cache"]}
    step = {row["cell"]: row for row in layers["step"]}
    ms = footprint["import_ms"]
    rows = [
        *(
            (f"training step of {article} {cell}, µs per time step", *map("{:.0f}".format, pair))
            for (cell, pair), article in zip(per_step.items(), ("an", "a", "an"), strict=True)
        ),
        (
            "training a ragged batch (GRU), relative to a padded one",
            f"{ragged['GRU']['rnnx ratio']:.2f}",
            f"{ragged['GRU']['torch ratio']:.1f}",
        ),
        (
            "kept for BPTT (LSTM), numbers per unit and step",
            f"{cache['LSTM']['rnnx']:.1f}",
            f"{cache['LSTM']['torch']:.1f}",
        ),
        (
            "one streaming step (GRU), µs",
            f"{step['GRU']['rnnx (I,)']:.0f}",
            f"{step['GRU']['torch cell']:.0f}",
        ),
        (
            "import, ms more than NumPy",
            f"{ms['rnnx'] - ms['numpy']:.0f}",
            f"{ms['torch'] - ms['numpy']:,.0f}",
        ),
    ]
    lines = [
        f"On one core of an {cpu['environment']['processor']}, in float32. Training steps have "
        "T = 256, B = 16 and H = 64.",
        "",
        f"| | rnnx on NumPy | torch {cpu['environment']['versions']['torch']} |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        "torch's LSTM is compiled (oneDNN); ours on NumPy is not.",
    ]
    return "\n".join(lines) + "\n"


def details(cpu: Result, footprint: Result, layers: Result, training: Result) -> str:
    """Return all the tables."""
    machine, versions = cpu["environment"], cpu["environment"]["versions"]
    lines = [
        "## The tanh RNN",
        "",
        "One training step is the forward pass and BPTT to all weight gradients, in float32 on",
        "NumPy. Times are in microseconds per time step. All rivals run in turn, on the same data.",
        "",
        "| T, B, I, H | threads | rnnx | torch.nn.RNN | JAX | torch / rnnx | JAX / rnnx |",
        "|---|---|---|---|---|---|---|",
        *map(row, cpu["rows"]),
        "",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, NumPy "
        f"{versions['numpy']}, torch {versions['torch']}, JAX {versions['jax']}.",
        "JAX compiles the whole loop and is faster where a step is small. It is also a backend.",
        f"The largest error of our float32 gradients is {worst(cpu):.0e} of the largest entry.",
        "A time step at B = 1 and I = H = 32 costs",
        f"{lengths(cpu)}.",
        "",
        "## The layers",
        "",
        "Float32, one thread. The first two columns give the time to train a ragged batch",
        "(T = 1000, B = 32, H = 64, lengths between T/2 and T) relative to a padded one. The next",
        "two give what is kept for BPTT, in units of T·B·H numbers. The last two give the time of",
        "one streaming step (B = 1, I = 8, H = 64) in microseconds.",
        "",
        "| | ragged / padded | torch packed / padded | kept | torch | step | torch's cell |",
        "|---|---|---|---|---|---|---|",
        *map(layer_row, layers["cache"], layers["step"], short(layers["ragged"])),
        "",
        "Training steps of dense batches, torch's time divided by ours, at (T, B, I, H):",
        "",
        *dense(layers),
        "",
        "torch's LSTM is compiled (oneDNN); ours on NumPy is not.",
        "",
        "## Training with `rnnx.train.fit`",
        "",
        "Processor seconds until a held-out accuracy is reached, on NumPy with one thread. The",
        "rivals' times are multiples of ours. The numbers in brackets leave out the time before",
        "the first epoch, which JAX spends compiling. Model, optimizer and batches are alike.",
        "",
        "| | accuracy | rnnx, s | torch | Keras on torch | Keras on JAX |",
        "|---|---|---|---|---|---|",
        *map(partial(training_row, training["runs"]), TRAININGS),
        "",
        "`fit` makes a step at (T, B, I, H) = (100, 32, 16, 64) slower than a plain loop by",
        f"{fit_adds(training)}.",
        "",
        "## Import",
        "",
        f"`import rnnx` takes {added(footprint):.0f} ms more than `import numpy`.",
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


def dense(layers: dict[str, Any]) -> list[str]:
    return [
        f"- {cell}: "
        + "; ".join(
            f"{tuple(row['T, B, I, H'])} {row['torch / rnnx']:.1f}"
            for row in layers["dense"]
            if row["cell"] == cell
        )
        for cell in ("GRU", "LSTM")
    ]


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
