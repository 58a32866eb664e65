"""Word voting over pretrained English engines: is the vote better than its best member?

    python benchmarks/bench_voting.py asterisk SOUNDS TRANSCRIPTS PATH/asterisk-en
    python benchmarks/bench_voting.py hear CACHE PATH/librispeech_other PATH/asterisk-en
    python benchmarks/bench_voting.py vote CACHE PATH/librispeech_other PATH/asterisk-en

``asterisk`` makes a folder with metadata.tsv of the prompts that the Debian packages
``asterisk-core-sounds-en-g722`` and ``asterisk-core-sounds-en`` hold (Allison Smith,
CC BY-SA 3.0)::

    apt-get download asterisk-core-sounds-en-g722 asterisk-core-sounds-en
    for package in asterisk-core-sounds-en*.deb; do dpkg-deb -x "$package" sounds; done
    python benchmarks/bench_voting.py asterisk sounds/usr/share/asterisk/sounds/en_US_f_Allison \\
        sounds/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz asterisk-en

``hear`` lets every model answer every clip once and keeps the answers, so that ``vote`` is quick.
Ways with fixed settings stand in the table as they are; the settings of the ways "chosen" are those
with the fewest errors on all other speakers, anew for each speaker.
"""

import argparse
import csv
import gzip
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from aimass.audio.segment import segments
from aimass.audio.types import Audio
from aimass.audio.voice import voice_activity
from aimass.base.contract import Engine, Hypothesis, RecognizeOptions, Samples, Segment, Word
from aimass.base.files import write_json
from aimass.data.corpus import Clip, Corpus, read
from aimass.data.sound import sound_of
from aimass.decoding.mbr import Candidate, candidates, choose, posteriors
from aimass.decoding.voting import VoteSpec, ballot, spoken, surest, vote
from aimass.evaluation.compare import Comparison, compare
from aimass.evaluation.errors import count_errors
from aimass.evaluation.scorecard import Scorecard, Scored, score
from aimass.evaluation.units import units
from aimass.runtime.load import load

HEARING = ("moonshine-tiny-en", "whisper-tiny.en", "whisper-base", "pocketsphinx")
MEMBERS = ("whisper-base", "whisper-tiny.en", "moonshine-tiny-en")
N_BEST = 10
RATE, LONGEST = 16000, 30.0
KEY = spoken("en")
FREQUENCY = VoteSpec(alpha=1)
NOTES = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>|\.\.\.")


