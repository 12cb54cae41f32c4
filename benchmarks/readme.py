"""Write README's measured section from `results/cpu.json` and `results/footprint.json`.

python benchmarks/readme.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def main() -> None:
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + section() + END + rest.split(END)[1])


def section() -> str:
    """Return the section in Markdown."""
    cpu, footprint = (
        json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
        for name in ("cpu", "footprint")
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


def worst(cpu: dict[str, Any]) -> float:
    return max(float(row["largest_relative_error"]["rnnx"]) for row in cpu["rows"])


def lengths(cpu: dict[str, Any]) -> str:
    return ", ".join(f"{row['training']:.1f} µs at T = {row['T']:,}" for row in cpu["by_length"])


def added(footprint: dict[str, Any]) -> float:
    return float(footprint["import_ms"]["rnnx"] - footprint["import_ms"]["numpy"])


if __name__ == "__main__":
    main()
