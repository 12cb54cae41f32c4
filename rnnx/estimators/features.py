"""What the network of a classifier or regressor reads of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnx.estimators import amplitudes
from rnnx.estimators.amplitudes import Amplitudes
from rnnx.estimators.base import RecurrentEstimator
from rnnx.estimators.reading import inputs, values
from rnnx.estimators.reading.forms import each, framed, time_major
from rnnx.networks.deployed import Deployed, inner_layers


class Features(RecurrentEstimator):
    """The part of `SequenceEstimator` that scales sequences, and fills and frames their steps."""

    per_step: bool
    scale: str
    missing: str

    mean_: np.ndarray  # (F,)
    scale_: np.ndarray  # (F,)
    _missing: list[int]  # features with an indicator

    def _outputs(self) -> int:
        """Return the number of outputs of the network."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "indicator"
        return tags

    def _sizes(self) -> tuple[int, int]:
        F = inputs.features_of(self)
        features = (3 * F if self.chosen_["scale"] == "sequence" else F) + len(self._missing)
        return features * self.chosen_["frame"], self._outputs()

    def _check_fitted(self) -> None:
        super()._check_fitted()
        features = inputs.features_of(self)
        if (self._missing and self.missing == "error") or max(self._missing, default=0) >= features:
            raise ValueError(f"_missing cannot be {self._missing!r:.80}")

    def _arrays(self) -> dict[str, int]:
        F = inputs.features_of(self)
        own = F if self.chosen_["scale"] == "sequence" else 0
        beside = {"_unit_scale": own, "_level_mean": 2 * own, "_level_scale": 2 * own}
        return dict.fromkeys(("mean_", "scale_"), F) | beside

    def _choose_scale(self, rows: Any) -> str:
        """Return the scale that these sequences ask for."""
        differ = not self.per_step and amplitudes.differ(rows)
        return "sequence" if differ else "standard"

    def _learn_amplitudes(self, rows: Any) -> None:
        """Learn the levels and spreads of sequences that are scaled one by one."""
        found = Amplitudes(*[np.zeros(0)] * 3)
        if self.chosen_["scale"] == "sequence":
            found = Amplitudes.of(rows)
        self._unit_scale, self._level_mean, self._level_scale = found

    def _deployed(self) -> Deployed:
        self._check_is_fitted()
        if self.chosen_["frame"] > 1:
            raise ValueError(
                f"the network reads frames of {self.chosen_['frame']} steps, and can be exported "
                "where it reads single steps: fit with frame=1"
            )
        if self.chosen_["scale"] == "sequence":
            raise ValueError(
                "the network reads sequences that are scaled as a whole, and can be exported where "
                'it reads single steps: fit with scale="standard"'
            )
        if self._missing:
            raise ValueError(
                f"features {self._missing} have indicators of missing values, which cannot be "
                "exported: fit without NaN"
            )
        return Deployed(inner_layers(self.model_), before=(self.mean_, self.scale_))

    def _scaled(self, rows: Any) -> Any:
        """Return the features as the network reads them, in frames, time-major."""
        if self.chosen_["scale"] == "sequence":
            known = Amplitudes(self._unit_scale, self._level_mean, self._level_scale)
            scaled = known.scaled(rows, self._dtype)
        else:
            known = each(lambda x: np.where(np.isnan(x), self.mean_, x), rows)
            scaled = values.scaled("X", known, self.mean_, self.scale_, self._dtype)
        if self._missing:
            scaled = values.with_indicators(rows, scaled, self._missing)
        return time_major(framed(scaled, self.chosen_["frame"]))
