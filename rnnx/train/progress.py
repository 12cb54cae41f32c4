"""The progress bar, drawn by tqdm."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


class Bar:
    """Sequences done, sequences per second, loss and metrics; nothing if tqdm is missing."""

    def __init__(self, shown: bool, total: int, done: int) -> None:
        self._bar: Any = None
        if shown:
            with suppress(ImportError):
                from tqdm.auto import tqdm

                self._bar = tqdm(total=total, initial=done, unit="seq", dynamic_ncols=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def advance(self, sequences: int) -> None:
        """Count sequences."""
        if self._bar is not None:
            self._bar.update(sequences)

    def show(self, values: dict[str, float]) -> None:
        """Show values beside the bar."""
        if self._bar is not None:
            hidden = ("epoch", "step", "seconds", "learning_rate")
            shown = {k: f"{v:.4g}" for k, v in values.items() if k not in hidden}
            self._bar.set_postfix(shown, refresh=False)
