"""CuPy's device rules, proven without a GPU on a simulated CuPy that has two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "simulated"


def test_everything_stays_on_the_asked_gpu_and_off_the_host() -> None:
    """On GPU 1 with GPU 0 current: each result there, no peer access, no read-back, the values."""
    path = os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, FOLDER / "program.py"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "all on GPU 1"
