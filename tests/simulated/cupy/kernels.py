"""Kernels in CUDA C, built for the CPU by `cuda_on_cpu.hpp` and run there."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

SEED = int(os.environ.get("RNNX_SEED", "0"))  # of the order in which threads run
HEADER = Path(__file__).parents[1] / "cuda_on_cpu.hpp"
SIGNATURE = re.compile(
    r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\((.*?)\)\s*\{', re.S
)
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
WITHOUT_ASKING = 48 * 1024  # bytes of dynamic shared memory of a block


class RawModule:
    """A source, compiled when its first kernel runs."""

    def __init__(
        self, *, code: str, options: Sequence[str] = (), enable_cooperative_groups: bool = False
    ) -> None:
        self.code, self.options = code, tuple(options)
        self.together = enable_cooperative_groups

    def get_function(self, name: str) -> RawKernel:
        """Return a kernel of the source."""
        return RawKernel(self, name)


class Function:
    """What the driver knows a kernel by."""

    def __init__(self) -> None:
        self.ptr = id(self)


class RawKernel:
    """A kernel of a module."""

    num_regs, local_size_bytes = 64, 0

    def __init__(self, module: RawModule, name: str) -> None:
        self.module, self.name = module, name
        self.kernel = Function()
        self.max_dynamic_shared_size_bytes = WITHOUT_ASKING

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *,
        shared_mem: int = 0,
    ) -> None:  # fmt: skip
        """Run the kernel to its end."""
        import cupy

        (blocks,), (threads,) = grid, block
        card = cupy.cuda.Device().attributes
        limit = min(self.max_dynamic_shared_size_bytes, card["MaxSharedMemoryPerBlockOptin"])
        if shared_mem > limit or threads > 1024 or blocks < 1:
            raise RuntimeError(f"{self.name}: invalid argument: {grid}, {block}, {shared_mem} B")
        if self.module.together:
            fit = occupancy(self.kernel.ptr, threads, shared_mem)
            if not card["CooperativeLaunch"] or blocks > fit * card["MultiProcessorCount"]:
                raise RuntimeError(f"{self.name}: {blocks} blocks are not resident together")
        cupy.cuda.get_current_stream().run()
        cupy.LAUNCHES.append((self.name, cupy.cuda.Device().id, cupy.cuda.get_current_stream().ptr))
        run = getattr(_built(self.module.code, self.module.options), f"launch_{self.name}")
        run.restype = ctypes.c_char_p
        values = (ctypes.c_longlong * len(args))(*map(_value, args))
        why = run(values, blocks, threads, ctypes.c_size_t(shared_mem), SEED)
        if why:
            raise RuntimeError(f"{self.name}: {why.decode()}")


def occupancy(function: int, threads: int, shared: int) -> int:
    """Return the blocks that are resident on one multiprocessor."""
    import cupy

    card = cupy.cuda.Device().attributes
    if shared > card["MaxSharedMemoryPerBlockOptin"]:
        return 0
    return int(min(2048 // threads, card["MaxSharedMemoryPerMultiprocessor"] // (shared + 1024)))


def compiler() -> str | None:
    """Return the C++ compiler, if there is one."""
    return shutil.which(os.environ.get("CXX", "")) or shutil.which("c++")


def _value(argument: Any) -> int:
    if not hasattr(argument, "_host"):
        return int(argument)
    import cupy

    if argument.device.id != cupy.cuda.Device().id:
        cupy.EVENTS.append("peer")
    return int(argument.data.ptr)


@lru_cache(maxsize=1024)
def _built(code: str, options: tuple[str, ...]) -> Any:
    """Return a source's library; built once for all processes of a user."""
    tool = compiler()
    if tool is None:
        raise RuntimeError("kernels on the CPU need a C++ compiler: install one, or set CXX")
    flags = ["-std=c++17", "-O1", "-w", "-shared", "-fPIC"]
    flags += [option for option in options if option.startswith("-D")]
    flags += SANITIZERS if os.environ.get("RNNX_SANITIZE") else []
    launchers = "".join(_launcher(*found.groups()) for found in SIGNATURE.finditer(code))
    text = "\n".join([HEADER.read_text(), code, launchers])
    name = hashlib.sha256("\n".join([tool, *flags, text]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"cuda-on-cpu-{getpass.getuser()}"
    library = folder / f"{name}.so"
    if not library.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        source, made = (folder / f"{name}-{os.getpid()}{end}" for end in (".cpp", ".so"))
        source.write_text(text)
        subprocess.run([tool, *flags, str(source), "-o", str(made)], check=True)
        source.unlink()
        made.replace(library)
    return ctypes.CDLL(str(library))


def _launcher(name: str, parameters: str) -> str:
    """Return the C++ function that gives a kernel its arguments, 8 bytes each, and launches it."""
    kinds = [re.sub(r"\w+$", "", p.strip()).strip() for p in parameters.split(",")]
    given = ", ".join(f"({kind})a[{k}]" for k, kind in enumerate(kinds))
    return (
        f"static void run_{name}(const long long* a) {{ {name}({given}); }}\n"
        f'extern "C" const char* launch_{name}(const long long* a, unsigned blocks, unsigned '
        "threads, std::size_t shared, unsigned seed) {\n"
        f"  return cpu::launch(run_{name}, a, blocks, threads, shared, seed);\n}}\n"
    )