def asterisk(sounds: Path, transcripts: Path, target: Path, every: int) -> None:
    """Write the prompts that are words, or some of them, as WAV files with their texts."""
    rows, number = [], 0
    with gzip.open(transcripts, "rt", encoding="utf-8") as lines:
        for line in lines:
            name, parted, text = line.partition(":")
            said = " ".join(NOTES.sub(" ", text).split())
            source = sounds / f"{name}.g722"
            if line.startswith(";") or not parted or not said or not source.is_file():
                continue
            number += 1
            if (number - 1) % every:
                continue
            path = target / "audio" / f"{name.replace('/', '-')}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            with av.open(str(source), format="g722") as container:
                frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            samples = np.concatenate(frames, axis=1)[0]
            soundfile.write(path, samples, 16000)
            rows.append((str(path.relative_to(target)), "allison", said, len(samples) / 16000))
    with (target / "metadata.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerows([("file", "speaker", "text", "duration"), *rows])
    print(f"{len(rows)} prompts, {sum(row[3] for row in rows) / 60:.1f} minutes")


def hear(cache: Path, corpora: list[Corpus], models: list[str]) -> None:
    """Keep what every model answers: what it would say alone, and its list of alternatives."""
    for model in models:
        engine = load(model)
        for corpus in corpora:
            path = kept(cache, corpus, model)
            answers = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            for number, clip in enumerate(corpus.clips):
                if clip.id in answers:
                    continue
                answers[clip.id] = [answered(engine, stretch) for stretch in stretches(clip)]
                if number % 20 == 0:
                    write_json(path, answers)
                    print(model, corpus.source, number, file=sys.stderr, flush=True)
            write_json(path, answers)
        engine.close()


def stretches(clip: Clip) -> Iterator[Samples]:
    """A clip as engines take it: cut at pauses where it is longer than they hear in one piece."""
    sound = [Audio(sound_of(clip, RATE)[None], RATE)]
    for stretch in segments(sound, max_seconds=LONGEST, voice=voice_activity()):
        yield stretch.samples


def answered(engine: Engine, samples: Samples) -> dict[str, Any]:
    begun = time.process_time()
    alone = engine.recognize(samples, RecognizeOptions())
    work = time.process_time() - begun
    timed = RecognizeOptions(language="en", word_times=True)
    several = getattr(engine, "n_best", None)
    lists = several(samples, timed, N_BEST) if several else (engine.recognize(samples, timed),)
    return {
        "alone": plain(alone),
        "work": work,
        "seconds": len(samples) / RATE,
        "n_best": [plain(one) for one in lists],
    }


def plain(found: Hypothesis) -> dict[str, Any]:
    """An answer as JSON takes it."""
    return {
        "text": found.text,
        "confidence": [segment.confidence for segment in found.segments],
        "tokens": [len(segment.tokens) for segment in found.segments],
        "words": [
            [word.text, word.start, word.end, word.confidence]
            for segment in found.segments
            for word in segment.words
        ],
    }


@dataclass(frozen=True, slots=True)
class Piece:
    """What the members said to one stretch: each alone, and its list."""

    alone: tuple[Hypothesis, ...]
    lists: tuple[tuple[Hypothesis, ...], ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """One clip, of one stretch or several."""

    clip: Clip
    pieces: tuple[Piece, ...]

    def said(self, way: "Way") -> tuple[Word, ...]:
        return tuple(word for piece in self.pieces for word in way(piece))


Way = Callable[[Piece], tuple[Word, ...]]


def heard(cache: Path, paths: list[Path], models: Sequence[str]) -> list[Heard]:
    """The kept answers; clips that not all models have heard yet are left out, and counted."""
    found, missing = [], 0
    for path in paths:
        corpus = read(path)
        files = [kept(cache, corpus, model) for model in models]
        answers = [json.loads(file.read_text("utf-8")) if file.is_file() else {} for file in files]
        for clip in corpus.clips:
            own = [one.get(clip.id) for one in answers]
            if None in own:
                missing += 1
                continue
            found.append(Heard(clip, tuple(map(piece, zip(*own, strict=True)))))
    if missing:
        print(f"{missing} clips are not heard by all models yet and are left out")
    return found


def piece(raw: Sequence[dict[str, Any]]) -> Piece:
    return Piece(
        tuple(answer(one["alone"]) for one in raw),
        tuple(tuple(map(answer, one["n_best"])) for one in raw),
    )


def answer(raw: dict[str, Any]) -> Hypothesis:
    """One segment from what was kept."""
    if not raw["text"]:
        return Hypothesis()
    logs = [math.log(max(1e-9, one)) for one in raw["confidence"]]
    sure, tokens = math.exp(sum(logs) / len(logs)), tuple(range(sum(raw["tokens"])))
    words = tuple(Word(*word) for word in raw["words"])
    return Hypothesis((Segment(0.0, 30.0, raw["text"], words, sure, tokens),))


@dataclass(frozen=True, slots=True)
class Plan:
    """How to vote.

    Args:
        power: the weight of a member is its error rate elsewhere to the minus this; 0: equal.
        n: alternatives of each member, which share its weight by their posteriors.
        temperature: of those posteriors.
        risk: choose the alternative of the least risk instead of voting by words.
    """

    power: float = 0.0
    n: int = 1
    temperature: float = 1.0
    spec: VoteSpec = FREQUENCY
    risk: bool = False

    def __str__(self) -> str:
        how = "least risk" if self.risk else f"vote, alpha {self.spec.alpha:g}"
        how += f", null {self.spec.null:g}" if self.spec.alpha < 1 and not self.risk else ""
        several = f", {self.n} alternatives at temperature {self.temperature:g}"
        return (
            how
            + (several if self.n > 1 else "")
            + (f", weights 1/error^{self.power:g}" if self.power else "")
        )

    def way(self, rates: Sequence[float]) -> Way:
        """What it does where members have these error rates."""
        weights = [max(rate, 1e-3) ** -self.power for rate in rates]
        return partial(self._least_risk if self.risk else self._voted, weights)

    def _voted(self, weights: Sequence[float], one: Piece) -> tuple[Word, ...]:
        ballots = []
        for weight, found in zip(weights, one.lists, strict=True):
            listed = found[: self.n]
            shares = posteriors(candidates(listed, key=KEY), self.temperature)
            ballots += [ballot(h, weight * p) for h, p in zip(listed, shares, strict=True)]
        return vote(ballots, self.spec, KEY)

    def _least_risk(self, weights: Sequence[float], one: Piece) -> tuple[Word, ...]:
        found, listed = list[Candidate](), list[Hypothesis]()
        for number, (weight, own) in enumerate(zip(weights, one.lists, strict=True)):
            found += candidates(own[: self.n], weight, str(number), KEY)
            listed += own[: self.n]
        return ballot(listed[choose(found, self.temperature)]).words


GRID = ((1.0, 0.5), (0.9, 0.5), (0.7, 0.5), (0.5, 0.5), (0.3, 0.5), (0.0, 0.5), (0.0, 0.7))
"""alpha, and the confidence of saying nothing."""

ROVER = [Plan(spec=VoteSpec(alpha, null=null)) for alpha, null in GRID]
POOLED = [
    Plan(power, N_BEST, temperature, spec)
    for power in (0.0, 1.0)
    for temperature, spec in ((1.0, FREQUENCY), (4.0, FREQUENCY), (1.0, VoteSpec(0.7, null=0.7)))
]
RISKS = [Plan(power, N_BEST, t, risk=True) for power in (0.0, 1.0) for t in (1.0, 4.0)]


def most_confident(one: Piece) -> tuple[Word, ...]:
    ballots = [ballot(found[0]) for found in one.lists]
    return ballots[surest(ballots)].words


def oracle(data: Sequence[Heard], ways: Sequence[Way]) -> Scorecard:
    """Of each clip the answer with the fewest errors, which only the reference can tell."""
    answers = [counted(data, way) for way in ways]
    best = [min(own, key=lambda found: found[1])[0] for own in zip(*answers, strict=True)]
    rows = [scored(one, words) for one, words in zip(data, best, strict=True)]
    return score(rows, "wer", "en")


def carded(data: Sequence[Heard], way: Way) -> Scorecard:
    return score([scored(one, one.said(way)) for one in data], "wer", "en")


def scored(one: Heard, words: tuple[Word, ...]) -> Scored:
    return Scored(one.clip.id, one.clip.speaker, one.clip.text, text(words), words=words)


def text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def left_out(
    data: Sequence[Heard], plans: Sequence[Plan], cards: Sequence[Scorecard]
) -> tuple[Scorecard, dict[str, str]]:
    """Each speaker's answers by the plan with the fewest errors on all others.

    Args:
        cards: of the members, whose error rates on the others become weights.
    """
    chosen, results = {}, list[Scored]()
    once = [counted(data, plan.way([1.0] * len(cards))) for plan in plans if not plan.power]
    for speaker in sorted({one.clip.speaker or "" for one in data}):
        rates = [rate_without(card, speaker) for card in cards]
        same = iter(once)
        answers = [counted(data, plan.way(rates)) if plan.power else next(same) for plan in plans]
        others = [n for n, one in enumerate(data) if one.clip.speaker != speaker]
        errors = [sum(own[n][1] for n in others) for own in answers]
        best = errors.index(min(errors))
        chosen[speaker] = str(plans[best])
        results += [
            scored(one, words)
            for one, (words, _) in zip(data, answers[best], strict=True)
            if one.clip.speaker == speaker
        ]
    return score(results, "wer", "en"), chosen


def counted(data: Sequence[Heard], way: Way) -> list[tuple[tuple[Word, ...], int]]:
    """Each answer with its errors."""
    found = []
    for one in data:
        words = one.said(way)
        said = units(one.clip.text, "wer", "en")
        found.append((words, count_errors(said, units(text(words), "wer", "en")).total))
    return found


def rate_without(card: Scorecard, speaker: str) -> float:
    rows = [row for row in card.per_utterance if row.speaker != speaker]
    return sum(row.errors for row in rows) / max(1, sum(row.length for row in rows))


def voting(cache: Path, paths: list[Path], models: Sequence[str], output: Path | None) -> None:
    """Print the table and the comparison of each way with the best member."""
    data = heard(cache, paths, models)
    count = len(models)
    members = {name: carded(data, partial(said_alone, n)) for n, name in enumerate(models)}
    table = dict(members)
    table |= {
        f"{n}, first of its list": carded(data, partial(listed, i, 0)) for i, n in enumerate(models)
    }
    table["oracle of the members"] = oracle(data, [partial(said_alone, n) for n in range(count)])
    every = [partial(listed, n, place) for n in range(count) for place in range(N_BEST)]
    table["oracle of all alternatives"] = oracle(data, every)
    equal = [1.0] * count
    for plan in [*ROVER, Plan(n=N_BEST), Plan(n=N_BEST, risk=True)]:
        table[str(plan)] = carded(data, plan.way(equal))
    table["the surest member"] = carded(data, most_confident)
    firsts = list(members.values())
    for name, plans in {
        "vote": ROVER,
        "vote with alternatives": POOLED,
        "least risk": RISKS,
        "any": [*ROVER, *POOLED, *RISKS],
    }.items():
        table[f"chosen on other speakers: {name}"], chosen = left_out(data, plans, firsts)
        print(name, json.dumps(chosen, indent=2), flush=True)
    best = min(members, key=lambda name: members[name].error_rate)
    against = {name: compare(card, members[best]) for name, card in table.items() if name != best}
    print(f"{len(data)} clips, {members[best].speakers} speakers; best member: {best}")
    for name, card in table.items():
        print(row(name, card, against.get(name)))
    if output:
        plain_cards = {name: card.summary() for name, card in table.items()}
        versus = {name: one.to_dict() for name, one in against.items()}
        write_json(output, {"best": best, "table": plain_cards, "against": versus})


def said_alone(number: int, one: Piece) -> tuple[Word, ...]:
    return ballot(one.alone[number]).words


def listed(number: int, place: int, one: Piece) -> tuple[Word, ...]:
    """An alternative of a member; its last where it has fewer."""
    return ballot(one.lists[number][: place + 1][-1]).words


def row(name: str, card: Scorecard, other: Comparison | None) -> str:
    low, high = card.interval
    line = f"| {name} | {card.error_rate:.2%} ({low:.1%} to {high:.1%}) |"
    if other is None:
        return line + " |"
    low, high = other.interval
    speakers = " ".join(f"{s.speaker}:{s.error_rate:.1%}" for s in card.per_speaker)
    line += f" {other.difference:+.2%} ({low:+.2%} to {high:+.2%}, p {other.p_value:.3f})"
    return f"{line} | {speakers} |"


def kept(cache: Path, corpus: Corpus, model: str) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    return cache / f"{Path(corpus.source).name}-{model}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    making = parts.add_parser("asterisk")
    for name in ("sounds", "transcripts", "target"):
        making.add_argument(name, type=Path)
    making.add_argument("--every", type=int, default=1, help="take every n-th prompt alone")
    hearing = parts.add_parser("hear")
    hearing.add_argument("cache", type=Path)
    hearing.add_argument("data", type=Path, nargs="+")
    hearing.add_argument("--models", nargs="+", default=HEARING)
    counting = parts.add_parser("vote")
    counting.add_argument("cache", type=Path)
    counting.add_argument("data", type=Path, nargs="+")
    counting.add_argument("--models", nargs="+", default=MEMBERS)
    counting.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.part == "vote":
        voting(given.cache, given.data, given.models, given.output)
    if given.part == "asterisk":
        asterisk(given.sounds, given.transcripts, given.target, given.every)
    if given.part == "hear":
        hear(given.cache, [read(path) for path in given.data], given.models)


if __name__ == "__main__":
    main()
