"""What students keep of their teachers: by size, with few labels, and after Whisper.

    python benchmarks/bench_distil.py sizes PATH/commands20 --noise PATH/noise --rooms PATH/rir
        --folds 0 1 --teachers BUNDLE0 BUNDLE1 [--sizes 30000 60000 120000] [--seeds 0 1 2]
    python benchmarks/bench_distil.py little PATH/commands20 ... [--shares 0.03 0.1]
    python benchmarks/bench_distil.py prompts PATH/prompts [--teacher whisper-base]

``sizes`` trains students of each size and seed on labels alone (alpha 0) and on the posteriors of
the fold's teacher, a packed massive model, on the same schedule; folds are those of
build_commands.py. ``little`` gives labels to a share of the training clips: labels alone, soft
targets on that share alone (the setting of Hinton, Vinyals and Dean 2015, section 4.2), and with
the rest unlabelled its answers (hard) or its posteriors (soft). ``prompts`` holds the texts of a
folder with ``metadata.tsv`` back: a teacher labels training and dev, a streaming model is built of
that, and all are measured on the texts of the rest.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task
from aimass.base.randomness import generator
from aimass.base.settings import Settings
from aimass.cli.progress import shown
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.corpus import Clip
from aimass.data.split import rotation
from aimass.evaluation.interval import error_interval
from aimass.evaluation.scorecard import Scorecard, UtteranceScore
from aimass.lifecycle import said
from aimass.lifecycle.build import build
from aimass.lifecycle.distil import Student, distil
from aimass.lifecycle.lesson import opened
from aimass.lifecycle.scenario import Scenario
from aimass.registry import bundle as bundles
from aimass.registry.store import Registry
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import resolve

GROUPS = 6
HELD = 0.1  # of the prompts for dev, and as many for the test
Rows = dict[str, list[UtteranceScore]]


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
        self.rows: Rows = defaultdict(list)
        self.result: dict[str, Any] = {"runs": []}

    def sizes(self) -> None:
        """Students of each size on labels and on posteriors."""
        for fold, teacher in zip(self.given.folds, self.given.teachers, strict=True):
            clips = self.fold(fold)
            source = self.written(f"fold-{fold}", clips)
            students = [
                (f"s{size // 1000}k-{seed}", size, seed)
                for size in self.given.sizes
                for seed in self.given.seeds
            ]
            for how, alpha in (("labels", 0.0), ("posteriors", self.given.alpha)):
                about = {"alpha": alpha, "teacher": self.published(teacher)}
                self.run(fold, how, f"commands-fold{fold}", {"train": source}, about, students)

    def little(self) -> None:
        """Few labels: alone, with soft targets, and with all other sound unlabelled."""
        size = self.given.sizes[0] if len(self.given.sizes) == 1 else 60_000
        students = [(f"s{size // 1000}k-{seed}", size, seed) for seed in self.given.seeds]
        for fold, teacher in zip(self.given.folds, self.given.teachers, strict=True):
            clips = self.fold(fold)
            for share in self.given.shares:
                few, rest = divided(clips, share, fold)
                name = f"commands-fold{fold}-{round(100 * share)}"
                alone = {"train": self.written(name, few)}
                whole = alone | {"unlabelled": self.written(f"{name}-rest", rest)}
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

    def prompts(self) -> None:
        """A streaming student of a teacher's words; the texts are there for the test alone."""
        corpus = corpora.read(self.given.data.resolve())
        order = generator(0, "prompts").permutation(len(corpus.clips))
        held = round(HELD * len(order))
        parts = {"test": order[:held], "dev": order[held : 2 * held], "train": order[2 * held :]}
        engine = opened(resolve(self.given.teacher, self.config), self.config.home)
        clips, kept = [], {}
        for split, numbers in parts.items():
            own = [replace(corpus.clips[n], split=split) for n in sorted(numbers.tolist())]
            if split != "test":
                scratch = self.config.home / f"answers-{split}"
                scratch.mkdir(exist_ok=True)
                silent = [replace(clip, text="") for clip in own]
                told = said.ask(
                    engine, silent, Task.TRANSCRIBE, "en", scratch, progress=self.progress
                )
                sure = said.sure(told, self.given.confidence)
                kept[split] = [len(sure), len(told)]
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
                "augment": {"noise": self.given.noise, "rooms": self.given.rooms},
                "training": {"epochs": self.given.epochs},
                "members": members,
            }
        )
        built = build(plan, config=self.config, progress=self.progress)
        cards = {name: own["test"] for name, own in built.members.items()}
        test = corpora.read(source).split("test")
        for name in (self.given.teacher, "whisper-tiny.en"):
            other = opened(resolve(name, self.config), self.config.home)
            cards[name] = evaluate(other, test, progress=self.progress)
            other.close()
        self.result |= {"kept": kept, "models": {name: told_of(c) for name, c in cards.items()}}
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
        for one, (_, size, _) in zip(found, students, strict=True):
            self.rows[f"{size} {how}"] += one.cards["test"].per_utterance
        self.rows[f"teacher {how}"] += found[0].taught.per_utterance
        self.result["runs"].append(
            {
                "fold": fold,
                "how": how,
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

    def published(self, folder: Path) -> str:
        """The name of a teacher's bundle in this home."""
        registry = Registry(self.config.home, self.config.registry_url)
        return registry.publish(bundles.load(folder.resolve())).reference

    def tell(self) -> None:
        print(json.dumps(self.result["runs"][-1:] or self.result, indent=2))
        if self.given.output:
            self.given.output.write_text(json.dumps(self.result, indent=2) + "\n")


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


def pooled(rows: Sequence[UtteranceScore]) -> dict[str, Any]:
    errors = [row.errors for row in rows]
    lengths = [row.length for row in rows]
    return {
        "error_rate": sum(errors) / sum(lengths),
        "interval": error_interval(errors, lengths, [row.speaker for row in rows]),
        "utterances": len(rows),
    }


if __name__ == "__main__":
    main()
