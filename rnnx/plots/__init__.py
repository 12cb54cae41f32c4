"""Pictures of training, of a network's inside, of forecasts; needs Matplotlib.

Every function takes `ax`, the Axes to draw in, and returns it. Without one it makes a figure with
`matplotlib.pyplot`: a notebook shows it, ``plt.show()`` opens a window, and
``ax.figure.savefig(path)`` writes it. Where Matplotlib draws for files only, as Agg does on a
machine without a display, nobody closes such figures: there, pyplot keeps the last one of each
function, and an earlier one lives as long as its Axes is held.

Numbers come as NumPy arrays or lists. For an array on a device, call `to_numpy` of its backend.
"""

from rnnx.plots.network import eigenvalues, gradient_norms, hidden_states
from rnnx.plots.training import forecast, learning_curves

__all__ = ["eigenvalues", "forecast", "gradient_norms", "hidden_states", "learning_curves"]
