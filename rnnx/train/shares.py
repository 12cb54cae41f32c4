"""What each of several processes has of the data: its part of every mini-batch, or its streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rnnx.data import Batch, Layout, Whole
from rnnx.data.sequences import SequenceSource, arranged
from rnnx.data.stream import StreamSource
from rnnx.parallel import Team, together
from rnnx.train import setup


def compare(
    team: Team, model: Any, described: list[Any], settings: Any, *, resume: bool, sharded: bool
) -> None:
    """Raise ValueError in all processes unless all have the model, data and options of rank 0."""
    if sharded:
        described = [words and f"with {next(iter(words))}" for words in described]
    try:
        config = model.config()
    except ValueError:  # a cell of one's own, which has no name
        config = {name: list(w.shape) for name, w in model.params.items()}
    mine = setup.of(model, described, settings) | {"model": config, "resume": bool(resume)}
    named = ("epochs", "patience", "min_delta", "keep_best", "checkpoint_every")
    mine |= {name: getattr(settings, name) for name in named}
    mine |= {"sharded": bool(sharded), "checkpoint_dir": "given" * settings.checkpoints}
    root = team.from_root(mine)
    with together(team):
        other = setup.differences("", mine, root, "here", "on rank 0")
        if other:
            raise ValueError(
                f"all processes must have the same model, data and options, got "
                f"{setup.in_short(other)}: give each the same, or with sharded=True its own part "
                "of the data"
            )


def shared(source: Any, team: Team, sharded: bool, described: dict[str, Any], name: str) -> Any:
    """Return this process's share of a source, which describes itself so; `name` is for errors.

    With `sharded`, the source is this process's own; else all processes have the same.
    """
    if sharded:
        described = {"processes": team.size, "each": team.gathered(described)}
    share: Any = None
    if source.stateful:
        share = StreamShare(source, team, sharded, name)
    else:
        share = SequenceShare(source, team, sharded)
    share.described = described
    return share


class Step(NamedTuple):
    """The sequences of the mini-batch of all processes, by number, and which this one has."""

    rows: np.ndarray
    columns: slice


class SequenceShare:
    """A process's share of sequences: every mini-batch is divided among the processes."""

    stateful = False
    described: dict[str, Any]  # by which a checkpoint knows the data of all processes

    def __init__(self, source: SequenceSource, team: Team, sharded: bool) -> None:
        self.source, self.sharded = source, sharded
        self.layout: Layout = source.layout
        self.rank, self.processes = team.rank, team.size
        tables = [(source.lengths, source.counts, source.ragged)]
        if sharded:
            tables = team.gathered(tables[0])
        self.sizes = [len(lengths) for lengths, _, _ in tables]
        self.first = sum(self.sizes[: self.rank]) if sharded else 0  # the number of its sequence 0
        self.lengths = np.concatenate([lengths for lengths, _, _ in tables])
        self.counts = np.concatenate([counts for _, counts, _ in tables])
        self.ragged = any(ragged for _, _, ragged in tables)
        self.size = len(self.lengths)

    def order(self, batch_size: int, rng: np.random.Generator | None) -> list[Step]:
        """Return the steps of an epoch: the same for every process, shuffled if `rng` is given."""
        if batch_size < self.processes:
            raise ValueError(
                f"batch_size must be at least {self.processes}, the number of processes, got "
                f"{batch_size}: it is that of all processes together"
            )
        if not self.sharded:
            everything, mine = np.arange(self.size), slice(self.rank, None, self.processes)
            batches = self.source.order(batch_size, rng)
            return [Step(everything[rows], mine) for rows in batches]
        count = -(-self.size // batch_size)
        dealt = [self._dealt(rank, count, rng) for rank in range(self.processes)]
        if rng is not None and self.ragged:
            turns = rng.permutation(count)
            dealt = [[batches[i] for i in turns] for batches in dealt]
        return [self._joined(parts) for parts in zip(*dealt, strict=True)]

    def batch(self, step: Step) -> Batch:
        """Return this process's part of a step's mini-batch.

        Where it has none, it gets a sequence that counts for nothing.
        """
        mine = step.rows[step.columns] - self.first
        batch = self.source.batch(mine if len(mine) else np.asarray([0]))
        longest, counted = self.lengths[step.rows].max(), self.counts[step.rows].sum()
        of = Whole(step.columns, int(longest), len(step.rows), float(counted))
        if not len(mine):
            batch = batch._replace(counted=0.0)
            of = of._replace(columns=slice(0, 1))
        return batch._replace(of=of)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield whole mini-batches, to measure a model on: every process has others."""
        order = self.source.order(batch_size, None)
        mine = order if self.sharded else order[self.rank :: self.processes]
        return map(self.source.batch, mine)

    def _dealt(self, rank: int, count: int, rng: np.random.Generator | None) -> list[np.ndarray]:
        """Return the sequences that a process has in each of so many steps, by number."""
        size, first = self.sizes[rank], sum(self.sizes[:rank])
        lengths = self.lengths[first : first + size]
        rows = arranged(lengths, self.ragged, -(-size // count), rng)
        later = rank * count // self.processes  # not all have one more in the same steps
        ends = (np.arange(1, count) * size + later) // count
        return np.split(rows + first, ends)

    def _joined(self, parts: tuple[np.ndarray, ...]) -> Step:
        """Return the step of all processes' sequences, by rank."""
        start = sum(map(len, parts[: self.rank]))
        return Step(np.concatenate(parts), slice(start, start + len(parts[self.rank])))


class StreamShare:
    """A process's share of a stream: some of the streams that lie side by side."""

    stateful = True
    described: dict[str, Any]  # by which a checkpoint knows the data of all processes

    def __init__(self, source: StreamSource, team: Team, sharded: bool, name: str) -> None:
        self.layout: Layout = source.layout
        if sharded:
            found = team.gathered((source.size, int(source.x.shape[0]), source.length))
            if len({form[1:] for form in found}) > 1:
                forms = ", ".join(f"{T} and {length}" for _, T, length in found)
                raise ValueError(
                    f"the streams of {name} must have as many steps and an equal length of chunks "
                    f"in all processes, got {forms}, by rank"
                )
            sizes = [size for size, _, _ in found]
            first, self.size = sum(sizes[: team.rank]), sum(sizes)
            self.source, self.columns = source, slice(first, first + source.size)
            return
        if source.size < team.size:
            raise ValueError(
                f"{name} must have a stream for each of the {team.size} processes, got "
                f"{source.size}: cut it into more with streams=, or start fewer processes"
            )
        self.size = source.size
        first, last = (self.size * rank // team.size for rank in (team.rank, team.rank + 1))
        self.columns = slice(first, last)
        self.source = source.narrowed(self.columns)

    def order(self, batch_size: int, rng: np.random.Generator | None) -> list[slice]:
        """Return the chunks, always in time order."""
        return self.source.order(batch_size, rng)

    def batch(self, part: slice) -> Batch:
        """Return a chunk of this process's streams."""
        batch = self.source.batch(part)
        counted = float(batch.steps * self.size)
        return batch._replace(of=Whole(self.columns, batch.steps, self.size, counted))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the chunks of this process's streams, to measure a model on them."""
        return self.source.batches(batch_size)
