"""What students keep of their teachers: by size, with few labels, and after Whisper.

    python benchmarks/bench_distil.py sizes PATH/commands20 --noise PATH/noise --rooms PATH/rir
        --folds 0 1 --teachers BUNDLE0 BUNDLE1 [--sizes 30000 60000 120000] [--seeds 0 1 2]
    python benchmarks/bench_distil.py little PATH/commands20 ... [--shares 0.03 0.1]
    python benchmarks/bench_distil.py prompts PATH/prompts [--teacher whisper-base]

``sizes`` trains students of each size and seed on labels alone (alpha 0) and on the posteriors of
the fold's teacher, a packed massive model, on the same schedule; folds are those of
build_commands.py. Told is what posteriors close of the gap between labels and teacher. ``little``
gives labels to a share of the training clips: labels alone, soft targets on that share alone (the
setting of Hinton, Vinyals and Dean 2015, section 4.2), and with the rest unlabelled its answers
(hard) or its posteriors (soft). All take as many steps: where few clips are all, each stands in
an epoch several times, and sounds different each time.
``prompts`` holds the texts of a folder with ``metadata.tsv`` back: a teacher labels training and
dev, a streaming model is built of that, and all are measured on the same recordings of the rest.

Intervals are 95 % ones over speakers, the same drawn for all that are held against each other;
where speakers are fewer than five they hold those over utterances too.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Progress, Task
from aimass.base.randomness import generator
from aimass.base.settings import Settings
from aimass.cli.progress import shown
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.corpus import Clip
from aimass.data.split import rotation
from aimass.evaluation.compare import compare
from aimass.evaluation.interval import (
    error_interval,
    levels,
    percentiles,
    rates,
    resampled,
    union,
)
from aimass.evaluation.scorecard import Scorecard, UtteranceScore
from aimass.lifecycle import said
from aimass.lifecycle.build import build
from aimass.lifecycle.distil import Student, distil
from aimass.lifecycle.lesson import opened
from aimass.lifecycle.scenario import Scenario
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.registry.store import Registry
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import resolve

GROUPS = 6
HELD = 0.1  # of the prompts for dev, and as many for the test
TINY = "whisper-tiny.en"
Rows = dict[str, dict[int, list[UtteranceScore]]]
"""By way and seed; a name of an utterance or a speaker begins with its fold."""
Values = list[npt.NDArray[np.float64]]
"""A figure of everything and behind it that of each draw, once for each level of drawing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("sizes", "little", "prompts"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--rooms", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--teachers", type=Path, nargs="+", default=[], help="a bundle a fold")
    parser.add_argument("--teacher", default="whisper-base", help="of the prompts")
    parser.add_argument("--sizes", type=int, nargs="+", default=[30_000, 60_000, 120_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.03, 0.1])
    parser.add_argument("--family", default="conv")
    parser.add_argument("--subsampling", default="stack")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=0.9)
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--confidence", type=float, default=0.7)
    parser.add_argument("--margin", type=float, default=0.15)
    parser.add_argument("--pause", type=float, default=0.15)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--home", type=Path, help="keep builds here, so that they resume")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, shown() as progress:
        home = (given.home or Path(scratch)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        bench = Bench(given, Settings(home=home), progress)
        {"sizes": bench.sizes, "little": bench.little, "prompts": bench.prompts}[given.what]()


class Bench:
    """One run: what was asked, where it is built, and what was found so far."""

    def __init__(self, given: argparse.Namespace, config: Settings, progress: Progress) -> None:
        self.given = given
        self.config = config
        self.progress = progress
        self.rows: Rows = defaultdict(lambda: defaultdict(list))
        self.adds: dict[str, list[int | None]] = defaultdict(list)
        self.result: dict[str, Any] = {"runs": []}

    def sizes(self) -> None:
        """Students of each size on labels and on posteriors."""
        for fold, teacher in self.teachers():
            clips = self.fold(fold)
            source = self.written(f"fold-{fold}", clips)
            self.adds["teacher"].append(teacher.manifest.scores.get("multiply_adds"))
            students = [
                (f"s{size // 1000}k-{seed}", size, seed)
                for size in self.given.sizes
                for seed in self.given.seeds
            ]
            for how, alpha in (("labels", 0.0), ("posteriors", self.given.alpha)):
                about = {"alpha": alpha, "teacher": self.published(teacher)}
                self.run(fold, how, f"commands-fold{fold}", {"train": source}, about, students)
        self.result["sizes"] = {size: self.size(size) for size in self.given.sizes}
        self.write()

    def size(self, size: int) -> dict[str, Any]:
        """What students of a size keep of the teacher, told and printed."""
        ways = ("labels", "posteriors", "teacher")
        names = (f"{size} labels", f"{size} posteriors", "teacher posteriors")
        pairs = Paired(dict(zip(ways, (self.rows[name] for name in names), strict=True)))
        student, teacher = mean(self.adds[str(size)]), mean(self.adds["teacher"])
        ratio = student / teacher if student and teacher else None
        cost: dict[str, Any] = {"student": student, "teacher": teacher, "ratio": ratio}
        found: dict[str, Any] = {way: told(pairs.rate(way)) for way in ways} | {
            "posteriors - labels": told(pairs.apart("posteriors", "labels")),
            "kept": kept(*map(pairs.rate, ways)),
            "kept_by_seed": {
                seed: kept(
                    pairs.rate("labels", seed),
                    pairs.rate("posteriors", seed),
                    pairs.rate("teacher"),
                )
                for seed in self.given.seeds
            },
            "multiply_adds": cost,
        }
        print(f"{size} parameters, folds {self.given.folds}, seeds {self.given.seeds}")
        for way in (*ways, "posteriors - labels", "kept"):
            print(f"  {way:>20}: {shown_as(found[way])}")
        for seed, own in found["kept_by_seed"].items():
            print(f"  {f'kept, seed {seed}':>20}: {shown_as(own)}")
        if cost["ratio"]:
            print(
                f"  {'multiply-adds':>20}: {cost['student'] / 1e6:.2f} M, the teacher's members "
                f"together {cost['teacher'] / 1e6:.2f} M: {cost['ratio']:.3f} of them"
            )
        return found

    def little(self) -> None:
        """Few labels: alone, with soft targets, and with all other sound unlabelled."""
        size = self.given.sizes[0] if len(self.given.sizes) == 1 else 60_000
        students = [(f"s{size // 1000}k-{seed}", size, seed) for seed in self.given.seeds]
        for fold, teacher in self.teachers():
            clips = self.fold(fold)
            for share in self.given.shares:
                few, rest = divided(clips, share, fold)
                name = f"commands-fold{fold}-{round(100 * share)}"
                alone = {"train": self.written(f"{name}-alone", repeated(few, rest))}
                unlabelled = self.written(f"{name}-rest", rest)
                whole = {"train": self.written(name, few), "unlabelled": unlabelled}
                reference = self.published(teacher)
                for how, data, about in (
                    ("labels alone", alone, {"alpha": 0.0}),
                    ("soft, labelled alone", alone, {}),
                    ("hard, all sound", whole, {"targets": "answers"}),
                    ("soft, all sound", whole, {}),
                ):
                    self.run(
                        fold,
                        f"{share:.0%} {how}",
                        name,
                        data,
                        {"teacher": reference, "confidence": self.given.confidence} | about,
                        students,
                    )
        self.result["shares"] = {share: self.share(size, share) for share in self.given.shares}
        self.write()

    def share(self, size: int, share: float) -> dict[str, Any]:
        """What the sound without labels is worth beside a share of them, told and printed."""
        ways = ("labels alone", "soft, labelled alone", "hard, all sound", "soft, all sound")
        pairs = Paired({way: self.rows[f"{size} {share:.0%} {way}"] for way in ways})
        found = {way: told(pairs.rate(way)) for way in ways} | {
            f"{ways[3]} - {other}": told(pairs.apart(ways[3], other))
            for other in (ways[2], ways[0])
        }
        print(f"{share:.0%} of the labels, folds {self.given.folds}, seeds {self.given.seeds}")
        for way, own in found.items():
            print(f"  {way:>33}: {shown_as(own)}")
        return found

    def prompts(self) -> None:
        """A streaming student of a teacher's words; the texts are there for the test alone."""
        corpus = corpora.read(self.given.data.resolve())
        order = generator(0, "prompts").permutation(len(corpus.clips))
        held = round(HELD * len(order))
        parts = {"test": order[:held], "dev": order[held : 2 * held], "train": order[2 * held :]}
        engine = opened(resolve(self.given.teacher, self.config), self.config.home)
        clips, labelled = [], {}
        for split, numbers in parts.items():
            own = [replace(corpus.clips[n], split=split) for n in sorted(numbers.tolist())]
            if split != "test":
                scratch = self.config.home / f"answers-{split}"
                scratch.mkdir(exist_ok=True)
                silent = [replace(clip, text="") for clip in own]
                answers = said.ask(
                    engine, silent, Task.TRANSCRIBE, "en", scratch, progress=self.progress
                )
                sure = said.sure(answers, self.given.confidence)
                labelled[split] = {"kept": len(sure), "of": len(answers)}
                own = [replace(one.clip, text=one.text) for one in sure]
            clips += own
        engine.close()
        source = self.written("prompts", clips)
        members = [
            {"name": f"s{size // 1000}k", "family": self.given.family, "parameters": size}
            for size in self.given.sizes
        ]
        plan = Scenario.model_validate(
            {
                "name": "prompts",
                "task": "transcribe",
                "data": {"train": source, "exclude": ["silent", "too_short", "too_short_for_text"]},
                "augment": {
                    "noise": self.given.noise,
                    "rooms": self.given.rooms,
                    "passes": self.given.passes,
                },
                "training": {"epochs": self.given.epochs, "batch_size": self.given.batch_size},
                "members": members,
            }
        )
        built = build(plan, config=self.config, progress=self.progress)
        students = {name: own["test"] for name, own in built.members.items()}
        whole, card = corpora.read(source).split("test"), next(iter(students.values()))
        left = {row.utterance_id for row in card.per_utterance}  # the build leaves some out
        test = replace(whole, clips=tuple(clip for clip in whole.clips if clip.id in left))
        others = {}
        for name in dict.fromkeys((self.given.teacher, TINY)):
            other = opened(resolve(name, self.config), self.config.home)
            others[name] = evaluate(other, test, metric=card.metric, progress=self.progress)
            other.close()
        self.result |= {
            "kept": labelled,
            "test": {"scored": len(test.clips), "of": len(whole.clips)},
            "models": {name: told_of(one) for name, one in (students | others).items()},
            "comparisons": {
                student: {name: compare(own, other).to_dict() for name, other in others.items()}
                for student, own in students.items()
            },
        }
        self.tell()

    def run(
        self,
        fold: int,
        how: str,
        name: str,
        data: dict[str, Any],
        about: dict[str, Any],
        students: Sequence[tuple[str, int, int]],
    ) -> None:
        """Distil students and note their scorecards."""
        given, started = self.given, time.perf_counter()
        plan = Scenario.model_validate(
            {
                "name": name,
                "task": "classify",
                "language": "zh+en",
                "data": data | {"exclude": ["silent"], "margin": given.margin},
                "augment": {
                    "noise": given.noise,
                    "rooms": given.rooms,
                    "pause": (0.02, given.pause),
                    "passes": given.passes,
                },
                "training": {"epochs": given.epochs},
                "distil": {"alpha": given.alpha, "temperature": given.temperature}
                | about
                | {
                    "students": [
                        {
                            "name": student,
                            "family": given.family,
                            "parameters": size,
                            "subsampling": given.subsampling,
                            "seed": seed,
                        }
                        for student, size, seed in students
                    ]
                },
            }
        )
        found = distil(plan, config=self.config, progress=self.progress)
        for one, (_, size, seed) in zip(found, students, strict=True):
            card = one.cards["test"]
            self.rows[f"{size} {how}"][seed] += of_fold(fold, card.per_utterance)
            self.adds[str(size)].append(card.cost.multiply_adds)
        self.rows[f"teacher {how}"][0] += of_fold(fold, found[0].taught.per_utterance)
        self.result["runs"].append(
            {
                "fold": fold,
                "how": how,
                "epochs": given.epochs,
                "seconds": round(time.perf_counter() - started),
                "students": [noted(one) for one in found],
                "teacher": told_of(found[0].taught),
            }
        )
        self.result["all"] = {name: pooled(own) for name, own in self.rows.items()}
        self.tell()

    def fold(self, fold: int) -> list[Clip]:
        """The clips of a fold, each in its split."""
        splits = rotation(corpora.read(self.given.data.resolve()).clips, GROUPS, fold)
        parts = {"train": splits.train, "dev": splits.dev, "test": splits.test}
        return [replace(clip, split=name) for name, clips in parts.items() for clip in clips]

    def written(self, name: str, clips: Sequence[Clip]) -> Path:
        """A manifest of clips."""
        path = self.config.home / f"{name}.jsonl.gz"
        if not path.exists():
            licence = corpora.read(self.given.data.resolve()).licence
            manifest.write(clips, path, licence=licence)
        return path

    def teachers(self) -> list[tuple[int, Bundle]]:
        """Each fold with its teacher; one of another fold may have heard who is tested here."""
        found = []
        for fold, folder in zip(self.given.folds, self.given.teachers, strict=True):
            bundle, wanted = bundles.load(folder.resolve()), f"commands-fold{fold}"
            if bundle.manifest.name != wanted:
                raise SystemExit(
                    f"{folder} is '{bundle.manifest.name}', which may have heard the test speakers "
                    f"of fold {fold}: expected '{wanted}', as build_commands.py --folds {fold} "
                    "names it. Give --teachers in the order of --folds"
                )
            found.append((fold, bundle))
        return found

    def published(self, teacher: Bundle) -> str:
        """The name of a teacher's bundle in this home."""
        registry = Registry(self.config.home, self.config.registry_url)
        return registry.publish(teacher).reference

    def tell(self) -> None:
        print(json.dumps(self.result["runs"][-1:] or self.result, indent=2))
        self.write()

    def write(self) -> None:
        if self.given.output:
            self.given.output.write_text(json.dumps(self.result, indent=2) + "\n")


class Paired:
    """Error rates of several ways on the same utterances; every draw takes the same speakers.

    Args:
        ways: of each the rows of its seeds, all of the same utterances.
    """

    def __init__(self, ways: Mapping[str, Mapping[int, Sequence[UtteranceScore]]]) -> None:
        runs = {(way, seed): rows for way, own in ways.items() for seed, rows in own.items()}
        self._runs = list(runs)
        own = [{row.utterance_id: row for row in rows} for rows in runs.values()]
        if any(one.keys() != own[0].keys() for one in own):
            raise SystemExit("students and teacher were not measured on the same utterances")
        columns = [[one[name].errors for name in own[0]] for one in own]
        columns.append([row.length for row in own[0].values()])
        drawn = levels(np.array(columns, float).T, [row.speaker for row in own[0].values()])
        self._sums = [np.vstack([own.sum(0), resampled(own, "distil")]) for own in drawn]

    def rate(self, way: str, seed: int | None = None) -> Values:
        """Of a seed, or the mean over all."""
        own = [n for n, run in enumerate(self._runs) if run[0] == way and seed in (None, run[1])]
        return [rates(sums[:, own].mean(1), sums[:, -1]) for sums in self._sums]

    def apart(self, one: str, other: str) -> Values:
        """The rate of one way minus that of another."""
        return [a - b for a, b in zip(self.rate(one), self.rate(other), strict=True)]


def told(values: Values) -> dict[str, Any]:
    """A figure and the ends between which 95 % of its draws lie."""
    return {
        "value": float(values[0][0]),
        "interval": union(percentiles(own[1:]) for own in values),
    }


def kept(labels: Values, soft: Values, teacher: Values) -> dict[str, Any]:
    """What soft targets close of the gap between labels and teacher, 1 being all of it.

    A draw without a gap leaves every share possible, so it counts at both ends; an end that such
    draws reach is open, None.
    """
    gaps = [a - b for a, b in zip(labels, teacher, strict=True)]
    closed = [a - b for a, b in zip(labels, soft, strict=True)]
    ends = []
    with np.errstate(all="ignore"):
        for side, infinite in enumerate((-np.inf, np.inf)):
            shares = [
                np.where(gap > 0, done / gap, infinite)
                for done, gap in zip(closed, gaps, strict=True)
            ]
            ends.append([percentiles(own[1:])[side] for own in shares])
    low, high = np.min(ends[0]), np.max(ends[1])  # of an open end too, unlike min and max
    return {
        "value": float(closed[0][0] / gaps[0][0]) if gaps[0][0] > 0 else None,
        "interval": [float(end) if np.isfinite(end) else None for end in (low, high)],
        "without_gap": float(np.mean([(gap[1:] <= 0).mean() for gap in gaps])),
    }


def shown_as(figure: Mapping[str, Any]) -> str:
    """A figure of `told` or `kept` in a line, in percent."""
    value, low, high = (
        "open" if one is None else f"{one:.2%}" for one in (figure["value"], *figure["interval"])
    )
    return f"{value} ({low} to {high})"


def mean(numbers: Iterable[int | None]) -> float | None:
    """None where one is not known."""
    known = list(numbers)
    return None if None in known else float(np.mean([one for one in known if one is not None]))


def of_fold(fold: int, rows: Iterable[UtteranceScore]) -> list[UtteranceScore]:
    """Rows whose names no other fold has."""
    return [
        replace(
            row,
            utterance_id=f"{fold} {row.utterance_id}",
            speaker=row.speaker and f"{fold} {row.speaker}",
        )
        for row in rows
    ]


def repeated(few: Sequence[Clip], rest: Sequence[Clip]) -> list[Clip]:
    """Few clips, the training ones among them as often as makes up for the rest."""
    own = [clip for clip in few if clip.split == "train"]
    times = round((len(own) + len(rest)) / len(own))
    again = [replace(clip, id=f"{clip.id} {n}") for n in range(1, times) for clip in own]
    return [*few, *again]


def divided(clips: Sequence[Clip], share: float, fold: int) -> tuple[list[Clip], list[Clip]]:
    """Clips of which a share of the training ones has labels, and the other training clips.

    Every label keeps its share, one clip at least.
    """
    labels: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.split == "train":
            labels[clip.text].append(clip)
    few = [clip for clip in clips if clip.split != "train"]
    rest: list[Clip] = []
    for text, own in sorted(labels.items()):
        order = generator(0, "labels", fold, text).permutation(len(own))
        count = max(1, round(share * len(own)))
        few += [own[n] for n in order[:count]]
        rest += [own[n] for n in order[count:]]
    return few, rest


def noted(student: Student) -> dict[str, Any]:
    return {
        "name": student.published.name,
        "parameters": student.bundle.manifest.parameters,
        "unlabelled": student.unlabelled,
        "dev": student.cards["dev"].error_rate,
        "against_teacher": student.comparison.to_dict(),
    } | told_of(student.cards["test"])


def told_of(card: Scorecard) -> dict[str, Any]:
    return {
        "error_rate": card.error_rate,
        "interval": card.interval,
        "rtf": card.cost.rtf,
        "multiply_adds": card.cost.multiply_adds,
    }


def pooled(seeds: Mapping[int, Sequence[UtteranceScore]]) -> dict[str, Any]:
    rows = [row for own in seeds.values() for row in own]
    errors = [row.errors for row in rows]
    lengths = [row.length for row in rows]
    return {
        "error_rate": sum(errors) / sum(lengths),
        "interval": error_interval(errors, lengths, [row.speaker for row in rows]),
        "utterances": len(rows),
    }


if __name__ == "__main__":
    main()
