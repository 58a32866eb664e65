"""Posteriors of several graphs as those of one, whole or as sound comes in.

Members that want the same features share them: at hundreds of streams the front end is the larger
part of the work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aimass.audio.resample import Resampler
from aimass.base.contract import Samples
from aimass.base.errors import BundleError
from aimass.decoding.combine import combined, decided
from aimass.features.spec import FeatureSpec, Frames
from aimass.runtime.graph import FrontStream, LogProbs, RowStream, StreamingGraph
from aimass.runtime.panel import Panel
from aimass.text.tokens import LabelSet, TokenSet

NEVER = -100.0
"""The log-probability of all but a blank where a member has no more rows."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Graphs over the same outputs, in the order of a panel's seats.

    Args:
        rate: of the sound that comes in.
        stop_early: whether members are no longer asked once a label is decided.

    Raises:
        BundleError: tokens at different frame rates.
    """

    panel: Panel
    graphs: tuple[StreamingGraph, ...]
    symbols: TokenSet | LabelSet
    rate: int
    stop_early: bool = True

    def __post_init__(self) -> None:
        steps = {round(graph.frame_seconds, 6) for graph in self.graphs}
        if isinstance(self.symbols, TokenSet) and len(steps) > 1:
            told = ", ".join(f"{step:g} s" for step in sorted(steps))
            raise BundleError(
                f"members of '{self.panel.name}' give rows every {told}",
                expected="one frame rate",
                fix="Combine them by voting",
            )

    @property
    def frame_seconds(self) -> float:
        """Time between two rows."""
        return self.graphs[0].frame_seconds

    @property
    def tail(self) -> float:
        """Seconds of silence behind the last sample: as the member wants that wants most."""
        return max(graph.graph.tail for graph in self.graphs)

    def log_probs(self, samples: Samples) -> LogProbs:
        """The rows of a whole recording; of labels the last."""
        stream = PooledStream(self)
        rows = [stream.accept(samples), stream.finish()]
        found = np.concatenate([part for part in rows if len(part)] or rows[:1])
        return found[-1:] if isinstance(self.symbols, LabelSet) else found

    def label_row(self, samples: Samples) -> LogProbs:
        """The row that decides a label, shape ``(1, labels)``.

        Members are not asked once the others cannot change the label any more. Then it is the
        row of those that decided: its label is that of all, its probability what they know,
        whatever the number of threads. A `PooledStream` hears all members to the end, so its
        probability is that of all.
        """
        if not self.stop_early:
            return self.log_probs(samples)
        frames: dict[FeatureSpec, Frames] = {}

        def ready(members: Sequence[int]) -> None:
            self.prepare(samples, members, frames)

        def row(number: int) -> LogProbs:
            graph = self.graphs[number]
            return RowStream(graph).finish(frames[graph.features])[-1:]

        def enough(rows: Mapping[int, LogProbs]) -> bool:
            return decided(rows, self.panel.combination)

        return self.mean(self.panel.ask_until(row, enough, ready))

    def prepare(
        self, samples: Samples, members: Sequence[int], frames: dict[FeatureSpec, Frames]
    ) -> None:
        """Add the frames of a whole recording that members want to those that are there."""

        def whole(spec: FeatureSpec) -> Frames:
            front = _Front(spec, self.rate)
            return np.concatenate([front.accept(samples), front.finish(self.tail)])

        specs = sorted({self.graphs[n].features for n in members} - set(frames), key=repr)
        frames.update(zip(specs, self.panel.team.map(whole, specs), strict=True))

    def filled(self, rows: LogProbs | None, count: int) -> LogProbs:
        """So many rows of tokens of a member that ends a little before another: blanks follow."""
        assert isinstance(self.symbols, TokenSet)
        silent = np.full((count, self.symbols.size), NEVER, np.float32)
        silent[:, self.symbols.blank] = 0.0
        return silent if rows is None else np.concatenate([rows, silent[len(rows) :]])

    def mean(self, rows: Mapping[int, LogProbs]) -> LogProbs:
        """Rows of the same shape, by member, as one."""
        members = sorted(rows)
        return combined([rows[n] for n in members], self.panel.only(members))


class PooledStream:
    """One speaker's sound on its way through graphs.

    Args:
        members: whose graphs; all that are heard when None.
        keep: remember the rows of each member, which `kept` gives.
    """

    def __init__(
        self, pool: Pool, members: Sequence[int] | None = None, keep: bool = False
    ) -> None:
        self._pool = pool
        heard = pool.panel.heard if members is None else members
        wanted = {pool.graphs[n].features for n in heard}
        self._fronts = {spec: _Front(spec, pool.rate) for spec in sorted(wanted, key=repr)}
        self._graphs = {n: RowStream(pool.graphs[n]) for n in heard}
        self._waiting: dict[int, list[LogProbs]] = {n: [] for n in heard}
        self._kept: dict[int, list[LogProbs]] | None = {n: [] for n in heard} if keep else None

    def accept(self, samples: Samples) -> LogProbs:
        """The rows that new samples complete in every member; of labels the newest."""
        frames = self._frames(lambda front: front.accept(samples))
        if not any(len(own) for own in frames.values()):
            return np.empty((0, 0), np.float32)
        self._hear(lambda n: self._graphs[n].accept(frames[self._pool.graphs[n].features]))
        return self._ready(ended=False)

    def finish(self) -> LogProbs:
        """The rows that were waiting, and those of the silent tail."""
        tail = self._pool.tail
        frames = self._frames(lambda front: front.finish(tail))
        self._hear(lambda n: self._graphs[n].finish(frames[self._pool.graphs[n].features]))
        return self._ready(ended=True)

    @property
    def kept(self) -> dict[int, LogProbs]:
        """The rows so far of each member that did not fail; of labels the newest."""
        rows = self._kept or {}
        return {n: np.concatenate(rows[n]) for n in self._graphs if rows.get(n)}

    def _keep(self, before: list[LogProbs], rows: LogProbs) -> None:
        if isinstance(self._pool.symbols, LabelSet):
            before[:] = [rows[-1:]]
        else:
            before.append(rows)

    def _frames(self, work: "Callable[[_Front], Frames]") -> dict[FeatureSpec, Frames]:
        found = self._pool.panel.team.map(work, list(self._fronts.values()))
        return dict(zip(self._fronts, found, strict=True))

    def _hear(self, work: Callable[[int], LogProbs]) -> None:
        """Keep each member's next rows; one that fails is out of this stream."""
        found = self._pool.panel.ask(work, list(self._graphs))
        for lost in set(self._graphs) - set(found):
            del self._graphs[lost], self._waiting[lost]
        for number, rows in found.items():
            if len(rows):
                self._waiting[number].append(rows)
                if self._kept is not None:
                    self._keep(self._kept[number], rows)

    def _ready(self, ended: bool) -> LogProbs:
        rows = {n: np.concatenate(own) for n, own in self._waiting.items() if own}
        if isinstance(self._pool.symbols, LabelSet):
            return self._newest(rows, ended)
        lengths = [len(rows.get(n, ())) for n in self._waiting]
        count = max(lengths) if ended else min(lengths)
        if not count:
            return np.empty((0, 0), np.float32)
        if ended:
            rows = {n: self._pool.filled(rows.get(n), count) for n in self._waiting}
        self._waiting = {n: [own[count:]] if len(own) > count else [] for n, own in rows.items()}
        return self._pool.mean({n: own[:count] for n, own in rows.items()})

    def _newest(self, rows: dict[int, LogProbs], ended: bool) -> LogProbs:
        """The last row of each member, once all have one."""
        if not rows or (len(rows) < len(self._waiting) and not ended):
            return np.empty((0, 0), np.float32)
        newest = {n: own[-1:] for n, own in rows.items()}
        self._waiting = {n: [own] for n, own in newest.items()}
        return self._pool.mean(newest)


class _Front:
    """A front end behind the change of rate that it needs."""

    def __init__(self, spec: FeatureSpec, rate: int) -> None:
        same = rate == spec.sample_rate
        self._resampler = None if same else Resampler(rate, spec.sample_rate)
        self._frames = FrontStream(spec)

    def accept(self, samples: Samples) -> Frames:
        if self._resampler is not None:
            samples = self._resampler.accept(samples)
        return self._frames.accept(samples)

    def finish(self, tail: float) -> Frames:
        if self._resampler is None:
            return self._frames.finish(tail)
        rest = self._frames.accept(self._resampler.finish()[0])
        return np.concatenate([rest, self._frames.finish(tail)])
