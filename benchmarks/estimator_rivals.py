"""The rivals of `RNNClassifier` and `RNNRegressor`, for `estimators.py`.

A rival learns a problem from a seed and returns a function from sequences to predictions. Rivals
that need sequences of equal length get ragged ones resampled, by linear interpolation, to the
longest training sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from estimator_sets import Labelled
from estimator_torch import gru, moments

Rows = list[np.ndarray]
Predict = Callable[[Rows], np.ndarray]
ALPHAS = np.logspace(-3, 3, 13)  # of ridge regressions, by leave-one-out
UNITS, LEAK, RADIUS = 200, 0.3, 0.9  # of the echo state network
SHORTEST = 9  # steps that MiniRocket needs


def nearest(problem: Labelled, seed: int) -> Predict:
    """Return the target of the nearest training sequence, by the Euclidean distance."""
    from scipy.spatial.distance import cdist

    T = longest(problem)
    known = even(problem.x, T)
    return lambda rows: problem.y[cdist(even(rows, T), known).argmin(1)]


def nearest_warped(problem: Labelled, seed: int) -> Predict:
    """Return the target of the nearest training sequence, by dynamic time warping.

    All channels are warped together, without a limit. Sequences that are near by the Euclidean
    distance come first, so that most of the others are given up early.
    """
    from dtaidistance.dtw_ndim import distance_fast
    from scipy.spatial.distance import cdist

    T = longest(problem)
    known = [np.ascontiguousarray(row) for row in problem.x]

    def find(row: np.ndarray, order: np.ndarray) -> int:
        found, least = order[0], None
        for i in order:
            distance = distance_fast(row, known[i], max_dist=least)
            if least is None or distance < least:
                found, least = i, distance
        return found

    def predict(rows: Rows) -> np.ndarray:
        orders = cdist(even(rows, T), even(known, T)).argsort(1)
        pairs = zip(map(np.ascontiguousarray, rows), orders, strict=True)
        return problem.y[[find(row, order) for row, order in pairs]]

    return predict


def linear(problem: Labelled, seed: int) -> Predict:
    """Logistic or ridge regression on all values of a sequence."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    classifies = problem.task == "classification"
    T = longest(problem)
    model = LogisticRegression(max_iter=5000) if classifies else RidgeCV(ALPHAS)
    return on_features(problem, model, lambda rows: even(rows, T))


def echo_state(problem: Labelled, seed: int) -> Predict:
    """Ridge regression on the mean and the last state of a random network."""
    run, (mean, scale) = reservoir(seed), moments(np.concatenate(problem.x))

    def features(rows: Rows) -> np.ndarray:
        states = [run((row - mean) / scale) for row in rows]
        return np.stack([np.concatenate([state.mean(0), state[-1]]) for state in states])

    return on_features(problem, ridge(problem), features)


def mini_rocket(problem: Labelled, seed: int) -> Predict:
    """Ridge regression on 10,000 random convolutions' features."""
    from sktime.transformations.rocket import MiniRocketMultivariate

    T = max(longest(problem), SHORTEST)

    def channels_first(rows: Rows) -> np.ndarray:
        return even(rows, T).reshape(len(rows), T, -1).swapaxes(1, 2)

    rocket = MiniRocketMultivariate(random_state=seed).fit(channels_first(problem.x))
    features = lambda rows: rocket.transform(channels_first(rows)).to_numpy()  # noqa: E731
    return on_features(problem, ridge(problem), features)


def on_features(problem: Labelled, model: Any, features: Callable[[Rows], np.ndarray]) -> Predict:
    """Fit a linear model to standardized features."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), model).fit(features(problem.x), problem.y)
    return lambda rows: fitted.predict(features(rows))


def ridge(problem: Labelled) -> Any:
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV

    return (RidgeClassifierCV if problem.task == "classification" else RidgeCV)(ALPHAS)


def reservoir(seed: int, leak: float = LEAK) -> Callable[[np.ndarray], np.ndarray]:
    """Return the states (T, units) of a random network as a function of its input (T, F)."""
    from reservoirpy.nodes import Reservoir

    node = Reservoir(UNITS, lr=leak, sr=RADIUS, seed=seed)

    def run(x: np.ndarray) -> np.ndarray:
        states = node.run(x)
        node.reset()
        return states

    return run


def longest(problem: Labelled) -> int:
    return max(map(len, problem.x))


def even(rows: Rows, T: int) -> np.ndarray:
    """Return sequences (T_i, F), resampled to T steps, as a table (n, T·F)."""
    if all(len(row) == T for row in rows):
        return np.stack(rows).reshape(len(rows), -1)
    found = [
        [
            np.interp(np.linspace(0, len(row) - 1, T), np.arange(len(row)), channel)
            for channel in row.T
        ]
        for row in rows
    ]
    return np.asarray(found).swapaxes(1, 2).reshape(len(rows), -1)


RIVALS = {
    "1-NN": nearest,
    "1-NN DTW": nearest_warped,
    "linear": linear,
    "torch GRU": gru,
    "echo state": echo_state,
    "MiniRocket": mini_rocket,
}
