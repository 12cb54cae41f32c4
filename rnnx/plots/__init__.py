"""Plots of training, hidden states, gradients, weights and forecasts. Needs Matplotlib.

Every function draws in the Axes `ax`, by default of a new figure, and returns it. Pass NumPy arrays
or lists; for an array on a device, call `to_numpy` of its backend first. Without a display, pyplot
keeps only the last figure of each function; save it with ``ax.figure.savefig(path)``.
"""

from rnnx.plots.network import eigenvalues, gradient_norms, hidden_states
from rnnx.plots.training import forecast, learning_curves

__all__ = ["eigenvalues", "forecast", "gradient_norms", "hidden_states", "learning_curves"]
