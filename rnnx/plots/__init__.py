"""Plots of training, hidden states, gradients, weights and forecasts. Needs Matplotlib.

Every function draws in the Axes `ax` and returns it. By default, it makes a figure with
`matplotlib.pyplot`: a notebook shows it, ``plt.show()`` opens a window, and
``ax.figure.savefig(path)`` writes it. If Matplotlib only draws to files, as on a machine without a
display, pyplot keeps just the last figure of each function, so that figures do not pile up.

Pass NumPy arrays or lists. To plot an array on a device, call `to_numpy` of its backend first.
"""

from rnnx.plots.network import eigenvalues, gradient_norms, hidden_states
from rnnx.plots.training import forecast, learning_curves

__all__ = ["eigenvalues", "forecast", "gradient_norms", "hidden_states", "learning_curves"]
