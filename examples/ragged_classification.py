"""Recognise nine speakers by one vowel: sequences of any length with 12 channels.

The data are the Japanese vowels that sktime bundles: 270 utterances for training and 370 held out,
with 7 to 29 steps. The input is a list of arrays; nothing is padded by hand.

    python examples/ragged_classification.py --backend jax

M. Kudo, J. Toyama and M. Shimbo, "Multidimensional curve classification using passing-through
regions", Pattern Recognition Letters 20 (1999), 1103-1111, doi:10.1016/S0167-8655(99)00077-X.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import common
import numpy as np
from matplotlib.figure import Figure

from rnnx import plots

try:
    from sklearn.metrics import confusion_matrix
    from sktime.datasets import load_japanese_vowels

    from rnnx.estimators import RNNClassifier
except ImportError:
    common.fail("this example needs sktime: pip install 'rnnx[examples]'")

BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    start = time.perf_counter()
    options, backend = common.read(common.parser(__doc__, epochs=50), arguments)
    (X, y), (test_X, test_y) = read("train"), read("test")
    if options.steps:
        chosen = np.random.default_rng(options.seed).permutation(len(X))[: options.steps * BATCH]
        X, y = [X[i] for i in chosen], y[chosen]
    lengths = [len(x) for x in X]
    print(
        f"{len(X)} utterances of {min(lengths)} to {max(lengths)} steps, {X[0].shape[1]} channels"
    )

    classifier = RNNClassifier(
        64, dropout=0.5, epochs=options.epochs, batch_size=BATCH, n_estimators=1, backend=backend,
        random_state=options.seed, verbose=True,
    )  # fmt: skip
    classifier.fit(X, y)

    accuracy = classifier.score(test_X, test_y)
    seconds = time.perf_counter() - start
    print(
        f"held-out accuracy: {accuracy:.4f}, {round((1 - accuracy) * len(test_y))} of "
        f"{len(test_y)} wrong; wall time: {seconds:.1f} s"
    )
    figure = draw(classifier, test_X, test_y)
    common.save_figure(figure, options.out / "ragged_classification.png")
    first = float(classifier.history_.steps["loss"][0])
    return common.verdict(first, float(classifier.history_["loss"][-1]))


def read(split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return one split of the data: utterances (T_i, 12) and speakers."""
    frames, speakers = load_japanese_vowels(split, return_type="df-list")
    return [frame.to_numpy() for frame in frames], speakers


def draw(classifier: RNNClassifier, X: list[np.ndarray], y: np.ndarray) -> Figure:
    """Plot the learning curve, the confusion matrix, and the states during one utterance."""
    figure, (curves, who, states) = common.panels(
        ("", "", ""), ("Held-out utterances", "predicted speaker", "true speaker"), ("", "", "")
    )
    plots.learning_curves(classifier.history_, ax=curves)
    counts = confusion_matrix(y, classifier.predict(X), labels=classifier.classes_)
    who.grid(visible=False)
    who.imshow(np.sqrt(counts), cmap="Blues")
    ticks = np.arange(len(classifier.classes_))
    who.set_xticks(ticks, classifier.classes_)
    who.set_yticks(ticks, classifier.classes_)
    for (i, j), n in np.ndenumerate(counts):
        if n:
            who.text(j, i, str(n), ha="center", va="center", color="white" if i == j else "black")
    longest = max(X, key=len)
    gru = classifier.model_.layers[0]
    scaled = (longest - classifier.mean_) / classifier.scale_
    _, _, cache = gru.forward(scaled[:, None], masks={})
    plots.hidden_states(gru.backend.to_numpy(gru.states(cache)["h_l0"]), ax=states)
    states.set_title("Hidden states over the longest utterance")
    return figure


if __name__ == "__main__":
    sys.exit(main())
