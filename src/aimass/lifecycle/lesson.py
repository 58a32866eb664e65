"""What a student learns beside labels, as plain values that another process can take."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from aimass.base.contract import Engine, Progress
from aimass.base.errors import DataError, TrainingError
from aimass.lifecycle import said
from aimass.lifecycle.said import Told
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.registry.bundle import TOKENS
from aimass.registry.massive import digest_of, voice_of
from aimass.runtime.load import Model, open_model
from aimass.runtime.massive import as_it_is, whole
from aimass.text.tokens import LabelSet, TokenSet
from aimass.training.distil import Alternatives, DistilSpec
from aimass.training.graphs import Certain, gives_posteriors, posteriors_of
from aimass.training.passes import Passes
from aimass.training.teacher import Lessons, Teacher

By = Literal["posteriors", "answers"]


@dataclass(frozen=True)
class Lesson:
    """A teacher and what it teaches by.

    Args:
        teacher: where its name leads.
        digest: what pins it.
        by: its posteriors of every pass, or its answers to clips.
        heard: folder of the stage `said`.
        store: where what it says of passes is kept.
        home: where the pretrained members of a massive model are.
    """

    teacher: Model
    digest: str
    by: By
    spec: DistilSpec
    heard: Path
    store: Path
    home: Path

    @property
    def inputs(self) -> list[Any]:
        """What decides what a student learns from it."""
        return [self.digest, self.by, self.spec.to_dict(), self.heard.name]

    @property
    def lineage(self) -> dict[str, Any]:
        """For the bundle of a student."""
        about = {"teacher": self.teacher.name, "digest": self.digest, "by": self.by}
        return about | self.spec.to_dict()

    @cached_property
    def told(self) -> list[Told]:
        """The clips that nobody labelled, and those that are, where the teacher answered."""
        return said.read(self.heard / said.FILE)

    @property
    def unlabelled(self) -> list[Told]:
        """The clips that nobody labelled; none where the label is all that counts."""
        return [one for one in self.told if not one.clip.text] if self.spec.alpha else []

    def symbols(self, spelled: TokenSet | LabelSet) -> TokenSet | LabelSet:
        """What the student's outputs stand for: where posteriors teach, what the teacher's do.

        Args:
            spelled: those of the data.

        Raises:
            TrainingError: a teacher that does not know what the data says.
        """
        if self.by == "answers" or self.teacher.kind != "bundle":
            return spelled
        bundle = bundles.load_outside(self.teacher.folder)
        if isinstance(spelled, TokenSet) or TOKENS in bundle.manifest.files:
            own = bundle.symbols()
        else:
            return spelled
        if type(own) is not type(spelled) or set(spelled.symbols) - set(own.symbols):
            unknown = sorted(set(spelled.symbols) - set(own.symbols))
            raise TrainingError(
                f"the teacher '{self.teacher.name}' does not know {unknown[:5]}",
                expected="a teacher of this task that was trained on the same labels or tokens",
                fix="Choose another teacher, or set targets: answers",
            )
        return own

    def lessons(
        self, passes: Passes, symbols: TokenSet | LabelSet, progress: Progress
    ) -> Lessons | None:
        """What the teacher says of passes; None where its answers teach, or nothing does."""
        if self.by == "answers" or not self.spec.alpha:
            return None
        return Lessons(passes, self._opened(symbols), self.store, self.spec.keep, progress)

    def answers(self, symbols: TokenSet | LabelSet) -> dict[str, Alternatives]:
        """The teacher's answers by clip, where these teach; without what cannot be written."""
        if self.by == "posteriors":
            return {}
        found = {}
        for one in self.told:
            each = [(encoded(symbols, text), share) for text, share in one.answers]
            kept = [(targets, share) for targets, share in each if targets]
            total = sum(share for _, share in kept)
            if kept:
                found[one.clip.id] = tuple((targets, share / total) for targets, share in kept)
        return found

    def _opened(self, symbols: TokenSet | LabelSet) -> Teacher:
        if self.teacher.kind == "bundle":
            bundle = bundles.load_outside(self.teacher.folder)
            if gives_posteriors(bundle):
                return posteriors_of(self.teacher.folder)
        if isinstance(symbols, LabelSet):
            return Certain(opened(self.teacher, self.home), self.digest, symbols)
        return posteriors_of(self.teacher.folder)  # which says why it gives none


def encoded(symbols: TokenSet | LabelSet, text: str) -> tuple[int, ...]:
    """The targets of an answer; none where the student cannot write it."""
    try:
        return tuple(symbols.encode(text))
    except DataError:
        return ()


def pinned(teacher: Model) -> str:
    """The digest of what a teacher says."""
    if teacher.kind == "bundle":
        return voice_of(bundles.load_outside(teacher.folder))
    return digest_of(pretrained.verify(teacher.folder))


def opened(teacher: Model, home: Path) -> Engine:
    """The engine of a teacher: a massive model with every member, however its dial is set here."""
    return as_it_is(whole(open_model(teacher, home=home)))
