"""The states of NumPy's random generators, as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from rnnx.io.header import natural

KINDS: dict[str, Any] = {
    name: getattr(np.random, name) for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
}
# NumPy does not check these, and reads beyond its buffer where a position is too large
_LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1}


def encoded(state: Any) -> Any:
    """Return the state of one of NumPy's bit generators as JSON can hold it."""
    if state["bit_generator"] not in KINDS:
        raise ValueError(
            f"a checkpoint needs one of NumPy's bit generators, {', '.join(KINDS)}, got "
            f"{state['bit_generator']}: give such a seed"
        )
    return json.loads(json.dumps(state, default=lambda values: values.tolist()))


def decoded(state: Any) -> dict[str, Any]:
    """Return the state that `encoded` was given, checked entry by entry."""
    kind = state.get("bit_generator") if isinstance(state, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"bit_generator must be one of {', '.join(KINDS)}, got {kind!r:.80}")
    found: dict[str, Any] = _like(KINDS[kind](0).state, state, "state")
    return found


def restored(rng: np.random.Generator, state: dict[str, Any]) -> np.random.Generator:
    """Return the generator in this state; a new one if the state is of another kind."""
    kind = state["bit_generator"]
    if rng.bit_generator.state["bit_generator"] != kind:
        rng = np.random.Generator(KINDS[kind](0))
    rng.bit_generator.state = state
    return rng


def _like(model: Any, state: Any, name: str) -> Any:
    """Return a state from JSON, which must have the form of this one."""
    if isinstance(model, dict) and isinstance(state, dict) and model.keys() == state.keys():
        return {key: _like(part, state[key], key) for key, part in model.items()}
    if isinstance(model, np.ndarray) and isinstance(state, list) and len(state) == model.size:
        largest = int(np.iinfo(model.dtype).max)
        if all(natural(v, largest) for v in state):
            return np.asarray(state, dtype=model.dtype)
    if isinstance(model, str) and state == model:
        return state
    if isinstance(model, int) and natural(state, _LARGEST.get(name, 2**128 - 1)):
        return state
    raise ValueError(f"{name!r} of a bit generator has the wrong form or is out of range")
