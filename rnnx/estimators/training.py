"""How the estimators train: what the data chooses, several networks, and warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, ClassVar, Self
from warnings import warn

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from rnnx import io
from rnnx.data import Sequences
from rnnx.estimators import budget, ensemble
from rnnx.layers.base import UNDRAWN
from rnnx.networks.fitted import RecurrentModel
from rnnx.optim import Adam, AdamW, Constant, Cosine
from rnnx.parallel.stages import Stages
from rnnx.train import History, Run, fit

SHORT = 20  # updates: nobody expects that fewer have learned anything


class Training(RecurrentModel):
    """The part of `RecurrentEstimator` that trains; the options are there."""

    epochs: int | str  # type: ignore[assignment]
    max_epochs: int
    min_updates: int
    schedule: str
    weight_decay: float
    random_state: Any
    _stages: Stages  # of this call of `fit`, in all processes that train together

    _converged: ClassVar[float]  # fraction of the first epoch's loss at which training may end
    _cross_validates: ClassVar[bool] = False  # whether folds are trained first

    def _begin(self, sequences: int, steps: float, *, alone: bool, **known: Any) -> None:
        """Choose what the options leave to the data, and make a network with random weights.

        `steps` is the mean number that the network reads of each of the sequences. With `alone`,
        there will be no second network. `known` are choices that were made before.
        """
        self._forget()
        self.chosen_ = {"n_estimators": 1} | known | self._structure(steps)
        self._share("_rng", "chosen_")
        self.model_ = self._network(self._rng)
        self.n_iter_ = 0
        size = sum(prod(w.shape) for w in self.model_.params.values())
        passes = self.num_layers * (1 + bool(self.chosen_.get("bidirectional")))
        steps = steps / self.chosen_.get("frame", 1)
        self._work = budget.Work(sequences, steps, size, passes)
        self.chosen_ |= self._training(alone)

    def _share(self, *names: str) -> None:
        """Take attributes from rank 0: rounding may differ between machines, choices must not."""
        mine = {name: getattr(self, name) for name in names}
        vars(self).update(self._stages.from_root(mine))

    def _structure(self, steps: float) -> dict[str, Any]:
        """Return the options of the network, chosen for sequences of so many steps."""
        return {}

    def _training(self, alone: bool) -> dict[str, Any]:
        """Return the options of the training, chosen by the work that it is."""
        work = self._work
        batch = self._given("batch_size", lambda: budget.batch_size(work.sequences))
        fraction = self._given(
            "validation_fraction", lambda: 0.1 * (work.sequences >= budget.ENOUGH)
        )
        self._check_patience(fraction)
        work = work._replace(sequences=work.sequences - int(fraction * work.sequences))
        limits = self.min_updates, self.max_epochs
        epochs = self._given("epochs", lambda: budget.epochs(work, batch, *limits))
        patience = budget.patience(epochs) if fraction and self.epochs == "auto" else None
        return {
            "batch_size": batch,
            "validation_fraction": fraction,
            "epochs": epochs,
            "patience": self._given("patience", lambda: patience),
            "n_estimators": 1 if alone else self._networks(batch, epochs),
        }

    def _networks(self, batch_size: int, epochs: int) -> int:
        """Return the number of networks to average."""
        affordable = budget.networks(self._work, batch_size, epochs) if self._merges() else 1
        found: int = self._given("n_estimators", lambda: affordable)
        return found

    def _merges(self) -> bool:
        """Return whether networks with this cell can be merged to one."""
        return isinstance(self.cell, str) and self.cell in ensemble.MERGED

    def _given(self, name: str, otherwise: Callable[[], Any]) -> Any:
        """Return an option, or what is chosen where it is "auto"."""
        value = getattr(self, name)
        return otherwise() if isinstance(value, str) and value == "auto" else value

    def _now(self, name: str) -> Any:
        """Return an option of this call, or what the last `fit` chose where it is "auto"."""
        return self._given(name, lambda: self.chosen_[name])

    def _forget(self) -> None:
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self._rng = np.random.default_rng(seed)
        self._opt_state, self.history_ = None, History()
        self.histories_ = [self.history_]

    def _learn(
        self,
        data: Sequences,
        held_out: Sequences | None,
        epochs: int,
        loss: Callable[..., Any],
        metrics: Mapping[str, Any],
    ) -> Self:
        """Train the network from where it is; if it is new, with others beside it, as one."""
        if self.verbose and not self.n_iter_ and self._stages.leads:
            print(self._plan_in_words())
        self.histories_ = [self._train(self.model_, data, held_out, epochs, loss, metrics)]
        if not self.n_iter_ and self._copies() > 1:
            members = [self.model_]
            while len(members) < self._copies():
                members.append(self._network(self._rng))
                self._opt_state = None
                history = self._train(members[-1], data, held_out, epochs, loss, metrics)
                self.histories_.append(history)
            self._opt_state = None  # the merged network has none yet
            self.model_ = self._merged(members)
        self.history_ = self.histories_[0]
        self.n_iter_ += max(len(history["epoch"]) for history in self.histories_)
        return self

    def _train(
        self,
        model: Any,
        data: Sequences,
        held_out: Sequences | None,
        epochs: int,
        loss: Callable[..., Any],
        metrics: Mapping[str, Any],
    ) -> History:
        """Train one network."""
        n = len(data.x) if isinstance(data.x, list) else data.x.shape[1]
        batch_size = self._now("batch_size")
        steps = epochs * -(-n // batch_size)
        until_converged = held_out is None and self.epochs == "auto" and epochs > 1

        def after(run: Run) -> None:
            self._opt_state = run.carry.opt_state
            losses = run.history["loss"]
            if until_converged and losses[-1] < self._converged * losses[0]:
                run.stop("converged")

        with self._stages.together():
            return fit(
                model,
                data,
                loss=loss,
                optimizer=_Continued(self, self._opt_state),
                epochs=epochs,
                validation=held_out,
                batch_size=batch_size,
                metrics=metrics,
                clip_norm=self.clip_norm,
                schedule=Cosine(steps) if self.schedule == "cosine" and epochs > 1 else Constant(),
                patience=None if held_out is None else self._now("patience"),
                callbacks=[after],
                progress=bool(self.verbose),
                seed=self._rng,
                comm=self._stages.comm,
            )

    def _warn(self, n: int, what: str, chance: float) -> None:
        """Warn where the training cannot have learned anything."""
        if not self._stages.leads:
            return
        loss = min(float(history["loss"].min()) for history in self.histories_)
        ways = "give more epochs, another learning_rate or other features"
        if self.histories_[0]["step"][-1] < SHORT:
            return
        if n == 1:
            warn(f"learned from a single {what}: give more data", ConvergenceWarning, stacklevel=4)
        elif loss >= chance:
            warn(
                f"the training loss, {loss:.4g}, is not below {chance:.4g}, that of a "
                f"constant answer: {ways}", ConvergenceWarning, stacklevel=4,
            )  # fmt: skip

    def _merged(self, members: list[Any]) -> Any:
        """Return the network that averages these."""
        bk = members[0].backend
        parts = [{k: bk.to_numpy(w) for k, w in member.params.items()} for member in members]
        network = self._network(UNDRAWN, len(members))
        joined = ensemble.merged(parts, self.hidden_size)
        return io.restore_layer(network.config(), joined, bk)

    def _plan_in_words(self) -> str:
        """Return what was chosen, in a line."""
        chosen = ", ".join(
            f"{name}={value!r}"
            for name, value in self.chosen_.items()
            if str(getattr(self, name)) == "auto"
        )
        return (
            f"{type(self).__name__}: {chosen or 'nothing'} chosen by the data; training takes "
            f"about {self._seconds():.0f} s of one CPU core, or less"
        )

    def _seconds(self) -> float:
        """Return an estimate of the time that all networks take."""
        batch, epochs = self.chosen_["batch_size"], self.chosen_["epochs"]
        one = budget.seconds(self._work, batch, epochs)
        folds = 2 * self._cross_validates  # three, each of two thirds of the sequences
        return one * (self._copies() + folds)


class _Continued:
    """An optimizer that goes on from the state of an earlier training."""

    def __init__(self, options: Training, state: Any) -> None:
        rate, decay = options.learning_rate, options.weight_decay
        self._optimizer = AdamW(rate, weight_decay=decay) if decay else Adam(rate)
        self.learning_rate, self.update, self._state = rate, self._optimizer.update, state

    def init(self, params: Any) -> Any:
        """Return the state before the first step of this training."""
        return self._optimizer.init(params) if self._state is None else self._state
