"""What augmentation is worth: members trained on clean and on augmented sound, on harder tests.

    python benchmarks/bench_robust.py digits PATH/fsdd --noise PATH/noise --rooms PATH/rir
    python benchmarks/bench_robust.py commands PATH/commands20 --noise PATH/noise --rooms PATH/rir

``digits`` puts strings of 4 to 8 digits together from the test takes of each speaker, with pauses,
and trains streaming CTC members; ``commands`` takes isolated words of unseen speakers (fold 0 of
build_commands.py). Each test set also comes over a telephone (300 to 3400 Hz, 8 kHz, G.711) and in
noise at 10 dB; digit strings as well at 10 to 20 dB. The noises of the tests are not those of the
training: of the files in PATH/noise, every second one is heard in tests alone.

``digits --members 4`` trains so many planned members on augmented sound instead, and leaves strings
in noise at 10 to 20 dB of the dev takes (HOME/strings-dev.jsonl.gz, noises of the training) and of
the test takes (HOME/strings-test.jsonl.gz), on which bench_ensemble.py combines them::

    python benchmarks/bench_ensemble.py HOME --only digits-augmented --cache HOME/cache
        --sets HOME/strings-dev.jsonl.gz HOME/strings-test.jsonl.gz
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile

from aimass.audio.decode import load
from aimass.augment.channel import Telephone
from aimass.augment.join import Join, connected
from aimass.augment.level import Gain, Shift
from aimass.augment.noise import Noise
from aimass.augment.policy import Policy, apply, draw
from aimass.augment.rooms import Reverb
from aimass.augment.sounds import Sounds
from aimass.augment.spectrogram import Masks
from aimass.augment.timing import Speed
from aimass.base.contract import Samples
from aimass.base.randomness import generator
from aimass.base.settings import Settings
from aimass.cli.progress import shown
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.corpus import Clip, Corpus
from aimass.data.split import rotation
from aimass.lifecycle.build import build
from aimass.lifecycle.scenario import Scenario
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.evaluate import evaluate

STRINGS = 60  # of each speaker
LONGEST, SHORTEST = 8, 4
PAUSE = (0.05, 0.4)
TELEPHONE = Policy("telephone", (Telephone(share=1.0),))
DEV_TAKES = range(5, 10)
JOINED = 3
MARGIN = 0.15  # seconds of silence around a training clip
HARD = Policy(
    "telephone and noise",
    (
        Speed(share=0.7),
        Shift(share=0.5),
        Reverb(share=0.1),
        Noise(share=0.8, snr_db=(0.0, 25.0)),
        Gain(share=0.8),
        Telephone(share=0.3),
    ),
    Masks(),
)
"""What the hard tests may bring, drawn as often as not."""


def in_noise(low: float, high: float) -> Policy:
    return Policy(f"noise {low:g} to {high:g} dB", (Noise(share=1.0, snr_db=(low, high)),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("digits", "commands"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--rooms", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--family", default="conv")
    parser.add_argument("--members", type=int, help="of one massive model, of digits")
    parser.add_argument("--home", type=Path, help="keep builds here, so that they resume")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = (given.home or Path(scratch)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        train_noise, test_noise = halves(given.noise, home)
        corpus = corpora.read(given.data.resolve())
        splits = digit_splits(corpus) if given.kind == "digits" else word_splits(corpus)
        manifest.write(splits, home / f"{given.kind}.jsonl.gz", licence=corpus.licence)
        test = [clip for clip in splits if clip.split == "test"]
        augmented = {
            "policy": HARD.to_dict(),
            "noise": train_noise,
            "rooms": given.rooms.resolve(),
        }
        if given.members:
            dev = [clip for clip in splits if clip.split == "dev"]
            for split, clips, noise in (("dev", dev, train_noise), ("test", test, test_noise)):
                found = in_noise_strings(clips, home / "tests" / f"{split} strings", noise)
                path = home / f"strings-{split}.jsonl.gz"
                manifest.write(found.clips, path, licence=corpus.licence)
            built(given, "augmented", augmented, home)
            return
        sets = versions(given.kind, test, home, test_noise)
        result = {}
        for name, augment in {"clean": {"policy": "clean"}, "augmented": augmented}.items():
            engine = BundleEngine(built(given, name, augment, home))
            result[name] = {label: told(engine, data) for label, data in sets.items()}
            print(name, json.dumps(result[name], indent=2), flush=True)
        if given.output:
            given.output.write_text(json.dumps(result, indent=2) + "\n")


def halves(folder: Path, home: Path) -> tuple[Path, Path]:
    """The noises of the training and those of the tests, as folders."""
    names = sorted(path for path in folder.resolve().rglob("*") if path.suffix in (".opus", ".wav"))
    found = home / "noise-train", home / "noise-test"
    for part, target in enumerate(found):
        target.mkdir(exist_ok=True)
        for path in names[part::2]:
            (target / path.name).write_bytes(path.read_bytes())
    return found


def digit_splits(corpus: Corpus) -> list[Clip]:
    """The official test takes, some takes of every speaker for dev, the others for training."""

    def split(clip: Clip) -> str:
        take = int(Path(clip.id).stem.rsplit("_", 1)[1])
        return "test" if clip.split == "test" else "dev" if take in DEV_TAKES else "train"

    return [replace(clip, split=split(clip)) for clip in corpus.clips]


def word_splits(corpus: Corpus) -> list[Clip]:
    fold = rotation(corpus.clips, 6, 0)
    parts = {"train": fold.train, "dev": fold.dev, "test": fold.test}
    return [replace(clip, split=name) for name, clips in parts.items() for clip in clips]


def versions(kind: str, test: list[Clip], home: Path, noise: Path) -> dict[str, Corpus]:
    """The test set as it is, over a telephone, and in noise."""
    rate = 8000 if kind == "digits" else 16000
    sounds = Sounds.read(noise, None, rate)
    sets: dict[str, list[tuple[Clip, Samples]]] = {"words": [(c, heard(c, rate)) for c in test]}
    if kind == "digits":
        sets["strings"] = strings(test, rate)
    policies: list[Policy | None] = [None, TELEPHONE, in_noise(10, 10)]
    found = {}
    for label, clips in sets.items():
        for policy in [*policies, *([in_noise(10, 20)] if label == "strings" else [])]:
            name = f"{label}, {policy.name}" if policy else label
            folder = home / "tests" / f"{kind} {name}".replace(" ", "-").replace(",", "")
            found[name] = written(folder, clips, policy, rate, sounds)
    return found


def in_noise_strings(clips: list[Clip], folder: Path, noise: Path) -> Corpus:
    rate = 8000
    return written(
        folder, strings(clips, rate), in_noise(10, 20), rate, Sounds.read(noise, None, rate)
    )


def strings(test: Sequence[Clip], rate: int) -> list[tuple[Clip, Samples]]:
    """Digits of one speaker in a row."""
    by_speaker: dict[str, list[Clip]] = defaultdict(list)
    for clip in test:
        by_speaker[clip.speaker or ""].append(clip)
    found = []
    for speaker, own in sorted(by_speaker.items()):
        for number in range(STRINGS):
            rng = generator(0, "strings", speaker, number)
            count = int(rng.integers(SHORTEST, LONGEST + 1))
            chosen = [own[i] for i in rng.integers(len(own), size=count)]
            join = Join(PAUSE).draw(rng, count)
            samples = connected([heard(clip, rate) for clip in chosen], join, rate)
            text = " ".join(clip.text for clip in chosen)
            name = f"{speaker}-{number:03d}"
            found.append((Clip(name, Path(), text, speaker, language=own[0].language), samples))
    return found


def written(
    folder: Path,
    clips: Sequence[tuple[Clip, Samples]],
    policy: Policy | None,
    rate: int,
    sounds: Sounds,
) -> Corpus:
    """The clips as a policy leaves them, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, (clip, samples) in enumerate(clips):
        if policy is not None:
            rng = generator(0, policy.name, clip.id)
            record = draw(policy, rng, len(samples) / rate, sounds)
            samples = apply([samples], [record], rate, sounds)[0]
        path = folder / f"{number:05d}.wav"
        soundfile.write(path, samples, rate, subtype="PCM_16")
        found.append(replace(clip, path=path, split="test", start=0.0, duration=None))
    return Corpus(tuple(found), "", folder)


def heard(clip: Clip, rate: int) -> Samples:
    return load(clip.path, rate=rate).mono()


def built(given: argparse.Namespace, name: str, augment: dict[str, Any], home: Path) -> Any:
    scenario = Scenario.model_validate(
        {
            "name": f"{given.kind}-{name}",
            "task": "transcribe" if given.kind == "digits" else "classify",
            "language": "en" if given.kind == "digits" else "zh+en",
            "data": {
                "train": home / f"{given.kind}.jsonl.gz",
                "exclude": ["silent"],
                "margin": MARGIN,
            },
            "augment": augment | ({"joined": JOINED} if given.kind == "digits" else {}),
            "training": {"epochs": given.epochs},
            "members": given.members or [{"family": given.family, "parameters": 300_000}],
        }
    )
    with shown() as progress:
        return build(scenario, config=Settings(home=home), progress=progress).bundle


def told(engine: BundleEngine, corpus: Corpus) -> dict[str, Any]:
    card = evaluate(engine, corpus)
    return {"error_rate": card.error_rate, "interval": card.interval, "count": card.errors.length}


if __name__ == "__main__":
    main()
