"""What a resumed run has in common with its checkpoint, and a process with that of rank 0."""

from __future__ import annotations

import re
from typing import Any


def of(model: Any, described: list[Any], settings: Any) -> dict[str, Any]:
    """Return what makes a run beside the model: its options and data, which describe themselves."""
    data, validation = described
    return {
        "dtype": model.backend.dtype_name,
        "data": data,
        "validation": validation,
        "loss": name_of(settings.objective.loss),
        "metrics": {k: name_of(metric) for k, metric in settings.objective.metrics.items()},
        "order of metrics": [*settings.objective.metrics],
        "optimizer": name_of(settings.optimizer),
        "schedule": name_of(settings.schedule),
        "batch_size": settings.batch_size,
        "shuffle": settings.shuffle,
        "clip_norm": settings.clip_norm,
    }


def differences(path: str, now: Any, then: Any, here: str, there: str) -> list[str]:
    """Return where two setups differ, in words."""
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        now, then = (dict(enumerate(part)) for part in (now, then))
    if isinstance(now, dict) and isinstance(then, dict):
        parts = [
            differences(f"{path}.{k}".lstrip("."), now.get(k), then.get(k), here, there)
            for k in {**now, **then}
        ]
        return [line for part in parts for line in part]
    return [] if now == then else [f"{path}: {now!s:.80} {here}, {then!s:.80} {there}"]


def in_short(differences: list[str]) -> str:
    """Return the first of the differences, and how many more there are."""
    more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
    return "; ".join(differences[:3]) + more


def name_of(function: Any) -> str:
    """Return what tells a function from others; it is the same in every process."""
    text = str(getattr(function, "__qualname__", None) or repr(function))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)  # such as in a functools.partial
