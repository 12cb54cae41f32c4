"""How a forecaster works: choices by the data, a linear path, windows, a network, intervals."""
