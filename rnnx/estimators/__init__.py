"""Estimators with scikit-learn's conventions: arrays in, predictions out, no loop to write."""

try:
    import sklearn  # noqa: F401
except ImportError:
    raise ImportError("rnnx.estimators needs scikit-learn: pip install 'rnnx[sklearn]'") from None

from rnnx.estimators.classifier import RNNClassifier
from rnnx.estimators.forecaster import RNNForecaster
from rnnx.estimators.regressor import RNNRegressor

__all__ = ["RNNClassifier", "RNNForecaster", "RNNRegressor"]
