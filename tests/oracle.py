"""The oracle of every gradient: complex-step differentiation, on NumPy alone.

For an analytic f, ``Im f(x + ih) / h`` is the derivative to rounding for tiny h, as nothing is
subtracted (Squire and Trapp, SIAM Review 40 (1998), 110-112, doi:10.1137/S003614459631241X). The
functions under test run on complex arrays as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
H = 1e-30


def complex_step(loss: Callable[[dict[str, Any]], Any], arguments: Arrays) -> dict[str, np.ndarray]:
    """Return the derivative of a scalar function of named arrays by every entry of each."""
    derivatives = {}
    for name, value in arguments.items():
        derivative = np.empty(value.shape)
        for index in np.ndindex(value.shape):
            shifted = value.astype(complex)
            shifted[index] += 1j * H
            derivative[index] = np.imag(loss({**arguments, name: shifted})) / H
        derivatives[name] = derivative
    return derivatives


def check(
    loss: Callable[[dict[str, Any]], Any],
    arguments: Arrays,
    gradients: Mapping[str, Any],
    tolerance: float = 1e-12,
) -> None:
    """Assert that `gradients` are the complex-step derivatives, and that none of them is zero."""
    assert gradients.keys() == arguments.keys()
    for name, exact in complex_step(loss, arguments).items():
        actual, scale = np.asarray(gradients[name]), np.abs(exact).max()
        assert actual.shape == exact.shape, f"d{name}: shape {actual.shape}, not {exact.shape}"
        assert scale > 0, f"d{name} is zero: this case proves nothing"
        error = np.abs(actual - exact).max() / scale
        assert error <= tolerance, f"d{name}: relative error {error:.2e}"
