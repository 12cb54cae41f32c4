"""Time torch.nn.RNN, GRU and LSTM against the same with our BPTT, `rnnx.interop.torch.Module`.

python benchmarks/torch_module.py [--seconds S] [--threads N]

Both run in one process and take turns, on the CPU, with the same weights: a training step (forward
and backward of Σ y²) and inference under no_grad. A ratio is torch's time divided by ours.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from common import environment, interleaved, write

import rnnx
from rnnx.interop.torch import Module

CELLS = ("RNN", "GRU", "LSTM")
SHAPES = [(20, 4, 8, 16), (50, 32, 64, 128), (256, 16, 64, 64)]  # T, B, I, H


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for each line")
    parser.add_argument("--threads", type=int, default=1, help="threads of both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rnnx.set_num_threads(options.threads)
    lines = []
    print("cell   T, B, I, H         job            torch, ms   ours, ms   ratio")
    for cell in CELLS:
        for shape in SHAPES:
            for job, times in measured(cell, shape, options.seconds).items():
                ratio = times["torch"] / times["rnnx"]
                lines.append({"cell": cell, "shape": shape, "job": job, "seconds": times})
                theirs, ours = (1e3 * times[name] for name in ("torch", "rnnx"))
                print(f"{cell:6} {shape!s:18} {job:12} {theirs:11.3f}{ours:11.3f}{ratio:8.2f}")
    about = environment(("rnnx", "torch", "numpy")) | {"threads": options.threads}
    write("torch_module", {"environment": about, "lines": lines})
    return 0


def measured(cell: str, shape: tuple[int, ...], seconds: float) -> dict[str, dict[str, float]]:
    """Return the seconds of both, by job."""
    T, B, I, H = shape
    ours, theirs = Module(getattr(rnnx, cell)(I, H, seed=0)), getattr(torch.nn, cell)(I, H)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(T, B, I)

    def train(module: Any) -> Any:
        y, _ = module(x)
        y.square().sum().backward()
        return y

    def infer(module: Any) -> Any:
        with torch.no_grad():
            return module(x)[0]

    torch.testing.assert_close(train(ours), train(theirs), atol=1e-5, rtol=0)
    return {
        job: interleaved(
            {"torch": lambda do=do: do(theirs), "rnnx": lambda do=do: do(ours)}, seconds=seconds
        )
        for job, do in {"training": train, "inference": infer}.items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
